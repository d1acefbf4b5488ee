//! Feature networks and scores of generated images.

#![forbid(unsafe_code)]

mod bounds;
mod centred;
mod comparison;
mod error;
mod features;
mod fid;
mod histogram;
mod inception;
mod inception_resize;
mod kernel_sums;
mod kid;
mod laplacian;
mod low_pass;
mod memorisation;
pub mod metric;
mod neighbours;
mod outliers;
mod own_net;
mod patches;
mod prdc;
mod reference;
mod score_settings;
mod scores;
mod sliced_wasserstein;
mod small_net;
mod stats;
mod table;
mod texture;
mod train_on_synthetic;

pub use comparison::Comparison;
pub use error::{MetricError, Result};
pub use features::Features;
pub use fid::frechet_distance;
pub use histogram::ClassHistogram;
pub use inception::Inception;
pub use inception_resize::Resize;
pub use kid::{KernelDistance, Subsets, kernel_distance};
pub use low_pass::{low_pass, low_pass_size};
pub use memorisation::{Memorisation, memorisation};
pub use metric::Metric;
pub use outliers::distances_from_others;
pub use own_net::{OwnNet, Quality};
pub use patches::Patches;
pub use prdc::{Prdc, prdc};
pub use reference::Reference;
pub use score_settings::Settings;
pub use scores::Scores;
pub use sliced_wasserstein::LevelDistance;
pub use small_net::SmallNet;
pub use stats::FeatureStats;
pub use table::{METRICS, main_metric, metrics_in_run};
pub use texture::textures;
pub use train_on_synthetic::{Labelled, TrainOnSynthetic, train_on_synthetic};
