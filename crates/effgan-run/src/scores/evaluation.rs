//! Scoring images against others, top to bottom: images, features, scores, floor, what they teach, what they copy.
//!
//! Images are read or drawn piece by piece and only their features stay. Features of fixed sets are kept in the
//! [`cache`](super::cache).

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use effgan_data::{Dataset, resize};
use effgan_fl::FlError;
use effgan_metrics::{
    ClassHistogram, FeatureScores, Kid, Labelled, Memorisation, MetricError, Prdc, SmallNet, TrainOnSynthetic,
    memorisation, train_on_synthetic,
};
use effgan_nn::params;
use serde::{Deserialize, Serialize};

use super::cache;
use super::images::Images;
use super::network::FeatureNet;
use super::of_run::Share;
use crate::failure::{Failure, Result};

/// Fewer than this are a guess whatever the network.
const FEW: usize = 1000;
/// Samples of each member whose nearest training images are looked for.
const OF_A_MEMBER: usize = 1000;

/// What is compared with what.
pub struct Question<'a> {
    pub images: Images<'a>,
    /// What the answer calls them.
    pub name: String,
    pub reference: Reference<'a>,
    pub network: &'a FeatureNet,
    /// The network in whose features copies are looked for, among all training images: a small one, where there is one.
    pub copies_by: &'a FeatureNet,
    /// Images on each side; by default all images, or as many samples of a model as the reference has.
    pub n: Option<usize>,
    /// Whether to train on samples, and to look for copies of training images.
    pub in_depth: bool,
    /// Who trained on what, where it is known; one share of everybody otherwise.
    pub shares: Vec<Share<'a>>,
    pub jobs: usize,
    pub stop: &'a AtomicBool,
    /// Told what is done, and how far it is.
    pub tell: &'a dyn Fn(&str, usize, usize),
}

/// Real images that others are held against.
pub struct Reference<'a> {
    pub name: String,
    pub images: Images<'a>,
    /// True classes of the images, below 10; none where they are not known.
    pub labels: Option<&'a [u8]>,
    /// More images of the same kind, which generators may have been trained on: u8 `[n, c, h, w]` and true classes.
    pub train: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Reference<'a> {
    /// The test split of a data set; its training split is the floor.
    pub fn of_dataset(dataset: &'a Dataset) -> Self {
        let (train, test) = (&dataset.train, &dataset.test);
        Self {
            name: dataset.name.to_string(),
            images: Images::Pixels(test.pixels(), test.shape()),
            labels: Some(test.labels()),
            train: Some((train.pixels(), train.labels())),
        }
    }
}

/// The answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// What was scored.
    pub of: String,
    /// What it was held against.
    pub reference: String,
    /// The network that features are of, with its resize.
    pub features: String,
    /// Length of a feature vector.
    pub dim: usize,
    /// Of the images.
    #[serde(flatten)]
    pub scores: SetScores,
    /// The same of as many real images: what a perfect generator would score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<SetScores>,
    /// What a classifier learns from them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_on_synthetic: Option<TrainOnSynthetic>,
    /// How near they come to training images.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub memorisation: Vec<MemberMemorisation>,
    /// The network in whose features.
    #[serde(default)]
    pub memorisation_features: String,
    /// What makes a number less than it seems.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
}

/// Scores of one set of images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetScores {
    /// Images.
    pub n: usize,
    /// Images that they are compared with.
    pub n_reference: usize,
    /// On Inception-2015's features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fid: Option<f64>,
    /// On a small network's features; not a FID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fd_small: Option<f64>,
    /// On Inception-2015's features: the mean over subsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kid: Option<f64>,
    /// The kernel distance on a small network's features; not a KID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kd_small: Option<f64>,
    /// Standard deviation of the kernel distance over subsets.
    pub kd_std: f64,
    pub kd_subsets: usize,
    pub kd_subset_size: usize,
    pub precision: f64,
    pub recall: f64,
    pub density: f64,
    pub coverage: f64,
    /// Of precision, recall, density and coverage.
    pub nearest_k: usize,
    #[serde(flatten)]
    pub classes: Option<ClassScores>,
}

