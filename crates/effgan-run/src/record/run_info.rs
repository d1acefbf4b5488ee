//! What is known of a run before its first step.

use std::time::{SystemTime, UNIX_EPOCH};

use effgan_fl::Roster;
use effgan_nn::networks::{Network, TensorSpec, num_bytes};

use crate::config::Config;
use crate::record::events::{DatasetInfo, NetworkInfo, PartitionInfo, RunInfo, Status};
use crate::record::machine;

/// `run.json` of a run that begins.
pub fn at_start(
    config: &Config,
    (dataset, partition): (DatasetInfo, PartitionInfo),
    roster: &Roster,
    network: &Network,
    jobs: usize,
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
        machine: machine::this(),
        dataset,
        partition,
        network: NetworkInfo {
            generator_values: values(&network.generator_tensors()),
            discriminator_values: values(&network.discriminator_tensors()),
        },
        mean_is_fedgan: config.mean_is_fedgan(),
        model_hash: None,
        attackers: config.simulation.attackers(config.seed, roster.names()).iter().map(ToString::to_string).collect(),
        resumed: 0,
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seconds: 0.0,
    }
}
