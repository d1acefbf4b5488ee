//! Evaluating what a run has left, whose folder says who trained on which images: what copies are looked for in.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use effgan_data::{ClientShare, Dataset, Partition};
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;
use effgan_nn::checkpoint::read_file;

use super::{Evaluation, FeatureNet, Images, Question, Reference};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::record::run_dir::MOST_BYTES;

/// Scores `n` samples of the ensemble of the run in `folder`, or of its averaged generator where there is none, against its data
/// set.
///
/// # Errors
/// A run that did not come to a model; images that no network knows.
pub fn evaluate_run(folder: &Path, n: usize, jobs: usize, stop: &AtomicBool) -> Result<Evaluation> {
    let (model, config) = (Ensemble::open(folder)?, Config::load(&folder.join("config.toml"), &[])?);
    let dataset = config.load_dataset()?;
    let unknown = || Failure::usage(anyhow!("there is no feature network for the images of {}", dataset.name));
    let network = FeatureNet::of_dataset(dataset.name).ok_or_else(unknown)?;
    let question = Question {
        images: Images::Model(&model, Selection::Ensemble, SEED),
        name: folder.display().to_string(),
        reference: Reference::of_dataset(&dataset),
        network: &network,
        copies_by: &network,
        n: Some(n),
        in_depth: true,
        shares: of_run(&dataset, &partition(folder)?, &model, SEED),
        jobs,
        stop,
        tell: &|_, _, _| {},
    };
    question.answer()
}

/// Of the samples, whatever the run's seed is.
const SEED: u64 = 1;

/// Who got which images in the run in `folder`.
///
/// # Errors
/// When its file cannot be read.
pub fn partition(folder: &Path) -> Result<Partition> {
    let path = folder.join("partition.json");
    let read = || -> anyhow::Result<Partition> { Ok(serde_json::from_slice(&read_file(&path, MOST_BYTES)?)?) };
    read().with_context(|| format!("reading {}", path.display())).map_err(Failure::data)
}

/// Images that a generator was trained on, and images of the same kind that were kept from it.
pub struct Share<'a> {
    /// The member, or `all`.
    pub name: String,
    pub train: Images<'a>,
    pub held_out: Images<'a>,
    /// Its samples; absent for the images that are scored.
    pub samples: Option<Images<'a>>,
}

impl<'a> Share<'a> {
    /// All images that a config deals of a data set, held against its test split.
    pub fn of_dataset(dataset: &'a Dataset) -> Self {
        let (train, test, shape) = (&dataset.train, &dataset.test, dataset.train.shape());
        let dealt = dataset.num_assigned() * shape.iter().product::<usize>();
        let (train, held_out) = (Images::Pixels(&train.pixels()[..dealt], shape), Images::Pixels(test.pixels(), shape));
        Self { name: "all".into(), train, held_out, samples: None }
    }
}

/// What a run dealt: everybody's images for the images that are scored, and each member's own.
pub fn of_run<'a>(dataset: &'a Dataset, partition: &Partition, model: &'a Ensemble, seed: u64) -> Vec<Share<'a>> {
    let (pixels, shape) = (dataset.train.pixels(), dataset.train.shape());
    let some = |places: Vec<u32>| Images::Some(pixels, shape, places);
    let gather = |of: fn(&ClientShare) -> &Vec<u32>| some(partition.clients.iter().flat_map(of).copied().collect());
    let (train, held_out) = (gather(|share| &share.train), gather(|share| &share.held_out));
    let mut shares = vec![Share { name: "all".into(), train, held_out, samples: None }];
    let members = model.manifest().members.iter();
    for member in members {
        let Some(share) = partition.clients.iter().find(|share| share.name == member.name) else { continue };
        shares.push(Share {
            name: member.name.to_string(),
            train: some(share.train.clone()),
            held_out: some(share.held_out.clone()),
            samples: Some(Images::Model(model, Selection::Members(vec![member.name.clone()]), seed)),
        });
    }
    shares
}
