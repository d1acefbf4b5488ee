//! The configuration of a run: one TOML file, checked once when it is read.
//!
//! `parse.rs` reads the file and `typed.rs` its values, `missing.rs` finds what it lacks, `overrides.rs` applies `--set`, `total_epochs.rs` divides a client's epochs,
//! `check.rs` holds the checks that span several tables, and `identity.rs` hashes what the bits of a run depend on. Each table's struct is
//! beside the code that uses it.

mod check;
mod federation;
mod identity;
mod missing;
mod network_name;
mod overrides;
mod parse;
mod privacy;
mod total_epochs;
mod typed;

use anyhow::anyhow;
use effgan_data::datasets::{Reading, Report};
use effgan_data::{DataError, Dataset, DatasetConfig, Partition, PartitionConfig};
use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{
    AggregationConfig, AlgorithmConfig, Bounds, CheckpointConfig, FailurePolicy, LocalConfig, OnFailure,
    SimulationConfig,
};
use effgan_nn::gan::GanModel;
use effgan_nn::networks::{Network, NetworkConfig};
use effgan_nn::{Device, DeviceName, Purpose, Streams};
use serde::{Deserialize, Serialize};

pub(crate) use self::check::check_name;
pub(crate) use self::federation::MAX_EXAMPLES;
pub use self::federation::{FederationConfig, StrategyConfig};
pub use self::network_name::NetworkName;
pub use self::parse::read;
pub(crate) use self::parse::table_of;
pub use self::privacy::PrivacyConfig;
pub(crate) use self::typed::typed;
use crate::failure::{Failure, Result};

/// The configuration of a run, with every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// The name of the run, and by default of its folder: 1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`, not starting with `.`.
    pub name: String,
    /// The seed that every random number of the run follows from, 0..2^63.
    pub seed: u64,
    /// The images: the `[dataset]` table.
    pub dataset: DatasetConfig,
    /// How the training images are split among clients: the `[partition]` table.
    pub partition: PartitionConfig,
    /// The generator's and the discriminator's architecture: the `[network]` table.
    pub network: NetworkConfig,
    /// A client's training per round: the `[local]` table.
    pub local: LocalConfig,
    /// How the training hides each of a client's images: the `[privacy]` table. It does not when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyConfig>,
    /// The federated algorithm and its rounds: the `[algorithm]` table.
    pub algorithm: AlgorithmConfig,
    /// How the server combines replies, and which it accepts: the `[aggregation]` table.
    pub aggregation: AggregationConfig,
    /// Dropouts, stragglers and attackers of a simulation: the `[simulation]` table.
    pub simulation: SimulationConfig,
    /// The sites, and how long the server waits for them: the `[federation]` table.
    pub federation: FederationConfig,
    /// When and on how many images the run is scored: the `[evaluation]` table.
    pub evaluation: EvaluationConfig,
    /// Which states are kept, and how often: the `[checkpoint]` table.
    pub checkpoint: CheckpointConfig,
    /// What the run is computed on: the `[run]` table.
    #[serde(skip_serializing_if = "is_default")]
    pub run: RunConfig,
}

/// The `[run]` table. It has to do with this machine alone: sites do not get it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// What trains, samples and scores.
    #[serde(default)]
    pub device: DeviceName,
}

fn is_default(run: &RunConfig) -> bool {
    *run == RunConfig::default()
}

/// The `[evaluation]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Rounds from one score of the averaged generator to the next, ≥ 1; it is always scored after the last round.
    #[serde(default = "one")]
    pub every: u32,
    /// Images to score, ≥ 2, against as many reference images; the size of the test split when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// How the batch-norm statistics of the averaged generator in the model folder are made.
    #[serde(default)]
    pub norm_statistics: NormStatistics,
    /// The network whose features are compared; the data set's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<NetworkName>,
}

/// Minimum number of images that a score can be computed of.
pub(crate) const MIN_SAMPLES: usize = 2;

impl EvaluationConfig {
    /// The same with the absolute path of a network that is a file.
    fn with_absolute_features(self) -> Self {
        Self { features: self.features.map(NetworkName::absolute), ..self }
    }

    /// Checks the bounds. There must be as many test images as `samples`, which is checked once they are read.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check(&self) -> Result<()> {
        if self.every == 0 {
            return Err(Failure::usage(anyhow!("evaluation.every = 0 must be at least 1")));
        }
        match self.samples.filter(|samples| *samples < MIN_SAMPLES) {
            Some(n) => Err(Failure::usage(anyhow!("evaluation.samples = {n} must be at least {MIN_SAMPLES}"))),
            None => Ok(()),
        }
    }
}

fn one() -> u32 {
    1
}

impl Config {
    /// Splits the images of `dataset` among the clients.
    ///
    /// # Errors
    /// When the partition is impossible, as with too few images for `partition.min_examples`.
    pub fn deal(&self, dataset: &Dataset) -> Result<Partition> {
        let mut rng = Streams::of_run(self.seed).at(Purpose::Partition, 0);
        Ok(self.partition.assign(&dataset.train, dataset.num_assigned(), &mut rng)?)
    }

