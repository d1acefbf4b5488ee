//! Folding replies: how the parameters that clients answer with become one set, and where collected generators go.
//!
//! Beside the mean there are rules that stand clients who send anything at all. A median, a trimmed mean and a clip
//! that is itself a median hold all replies of a round at once; the others take one at a time.

mod aggregation_config;
mod collect;
mod mean;
mod norm_clipped_mean;
mod trimmed_mean;

use effgan_nn::Params;
use serde::{Deserialize, Serialize};

pub use self::aggregation_config::{AggregationConfig, AggregationKind, Flagged};
pub use self::collect::{MemberSink, collect};
pub use self::mean::{WeightedMean, average};
use self::norm_clipped_mean::{clipped_to, clipped_to_median};
use self::trimmed_mean::trimmed_mean;
use crate::message::Replies;
use crate::{FlError, Result};

/// How much a client counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weights {
    /// By its number of images: n_k / n.
    #[default]
    Examples,
    /// All the same.
    Uniform,
}

impl Weights {
    /// Weight of a client with `num_examples` images, not normalised; always a whole number.
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
    /// The median of each value; clients count the same.
    Median,
    /// The mean of each value without the `trim` lowest and the `trim` highest; clients count the same.
    TrimmedMean {
        /// Clients cut on each side.
        trim: usize,
    },
    /// The weighted mean of updates that are shortened to `clip`.
    NormClippedMean {
        /// L2 norm; the median norm of the round's updates when absent.
        clip: Option<f64>,
    },
}

impl Rule {
    /// One set of parameters from all replies, whose updates start at `base`; it may have more tensors than they.
    ///
    /// # Errors
    /// Of the first reply that cannot be had; [`FlError::NoReplies`]; [`FlError::TooFewToTrim`].
    pub fn fold(self, base: &Params, replies: &mut Replies, weights: Weights, round: u32) -> Result<Params> {
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
            Self::NormClippedMean { clip: None } => clipped_to_median(base, replies, weights, round),
        }
    }
}

/// The parameters of all replies, in the order of names; at least one.
fn params_of(replies: &mut Replies, round: u32) -> Result<Vec<Params>> {
    let sets = replies.map(|reply| Ok(reply?.1.params)).collect::<Result<Vec<_>>>()?;
    if sets.is_empty() { Err(FlError::NoReplies { round }) } else { Ok(sets) }
}
