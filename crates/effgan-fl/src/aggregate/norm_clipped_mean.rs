//! The weighted mean of updates none of which is long (Sun, Kairouz, Suresh, McMahan 2019, arXiv:1911.07963): a client
//! may point anywhere, and goes nowhere far.
//!
//! With Δ the way from the broadcast to what a client answers, the mean takes Δ · min(1, clip / ‖Δ‖). The norm is over
//! trainable tensors; running statistics are data of any size, and move by the same factor.

use effgan_nn::Params;

use super::{Weights, average};
use crate::message::Replies;
use crate::update_vector::{norm, scale};
use crate::{FlError, Result};

/// The mean of updates from `base`, shortened to `clip`. With a clip that none exceeds it is the mean, bit for bit.
pub(super) fn clipped_to(
    clip: f64,
    base: &Params,
    replies: &mut Replies,
    weights: Weights,
    round: u32,
) -> Result<Params> {
    let mut shortened = replies.map(|reply| {
        let (client, mut update) = reply?;
        let norm = norm(base, &update.params)?;
        if norm > clip {
            scale(base, &mut update.params, clip / norm)?;
        }
        Ok((client, update))
    });
    average(&mut shortened, weights, round)
}

/// The mean of updates from `base`, shortened to the median of their norms, for which all are there at once.
pub(super) fn clipped_to_median(base: &Params, replies: &mut Replies, weights: Weights, round: u32) -> Result<Params> {
    let all = replies.collect::<Result<Vec<_>>>()?;
    let norms = all.iter().map(|(_, update)| norm(base, &update.params)).collect::<std::result::Result<_, _>>()?;
    let clip = median(norms).ok_or(FlError::NoReplies { round })?;
    clipped_to(clip, base, &mut all.into_iter().map(Ok), weights, round)
}

/// The middle value, or the mean of the two in the middle; `None` of nothing.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(f64::midpoint(values[last / 2], values[values.len() / 2]))
}
