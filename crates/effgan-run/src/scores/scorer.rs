//! Generates images during a run and scores them against the data set's test split.
//!
//! The built-in feature networks take digits and clothes of 1 × 28 × 28. Where a run has these data sets in another size or in
//! colour, real and generated images alike are resized first, by the rule of [`effgan_data::resize`]. Images of other data
//! sets are generated but not scored.

use std::sync::Arc;

use anyhow::anyhow;
use effgan_data::{Dataset, ImageList, ImageSet};
use effgan_fl::sample::{Draw, sample};
use effgan_fl::{Ensemble, ensemble::Selection};
use effgan_metrics::{ClassHistogram, MetricError, Reference, Scores, SmallNet};
use effgan_nn::{Device, Model, Params};

use super::feature_net::{FeatureNet, none_fits};
use crate::config::MIN_SAMPLES;
use crate::failure::{Failure, Result};
use crate::record::samples::NUM_SHOWN;

/// The scoring of a run: n reference images, and the seed of the samples.
pub(crate) struct Scorer {
    /// Absent where no feature network fits the images.
    reference: Option<DatasetReference>,
    /// Why there are no scores, or what to know about them.
    note: Option<String>,
    model: Arc<dyn Model>,
    seed: u64,
    jobs: usize,
    /// The device that images are generated and scored on.
    device: Device,
}

impl Scorer {
    /// Scores `n` samples on `device` against the first `n` test images. `None` stands for as many as both splits have.
    ///
    /// # Errors
    /// When `n` is less than 2, a split has fewer than `n` images, or a class has no image among the reference images.
    pub(crate) fn new(
        dataset: &Dataset,
        n: Option<usize>,
        model: &Arc<dyn Model>,
        seed: u64,
        jobs: usize,
        device: Device,
    ) -> Result<Self> {
        let reference = reference(dataset, n, jobs, device)?;
        let [c, h, w] = dataset.test.shape();
        let note = match &reference {
            // No number is made up for images that no network was trained for.
            None => Some(format!("no scores: {}", none_fits(dataset.name))),
            Some(_) if [c, h, w] != SmallNet::SHAPE => Some(format!(
                "real and generated images are converted from {c} × {h} × {w} to 1 × 28 × 28 before they are scored"
            )),
            Some(_) => None,
        };
        Ok(Self { reference, note, model: model.clone(), seed, jobs, device })
    }

    /// Generates images on `device` without scoring them, for a server that has no real images.
    pub(crate) fn without_images(model: &Arc<dyn Model>, seed: u64, jobs: usize, device: Device) -> Self {
        let note = "no scores: the server has no images; effgan evaluate scores the model where there are some".into();
        Self { reference: None, note: Some(note), model: model.clone(), seed, jobs, device }
    }

    /// Why there are no scores, or what to know about them.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether images are scored.
    pub(crate) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Scores real training images: what a perfect generator would reach.
    ///
    /// # Errors
    /// When a feature is not finite.
    pub(crate) fn floor(&self, train: &ImageSet) -> anyhow::Result<Option<Scores>> {
        self.score(train.first(self.num_samples()).pixels())
    }

    /// Generates as many samples of one generator as are scored, or as a picture shows.
    ///
    /// # Errors
    /// When the tensors do not fit the network.
    pub(crate) fn samples_of(&self, generator: &Params) -> anyhow::Result<Vec<u8>> {
        Ok(sample(&*self.model, &[1.0], &|_| Ok(generator.clone()), &self.draw())?)
    }

    /// Generates as many samples of an ensemble as are scored, or as a picture shows.
    ///
    /// # Errors
    /// When a member cannot be read.
    pub(crate) fn samples_of_ensemble(&self, ensemble: &Ensemble) -> anyhow::Result<Vec<u8>> {
        Ok(ensemble.sample(&Selection::Ensemble, &self.draw())?)
    }

    /// As many samples as are scored, or as a picture shows.
    fn draw(&self) -> Draw<'static> {
        Draw::new(self.seed, 0..self.num_samples() as u64, self.device, self.jobs)
    }

    /// Images of each predicted class, of u8 images `[n, c, h, w]`; `None` where no feature network fits them.
    ///
    /// # Errors
    /// When there is no image.
    pub(crate) fn class_counts(&self, images: &[u8]) -> anyhow::Result<Option<Vec<u64>>> {
        let Some(DatasetReference { network, shape, .. }) = &self.reference else { return Ok(None) };
        let classes = network.extract(&ImageList::of_one_shape(images, *shape), self.jobs)?.classes;
        Ok(Some(ClassHistogram::from_classes(&classes, SmallNet::CLASSES)?.counts().to_vec()))
    }

    /// Scores u8 images `[n, c, h, w]`, as many as [`samples_of`](Self::samples_of) generates; `None` where no feature network fits them.
    ///
    /// # Errors
    /// When there are fewer or more, or a feature is not finite.
    pub(crate) fn score(&self, images: &[u8]) -> anyhow::Result<Option<Scores>> {
        self.reference.as_ref().map(|reference| reference.score(images, self.jobs)).transpose()
    }

    /// The number of images that are scored, or else that a picture shows.
    fn num_samples(&self) -> usize {
        self.reference.as_ref().map_or(NUM_SHOWN, |reference| reference.images.n())
    }
}

/// Test images of a data set, with the network whose features are compared.
struct DatasetReference {
    network: FeatureNet,
    /// As many images are scored as it has.
    images: Reference,
    shape: [usize; 3],
}

impl DatasetReference {
    /// Scores u8 images `[n, c, h, w]` of the data set's shape.
    fn score(&self, images: &[u8], jobs: usize) -> anyhow::Result<Scores> {
        let images = ImageList::of_one_shape(images, self.shape);
        Ok(self.images.score_round(&self.network.extract(&images, jobs)?, jobs)?)
    }
}

