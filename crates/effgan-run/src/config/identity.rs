//! What the bits of a run depend on, as hashes: whether a run may be resumed, and whether two runs share their rounds.

use effgan_data::datasets::MaxMemory;
use effgan_fl::{AggregationConfig, AggregationKind, CheckpointConfig};
use effgan_nn::params;

use super::{Config, FederationConfig};

impl Config {
    /// SHA-256, as hex, of everything that the bits of a run's rounds depend on.
    ///
    /// A resumed run may change what is left out: the name, where the images lie and the memory to read them, the number of
    /// rounds (unless the learning rate depends on it), what happens to clients that fail, send too large values or are
    /// absent and to members that are flagged or too large, and which checkpoints are kept.
    pub fn identity(&self) -> String {
        let mut config = self.clone();
        config.name = String::new();
        config.dataset.dir = None;
        config.dataset.max_memory = MaxMemory::default();
        config.checkpoint = CheckpointConfig::default();
        let FederationConfig { strategy, classes, max_examples, .. } = config.federation;
        config.federation = FederationConfig { classes, max_examples, strategy, ..FederationConfig::default() };
        let AggregationConfig { kind, trim, clip, max_weight, .. } = config.aggregation;
        config.aggregation = AggregationConfig { kind, trim, clip, max_weight, ..AggregationConfig::default() };
        if !config.local.decay.depends_on_the_length() {
            config.algorithm = config.algorithm.of_any_length();
        }
        params::sha256(config.to_toml().as_bytes())
    }

    /// Like [`identity`](Self::identity), but equal for `effgan` and `fedgan` where their rounds are the same.
    pub fn identity_of_rounds(&self) -> String {
        let algorithm = match &self.algorithm {
            // A learning rate that decays over the length of the run differs between the two: their lengths differ.
            algorithm if self.local.decay.depends_on_the_length() => algorithm.clone(),
            algorithm => algorithm.rounds_alone(),
        };
        Self { algorithm, ..self.clone() }.identity()
    }

    /// Whether the mean of an `effgan` run's members is the generator that FedGAN would have reached with equal work.
    pub fn mean_is_fedgan(&self) -> bool {
        let equal_work = self
            .local
            .work()
            .is_ok_and(|local| self.algorithm.fine_tuning(local).is_ok_and(|work| work == Some(local)));
        let AggregationConfig { kind, max_weight, .. } = self.aggregation;
        let of_means = kind == AggregationKind::Mean && max_weight.is_none() && self.simulation.attack.is_none();
        let averages_all = self.algorithm.as_fedgan().is_some() && self.algorithm.cohort() >= 1.0;
        averages_all && self.algorithm.has_members() && equal_work && of_means && self.local.ema.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::quickstart;

    #[test]
    fn the_mean_of_members_is_fedgan_only_at_equal_work() {
        let is_fedgan = |settings: &[&str]| quickstart(settings).unwrap().mean_is_fedgan();
        assert!(is_fedgan(&[]));
        for setting in
            ["algorithm.fine_tune_epochs=20", "algorithm.cohort=0.5", "local.ema=0.9", "aggregation.kind=median"]
        {
            assert!(!is_fedgan(&[setting]), "{setting}");
        }
    }
}
