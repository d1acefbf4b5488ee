//! The `[simulation]` table: which clients of a cohort drop out or are too slow, and which attack.
//!
//! Time is simulated: a client takes its number of training steps divided by its speed, and a client that would be late does no
//! work. Everything follows from the seed, so that it is known before the run and the same on every machine.

use effgan_data::ClientName;
use effgan_nn::{Purpose, Streams};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::attack::Attack;
use crate::{FlError, Result};

/// The `[simulation]` table: how clients misbehave. By default all of them reply in time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulationConfig {
    /// Probability that a client drops out of a round, 0 ≤ p < 1; drawn anew for each client and round. Default 0.
    pub dropout: f64,
    /// Simulated seconds after which a round accepts no more replies, > 0; needs `speed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<f64>,
    /// How fast the clients are; needs `deadline`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
    /// Clients that send poisoned updates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attack: Option<Attack>,
}

/// Speed of the clients in training steps per simulated second: log-normally distributed over the clients, constant over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Speed {
    /// Median over the clients, in steps per second, > 0.
    pub median: f64,
    /// Standard deviation of the speed's logarithm, 0..=10; with 0.5, the fastest of a hundred clients is about ten times as fast
    /// as the slowest.
    pub sigma: f64,
}

impl Speed {
    /// Speed of `client`, in steps per second.
    fn of(&self, seed: u64, client: &ClientName) -> f64 {
        let normal = Streams::of_client(seed, 0, client.as_str()).normal(Purpose::Speed, 0, 1)[0];
        self.median * (self.sigma * f64::from(normal)).exp()
    }
}

