//! The weighted mean of updates with clipped norms (Sun, Kairouz, Suresh, McMahan 2019, arXiv:1911.07963): a client chooses the
//! direction of its update, but not how far it moves the mean.
//!
//! Where Δ is a client's update, the mean takes Δ · min(1, clip / ‖Δ‖). The norm is over the trainable tensors. Running
//! statistics are data of any magnitude, so they do not count towards the norm, but are scaled by the same factor.

use effgan_nn::Params;

use super::{Weights, average};
use crate::message::Replies;
use crate::update_vector::{norm, scale};
use crate::{FlError, Result};

/// The mean of the updates from `base`, clipped to `clip`. When no update exceeds `clip`, it is the plain mean, bit for bit.
pub(super) fn clipped_to(
    clip: f64,
    base: &Params,
    replies: &mut Replies,
    weights: Weights,
    round: u32,
) -> Result<Params> {
    let mut clipped = replies.map(|reply| {
        let (client, mut update) = reply?;
        let norm = norm(base, &update.params)?;
        if norm > clip {
            scale(base, &mut update.params, clip / norm)?;
        }
        Ok((client, update))
    });
    average(&mut clipped, weights, round)
}

/// The mean of the updates from `base`, clipped to the median of their norms. Holds all replies in memory.
pub(super) fn clipped_to_median(base: &Params, replies: &mut Replies, weights: Weights, round: u32) -> Result<Params> {
    let all = replies.collect::<Result<Vec<_>>>()?;
    let norms = all.iter().map(|(_, update)| norm(base, &update.params)).collect::<std::result::Result<_, _>>()?;
    let clip = median(norms).ok_or(FlError::NoReplies { round })?;
    clipped_to(clip, base, &mut all.into_iter().map(Ok), weights, round)
}

/// The middle value, or the mean of the two middle values; `None` when there are no values.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(f64::midpoint(values[last / 2], values[values.len() / 2]))
}
