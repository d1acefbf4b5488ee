//! A check of a site's images by their headers; no image is decoded.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::datasets::FolderSummary;
use effgan_data::{DataError, DatasetConfig, DatasetName};
use effgan_run::failure::{Failure, Result};
use effgan_run::units::counted;

use super::right;

/// Maximum number of names in a list.
const MAX_LISTED: usize = 8;

/// Checks the images at `data` as `dataset` reads them, and returns the number of training images per class. `is_known` tells that the keys
/// are those of a run, not a guess; `is_all` that no other check of the images follows.
pub(super) fn check(
    data: &Path,
    dataset: &DatasetConfig,
    classes: Option<&[String]>,
    is_known: bool,
    is_all: bool,
) -> Result<Vec<usize>> {
    let is_folder = dataset.name == DatasetName::Folder;
    let found = if is_folder { folder(data, dataset, classes, is_known) } else { arrays(data, dataset, classes) };
    let (by_class, summary) = found.map_err(|failure| failure.context("data"))?;
    let rest = if is_folder && is_all { "; only headers were read, --config FILE decodes all images" } else { "" };
    right("data", &format!("{summary} in {}{rest}", data.display()));
    Ok(by_class)
}

/// Checks that this machine has the data set of an experiment, whose config splits the images among the sites.
pub(super) fn of_experiment(dataset: &DatasetConfig) -> Result<()> {
    let loaded = dataset.load().map_err(|error| Failure::from(error).context("data"))?;
    let num_images = counted(loaded.train.len() as u64, "image");
    right("data", &format!("{num_images} of {}, of which the run assigns this site its share", dataset.name.as_str()));
    Ok(())
}

fn arrays(data: &Path, dataset: &DatasetConfig, classes: Option<&[String]>) -> Result<(Vec<usize>, String)> {
    let loaded =
        DatasetConfig { dir: Some(data.into()), limit: None, ..dataset.clone() }.load_at_site(classes, None)?;
    let mut by_class = vec![0; loaded.train.num_classes()];
    loaded.train.labels().iter().for_each(|&label| by_class[usize::from(label)] += 1);
    let num_images = loaded.train.len() + loaded.test.len();
    Ok((
        by_class,
        format!("{} of {}", counted(num_images as u64, "image"), counted(loaded.train.num_classes() as u64, "class")),
    ))
}

fn folder(
    data: &Path,
    dataset: &DatasetConfig,
    classes: Option<&[String]>,
    is_known: bool,
) -> Result<(Vec<usize>, String)> {
    let glance = FolderSummary::of(data, classes)?;
    // Folders of persons have the same names in several classes.
    if !glance.data_sets.is_empty() && dataset.person.is_none() {
        let why = format!(
            "{} holds several data sets: {} have folders of classes; give one of them, or if they are classes, \
             a --config whose federation.classes names them",
            data.display(),
            listed(glance.data_sets.iter())
        );
        return wrong(why);
    }
    if !glance.broken.is_empty() && !dataset.skip_broken {
        return Err(
            DataError::Broken { dir: data.into(), num_images: glance.num_images(), files: glance.broken }.into()
        );
    }
    if glance.classes.iter().all(|(_, [_, test])| *test == 0) {
        return Err(DataError::NoTestImages { place: data.display().to_string(), what: "images" }.into());
    }
    let what_to_do = if is_known {
        "no run of this config works; ask the server operator to set it"
    } else {
        "whether the run's config does so is unknown; ask for the config and pass it: --config FILE"
    };
    if let ([(first, _, a), (second, _, b), ..], None) = (&glance.sizes[..], dataset.size) {
        let shown = |[w, h]: &[usize; 2]| format!("{w} × {h}");
        return wrong(format!(
            "the images have {} sizes, {} is {} and {} is {}; dataset.size must be set to bring them to one: {what_to_do}",
            glance.sizes.len(),
            a.display(),
            shown(first),
            b.display(),
            shown(second)
        ));
    }
    let has = |colour| glance.modes.iter().any(|(mode, _)| mode.colour == colour);
    if has(true) && has(false) && dataset.channels.is_none() {
        return wrong(format!(
            "some images are grey and some in colour; dataset.channels must be set to 1 or 3: {what_to_do}"
        ));
    }
    Ok((glance.classes.iter().map(|(_, [train, _])| *train).collect(), described(&glance)))
}

/// A summary such as `4213 images of 3 classes (benign, malignant, normal), 64 × 64 pixels, grey`.
fn described(glance: &FolderSummary) -> String {
    let mut classes = listed(glance.classes.iter().map(|(name, _)| name));
    if !glance.nested.is_empty() {
        classes += "; folders inside them count as parts of these";
    }
    let sizes = match &glance.sizes[..] {
        [([w, h], ..)] => format!("{w} × {h} pixels"),
        many => format!("{} sizes", many.len()),
    };
    let modes: Vec<String> = glance.modes.iter().map(|(mode, _)| mode.to_string()).collect();
    let numbers = format!(
        "{} of {}",
        counted(glance.num_images() as u64, "image"),
        counted(glance.classes.len() as u64, "class")
    );
    format!("{numbers} ({classes}), {sizes}, {}", modes.join(" and "))
}

fn listed<'a>(names: impl ExactSizeIterator<Item = &'a String>) -> String {
    let more = names.len().saturating_sub(MAX_LISTED);
    let listed: Vec<&str> = names.take(MAX_LISTED).map(String::as_str).collect();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    listed.join(", ") + &rest
}

fn wrong<T>(why: String) -> Result<T> {
    Err(Failure::data(anyhow!(why)))
}