    /// The model that the run trains on images of `image_shape` in `num_classes` classes.
    ///
    /// # Errors
    /// A network that does not fit such images; `[privacy]`, whose noise is planned for a whole run: whatever else trains would train
    /// plainly.
    pub fn model(&self, image_shape: [usize; 3], num_classes: usize) -> Result<GanModel> {
        self.check_plain()?;
        self.model_without_noise(image_shape, num_classes)
    }

    /// As [`model`](Self::model), also of a private run, whose noise is still to be planned.
    pub(crate) fn model_without_noise(&self, image_shape: [usize; 3], num_classes: usize) -> Result<GanModel> {
        Ok(self.local.gan(Network::of_classes(self.network.clone(), image_shape, num_classes)?))
    }

    /// What to do about clients that fail (`otherwise` where the config does not say), and the bounds on their replies.
    pub fn failures(&self, otherwise: OnFailure) -> FailurePolicy {
        let policy = self.aggregation.failures(otherwise);
        let bounds = Bounds { max_examples: self.federation.max_examples, ..policy.bounds };
        FailurePolicy { bounds, ..policy }
    }

    /// What the run is computed on, in the precision of its training.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage) when this machine has no such device, or the device does not have the precision.
    pub fn device(&self) -> Result<Device> {
        let device = self.run.device.open()?;
        self.local.device(device)?;
        Ok(device)
    }

    /// Loads the data set, with labels in the order of `federation.classes` where that is given. Decoded pictures are kept in the user's
    /// cache folder, where `dataset.cache` allows it.
    ///
    /// # Errors
    /// As [`DatasetConfig::load_named`].
    pub fn load_dataset(&self) -> std::result::Result<Dataset, DataError> {
        self.read_dataset(&|_| {})
    }

    /// As [`load_dataset`](Self::load_dataset); `report` is told how far reading has come.
    ///
    /// # Errors
    /// As [`load_dataset`](Self::load_dataset).
    pub fn read_dataset(&self, report: &(dyn Fn(Report<'_>) + Sync)) -> std::result::Result<Dataset, DataError> {
        self.dataset.read(self.federation.classes.as_deref(), &Reading::reported_to(report).with_cache_of_user())
    }

    /// The config as it is sent to sites: without paths and device of the server, whether it keeps decoded pictures, and the names of the other sites.
    #[must_use]
    pub fn for_sites(&self) -> Self {
        let mut config = self.clone();
        config.dataset.dir = None;
        config.dataset.cache = true;
        config.evaluation.features = None;
        config.federation.sites = None;
        config.run = RunConfig::default();
        config
    }

    /// The TOML text with every key; [`parse`](Self::parse) gives the same config back.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config is plain data")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use effgan_nn::Device;

    use super::check::tests::every_kind;
    use super::*;

    pub(crate) const QUICKSTART: &str = include_str!("../../../../configs/quickstart.toml");

    /// The quick start with `settings`.
    pub(crate) fn quickstart(settings: &[&str]) -> Result<Config> {
        Config::parse(QUICKSTART, &settings.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// The quick start's model.
    pub(crate) fn model() -> GanModel {
        quickstart(&[]).unwrap().model([1, 28, 28], 10).unwrap()
    }

    /// Steps in Python, a site and a benchmark build a model of their own.
    #[test]
    fn nothing_but_a_run_trains_a_private_config_which_would_then_be_plain() {
        let private = quickstart(&["network.norm=group", "privacy={ noise_multiplier = 1.0 }"]).unwrap();
        let line = private.model([1, 28, 28], 10).unwrap_err().line();
        assert_eq!(line, "[privacy] is for effgan run, effgan sweep and federations, which plan its noise; remove it");
    }

    /// All files below `configs/`.
    pub(crate) fn files_of_the_repository() -> Vec<PathBuf> {
        files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs"))
    }

    fn files_below(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
    }

    #[test]
    fn no_path_of_the_server_and_no_name_of_a_site_is_in_the_config_that_sites_are_sent() {
        for config in every_kind() {
            let config = Config { partition: quickstart(&[]).unwrap().partition, ..config };
            let (mut kept, sent) = (config.clone(), config.for_sites().to_toml());
            kept.dataset.dir = Some("/data/ward-3".into());
            assert!(kept.to_toml().contains("/data/ward-3") && kept.to_toml().contains("/net.safetensors"));
            assert_eq!(kept.for_sites().to_toml(), sent);
            assert!(!sent.contains('/') && !sent.contains("sites =") && !sent.contains("device"), "{sent}");
        }
    }

    #[test]
    fn every_config_of_the_repository_is_valid_and_reads_back_as_written() {
        let is_config = |file: &PathBuf| !file.to_string_lossy().ends_with(".sweep.toml");
        let files: Vec<PathBuf> = files_of_the_repository().into_iter().filter(is_config).collect();
        assert!(files.len() > 3);
        for file in files {
            let config = Config::load(&file, &[]).unwrap_or_else(|failure| panic!("{}", failure.line()));
            assert_eq!(Config::parse(&config.to_toml(), &[]).unwrap(), config);
            // Images of a folder may have any size, which the config gives.
            let (channels, side) = (config.dataset.channels.unwrap_or(1), config.dataset.size.unwrap_or(28));
            let model = Arc::new(config.model_without_noise([channels, side, side], 10).unwrap());
            let built = config.algorithm.build(model, config.local, &config.aggregation, Device::cpu().unwrap());
            assert!(built.is_ok(), "{}", file.display());
        }
    }
}
