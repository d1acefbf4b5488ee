//! Scoring images or a model as a single call.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use effgan_data::datasets::Reading;
use effgan_data::{DatasetConfig, ImageFiles};
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;
use serde::Deserialize;
use serde_json::Value;

use super::Hardware;
use super::inputs::jobs_or_cores;
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::scores::{Evaluation, Evaluator, Images, NetworkChoice, RealSet, Training, is_model, run_of};

/// What to score.
#[derive(Debug)]
pub enum Scored<'a> {
    /// Images, u8 `[n, c, h, w]`, and that shape.
    Images(&'a [u8], [usize; 4]),
    /// Samples of the model's ensemble, with this seed.
    Model(&'a Ensemble, u64),
    /// Samples of the ensemble in a run or model folder, with this seed, or else the images of a folder or array file.
    Path(&'a Path, u64),
}

/// Real images to compare with.
#[derive(Debug)]
pub enum Against {
    /// The test split of a data set, by its name or by the keys of a `[dataset]` table; a name that no data set has may be a path.
    Named(Value),
    /// The images of a folder or array file.
    Path(PathBuf),
    /// Images, u8 `[n, c, h, w]`, and that shape.
    Images(Vec<u8>, [usize; 4]),
}

/// Scores `n` images against the first `n` images of `reference` with the network of `choice`. Without a reference, samples of a run are
/// scored against its data set with the network that it was scored with, and other grey images against `mnist-mini`.
///
/// When `n` is absent, all images are scored, or of a model as many samples as there are reference images.
///
/// # Errors
/// When there are fewer than `n` images, images cannot be read, or there is no feature network for them.
pub fn evaluate(
    scored: &Scored,
    reference: Option<Against>,
    choice: NetworkChoice,
    n: Option<usize>,
    on: Hardware,
    stop: &AtomicBool,
) -> Result<Evaluation> {
    let (jobs, device) = (jobs_or_cores(on.jobs)?, on.device.open()?);
    let (opened, files);
    let (images, name) = match scored {
        Scored::Images(pixels, [_, shape @ ..]) => (Images::in_memory(pixels, *shape)?, "images".into()),
        Scored::Model(model, seed) => (Images::Model(model, Selection::Ensemble, *seed), "images".into()),
        Scored::Path(path, seed) if is_model(path) => {
            opened = Ensemble::open(path)?;
            (Images::Model(&opened, Selection::Ensemble, *seed), path.display().to_string())
        }
        Scored::Path(path, _) => {
            files = ImageFiles::open(path)?;
            (Images::Files(&files), files.name().to_owned())
        }
    };
    let run = match scored {
        Scored::Model(model, _) => run_of(model.dir()),
        Scored::Path(path, _) if is_model(path) => run_of(path),
        Scored::Path(..) | Scored::Images(..) => None,
    };
    let config = run.map(|run| Config::load(&run.join("config.toml"), &[])).transpose()?;
    let (real, of_run) = match (reference, &config) {
        (Some(reference), _) => (real_set(reference)?, None),
        (None, Some(Config { dataset, evaluation, federation, .. })) => {
            let reading = Reading::quiet().with_cache_of_user();
            (RealSet::of_config(dataset, federation.classes.as_deref(), &reading)?, evaluation.features.as_ref())
        }
        (None, None) if images.shape(0)[0] == 1 => (real_set(Against::Named("mnist-mini".into()))?, None),
        (None, None) => {
            let line = "images in colours are compared with nothing by default; pass a reference: a data set, a path or images";
            return Err(Failure::usage(anyhow!(line)));
        }
    };
    let choice = NetworkChoice { features: choice.features.or(of_run), by_config: choice.features.is_none(), ..choice };
    let network = choice.load(&real, Training { device, jobs, progress: &|_, _, _| {}, stop })?;
    let evaluator = Evaluator {
        images,
        name,
        real: real.images(),
        network: &network,
        memorisation_network: &network,
        n,
        in_depth: false,
        shares: Vec::new(),
        device,
        jobs,
        stop,
        progress: &|_, _, _| {},
    };
    evaluator.evaluate()
}

fn real_set(reference: Against) -> Result<RealSet> {
    let reading = Reading::quiet().with_cache_of_user();
    match reference {
        Against::Named(Value::String(name)) => RealSet::named(&name, None, &reading),
        Against::Named(tables) => {
            let config = DatasetConfig::deserialize(tables);
            RealSet::of_config(&config.map_err(|error| Failure::usage(anyhow!("reference: {error}")))?, None, &reading)
        }
        Against::Path(path) => RealSet::at(&path),
        Against::Images(pixels, [_, shape @ ..]) => RealSet::in_memory(pixels, shape),
    }
}
