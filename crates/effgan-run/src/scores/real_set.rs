//! Real images that an evaluation reads and holds: a data set, a folder of images, or an array.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use effgan_data::datasets::Reading;
use effgan_data::{Dataset, DatasetConfig, DatasetName, ImageFiles, from_home};
use effgan_fl::Ensemble;

use super::evaluator::RealImages;
use super::scored_images::Images;
use crate::config::Config;
use crate::failure::{Failure, Result};

/// The record in a run folder.
const RUN: &str = "run.json";

/// What images are compared with.
pub enum RealSet {
    /// A data set with labels and two splits.
    Dataset(Box<Dataset>),
    /// Images of files.
    Files(ImageFiles),
    /// Images u8 `[n, c, h, w]`, and their shape `[c, h, w]`.
    Pixels(Vec<u8>, [usize; 3]),
}

impl RealSet {
    /// The data set of this name, whose files are in `dir` when it has files and which is read as `reading` says, or else the images at
    /// this path.
    ///
    /// # Errors
    /// When there is neither, or the images cannot be read.
    pub fn named(reference: &str, dir: Option<PathBuf>, reading: &Reading<'_>) -> Result<Self> {
        let path = from_home(reference.into());
        match dataset_named(reference, dir) {
            Err(_) if path.exists() && !is_config(&path) => Self::at(&path),
            Err(failure) if path.exists() => Err(failure),
            Err(unknown) => {
                let line = format!("reference: {}, or an existing path; {reference} does not exist", unknown.line());
                Err(Failure::usage(anyhow!(line)))
            }
            Ok(config) => Self::of_config(&config, None, reading),
        }
    }

    /// A data set, which is read as `reading` says, with labels in the order of `classes` where these are given.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_config(config: &DatasetConfig, classes: Option<&[String]>, reading: &Reading<'_>) -> Result<Self> {
        Ok(Self::Dataset(Box::new(config.read(classes, reading)?)))
    }

    /// The images in a folder or an array file.
    ///
    /// # Errors
    /// When they cannot be read, or it is the folder of a run or model, which has pictures but no real images.
    pub fn at(path: &Path) -> Result<Self> {
        // A folder of images may have a manifest of its own.
        if path.join(RUN).is_file() || Ensemble::open(path).is_ok() {
            let line = format!(
                "reference: {} is a run or model, and a reference is real images; pass its data set, or samples of it in a file",
                path.display()
            );
            return Err(Failure::usage(anyhow!(line)));
        }
        Ok(Self::Files(ImageFiles::open(path)?))
    }

    /// Images u8 `[n, c, h, w]` of a shape `[c, h, w]` that a caller gives.
    ///
    /// # Errors
    /// As [`Images::in_memory`].
    pub fn in_memory(pixels: Vec<u8>, shape: [usize; 3]) -> Result<Self> {
        Images::in_memory(&pixels, shape)?;
        Ok(Self::Pixels(pixels, shape))
    }

    /// The data set, where it is one.
    pub fn dataset(&self) -> Option<&Dataset> {
        match self {
            Self::Dataset(dataset) => Some(dataset),
            Self::Files(_) | Self::Pixels(..) => None,
        }
    }

    /// The images to compare with: the test split of a data set, with its training split for the floor, or all images.
    pub fn images(&self) -> RealImages<'_> {
        match self {
            Self::Dataset(dataset) => RealImages::of_dataset(dataset),
            Self::Files(files) => RealImages::alone(files.name().to_owned(), Images::Files(files)),
            Self::Pixels(pixels, shape) => RealImages::alone("reference".into(), Images::Pixels(pixels, *shape)),
        }
    }
}

/// The data set of this name, whose files are in `dir` when it has files; or that of the config file at this path, with this `dir` where
/// one is given.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when there is neither, or the config is wrong.
pub fn dataset_named(text: &str, dir: Option<PathBuf>) -> Result<DatasetConfig> {
    let path = from_home(text.into());
    if is_config(&path) {
        let dataset = Config::load(&path, &[])?.dataset;
        return Ok(DatasetConfig { dir: dir.or(dataset.dir), ..dataset });
    }
    let name = text.parse::<DatasetName>().map_err(Failure::usage)?;
    Ok(DatasetConfig { dir, ..DatasetConfig::of(name) })
}

fn is_config(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") && path.is_file()
}

/// The run folder that is, or holds, the model folder `model`, if any.
pub fn run_of(model: &Path) -> Option<PathBuf> {
    let is_run = |path: &Path| path.join("config.toml").is_file() && path.join("partition.json").is_file();
    [model.to_owned(), model.join("..")].into_iter().find(|path| is_run(path))
}

/// Whether `path` is the folder of a run or model, so that the pictures in it are not what is to be scored.
pub fn is_model(path: &Path) -> bool {
    ["manifest.json", "model/manifest.json", RUN].iter().any(|file| path.join(file).is_file())
}