impl SimulationConfig {
    /// Checks that the values are within their bounds.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        let Self { dropout, deadline, speed, attack } = self;
        let positive = |value: f64| value > 0.0 && value.is_finite();
        let wrong = |reason: String| Err(FlError::Config(reason));
        if !(0.0..1.0).contains(dropout) {
            return wrong(format!("simulation.dropout = {dropout:?} must be at least 0 and below 1"));
        }
        attack.map_or(Ok(()), |attack| attack.check())?;
        match (deadline, speed) {
            (Some(deadline), Some(_)) if !positive(*deadline) => {
                wrong(format!("simulation.deadline = {deadline:?} must be above 0 and finite"))
            }
            (_, Some(Speed { median, .. })) if !positive(*median) => {
                wrong(format!("simulation.speed.median = {median:?} must be above 0 and finite"))
            }
            (_, Some(Speed { sigma, .. })) if !(0.0..=10.0).contains(sigma) => {
                wrong(format!("simulation.speed.sigma = {sigma:?} must be from 0 to 10"))
            }
            (None, Some(_)) | (Some(_), None) => {
                wrong("simulation.deadline and simulation.speed go together; set both or neither".into())
            }
            _ => Ok(()),
        }
    }

    /// Checks the bounds that depend on the number of clients.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check_clients(&self, clients: usize) -> Result<()> {
        match self.attack {
            Some(attack) if attack.clients >= clients => Err(FlError::Config(format!(
                "simulation.attack.clients = {} must be below {clients}, the number of clients",
                attack.clients
            ))),
            _ => Ok(()),
        }
    }

    /// The attackers among `clients` in a run with this seed, sorted by name.
    pub fn attackers(&self, seed: u64, clients: &[ClientName]) -> Vec<ClientName> {
        self.attack.map(|attack| attack.attackers(seed, clients)).unwrap_or_default()
    }

    /// The attack of `client`, if it is one of the attackers among `clients`.
    pub(crate) fn attack_of(&self, seed: u64, clients: &[ClientName], client: &ClientName) -> Option<Attack> {
        self.attack.filter(|attack| attack.attackers(seed, clients).contains(client))
    }

    /// Why `client`, which would do `steps` training steps, does not take part in `round`; `None` when it does.
    pub fn absence(&self, seed: u64, round: u32, client: &ClientName, steps: u64) -> Option<String> {
        let mut coin = Streams::of_client(seed, round, client.as_str()).at(Purpose::Dropout, 0);
        if coin.random::<f64>() < self.dropout {
            return Some("dropped out".into());
        }
        let (deadline, speed) = (self.deadline?, self.speed?);
        let seconds = steps as f64 / speed.of(seed, client);
        (seconds > deadline).then(|| format!("late: {seconds:.1} s of {deadline:.1} s"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENTS: usize = 2000;

    fn clients() -> Vec<ClientName> {
        (0..CLIENTS).map(|i| ClientName::simulated(i, CLIENTS)).collect()
    }

    fn missing(config: &SimulationConfig, round: u32, steps: u64) -> Vec<Option<String>> {
        clients().iter().map(|client| config.absence(1, round, client, steps)).collect()
    }

    #[test]
    fn dropout_is_a_share_of_the_clients_and_others_in_another_round() {
        let config = SimulationConfig { dropout: 0.2, ..SimulationConfig::default() };
        let rounds = [1, 2].map(|round| missing(&config, round, 10));
        for round in &rounds {
            let away = round.iter().flatten().inspect(|reason| assert_eq!(*reason, "dropped out")).count() as f64;
            // Five standard errors of a binomial share.
            assert!((away / CLIENTS as f64 - 0.2).abs() < 5.0 * (0.2 * 0.8 / CLIENTS as f64).sqrt(), "{away}");
        }
        assert_ne!(rounds[0], rounds[1]);
        assert!(missing(&SimulationConfig::default(), 1, 10).iter().all(Option::is_none));
    }

    #[test]
    fn half_the_clients_need_longer_than_the_median_and_the_same_in_every_round() {
        let speed = Some(Speed { median: 5.0, sigma: 0.5 });
        let config = SimulationConfig { deadline: Some(20.0), speed, ..SimulationConfig::default() };
        let late = missing(&config, 1, 100);
        let share = late.iter().flatten().count() as f64 / CLIENTS as f64;
        // Five standard errors of a binomial share.
        assert!((share - 0.5).abs() < 5.0 * (0.25 / CLIENTS as f64).sqrt(), "{share}");
        assert_eq!(late, missing(&config, 2, 100));
        // 60 of 100 steps in the time for 100: exp(-0.5 · z) < 0.6 where z < -1.02, 15 % of a normal distribution.
        let share = missing(&config, 1, 60).iter().flatten().count() as f64 / CLIENTS as f64;
        assert!((share - 0.1534).abs() < 5.0 * (0.1534 * 0.8466 / CLIENTS as f64).sqrt(), "{share}");
    }

    #[test]
    fn how_late_is_said_in_simulated_seconds() {
        let speed = Some(Speed { median: 10.0, sigma: 0.0 });
        let config = SimulationConfig { deadline: Some(10.0), speed, ..SimulationConfig::default() };
        assert_eq!(config.absence(1, 1, &clients()[0], 123).unwrap(), "late: 12.3 s of 10.0 s");
        assert_eq!(config.absence(1, 1, &clients()[0], 100), None);
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let error = |config: SimulationConfig| config.check().unwrap_err().to_string();
        let dropout = SimulationConfig { dropout: 1.0, ..SimulationConfig::default() };
        assert_eq!(error(dropout), "simulation.dropout = 1.0 must be at least 0 and below 1");
        let alone = SimulationConfig { deadline: Some(1.0), ..SimulationConfig::default() };
        assert_eq!(error(alone.clone()), "simulation.deadline and simulation.speed go together; set both or neither");
        let speed = |median, sigma| SimulationConfig { speed: Some(Speed { median, sigma }), ..alone.clone() };
        assert_eq!(error(speed(0.0, 1.0)), "simulation.speed.median = 0.0 must be above 0 and finite");
        assert_eq!(error(speed(1.0, f64::NAN)), "simulation.speed.sigma = NaN must be from 0 to 10");
        assert!(speed(1.0, 0.0).check().is_ok());
    }
}
