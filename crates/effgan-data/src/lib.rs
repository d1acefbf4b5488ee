//! Images, data sets and partitions, without tensors.
//!
//! [`DatasetConfig::load`] reads a data set, [`PartitionConfig::assign`] assigns its first training images to clients, and
//! [`heterogeneity`] measures how far the result is from an even split. Images stay u8; a partition holds indices, never pixels.

#![forbid(unsafe_code)]

pub mod control_chars;
pub mod datasets;
pub mod download;
mod error;
pub mod heterogeneity;
mod home;
mod image_list;
mod image_set;
mod parallel;
pub mod partition;
mod persons;
pub mod resize;

pub use datasets::{Dataset, DatasetConfig, DatasetName, ImageFiles};
pub use error::DataError;
pub use home::from_home;
pub use image_list::ImageList;
pub use image_set::ImageSet;
pub use partition::{ClientName, ClientShare, Partition, PartitionConfig};
pub use persons::{Person, by_person, most_frequent_class};
