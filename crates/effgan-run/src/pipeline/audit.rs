//! Auditing the members of a finished run. Its folder says who trained on which images, and with what the fine-tuning began.

use std::path::Path;

use anyhow::anyhow;
use effgan_fl::Ensemble;
use effgan_nn::gan::{GENERATOR, GanModel};

use super::Execution;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::protocol::networks;
use crate::scores::{Audit, Auditor, FeatureNet, Images, Share, Training, read_partition};

/// Seed of the samples, whatever the run's seed: all runs are audited alike.
const SEED: u64 = 1;

/// Audits the members of the run in `folder` by `samples` samples of each. `progress` is told how many of how many members are done. The listener
/// of `execution` is told nothing: an audit has no events.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when the run has no members, or its images stayed at sites; when there is no feature network for them.
pub fn audit(folder: &Path, samples: usize, execution: Execution, progress: &dyn Fn(usize, usize)) -> Result<Audit> {
    let (jobs, stop) = (execution.jobs(), execution.stop);
    let (model, config) = (Ensemble::open(folder)?, Config::load(&folder.join("config.toml"), &[])?);
    if model.manifest().members.is_empty() {
        let line = format!("{} has no members to audit: its algorithm collects none", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    if !folder.join("partition.json").exists() {
        let line =
            format!("the images of {} stayed at its sites: there is nothing here to audit with", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    let device = config.device()?;
    let dataset = config.load_dataset()?;
    let how = Training { device, jobs, progress: &|_, _, _| {}, stop };
    let network = FeatureNet::required_for(&dataset, config.evaluation.features.as_ref(), how)?;
    let shares = Share::of_run(&dataset, &read_partition(folder)?, &model, SEED);
    let join = folder.join("join");
    let began_with = join.exists().then(|| networks(&join).map(|params| params.under(GENERATOR))).transpose()?;
    let gan = GanModel::new(model.manifest().network.clone());
    let auditor = Auditor {
        name: folder.display().to_string(),
        // The first is that of all clients together, of whom no member was trained on all images.
        shares: shares.into_iter().skip(1).collect(),
        reference: began_with.map(|generator| Images::Generator(Box::new(gan), generator, SEED)),
        network: &network,
        samples,
        device,
        jobs,
        stop,
        progress,
    };
    auditor.audit()
}
