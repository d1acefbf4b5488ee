//! The feature network of a data set that no built-in one fits: trained once on its training split, before a limit, a partition or the
//! seed of a run have a say, and kept in the cache.
//!
//! It does not see [every fifth](unseen) training image of a class. The floor is scored on those: a network tells images that it was
//! trained on from others (docs/decisions.md has numbers).

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use effgan_data::{Dataset, ImageSet, resize};
use effgan_fl::FlError;
use effgan_metrics::{Labelled, OwnNet, Quality, Recipe};
use effgan_nn::networks::ResnetShape;
use effgan_nn::{ArithmeticVersion, Device, Params, params, sealed};

use super::cache;
use crate::config::MIN_SAMPLES;
use crate::failure::{Failure, Result};

/// Largest side of the images that a network takes. Of the emoji, networks of 64, 128 and 256 pixels had 69, 66 and 72 % of 186 test images
/// right, within their standard error of 3.4, after about 27 s, 79 s and 4.5 minutes.
pub(super) const MAX_SIDE: usize = 64;
/// Training steps between two calls of the progress.
const STEPS_PER_CALL: usize = 50;

/// Why a data set has no network of its own, or the network.
pub(super) type OrReason<T> = std::result::Result<T, String>;

/// Of so many images of a class, one is not trained on.
const ONE_UNSEEN_IN: usize = 5;

/// Indices of the training images with these `labels` that the network is not trained on: the fifth, tenth, … of each class.
pub(super) fn unseen(labels: &[u8]) -> Vec<u32> {
    let mut counts = [0_usize; 256];
    let is_unseen = |&(_, &label): &(u32, &u8)| {
        counts[usize::from(label)] += 1;
        counts[usize::from(label)].is_multiple_of(ONE_UNSEEN_IN)
    };
    (0..).zip(labels).filter(is_unseen).map(|(index, _)| index).collect()
}

/// How the network is come by.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// The device to extract features on.
    pub device: Device,
    /// Threads, ≥ 1; changes no result.
    pub jobs: usize,
    /// Called with the kind of work, and how many of how many steps of it are done.
    pub progress: &'a (dyn Fn(&str, usize, usize) + Sync),
    /// Ends the training with [`Kind::Interrupted`](crate::Kind::Interrupted) when it becomes true.
    pub stop: &'a AtomicBool,
}

/// A trained network.
pub(super) struct Weights {
    pub(super) shape: ResnetShape,
    pub(super) params: Params,
    pub(super) quality: Quality,
}

impl Weights {
    /// The network on `device`.
    ///
    /// # Errors
    /// When the tensors do not fit the shape.
    pub(super) fn on(&self, device: Device) -> effgan_metrics::Result<OwnNet> {
        OwnNet::new(self.shape, &self.params, self.quality, device)
    }
}

/// The network of `dataset`, from the cache, or trained now; or why there is none.
///
/// # Errors
/// When the network cannot be trained.
pub(super) fn own_net(dataset: &Dataset, recipe: Recipe, how: Training<'_>) -> Result<OrReason<Weights>> {
    let shape = ResnetShape { images: input_of(dataset.train.shape()), num_classes: dataset.train.num_classes() };
    if let Err(reason) = shape.check() {
        let one = "the images have no classes, which a feature network would learn".to_owned();
        return Ok(Err(if shape.num_classes < 2 { one } else { reason.to_string() }));
    }
    let num_unseen = unseen(dataset.train.labels()).len();
    if num_unseen < MIN_SAMPLES {
        return Ok(Err(format!(
            "{num_unseen} training images are left to compare with when a feature network is trained on four in five of each class; \
             {MIN_SAMPLES} are needed"
        )));
    }
    if !OwnNet::is_testable(shape, dataset.test.labels()).map_err(Failure::data)? {
        return Ok(Err(format!(
            "{} test images of {} are too few, or too many of them of one class, to tell a feature network from chance; add test images",
            dataset.test.len(),
            dataset.name
        )));
    }
    let (params, quality) = cached(dataset, shape, recipe, how)?;
    if !quality.is_above_chance() {
        return Ok(Err(format!(
            "a feature network trained on {} tells their classes apart no better than chance ({:.1} % of {} test images, and the largest \
             class has {:.1} %)",
            dataset.name,
            100.0 * quality.accuracy,
            quality.num_test,
            100.0 * quality.chance
        )));
    }
    Ok(Ok(Weights { shape, params, quality }))
}