/// Checks that there are `evaluation.samples` = `n` images to score, of all classes, where a feature network fits them.
///
/// # Errors
/// When there are fewer, or they lack a class.
pub(crate) fn check_samples(dataset: &Dataset, n: Option<usize>, device: Device) -> Result<()> {
    let Some(network) = FeatureNet::of_dataset(dataset.name, device) else { return Ok(()) };
    let n = num_scored(dataset, n)?;
    network.true_classes(dataset.test.first(n).labels()).map(drop).map_err(|error| not_scored(n, error))
}

/// How many images are scored: `n`, or as many as both splits have.
fn num_scored(dataset: &Dataset, n: Option<usize>) -> Result<usize> {
    let max_n = dataset.test.len().min(dataset.train.len());
    let n = n.unwrap_or(max_n);
    if (MIN_SAMPLES..=max_n).contains(&n) {
        return Ok(n);
    }
    let line =
        format!("evaluation.samples = {n} must be from {MIN_SAMPLES} to {max_n}, the images of {}", dataset.name);
    Err(Failure::usage(anyhow!(line)))
}

/// Why the first `n` test images cannot be a reference.
fn not_scored(n: usize, error: MetricError) -> Failure {
    match error {
        MetricError::ImageShape { .. } => Failure::data(error),
        _ => Failure::usage(anyhow!("evaluation.samples = {n}: {error}")),
    }
}

/// The first `n` test images as a reference, or as many as both splits have when `n` is `None`. Returns `None` where no feature network fits the images.
///
/// # Errors
/// As [`Scorer::new`]. The training split must have `n` images as well, because the floor is a score of `n` training images.
fn reference(dataset: &Dataset, n: Option<usize>, jobs: usize, device: Device) -> Result<Option<DatasetReference>> {
    let Some(network) = FeatureNet::of_dataset(dataset.name, device) else { return Ok(None) };
    let n = num_scored(dataset, n)?;
    let (test, shape) = (dataset.test.first(n), dataset.test.shape());
    let pixels = ImageList::of_one_shape(test.pixels(), shape);
    let images = || {
        let classes = network.true_classes(test.labels())?;
        Reference::new(network.network(), network.extract(&pixels, jobs)?, classes)
    };
    let images = images().map_err(|error| not_scored(n, error))?;
    Ok(Some(DatasetReference { network, images, shape }))
}

#[cfg(test)]
mod tests {
    use effgan_data::{DatasetConfig, DatasetName};

    use super::*;

    fn accuracy(config: &DatasetConfig) -> f64 {
        let test = config.load().unwrap().test;
        let network = FeatureNet::of_dataset(config.name, Device::cpu().unwrap()).unwrap();
        let images = ImageList::of_one_shape(test.pixels(), test.shape());
        let classes = network.extract(&images, 2).unwrap().classes;
        let right = classes.iter().zip(test.labels()).filter(|(ours, label)| ours == label).count();
        right as f64 / test.len() as f64
    }

    #[test]
    fn the_built_in_network_reads_the_embedded_digits() {
        let accuracy = accuracy(&DatasetConfig::of(DatasetName::MnistMini));
        assert!(accuracy >= 0.985, "{accuracy}");
    }

    #[test]
    fn digits_of_another_size_or_in_colour_are_read_nearly_as_well() {
        // 28 to 32 and back blurs a little, 28 to 64 and back less; half a percent is ten of the 2,000 digits.
        for (size, channels) in [(28, 3), (32, 3), (64, 1)] {
            let config = DatasetConfig {
                size: Some(size),
                channels: Some(channels),
                ..DatasetConfig::of(DatasetName::MnistMini)
            };
            let accuracy = accuracy(&config);
            assert!(accuracy >= 0.98, "{size} × {size} of {channels} channels: {accuracy}");
        }
    }

    #[test]
    fn images_of_other_data_sets_have_no_score_and_a_note_that_says_so() {
        let digits = DatasetConfig::of(DatasetName::MnistMini).load().unwrap();
        let dataset = Dataset { name: DatasetName::Folder, ..digits };
        let model: Arc<dyn Model> = Arc::new(crate::config::tests::model());
        let scorer = Scorer::new(&dataset, None, &model, 1, 1, Device::cpu().unwrap()).unwrap();
        assert_eq!(scorer.note(), Some("no scores: no built-in feature network fits the images of folder"));
        assert_eq!(scorer.score(dataset.test.first(64).pixels()).unwrap(), None);
        assert_eq!(scorer.floor(&dataset.train).unwrap(), None);
    }

    #[test]
    #[ignore = "needs the full data sets: set EFFGAN_DATA to the folder with mnist/ and fashion-mnist/"]
    fn the_built_in_networks_have_the_claimed_accuracy() {
        let data = std::path::PathBuf::from(std::env::var_os("EFFGAN_DATA").expect("EFFGAN_DATA is set"));
        for (name, at_least) in [(DatasetName::Mnist, 0.9915), (DatasetName::FashionMnist, 0.9080)] {
            let accuracy = accuracy(&DatasetConfig { dir: Some(data.join(name.as_str())), ..DatasetConfig::of(name) });
            assert!(accuracy >= at_least, "{name}: {accuracy}");
        }
    }

    #[test]
    fn a_reference_that_lacks_a_class_is_refused() {
        let config = DatasetConfig::of(DatasetName::MnistMini);
        let model: Arc<dyn Model> = Arc::new(crate::config::tests::model());
        let device = Device::cpu().unwrap();
        let error = Scorer::new(&config.load().unwrap(), Some(10), &model, 1, 1, device).err().unwrap().line();
        assert!(error.starts_with("evaluation.samples = 10: there is no image of class"), "{error}");
    }
}
