//! Scores: during a run ([`Scorer`]), and of finished images and models ([`Question`]).

mod cache;
mod evaluation;
mod images;
mod network;
mod of_run;
mod scorer;
mod text;

pub use self::evaluation::{Evaluation, Question, Reference};
pub use self::images::Images;
pub use self::network::FeatureNet;
pub use self::of_run::{Share, evaluate_run, of_run, partition};
pub(crate) use self::scorer::Scorer;
