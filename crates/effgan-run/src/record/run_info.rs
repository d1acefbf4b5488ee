//! `run.json`: what a run is, from its first step on, and how it ended.

use std::time::{SystemTime, UNIX_EPOCH};

use effgan_data::control_chars::without_control;
use effgan_fl::Roster;
use effgan_nn::networks::{Network, TensorSpec, num_bytes};
use effgan_nn::{ArithmeticVersion, Device, Precision};
use serde::{Deserialize, Serialize};

use super::machine::{self, Machine};
use crate::config::Config;
use crate::privacy::{ClientPrivacyStatement, PrivacyStatement};

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It is at work, or its process was killed.
    Running,
    /// It finished all its rounds.
    Done,
    /// It was stopped by Ctrl-C or SIGTERM and can be resumed.
    Interrupted,
    /// It ended with an error and can be resumed.
    Failed,
}

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The config's name.
    pub name: String,
    /// The state of the run.
    pub status: Status,
    /// The error of a failed run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The algorithm's name, as in `algorithm.kind`.
    pub algorithm: String,
    /// The config's seed.
    pub seed: u64,
    /// Threads, divided among the clients at work.
    pub jobs: usize,
    /// Precision of the large matrix products of a training step.
    #[serde(default)]
    pub precision: Precision,
    /// The version of effgan.
    pub version: String,
    /// The version of the arithmetic of training.
    #[serde(default)]
    pub arithmetic_version: ArithmeticVersion,
    /// The machine that the run (or its server) works on.
    pub machine: Machine,
    /// The images.
    pub dataset: DatasetInfo,
    /// The clients and their shares of the images.
    pub partition: PartitionInfo,
    /// Sizes of the networks.
    pub network: NetworkInfo,
    /// Whether the mean of the members is FedGAN's generator at equal work: all clients take part in all rounds, fine-tune
    /// as long as in a round, and reply with raw parameters instead of a moving average.
    pub mean_is_fedgan: bool,
    /// SHA-256 over the server's parameters and all members, as hex, once the run is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// What identifies the feature network that the run is scored by; absent without scores, and in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature_network: Option<String>,
    /// What private training costs the clients, by number of images; empty where the training is not private.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub privacy: Vec<PrivacyStatement>,
    /// What averaging with noise costs each client as a whole; absent where the server averages without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_privacy: Option<ClientPrivacyStatement>,
    /// Clients that attack in the simulation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attackers: Vec<String>,
    /// How many times the run was resumed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed: u32,
    /// When the run was first started, in seconds since 1970, UTC.
    pub started: u64,
    /// Wall time of the run over all its starts, in seconds.
    pub seconds: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    /// The data set's name, as in `dataset.name`.
    pub name: String,
    /// Shape of an image, `[c, h, w]`.
    pub image_shape: [usize; 3],
    /// Number of classes.
    pub num_classes: usize,
    /// Names of the classes, in the order of their labels; absent where these are the labels, or not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_names: Vec<String>,
    /// Training images that are split among the clients.
    pub num_dealt: usize,
    /// Images of the test split; absent in a federation, whose server has no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_test: Option<usize>,
    /// SHA-256, as hex, over the images and which client has which; absent in a federation, and in runs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl DatasetInfo {
    /// The name of the class with this label, or the label.
    pub fn class_name(&self, label: usize) -> String {
        self.class_names.get(label).map_or_else(|| label.to_string(), |name| without_control(name))
    }
}

/// The clients and their shares of the training images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// Names of all clients, sorted.
    pub clients: Vec<String>,
    /// n_k of each client, in the order of `clients`.
    pub num_examples: Vec<u64>,
    /// n_k after `federation.max_examples`, where that lowers any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Vec<u64>>,
    /// Training images by client and class; absent where sites do not report them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_counts: Option<Vec<Vec<u64>>>,
    /// Mean total variation distance between a client's class shares and those of all images, 0..1: 0 is IID. Absent without
    /// `class_counts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_skew: Option<f64>,
}

/// Sizes of the networks: numbers of values, trained parameters and running statistics together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    /// Values of the generator.
    pub generator_values: u64,
    /// Values of the discriminator.
    pub discriminator_values: u64,
}

/// The `run.json` of a run that begins.
pub fn at_start(
    config: &Config,
    (dataset, partition): (DatasetInfo, PartitionInfo),
    roster: &Roster,
    network: &Network,
    jobs: usize,
    device: Device,
) -> RunInfo {
    let values = |tensors: &[TensorSpec]| num_bytes(tensors) / 4;
    RunInfo {
        name: config.name.clone(),
        status: Status::Running,
        reason: None,
        algorithm: config.algorithm.name().into(),
        seed: config.seed,
        jobs,
        precision: config.local.precision,
        version: env!("CARGO_PKG_VERSION").into(),
        arithmetic_version: ArithmeticVersion::OURS,
        machine: machine::this(device),
        dataset,
        partition,
        network: NetworkInfo {
            generator_values: values(&network.generator_tensors()),
            discriminator_values: values(&network.discriminator_tensors()),
        },
        mean_is_fedgan: config.mean_is_fedgan(),
        model_hash: None,
        feature_network: None,
        privacy: Vec::new(),
        client_privacy: None,
        attackers: config.simulation.attackers(config.seed, roster.names()).iter().map(ToString::to_string).collect(),
        resumed: 0,
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seconds: 0.0,
    }
}
