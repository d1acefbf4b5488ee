//! Feature networks and scores of generated images.

mod error;
mod fid;
mod histogram;
mod inception;
mod outliers;
mod resize;
mod score;
mod small_net;
mod stats;
mod texture;

pub use error::{MetricError, Result};
pub use fid::frechet_distance;
pub use histogram::ClassHistogram;
pub use inception::Inception;
pub use outliers::distances_from_others;
pub use resize::Resize;
pub use score::{Reference, Scores};
pub use small_net::SmallNet;
pub use stats::FeatureStats;
pub use texture::textures;
