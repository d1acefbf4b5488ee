//! Evaluating a finished run, whose folder says which client trained on which images.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use effgan_data::Partition;
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;
use effgan_nn::Device;
use effgan_nn::checkpoint::read_file;

use super::{Evaluation, Evaluator, FeatureNet, Images, RealImages, Share};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::record::run_dir::MAX_BYTES;

/// Seed of the samples, whatever the run's seed: all runs are evaluated alike.
const SEED: u64 = 1;

/// Scores `n` samples of the ensemble of the run in `folder`, or of its averaged generator where there is no ensemble,
/// against the run's data set.
///
/// # Errors
/// When the run has no model, or there is no feature network for its images.
pub fn evaluate_run(folder: &Path, n: usize, jobs: usize, stop: &AtomicBool) -> Result<Evaluation> {
    let (model, config) = (Ensemble::open(folder)?, Config::load(&folder.join("config.toml"), &[])?);
    let dataset = config.load_dataset()?;
    let unknown = || Failure::usage(anyhow!("no built-in feature network fits the images of {}", dataset.name));
    let device = Device::cpu()?;
    let network = FeatureNet::of_dataset(dataset.name, device).ok_or_else(unknown)?;
    let evaluator = Evaluator {
        images: Images::Model(&model, Selection::Ensemble, SEED),
        name: folder.display().to_string(),
        real: RealImages::of_dataset(&dataset),
        network: &network,
        memorisation_network: &network,
        n: Some(n),
        in_depth: true,
        shares: Share::of_run(&dataset, &read_partition(folder)?, &model, SEED),
        device,
        jobs,
        stop,
        progress: &|_, _, _| {},
    };
    evaluator.evaluate()
}

/// Reads how the images were split in the run in `folder`: its `partition.json`.
///
/// # Errors
/// When the file cannot be read.
pub fn read_partition(folder: &Path) -> Result<Partition> {
    let path = folder.join("partition.json");
    let read = || -> anyhow::Result<Partition> { Ok(serde_json::from_slice(&read_file(&path, MAX_BYTES)?)?) };
    read().with_context(|| format!("reading {}", path.display())).map_err(Failure::data)
}
