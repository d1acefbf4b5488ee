//! What is known of a run before its first step.

use std::time::{SystemTime, UNIX_EPOCH};

use effgan_data::{Dataset, Partition, heterogeneity};
use effgan_nn::networks::{Network, TensorSpec, num_bytes};

use crate::config::Config;
use crate::events::{DatasetInfo, NetworkInfo, PartitionInfo, RunInfo, Status};
use crate::machine;

/// `run.json` of a run that begins.
pub fn at_start(config: &Config, dataset: &Dataset, partition: &Partition, network: &Network, jobs: usize) -> RunInfo {
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
        dataset: DatasetInfo {
            name: dataset.name.to_string(),
            image_shape: dataset.train.shape(),
            num_classes: dataset.train.num_classes(),
            num_dealt: dataset.num_dealt(),
            num_test: dataset.test.len(),
        },
        partition: PartitionInfo {
            class_counts: partition.class_counts(&dataset.train),
            clients: partition.clients.iter().map(|share| share.name.to_string()).collect(),
            label_skew: heterogeneity::label_skew(partition, &dataset.train),
        },
        network: NetworkInfo {
            generator_values: values(&network.generator_tensors()),
            discriminator_values: values(&network.discriminator_tensors()),
        },
        mean_is_fedgan: config.mean_is_fedgan(),
        model_hash: None,
        attackers: attackers(config, partition),
        resumed: 0,
        started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        seconds: 0.0,
    }
}

fn attackers(config: &Config, partition: &Partition) -> Vec<String> {
    let clients: Vec<_> = partition.clients.iter().map(|share| share.name.clone()).collect();
    config.simulation.attackers(config.seed, &clients).iter().map(ToString::to_string).collect()
}
