//! Images, data sets and partitions: no tensors.
//!
//! [`DatasetConfig::load`] reads a data set, [`PartitionConfig::deal`] deals its first training images to clients, and
//! [`heterogeneity`] says how far the result is from an even deal. Images stay u8; a partition holds indices, never pixels.

#![forbid(unsafe_code)]

pub mod datasets;
pub mod download;
mod error;
pub mod heterogeneity;
mod image_set;
mod parallel;
pub mod partition;
pub mod resize;
pub mod steering;

pub use datasets::{Dataset, DatasetConfig, DatasetName, ImageFiles};
pub use error::DataError;
pub use image_set::ImageSet;
pub use partition::{ClientName, ClientShare, Partition, PartitionConfig};