/// Scores of the classes that the small network sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClassScores {
    /// KL divergence from the reference's true classes, in nats, ≥ 0.
    pub class_kl: f64,
    /// Classes whose share is at least a tenth of their share in the reference.
    pub modes: usize,
    pub class_counts: Vec<u64>,
}

/// How near samples come to training images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberMemorisation {
    /// The member, or `all` for the images that are scored.
    pub member: String,
    #[serde(flatten)]
    pub memorisation: Memorisation,
}

/// What the networks make of images.
#[derive(Clone, Default)]
pub struct Seen {
    /// `[n, d]`, row-major.
    pub features: Vec<f32>,
    /// Predicted classes, where there is a classifier for such images.
    pub classes: Vec<u8>,
}

impl Question<'_> {
    /// Scores the images.
    ///
    /// # Errors
    /// Images of another shape than the reference's, too few of them, files that cannot be read, features that are not finite.
    pub fn answer(&self) -> Result<Evaluation> {
        self.check_shapes()?;
        let (n, n_reference) = self.numbers()?;
        let reference = self.see_fixed(self.network, "reference", &self.reference.images, n_reference)?;
        let seen = self.see(self.network, "images", &self.images, n)?;
        let mut warnings = Vec::new();
        let histogram = self.histogram(n_reference, &mut warnings)?;
        let scores = self.score(&reference, &seen, histogram.as_ref())?;
        let floor = self.floor(&reference, n, histogram.as_ref())?;
        let (mut lessons, mut copies) = (None, Vec::new());
        if self.in_depth {
            lessons = self.lessons(n)?;
            copies = self.copies(n, &seen, &mut warnings)?;
        }
        warnings.extend(self.warnings(&scores));
        Ok(Evaluation {
            of: self.name.clone(),
            reference: self.reference.name.clone(),
            features: self.network.name(),
            dim: self.network.dim(),
            scores,
            floor,
            train_on_synthetic: lessons,
            memorisation: copies,
            memorisation_features: self.copies_by.name(),
            warnings,
        })
    }

    /// Grey images and coloured ones can be compared, as one of the two; images of two sizes cannot.
    fn check_shapes(&self) -> Result<()> {
        let (found, expected) = (self.images.shape(), self.reference.images.shape());
        if found[1..] == expected[1..] {
            return Ok(());
        }
        let name = &self.reference.name;
        Err(usage(format!(
            "the images have shape {found:?}, those of the reference {name} have {expected:?}; bring both to one size (in Python the \
             reference may be a table with size)"
        )))
    }

    /// Images that are scored, and images that they are compared with.
    fn numbers(&self) -> Result<(usize, usize)> {
        let Reference { name, images, train, .. } = &self.reference;
        let image_len: usize = images.shape().iter().product();
        let most = images.len().expect("a reference has a number of images");
        // The floor needs as many training images.
        let most = train.map_or(most, |(train, _)| most.min(train.len() / image_len));
        let outside = |n: usize| Err(usage(format!("n = {n} is outside 2..={most}, the images of {name}")));
        let n = match (self.n, self.images.len()) {
            (Some(n), Some(have)) if n > have => {
                return Err(usage(format!("n = {n} is more than the {have} images given")));
            }
            (Some(n), _) if !(2..=most).contains(&n) => return outside(n),
            (Some(n), _) => return Ok((n, n)),
            (None, Some(have)) if have < 2 => return outside(have),
            (None, have) => have.unwrap_or(most),
        };
        // Where nobody asks for a number, a set of images is compared with all of another one; a data set's floor needs as many.
        let against = if train.is_some() { n.min(most) } else { most };
        Ok((n, against))
    }

    fn see(&self, network: &FeatureNet, what: &str, images: &Images, n: usize) -> Result<Seen> {
        let mut all = Seen::default();
        let (shape, piece) = (self.reference.images.shape(), network.piece());
        for start in (0..n).step_by(piece) {
            self.go_on()?;
            let end = (start + piece).min(n);
            let pixels = images.read(start..end, self.jobs, self.stop)?;
            let pixels = resize::fit(&pixels, images.shape(), shape);
            let seen = network.see(&pixels, shape, self.jobs).map_err(Failure::data)?;
            all.features.extend(seen.features);
            all.classes.extend(seen.classes);
            (self.tell)(what, end, n);
        }
        Ok(all)
    }

    /// As [`see`](Self::see), of images that will be the same another time.
    fn see_fixed(&self, network: &FeatureNet, what: &str, images: &Images, n: usize) -> Result<Seen> {
        let Some(cache) = cache::folder() else { return self.see(network, what, images, n) };
        let (mut parts, piece) = (Vec::new(), network.piece());
        for start in (0..n).step_by(piece) {
            let end = (start + piece).min(n);
            parts.push(params::sha256(&images.read(start..end, self.jobs, self.stop)?));
        }
        let made_of = format!("{} | {:?} | {}", network.id(), images.shape(), parts.join(" "));
        cache::seen(&cache, &made_of, network.dim(), || self.see(network, what, images, n))
    }

    fn histogram(&self, n: usize, warnings: &mut Vec<String>) -> Result<Option<ClassHistogram>> {
        let Some(labels) = self.reference.labels.filter(|_| self.network.classifier().is_some()) else {
            return Ok(None);
        };
        let histogram = ClassHistogram::from_classes(&labels[..n], SmallNet::CLASSES).map_err(Failure::data)?;
        match histogram.counts().iter().position(|&count| count == 0) {
            Some(class) => {
                warnings.push(format!("no scores of classes: {}", MetricError::MissingClass { class, n }));
                Ok(None)
            }
            None => Ok(Some(histogram)),
        }
    }

    fn score(&self, reference: &Seen, seen: &Seen, histogram: Option<&ClassHistogram>) -> Result<SetScores> {
        let dim = self.network.dim();
        let scores =
            FeatureScores::of(&reference.features, &seen.features, dim, 1, self.jobs).map_err(Failure::data)?;
        let FeatureScores { frechet_distance, kid, prdc } = scores;
        let Kid { mean, std, subsets, subset_size } = kid;
        let Prdc { precision, recall, density, coverage, nearest_k } = prdc;
        let of = |distance: f64, wanted: bool| Some(distance).filter(|_| wanted);
        let is_inception = self.network.is_inception();
        let classes = histogram.map(|histogram| class_scores(&seen.classes, histogram)).transpose();
        Ok(SetScores {
            n: seen.features.len() / dim,
            n_reference: reference.features.len() / dim,
            fid: of(frechet_distance, is_inception),
            fd_small: of(frechet_distance, !is_inception),
            kid: of(mean, is_inception),
            kd_small: of(mean, !is_inception),
            kd_std: std,
            kd_subsets: subsets,
            kd_subset_size: subset_size,
            precision,
            recall,
            density,
            coverage,
            nearest_k,
            classes: classes.map_err(Failure::data)?,
        })
    }

    /// As many training images, where there are some.
    fn floor(&self, reference: &Seen, n: usize, histogram: Option<&ClassHistogram>) -> Result<Option<SetScores>> {
        let Some((train, _)) = self.reference.train else { return Ok(None) };
        let shape = self.reference.images.shape();
        let n = n.min(train.len() / shape.iter().product::<usize>());
        let seen = self.see_fixed(self.network, "floor", &Images::Pixels(train, shape), n)?;
        self.score(reference, &seen, histogram).map(Some)
    }

    /// What a classifier learns from the images, where there is one that can label them.
    fn lessons(&self, n: usize) -> Result<Option<TrainOnSynthetic>> {
        let (Some(net), Some(labels), Some((train, train_labels))) =
            (self.network.classifier(), self.reference.labels, self.reference.train)
        else {
            return Ok(None);
        };
        let shape = self.reference.images.shape();
        let image_len = shape.iter().product::<usize>();
        let n = n.min(train_labels.len());
        if n < TrainOnSynthetic::LEAST {
            return Ok(None);
        }
        (self.tell)("a classifier trained on them", 0, 1);
        let test = self.reference.images.read(0..labels.len(), self.jobs, self.stop)?;
        let samples = self.images.read(0..n, self.jobs, self.stop)?;
        let [samples, train, test] =
            [(&samples[..], self.images.shape()), (&train[..n * image_len], shape), (&test[..], shape)]
                .map(|(images, shape)| resize::fit(images, shape, super::network::SEEN));
        let real = Labelled { images: &train, labels: &train_labels[..n] };
        let test = Labelled { images: &test, labels };
        let lessons = train_on_synthetic(&samples, super::network::SEEN, net, Some(real), test, 1, self.jobs);
        (self.tell)("a classifier trained on them", 1, 1);
        lessons.map(Some).map_err(Failure::data)
    }

    /// Of the images that are scored, and of each member.
    fn copies(&self, n: usize, seen: &Seen, warnings: &mut Vec<String>) -> Result<Vec<MemberMemorisation>> {
        let (mut found, network) = (Vec::new(), self.copies_by);
        for (i, share) in self.shares.iter().enumerate() {
            self.go_on()?;
            let [train, held_out] = [&share.train, &share.held_out].map(|images| -> Result<Seen> {
                let n = images.len().expect("shares have a number of images");
                self.see_fixed(network, "training images", images, n)
            });
            let samples = match &share.samples {
                Some(samples) => self.see(network, "samples of members", samples, OF_A_MEMBER)?,
                // Seen already, unless by another network.
                None if std::ptr::eq(network, self.network) => seen.clone(),
                None => self.see(network, "images", &self.images, n)?,
            };
            let (train, held_out) = (train?.features, held_out?.features);
            if train.is_empty() || held_out.is_empty() {
                continue; // a client that holds nothing back has nothing to compare with
            }
            let member = share.name.clone();
            match memorisation(&samples.features, &train, &held_out, network.dim(), self.jobs) {
                Ok(memorisation) => found.push(MemberMemorisation { member, memorisation }),
                Err(error @ (MetricError::HeldOutCopies { .. } | MetricError::TooFewFor { .. })) => {
                    warnings.push(format!("{member}: {error}"));
                }
                Err(error) => return Err(Failure::data(error)),
            }
            (self.tell)("members", i + 1, self.shares.len());
        }
        Ok(found)
    }

    fn warnings(&self, scores: &SetScores) -> Vec<String> {
        let SetScores { n, n_reference, .. } = *scores;
        let (dim, fewest) = (self.network.dim(), n.min(n_reference));
        let mut warnings = Vec::new();
        if fewest <= dim {
            warnings.push(format!(
                "{fewest} images are too few for {dim} features: the covariance is singular and the Fréchet distance too large; take \
                 {} or more, and compare only with the same n",
                dim + 1
            ));
        } else if fewest < FEW {
            warnings
                .push(format!("{fewest} images are few: distances are too large and depend on n; take {FEW} or more"));
        }
        if scores.kd_subset_size == fewest {
            warnings.push(format!(
                "a subset of the kernel distance is a whole set of {fewest} images, so its deviation says nothing; take more than {}",
                effgan_metrics::Subsets::SIZE
            ));
        }
        if n != n_reference {
            warnings.push(format!("{n} images are compared with {n_reference}"));
        }
        warnings
    }

    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted.into()) } else { Ok(()) }
    }
}

fn class_scores(classes: &[u8], reference: &ClassHistogram) -> effgan_metrics::Result<ClassScores> {
    let histogram = ClassHistogram::from_classes(classes, SmallNet::CLASSES)?;
    Ok(ClassScores {
        class_kl: ClassHistogram::kl(&histogram, reference)?,
        modes: ClassHistogram::modes_hit(&histogram, reference)?,
        class_counts: histogram.counts().to_vec(),
    })
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}
