//! Auditing the members of a finished run. Its folder says who trained on which images.

use std::path::Path;

use anyhow::anyhow;
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;

use super::Execution;
use crate::config::Config;
use crate::failure::{Failure, Result};
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
    if !folder.join("config.toml").is_file() {
        let line = format!(
            "{} is no run folder: it has no config.toml; pass the folder that effgan run made",
            folder.display()
        );
        return Err(Failure::usage(anyhow!(line)));
    }
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
    let shares = Share::of_run(&dataset, &read_partition(folder, &dataset)?, &model, SEED);
    // Without a round of averaging there is no generator that all members began with.
    let has_begun_alike = folder.join("join").exists();
    let auditor = Auditor {
        name: folder.display().to_string(),
        // The first is that of all clients together, of whom no member was trained on all images.
        shares: shares.into_iter().skip(1).collect(),
        reference: has_begun_alike.then_some(Images::Model(&model, Selection::Global, SEED)),
        network: &network,
        samples,
        device,
        jobs,
        stop,
        progress,
    };
    let mut audit = auditor.audit()?;
    if dataset.train.persons().is_some() {
        let note = "images of one person are alike, and the intervals take each for another: they are too narrow";
        audit.notes.push(note.into());
    }
    Ok(audit)
}
