//! Scores: of the generators of a run while it works (`Scorer`), and of finished images and models ([`Evaluator`]).
//!
//! A run computes `fd_small`, class KL and modes after each round. The evaluator adds the rest, which would take longer than a round:
//! nearest neighbours among 10,000 images, and training a classifier.

mod cache;
mod evaluation;
mod evaluation_text;
mod evaluator;
mod feature_net;
mod features;
mod in_depth;
mod of_run;
mod scored_images;
mod scorer;
mod share;

pub use self::evaluation::{ClassScores, Evaluation, MemberMemorisation, SetScores};
pub use self::evaluator::{Evaluator, Reference};
pub use self::feature_net::FeatureNet;
pub use self::features::Features;
pub use self::of_run::{evaluate_run, read_partition};
pub use self::scored_images::Images;
pub(crate) use self::scorer::Scorer;
pub use self::share::Share;
