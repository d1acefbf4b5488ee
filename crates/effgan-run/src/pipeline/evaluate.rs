//! Scoring a finished run in depth. Its folder says which client trained on which images.

use std::path::Path;

use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;

use super::Execution;
use crate::config::Config;
use crate::failure::Result;
use crate::scores::{Evaluation, Evaluator, FeatureNet, Images, RealImages, Share, Training, read_partition};

/// Seed of the samples, whatever the run's seed: all runs are evaluated alike.
const SEED: u64 = 1;

/// Scores `n` samples of the ensemble of the run in `folder`, or of its averaged generator where there is no ensemble,
/// against the run's data set. The listener of `execution` is told nothing: an evaluation has no events.
///
/// # Errors
/// When the run has no model, or there is no feature network for its images.
pub fn evaluate(folder: &Path, n: usize, execution: Execution) -> Result<Evaluation> {
    let (jobs, stop) = (execution.jobs(), execution.stop);
    let (model, config) = (Ensemble::open(folder)?, Config::load(&folder.join("config.toml"), &[])?);
    let device = config.device()?;
    let dataset = config.load_dataset()?;
    let how = Training { device, jobs, progress: &|_, _, _| {}, stop };
    let network = FeatureNet::required_for(&dataset, config.evaluation.features.as_ref(), how)?;
    let evaluator = Evaluator {
        images: Images::Model(&model, Selection::Ensemble, SEED),
        name: folder.display().to_string(),
        real: RealImages::of_dataset(&dataset),
        network: &network,
        memorisation_network: &network,
        n: Some(n),
        in_depth: true,
        shares: Share::of_run(&dataset, &read_partition(folder, &dataset)?, &model, SEED),
        device,
        jobs,
        stop,
        progress: &|_, _, _| {},
    };
    evaluator.evaluate()
}
