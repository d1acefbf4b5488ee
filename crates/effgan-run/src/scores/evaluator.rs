//! Scores images against real ones, top to bottom: sizes, features, scores, floor, and in depth what `in_depth.rs` adds.
//!
//! Images are read or generated piece by piece and only their features stay in memory. Features of images that do not change
//! are kept in the [`cache`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use effgan_data::{Dataset, ImageList};
use effgan_fl::FlError;
use effgan_metrics::metric::Network;
use effgan_metrics::{ClassHistogram, Features, MetricError, Reference, Scores};
use effgan_nn::{Device, params};

use super::cache;
use super::evaluation::Evaluation;
use super::feature_net::FeatureNet;
use super::scored_images::Images;
use super::scorer::without_class;
use super::share::Share;
use crate::failure::{Failure, Result};

/// Below this number of images, distances are rough whatever the network.
const FEW: usize = 1000;

/// What to score, against what, and how.
pub struct Evaluator<'a> {
    /// The images to score.
    pub images: Images<'a>,
    /// The name of the images in the result.
    pub name: String,
    /// The real images that they are compared with.
    pub real: RealImages<'a>,
    /// The network whose features are compared.
    pub network: &'a FeatureNet,
    /// The network whose features memorisation is measured in: a small one where there is one, since all training images
    /// go through it.
    pub memorisation_network: &'a FeatureNet,
    /// Images on each side; when absent, all images, or of a model as many samples as there are reference images.
    pub n: Option<usize>,
    /// Whether to also train a classifier on the images and to measure memorisation.
    pub in_depth: bool,
    /// The shares that memorisation is measured for; empty to skip it.
    pub shares: Vec<Share<'a>>,
    /// The device that the samples of a model are drawn on.
    pub device: Device,
    /// Threads, ≥ 1; changes no result.
    pub jobs: usize,
    /// Ends the evaluation with [`Kind::Interrupted`](crate::Kind::Interrupted) when it becomes true.
    pub stop: &'a AtomicBool,
    /// Called with the kind of work, and how many of how many pieces of it are done.
    pub progress: &'a dyn Fn(&str, usize, usize),
}

/// Real images that others are compared with.
pub struct RealImages<'a> {
    /// The name in the result.
    pub name: String,
    /// The images.
    pub images: Images<'a>,
    /// True classes of the images, below 10; absent where they are not known.
    pub labels: Option<&'a [u8]>,
    /// Training images of the same kind and their true classes: the floor is scored on them.
    pub train: Option<(Images<'a>, &'a [u8])>,
    /// The names of their classes, in the order of the labels; empty where these are not known.
    pub class_names: &'a [String],
    /// What to know about the data set, such as files that were not read.
    pub notes: &'a [String],
}

impl<'a> RealImages<'a> {
    /// The test split of a data set, with its training split for the floor.
    pub fn of_dataset(dataset: &'a Dataset) -> Self {
        let (train, test) = (&dataset.train, &dataset.test);
        Self {
            name: dataset.name.to_string(),
            images: Images::Pixels(test.pixels(), test.shape()),
            labels: Some(test.labels()),
            train: Some((Images::Pixels(train.pixels(), train.shape()), train.labels())),
            class_names: &dataset.class_names,
            notes: &dataset.notes,
        }
    }

    /// Images of which nothing else is known, so that there is no floor.
    pub fn alone(name: String, images: Images<'a>) -> Self {
        Self { name, images, labels: None, train: None, class_names: &[], notes: &[] }
    }
}

