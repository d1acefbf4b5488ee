//! Auditing the generators of a finished run. Its folder says who trained on which images.

use std::path::Path;

use anyhow::anyhow;
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;

use super::Execution;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::scores::{Audit, Auditor, FeatureNet, Images, MemberAudit, Share, Training, read_partition};

/// Seed of the samples, whatever the run's seed: all runs are audited alike.
const SEED: u64 = 1;
/// Most samples of a generator: they are in memory at once.
const MAX_SAMPLES: usize = 100_000;

/// Audits the averaged generator, the ensemble and the members of the run in `folder` by `samples` samples of each. `progress` is told how many of how many members are done. The listener
/// of `execution` is told nothing: an audit has no events.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when the run's images stayed at sites, or there is no feature network for them; too few or too many samples.
pub fn audit(folder: &Path, samples: usize, execution: Execution, progress: &dyn Fn(usize, usize)) -> Result<Audit> {
    let (jobs, stop) = (execution.jobs(), execution.stop);
    if !(2..=MAX_SAMPLES).contains(&samples) {
        return Err(Failure::usage(anyhow!("samples = {samples} must be from 2 to {MAX_SAMPLES}")));
    }
    if !folder.join("config.toml").is_file() {
        let line = format!(
            "{} is no run folder: it has no config.toml; pass the folder that effgan run made",
            folder.display()
        );
        return Err(Failure::usage(anyhow!(line)));
    }
    let (model, config) = (Ensemble::open(folder)?, Config::load(&folder.join("config.toml"), &[])?);
    if !folder.join("partition.json").exists() {
        let line =
            format!("the images of {} stayed at its sites: there is nothing here to audit with", folder.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    let device = config.device()?;
    let dataset = config.load_dataset()?;
    let how = Training { device, jobs, progress: &|_, _, _| {}, stop };
    let network = FeatureNet::required_for(&dataset, config.evaluation.features.as_ref(), how)?;
    let partition = read_partition(folder, &dataset)?;
    let audit = |shares, reference, progress| {
        let name = folder.display().to_string();
        Auditor { name, shares, reference, network: &network, samples, device, jobs, stop, progress }.audit()
    };
    // Without a round there is no generator that all members began with.
    let (has_average, has_members) = (folder.join("join").exists(), !model.manifest().members.is_empty());
    let average = || Images::Model(&model, Selection::Global, SEED);
    let reference = || has_average.then(average);
    let whole = |name, samples, reference| -> Result<Option<MemberAudit>> {
        let share = Share::of_all(&dataset, &partition, name, Some(samples));
        Ok(audit(vec![share], reference, &|_, _| {})?.members.pop())
    };
    let members = Share::of_members(&dataset, &partition, &model, SEED);
    let mut audit = Audit {
        average: if has_average { whole("average", average(), None)? } else { None },
        ensemble: if has_members {
            whole("ensemble", Images::Model(&model, Selection::Ensemble, SEED), reference())?
        } else {
            None
        },
        ..audit(members, reference(), progress)?
    };
    if dataset.train.persons().is_some() {
        let note = "images of one person are alike, and the intervals take each for another: they are too narrow";
        audit.notes.push(note.into());
    }
    Ok(audit)
}