/// The shape to which images of `shape` are converted: their own, if its sides are at most [`MAX_SIDE`].
fn input_of([c, h, w]: [usize; 3]) -> [usize; 3] {
    if h.max(w) <= MAX_SIDE { [c, h, w] } else { [c, MAX_SIDE, MAX_SIDE] }
}

/// Weights and quality from the cache, which is filled where they are missing.
fn cached(dataset: &Dataset, shape: ResnetShape, recipe: Recipe, how: Training<'_>) -> Result<(Params, Quality)> {
    let Some(folder) = cache::folder() else { return train(dataset, shape, recipe, how) };
    let key = key(dataset, shape, recipe);
    let path = folder.join(format!("{key}.safetensors"));
    if let Some(found) = load(&path, &key) {
        return Ok(found);
    }
    let (params, quality) = train(dataset, shape, recipe, how)?;
    let saved = fs::create_dir_all(&folder).map_err(|error| error.to_string());
    let saved = saved.and_then(|()| sealed::save(&path, &(&key, quality), &params).map_err(|error| error.to_string()));
    if let Err(error) = saved {
        log::warn!("cannot cache the feature network: {error}");
    }
    Ok((params, quality))
}

fn load(path: &Path, key: &str) -> Option<(Params, Quality)> {
    let ((found, quality), params) = sealed::load::<(String, Quality)>(path).ok()?;
    (found == key).then_some((params, quality))
}

/// The SHA-256 of all that the network and its quality follow from.
fn key(dataset: &Dataset, shape: ResnetShape, recipe: Recipe) -> String {
    let of_set = |set: &ImageSet| [set.pixels(), set.labels()].map(params::sha256).join(" ");
    let (train, test) = (of_set(&dataset.train), of_set(&dataset.test));
    let version = (env!("CARGO_PKG_VERSION"), ArithmeticVersion::OURS);
    params::sha256(format!("own network | {shape:?} | {train} | {test} | {recipe:?} | {version:?}").as_bytes())
}

/// Indices of the images that the network is trained on.
fn seen(labels: &[u8]) -> Vec<u32> {
    let unseen = unseen(labels);
    (0..labels.len() as u32).filter(|index| unseen.binary_search(index).is_err()).collect()
}

/// On the CPU, whatever computes the run: so a data set has one network, and runs on all devices have scores that compare.
fn train(dataset: &Dataset, shape: ResnetShape, recipe: Recipe, how: Training<'_>) -> Result<(Params, Quality)> {
    let (device, Training { jobs, progress, stop, .. }) = (Device::cpu()?, how);
    let sets = [&dataset.train, &dataset.test];
    let pixels = sets.map(|set| resize::fit(set.pixels(), set.shape(), shape.images));
    let [train, test] = [0, 1].map(|i| Labelled { images: &pixels[i], labels: sets[i].labels() });
    let on_step = |step: usize| {
        if step.is_multiple_of(STEPS_PER_CALL) {
            progress("training a feature network", step, recipe.steps);
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let trained = OwnNet::train(shape, train, &seen(train.labels), recipe, device, jobs, on_step);
    let params = trained.map_err(Failure::data)?.ok_or(FlError::Interrupted)?;
    let quality = OwnNet::test(shape, &params, test, device, jobs).map_err(Failure::data)?;
    Ok((params, quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_are_made_smaller_and_others_keep_their_size() {
        assert_eq!(input_of([3, 64, 40]), [3, 64, 40]);
        assert_eq!(input_of([1, 65, 40]), [1, 64, 64]);
    }

    #[test]
    fn every_fifth_image_of_a_class_is_not_trained_on() {
        let labels = [0, 1, 0, 0, 0, 1, 0, 1, 1, 1, 2, 2, 2, 2];
        assert_eq!(unseen(&labels), [6, 9]);
        assert_eq!(seen(&labels), [0, 1, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13]);
    }
}
