//! Scores: of the generators of a run while it works (`Scorer`), and of finished images and models ([`Evaluator`]).
//!
//! Both extract features with a [`FeatureNet`] and score them with an `effgan_metrics::Reference`. A run asks for the metrics that are
//! cheap enough for every round. The evaluator adds the rest, which would take longer: nearest neighbours among 10,000 images, and training
//! a classifier.

mod audit;
mod cache;
mod evaluation;
mod evaluation_text;
mod evaluator;
mod feature_net;
mod in_depth;
mod network_choice;
mod network_file;
mod own_features;
mod real_set;
mod scored_images;
mod scorer;
mod share;

pub use self::audit::{Attacked, Audit, Auditor, MIN_AUDITED, MemberAudit, Space};
pub use self::evaluation::{Evaluation, MemberMemorisation};
pub use self::evaluator::{Evaluator, RealImages};
pub use self::feature_net::FeatureNet;
pub use self::network_choice::NetworkChoice;
pub use self::network_file::NetworkFile;
pub use self::own_features::Training;
pub use self::real_set::{RealSet, dataset_named, is_model, run_of};
pub use self::scored_images::{Generator, Images};
pub(crate) use self::scorer::{Scorer, check_samples, check_scores};
pub use self::share::{Share, read_partition};
