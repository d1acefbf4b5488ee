//! Feature networks and scores of generated images.

#![warn(missing_docs, unreachable_pub)]

mod error;
mod feature_scores;
mod fid;
mod histogram;
mod inception;
mod kid;
mod memorisation;
mod neighbours;
mod outliers;
mod prdc;
mod resize;
mod score;
mod small_net;
mod stats;
mod texture;
mod train_on_synthetic;

pub use error::{MetricError, Result};
pub use feature_scores::FeatureScores;
pub use fid::frechet_distance;
pub use histogram::ClassHistogram;
pub use inception::Inception;
pub use kid::{Kid, Subsets, kernel_distance};
pub use memorisation::{Memorisation, memorisation};
pub use outliers::distances_from_others;
pub use prdc::{Prdc, prdc};
pub use resize::Resize;
pub use score::{Reference, Scores};
pub use small_net::SmallNet;
pub use stats::FeatureStats;
pub use texture::textures;
pub use train_on_synthetic::{Labelled, TrainOnSynthetic, train_on_synthetic};