impl Evaluator<'_> {
    /// Scores the images.
    ///
    /// # Errors
    /// When the images are too few, a file cannot be read, or a feature is not finite.
    pub fn evaluate(&self) -> Result<Evaluation> {
        let (n, n_reference) = self.sizes()?;
        self.check_shapes(n, n_reference)?;
        let reference = self.extract_to_score_cached("reference", &self.real.images, n_reference)?;
        let features = self.extract_to_score("images", &self.images, n)?;
        let mut warnings = self.real.notes.to_vec();
        let classes = self.classes(n_reference, &mut warnings)?;
        let reference = self.network.reference(reference, classes).map_err(Failure::data)?;
        let scores = reference.score(&features, self.jobs).map_err(Failure::data)?;
        let floor = self.floor(&reference, n)?;
        let (mut train_on_synthetic, mut memorisation) = (None, Vec::new());
        if self.in_depth {
            train_on_synthetic = self.train_on_synthetic(n)?;
            memorisation = self.memorisation(n, &features, &mut warnings)?;
        }
        warnings.extend(self.network.note());
        warnings.extend(self.trained_on_others());
        warnings.extend(self.warnings(n, n_reference, &scores));
        Ok(Evaluation {
            of: self.name.clone(),
            reference: self.real.name.clone(),
            features: self.network.name(),
            dim: self.network.dim(),
            scores,
            floor,
            train_on_synthetic,
            memorisation,
            memorisation_features: self.memorisation_network.name(),
            warnings,
        })
    }

    /// The number of images to score, and of reference images.
    fn sizes(&self) -> Result<(usize, usize)> {
        let RealImages { name, images, train, .. } = &self.real;
        let max_n = images.count().expect("a reference has a number of images");
        // The floor needs as many training images.
        let max_n = train.as_ref().map_or(max_n, |(_, labels)| max_n.min(self.network.for_floor(labels).len()));
        if max_n < 2 {
            return Err(usage(format!("{name} has too few images to compare with, {max_n}; 2 are needed")));
        }
        let outside = |n: usize| Err(usage(format!("n = {n} must be from 2 to {max_n}, the images of {name}")));
        let n = match (self.n, self.images.count()) {
            (Some(n), Some(have)) if n > have => {
                return Err(usage(format!("n = {n} is more than the {have} images given")));
            }
            (Some(n), _) if !(2..=max_n).contains(&n) => return outside(n),
            (Some(n), _) => return Ok((n, n)),
            (None, Some(have)) if have < 2 => return outside(have),
            (None, have) => have.unwrap_or(max_n),
        };
        // Without `n`, images are compared with all images of a folder or file; a data set's floor needs equal numbers.
        let against = if train.is_some() { n.min(max_n) } else { max_n };
        Ok((n, against))
    }

    /// Refuses images of another size than those that the network takes, where these are no squares: nothing is converted to such a size.
    fn check_shapes(&self, n: usize, n_reference: usize) -> Result<()> {
        let Some([_, height, width]) = self.network.input_shape().filter(|[_, h, w]| h != w) else { return Ok(()) };
        let shapes = [(&self.images, n), (&self.real.images, n_reference)].map(|(images, n)| images.shapes(n));
        match shapes.iter().flatten().find(|[_, h, w]| [*h, *w] != [height, width]) {
            None => Ok(()),
            Some([_, h, w]) => Err(usage(format!(
                "an image of {h} × {w} pixels cannot be compared with {height} × {width}, which is no square; resize it first"
            ))),
        }
    }

    /// Reads or generates the first `n` images, piece by piece, and keeps their features alone. Neither the other set nor the other
    /// images of this one have a say in how an image is converted, so that scores of two sets do not depend on which is the reference.
    pub(super) fn extract(&self, network: &FeatureNet, what: &str, images: &Images, n: usize) -> Result<Features> {
        self.extract_by(network, what, images, n, |images, _| network.extract(images, self.jobs))
    }

    /// The same by the network of the scores, with patches where those are compared.
    fn extract_to_score(&self, what: &str, images: &Images, n: usize) -> Result<Features> {
        let to_score = |images: &ImageList, piece| self.network.extract_to_score(images, piece, n, self.jobs);
        self.extract_by(self.network, what, images, n, to_score)
    }

    fn extract_by(
        &self,
        network: &FeatureNet,
        what: &str,
        images: &Images,
        n: usize,
        extract: impl Fn(&ImageList, Range<usize>) -> effgan_metrics::Result<Features>,
    ) -> Result<Features> {
        let mut all = Features::of_no_images(network.dim());
        for piece in images.pieces(n, network.piece()) {
            self.check_stop()?;
            let read = images.read(piece.clone(), self.device, self.jobs, self.stop)?;
            all.extend(extract(&read, piece.clone()).map_err(Failure::data)?);
            (self.progress)(what, piece.end, n);
        }
        Ok(all)
    }

    /// Like [`extract_to_score`](Self::extract_to_score), with the [`cache`] where the network has one.
    fn extract_to_score_cached(&self, what: &str, images: &Images, n: usize) -> Result<Features> {
        if self.network.is_cached() {
            self.extract_cached(self.network, what, images, n)
        } else {
            self.extract_to_score(what, images, n)
        }
    }

    /// Like [`extract`](Self::extract), with the [`cache`], for images that later evaluations use again.
    pub(super) fn extract_cached(
        &self,
        network: &FeatureNet,
        what: &str,
        images: &Images,
        n: usize,
    ) -> Result<Features> {
        let Some(cache) = cache::folder().filter(|_| network.is_cached()) else {
            return self.extract(network, what, images, n);
        };
        let mut made_of = network.id();
        for piece in images.pieces(n, network.piece()) {
            for (image, shape) in images.read(piece, self.device, self.jobs, self.stop)?.iter() {
                made_of = params::sha256(format!("{made_of} | {shape:?} {}", params::sha256(image)).as_bytes());
            }
        }
        cache::features(&cache, &made_of, network.dim(), || self.extract(network, what, images, n))
    }

    /// The true classes of the first `n` reference images. When a class is missing, a warning instead: the other scores are what was asked
    /// for. (A run is refused, as each of its scores would lack the metrics of classes.)
    fn classes(&self, n: usize, warnings: &mut Vec<String>) -> Result<Option<ClassHistogram>> {
        let Some(labels) = self.real.labels else { return Ok(None) };
        match self.network.true_classes(&labels[..n]) {
            Ok(classes) => Ok(classes),
            Err(MetricError::MissingClass { class, n }) => {
                warnings.push(without_class(self.real.class_names, class, n));
                Ok(None)
            }
            Err(error) => Err(Failure::data(error)),
        }
    }

    /// Scores as many training images as there are images, where there are any.
    fn floor(&self, reference: &Reference, n: usize) -> Result<Option<Scores>> {
        let Some((train, labels)) = &self.real.train else { return Ok(None) };
        let images = train.subset(self.network.for_floor(labels).into_iter().take(n).collect());
        let n = images.count().unwrap_or(0);
        let features = self.extract_to_score_cached("floor", &images, n)?;
        reference.score(&features, self.jobs).map(Some).map_err(Failure::data)
    }

    /// What the numbers and the sizes of images make unreliable.
    fn warnings(&self, n: usize, n_reference: usize, scores: &Scores) -> Vec<String> {
        let (dim, fewest) = (self.network.dim(), n.min(n_reference));
        let mut warnings = Vec::new();
        if fewest <= dim && self.network.network() != Network::LowPass {
            warnings.push(format!(
                "{fewest} images are too few for {dim} features: the covariance is singular and the Fréchet distance too large; use \
                 {} or more, and compare only with the same n",
                dim + 1
            ));
        } else if fewest < FEW {
            warnings
                .push(format!("{fewest} images are few: distances are too large and depend on n; use {FEW} or more"));
        }
        if scores.settings.kd_subset_size == Some(fewest) {
            warnings.push(format!(
                "each subset of the kernel distance is the whole set of {fewest} images, so its standard deviation has no meaning; use more \
                 than {}",
                effgan_metrics::Subsets::SIZE
            ));
        }
        if n != n_reference {
            warnings.push(format!("{n} images are compared with {n_reference} reference images"));
        }
        warnings.extend(self.resizing(n, n_reference));
        warnings
    }

    /// What a network was trained on that nobody knows to be like the real images.
    fn trained_on_others(&self) -> Option<String> {
        let is_known = self.real.train.is_some() || self.network.network() == Network::Inception;
        (!is_known).then(|| {
            format!(
                "{} was trained on other images than the reference: it sees no more than what told the classes of those apart",
                self.network.name()
            )
        })
    }

    /// What resizing does to the comparison.
    fn resizing(&self, n: usize, n_reference: usize) -> Option<String> {
        let (images, real) = (self.images.shapes(n), self.real.images.shapes(n_reference));
        let sizes: BTreeSet<[usize; 2]> = images.union(&real).map(|&[_, h, w]| [h, w]).collect();
        let sets = format!("images of {} and reference images of {}", in_words(&images), in_words(&real));
        match self.network.input_shape() {
            Some(input) if images.iter().chain(&real).any(|shape| *shape != input) => Some(format!(
                "{sets} are converted to {}, the input of {}: no score sees what that removes",
                in_words(&BTreeSet::from([input])),
                self.network.name()
            )),
            None if sizes.len() > 1 => {
                Some(format!("{sets} are resized from different sizes: scores also see which are sharper"))
            }
            _ => None,
        }
    }

    pub(super) fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted.into()) } else { Ok(()) }
    }
}

/// `3 × 28 × 28`, or how many shapes there are and the extremes among them.
fn in_words(shapes: &BTreeSet<[usize; 3]>) -> String {
    let one = |[c, h, w]: [usize; 3]| format!("{c} × {h} × {w}");
    match (shapes.first(), shapes.last()) {
        (Some(&first), Some(&last)) if first != last => {
            format!("{} shapes from {} to {}", shapes.len(), one(first), one(last))
        }
        (first, _) => one(*first.expect("there are images")),
    }
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}
