//! Who trained on which images: what memorisation is measured against.

use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_data::{ClientShare, Dataset, Partition};
use effgan_fl::Ensemble;
use effgan_fl::ensemble::{Member, Selection};
use effgan_nn::checkpoint::read_file;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::scored_images::Images;
use crate::failure::{Failure, Result};
use crate::record::data_hash::data_hash;
use crate::record::run_dir::MAX_BYTES;

/// Images that a generator was trained on, and images of the same kind that it never saw.
pub struct Share<'a> {
    /// The member's name, or `all`.
    pub name: String,
    /// The images that it was trained on.
    pub train: Images<'a>,
    /// Images that it was not trained on.
    pub held_out: Images<'a>,
    /// Samples of the member; absent for `all`, where the images that are scored are used.
    pub samples: Option<Images<'a>>,
}

impl<'a> Share<'a> {
    /// The share of all clients together: the training images that are split among them, with the test split held out.
    pub fn of_dataset(dataset: &'a Dataset) -> Self {
        let (train, test, shape) = (&dataset.train, &dataset.test, dataset.train.shape());
        let split = dataset.num_assigned() * shape.iter().product::<usize>();
        let (train, held_out) = (Images::Pixels(&train.pixels()[..split], shape), Images::Pixels(test.pixels(), shape));
        Self { name: "all".into(), train, held_out, samples: None }
    }

    /// The share of all clients of a run together.
    pub fn of_all(dataset: &'a Dataset, partition: &Partition, name: &str, samples: Option<Images<'a>>) -> Self {
        let gather = |of: fn(&ClientShare) -> &Vec<u32>| {
            subset(dataset, partition.clients.iter().flat_map(of).copied().collect())
        };
        let (train, held_out) = (gather(|share| &share.train), gather(|share| &share.held_out));
        Self { name: name.into(), train, held_out, samples }
    }

    /// The shares of a run: that of all clients together, for the images that are scored, and that of each member.
    pub fn of_run(dataset: &'a Dataset, partition: &Partition, model: &'a Ensemble, seed: u64) -> Vec<Self> {
        let all = Self::of_all(dataset, partition, "all", None);
        [all].into_iter().chain(Self::of_members(dataset, partition, model, seed)).collect()
    }

    /// The share of each member of a run.
    pub fn of_members(dataset: &'a Dataset, partition: &Partition, model: &'a Ensemble, seed: u64) -> Vec<Self> {
        let share = |member: &Member| {
            let share = partition.clients.iter().find(|share| share.name == member.name)?;
            Some(Self {
                name: member.name.to_string(),
                train: subset(dataset, share.train.clone()),
                held_out: subset(dataset, share.held_out.clone()),
                samples: Some(Images::Model(model, Selection::Members(vec![member.name.clone()]), seed)),
            })
        };
        model.manifest().members.iter().filter_map(share).collect()
    }
}

/// The training images with these indices.
fn subset(dataset: &Dataset, indices: Vec<u32>) -> Images<'_> {
    Images::Subset(dataset.train.pixels(), dataset.train.shape(), indices)
}

/// Reads how the images of `dataset` were split in the run in `folder`: its `partition.json`.
///
/// # Errors
/// When the file cannot be read, or `dataset` has other images than the run: which of them trained would then be told wrongly.
pub fn read_partition(folder: &Path, dataset: &Dataset) -> Result<Partition> {
    let partition: Partition = read(&folder.join("partition.json"))?;
    let recorded: Recorded = read(&folder.join("run.json"))?;
    let mut images = partition.clients.iter().flat_map(|share| share.train.iter().chain(&share.held_out));
    let are_there = images.all(|&image| (image as usize) < dataset.num_assigned());
    if are_there && recorded.dataset.sha256.is_none_or(|sha256| sha256 == data_hash(dataset, &partition)) {
        return Ok(partition);
    }
    Err(Failure::data(anyhow!(
        "the images of {} are not those that {} was trained on: some were added, removed, changed or moved; restore them",
        dataset.name,
        folder.display()
    )))
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let parsed = read_file(file, MAX_BYTES).map_err(anyhow::Error::from);
    let parsed = parsed.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    parsed
        .with_context(|| format!("{} is damaged or not of a run; restore the run's folder", file.display()))
        .map_err(Failure::data)
}

/// What `run.json` says of the images.
#[derive(Deserialize)]
struct Recorded {
    dataset: RecordedDataset,
}

#[derive(Deserialize)]
struct RecordedDataset {
    #[serde(default)]
    sha256: Option<String>,
}
