//! Folding replies: how the parameters of all clients become one set, and where collected generators go.
//!
//! Besides the mean there are rules that are robust against clients that send arbitrary values. The median, the trimmed mean and
//! clipping to the median norm hold all replies of a round in memory, because a median has no running form; the other rules take
//! one reply at a time.

mod aggregation_config;
mod collect;
mod mean;
mod norm_clipped_mean;
mod private_mean;
mod trimmed_mean;

use effgan_nn::Params;
use serde::{Deserialize, Serialize};

pub use self::aggregation_config::{AggregationConfig, AggregationKind, Flagged};
pub use self::collect::{MemberSink, collect};
pub use self::mean::{WeightedMean, average};
use self::norm_clipped_mean::{clipped_to, clipped_to_median};
pub use self::private_mean::ClientNoise;
use self::trimmed_mean::trimmed_mean;
use crate::message::Replies;
use crate::{FlError, Result};

/// How clients are weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// By its number of images: n_k / n.
    #[default]
    Examples,
    /// All clients equally.
    Uniform,
}

impl Weights {
    /// Weight of a client with `num_examples` images; not normalised, and always a whole number.
    pub fn of(self, num_examples: u64) -> f64 {
        match self {
            Self::Examples => num_examples as f64,
            Self::Uniform => 1.0,
        }
    }
}

/// How the replies of a round become one set of parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    /// The weighted mean.
    #[default]
    Mean,
    /// The median of each value; clients are weighted equally.
    Median,
    /// The mean of each value without the `trim` lowest and the `trim` highest; clients are weighted equally.
    TrimmedMean {
        /// Number of clients that are cut on each side.
        trim: usize,
    },
    /// The weighted mean of updates whose norm is clipped to `clip`.
    NormClippedMean {
        /// L2 norm; the median norm of the round's updates when absent.
        clip: Option<f64>,
    },
    /// The mean of updates of clipped norms, with noise that hides each of them; clients are weighted equally.
    PrivateMean(ClientNoise),
}

impl Rule {
    /// Folds the replies of `asked` clients into one set of parameters. Updates are differences from `base`, which may have more tensors than
    /// the replies.
    ///
    /// # Errors
    /// The error of the first reply that is one; [`FlError::NoReplies`]; [`FlError::TooFewToTrim`].
    pub fn fold(
        self,
        base: &Params,
        replies: &mut Replies,
        weights: Weights,
        round: u32,
        asked: usize,
    ) -> Result<Params> {
        match self {
            Self::Mean => average(replies, weights, round),
            Self::Median => {
                let sets = params_of(replies, round)?;
                Ok(trimmed_mean(&sets, (sets.len() - 1) / 2)?)
            }
            Self::TrimmedMean { trim } => {
                let sets = params_of(replies, round)?;
                if sets.len() <= 2 * trim {
                    return Err(FlError::TooFewToTrim { round, replies: sets.len(), trim });
                }
                Ok(trimmed_mean(&sets, trim)?)
            }
            Self::NormClippedMean { clip: Some(clip) } => clipped_to(clip, base, replies, weights, round),
            Self::PrivateMean(noise) => noise.mean(base, replies, asked, round),
            Self::NormClippedMean { clip: None } => clipped_to_median(base, replies, weights, round),
        }
    }
}

/// The parameters of all replies, in the order of the clients' names; at least one.
fn params_of(replies: &mut Replies, round: u32) -> Result<Vec<Params>> {
    let sets = replies.map(|reply| Ok(reply?.1.params)).collect::<Result<Vec<_>>>()?;
    if sets.is_empty() { Err(FlError::NoReplies { round }) } else { Ok(sets) }
}
