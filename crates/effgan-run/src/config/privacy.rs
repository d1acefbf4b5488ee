//! The `[privacy]` table: how private a client's training is.

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// The `[privacy]` table: differentially private training of the discriminator at each client ([`DpSgd`](effgan_nn::gan::DpSgd)).
///
/// The expected number of real images of an update is `local.batch_size`, and there is no second key for it: two might contradict
/// each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyConfig {
    /// ε > 0 that the whole run may cost a client; the noise follows from it. Set either this or `noise_multiplier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_epsilon: Option<f64>,
    /// σ, 0.05..=1e6: the noise's standard deviation, in units of `clip`; ε follows from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_multiplier: Option<f64>,
    /// δ, above 0 and below 1 over the number of a client's images; default 1e-5.
    #[serde(default = "default_delta")]
    pub delta: f64,
    /// C, the largest norm of the gradient of one image, 1e-10..=1e10; default 1.
    #[serde(default = "default_clip")]
    pub clip: f64,
    /// Makes samples and noise repeatable for tests, and nothing private.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insecure_seed: Option<u64>,
}

/// Beyond these, sums of clipped gradients underflow, or overflow whatever the noise is.
const MIN_CLIP: f64 = 1e-10;
const MAX_CLIP: f64 = 1e10;

fn default_delta() -> f64 {
    1e-5
}

fn default_clip() -> f64 {
    1.0
}

impl PrivacyConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub(super) fn check(&self) -> Result<()> {
        let Self { target_epsilon, noise_multiplier, delta, clip, .. } = *self;
        let is_positive = |value: f64| value > 0.0 && (value as f32).is_finite();
        let wrong = [
            (
                target_epsilon.is_none() && noise_multiplier.is_none(),
                "[privacy] missing key `target_epsilon`, such as 10.0, or `noise_multiplier`".to_owned(),
            ),
            (
                target_epsilon.is_some() && noise_multiplier.is_some(),
                "privacy.target_epsilon and privacy.noise_multiplier are both set; remove one".to_owned(),
            ),
            (
                !target_epsilon.is_none_or(is_positive),
                format!("privacy.target_epsilon = {:?} must be above 0", target_epsilon.unwrap_or_default()),
            ),
            (
                !noise_multiplier.is_none_or(is_positive),
                format!("privacy.noise_multiplier = {:?} must be above 0", noise_multiplier.unwrap_or_default()),
            ),
            (!(delta > 0.0 && delta < 1.0), format!("privacy.delta = {delta:?} must be above 0 and below 1")),
            (
                !(MIN_CLIP..=MAX_CLIP).contains(&clip),
                format!("privacy.clip = {clip:?} must be from {MIN_CLIP:?} to {MAX_CLIP:?}"),
            ),
        ];
        match wrong.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, line)) => Err(Failure::usage(anyhow!(line))),
            None => Ok(()),
        }
    }
}
