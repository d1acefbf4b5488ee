//! What averaging with noise (`aggregation.kind = "private-mean"`) costs each client as a whole, before it begins.

use anyhow::anyhow;
use effgan_fl::{Algorithm, Roster, Rule, planned_rounds};
use effgan_privacy::{Composition, SampledGaussian, epsilon};
use serde::{Deserialize, Serialize};

use super::rounded_up;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::units::{count, three_digits};

/// Below so many clients, noise that hides one of them drowns what they learned.
const FEW: u64 = 500;

/// What the averaged rounds cost each client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientPrivacyStatement {
    /// Number of clients.
    pub clients: u64,
    /// Averaged rounds that one client takes part in, at most.
    pub rounds: u64,
    /// C: the largest norm of a client's update.
    pub clip: f64,
    /// σ: the noise's standard deviation in units of the clip.
    pub noise_multiplier: f64,
    /// δ of `epsilon`.
    pub delta: f64,
    /// ε, for all images of one client: its updates, or none.
    pub epsilon: f64,
    /// The accountant that found ε, `rdp` or `pld`.
    pub accountant: String,
    /// How many times as long the noise of a mean is as any mean of updates can be.
    pub noise_to_update: f64,
}

impl ClientPrivacyStatement {
    /// The statement of a run whose server averages with noise; `None` of any other. `num_values` are those of all averaged tensors.
    ///
    /// The cohorts are drawn from the server's seed and are no secret, so they do not lower ε.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when δ is too small to be computed.
    pub(crate) fn of(
        config: &Config,
        algorithm: &dyn Algorithm,
        roster: &Roster,
        num_values: u64,
    ) -> Result<Option<Self>> {
        let Rule::PrivateMean(noise) = config.aggregation.rule()? else { return Ok(None) };
        let (clients, delta) = (roster.names().len(), config.aggregation.delta());
        let rounds = planned_rounds(algorithm, roster, config.seed).into_iter().max().unwrap_or_default();
        let cost = || epsilon(&Composition::of(SampledGaussian::new(noise.noise_multiplier, 1.0)?, rounds)?, delta);
        let cost = cost().map_err(|error| Failure::usage(anyhow!("[aggregation] {error}")))?;
        let asked = config.algorithm.num_in_round(clients);
        Ok(Some(Self {
            clients: clients as u64,
            rounds,
            clip: noise.clip,
            noise_multiplier: noise.noise_multiplier,
            delta,
            epsilon: cost.value,
            accountant: cost.accountant.name().into(),
            noise_to_update: noise.noise_multiplier * (num_values as f64).sqrt() / asked as f64,
        }))
    }

    /// Lines for people.
    pub fn lines(&self) -> Vec<String> {
        let Self { clients, rounds, noise_multiplier, delta, epsilon, accountant, noise_to_update, .. } = self;
        let cost = format!(
            "privacy of clients: ε = {} at δ = {delta:e} for all images of a client ({accountant}; its updates, or none), over {rounds} rounds with \
             σ = {noise_multiplier}; the server is trusted, and only the averaged generator is covered",
            rounded_up(*epsilon)
        );
        let few = (*clients < FEW).then(|| {
            format!(
                "privacy of clients: the noise is {} times as long as any mean of {} clients' updates; private-mean is for {FEW} clients or more",
                three_digits(*noise_to_update),
                count(*clients)
            )
        });
        [cost].into_iter().chain(few).collect()
    }
}
