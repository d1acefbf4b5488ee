//! Generates images during a run and scores them against the data set's test split.
//!
//! The built-in feature networks take digits and clothes of 1 × 28 × 28. Where a run has these data sets in another size or in
//! colour, real and generated images alike are resized first, by the rule of [`effgan_data::resize`]. Images of other data
//! sets are scored with a network that is trained on them, and those that none can be trained on, such as images without classes, by
//! their pixels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::anyhow;
use effgan_data::control_chars::without_control;
use effgan_data::{Dataset, ImageList, ImageSet};
use effgan_fl::sample::{Draw, sample};
use effgan_fl::{Ensemble, FlError, ensemble::Selection};
use effgan_metrics::metric::Network;
use effgan_metrics::{ClassHistogram, Features, MetricError, Reference, Scores};
use effgan_nn::{Device, Model, Params};

use super::feature_net::{FeatureNet, MIN_LOW_PASSES, check_low_pass};
use super::own_features::{OrReason, Training, unseen};
use crate::config::{EvaluationConfig, MIN_SAMPLES};
use crate::failure::{Failure, Result};
use crate::record::samples::NUM_SHOWN;

/// The scoring of a run: n reference images, and the seed of the samples.
pub(crate) struct Scorer {
    /// Absent where no feature network fits the images.
    reference: Option<DatasetReference>,
    /// Why there are no scores, or what to know about them.
    notes: Vec<String>,
    model: Arc<dyn Model>,
    /// Classes of a conditional model that are not drawn, since no client has images of them.
    without: Vec<u8>,
    seed: u64,
    jobs: usize,
    /// The device that images are generated and scored on.
    device: Device,
}

impl Scorer {
    /// Scores as many samples as `evaluation` says against as many first test images, on the device of `how`.
    ///
    /// # Errors
    /// When these are fewer than 2, a split has fewer images, a class of a built-in network has no image among the reference images, or
    /// the network's weights are missing.
    pub(crate) fn new(
        dataset: &Dataset,
        evaluation: &EvaluationConfig,
        model: &Arc<dyn Model>,
        seed: u64,
        how: Training<'_>,
    ) -> Result<Self> {
        let Training { device, jobs, .. } = how;
        let (reference, notes) = match reference(dataset, evaluation, how)? {
            Ok((reference, notes)) => (Some(reference), notes),
            // No number is made up for images that no network was trained for.
            Err(reason) => (None, vec![format!("no scores: {reason}")]),
        };
        Ok(Self { reference, notes, model: model.clone(), without: Vec::new(), seed, jobs, device })
    }

    /// The same, which draws none of these classes.
    pub(crate) fn without_classes(self, without: Vec<u8>) -> Self {
        Self { without, ..self }
    }

    /// Generates images on `device` without scoring them, for a server that has no real images.
    pub(crate) fn without_images(model: &Arc<dyn Model>, seed: u64, jobs: usize, device: Device) -> Self {
        let note = "no scores: the server has no images; effgan evaluate scores the model where there are some".into();
        Self { reference: None, notes: vec![note], model: model.clone(), without: Vec::new(), seed, jobs, device }
    }

    /// Why there are no scores, or what to know about them.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What identifies the network that images are scored by, and its name.
    pub(crate) fn network(&self) -> Option<[String; 2]> {
        self.reference.as_ref().map(|reference| [reference.network.id(), reference.network.name()])
    }

    /// Whether images are scored.
    pub(crate) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Scores real training images: what a perfect generator would reach.
    ///
    /// # Errors
    /// When a feature is not finite.
    pub(crate) fn floor(&self, train: &ImageSet, stop: &AtomicBool) -> anyhow::Result<Option<Scores>> {
        let Some(DatasetReference { network, images, .. }) = &self.reference else { return Ok(None) };
        let indices = network.for_floor(train.labels()).into_iter().take(images.n());
        let pixels: Vec<u8> = indices.flat_map(|index| train.image(index as usize)).copied().collect();
        self.score(&pixels, stop)
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
    fn draw(&self) -> Draw<'_> {
        let draw = Draw::new(self.seed, 0..self.num_samples() as u64, self.device, self.jobs);
        Draw { without: &self.without, ..draw }
    }

    /// Images of each predicted class, of u8 images `[n, c, h, w]`; `None` where no feature network fits them.
    ///
    /// # Errors
    /// When there is no image.
    pub(crate) fn class_counts(&self, images: &[u8]) -> anyhow::Result<Option<Vec<u64>>> {
        let Some(DatasetReference { network, shape, .. }) = &self.reference else { return Ok(None) };
        let Some(num_classes) = network.num_classes() else { return Ok(None) };
        let classes = network.classes(&ImageList::of_one_shape(images, *shape), self.jobs)?;
        Ok(Some(ClassHistogram::from_classes(&classes, num_classes)?.counts().to_vec()))
    }

    /// Scores u8 images `[n, c, h, w]`, as many as [`samples_of`](Self::samples_of) generates; `None` where no feature network fits them,
    /// and when `stop` becomes true.
    ///
    /// # Errors
    /// When there are fewer or more, or a feature is not finite.
    pub(crate) fn score(&self, images: &[u8], stop: &AtomicBool) -> anyhow::Result<Option<Scores>> {
        let Some(DatasetReference { network, images: reference, shape }) = &self.reference else { return Ok(None) };
        let Some(features) = features(network, images, *shape, self.jobs, stop)? else { return Ok(None) };
        Ok(Some(reference.score_round(&features, self.jobs)?))
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

/// Features of u8 `images` `[n, c, h, w]` of `shape` `[c, h, w]`, computed piece by piece; `None` when `stop` becomes true.
fn features(
    network: &FeatureNet,
    images: &[u8],
    shape: [usize; 3],
    jobs: usize,
    stop: &AtomicBool,
) -> effgan_metrics::Result<Option<Features>> {
    let len = shape.iter().product::<usize>();
    let (n, mut all) = (images.len() / len, Features::of_no_images(network.dim()));
    for start in (0..n).step_by(network.piece()) {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let piece = start..(start + network.piece()).min(n);
        let images = ImageList::of_one_shape(&images[piece.start * len..piece.end * len], shape);
        all.extend(network.extract_to_score(&images, piece, n, jobs)?);
    }
    Ok(Some(all))
}

/// Checks that there are `evaluation.samples` images to score, of all classes of a built-in feature network, where they are scored.
///
/// # Errors
/// When there are fewer, or they lack a class.
pub(crate) fn check_samples(dataset: &Dataset, evaluation: &EvaluationConfig, device: Device) -> Result<()> {
    let n = evaluation.samples;
    if evaluation.features.is_some() {
        return num_scored(dataset, dataset.train.len(), n, MIN_SAMPLES).map(drop);
    }
    let Some(network) = FeatureNet::of_dataset(dataset.name, device) else {
        let (train, unseen) = (dataset.train.len(), unseen(dataset.train.labels()).len());
        return if dataset.train.num_classes() > 1 && unseen >= MIN_SAMPLES {
            num_scored(dataset, unseen, n, MIN_SAMPLES).map(drop)
        } else if check_low_pass(dataset).is_ok() {
            num_scored(dataset, train, n, MIN_LOW_PASSES).map(drop)
        } else {
            Ok(())
        };
    };
    let n = num_scored(dataset, dataset.train.len(), n, MIN_SAMPLES)?;
    network.true_classes(&dataset.test.labels()[..n]).map(drop).map_err(|error| not_scored(n, error))
}

/// How many images are scored: `n`, or as many as there are test images and images for the floor; `min_n` at least.
fn num_scored(dataset: &Dataset, for_floor: usize, n: Option<usize>, min_n: usize) -> Result<usize> {
    let max_n = dataset.test.len().min(for_floor);
    let n = n.unwrap_or(max_n);
    if (min_n..=max_n).contains(&n) {
        return Ok(n);
    }
    let line = format!("evaluation.samples = {n} must be from {min_n} to {max_n}, the images of {}", dataset.name);
    Err(Failure::usage(anyhow!(line)))
}

/// Why the first `n` test images cannot be a reference.
fn not_scored(n: usize, error: MetricError) -> Failure {
    match error {
        MetricError::ImageShape { .. } => Failure::data(error),
        _ => Failure::usage(anyhow!("evaluation.samples = {n}: {error}")),
    }
}

/// Checks that the images of `dataset` can be scored as `evaluation` says, without their features.
///
/// # Errors
/// As [`Scorer::new`], and [`Kind::Usage`](crate::Kind::Usage) where they have no scores.
pub(crate) fn check_scores(dataset: &Dataset, evaluation: &EvaluationConfig, how: Training<'_>) -> Result<()> {
    let no_scores =
        |reason| Failure::usage(anyhow!("no feature network fits the images of {}: {reason}", dataset.name));
    Chosen::new(dataset, evaluation, how)?.map(drop).map_err(no_scores)
}

/// The network that the images of a data set are scored by, before any features are computed.
struct Chosen {
    network: FeatureNet,
    /// How many first test images are the reference.
    n: usize,
    /// Their true classes, where these are compared.
    classes: Option<ClassHistogram>,
    notes: Vec<String>,
}

impl Chosen {
    /// The network of as many first test images as `evaluation` says, or as many as both splits have, and what to know about scores by it;
    /// or why the images have no scores. The training split must have as many images as well, because the floor is a score of them.
    fn new(dataset: &Dataset, evaluation: &EvaluationConfig, how: Training<'_>) -> Result<OrReason<Self>> {
        // Before a network is trained.
        check_samples(dataset, evaluation, how.device)?;
        let network = match FeatureNet::for_run(dataset, evaluation.features.as_ref(), how)? {
            Ok(network) => network,
            Err(reason) => return Ok(Err(reason)),
        };
        let for_floor = network.for_floor(dataset.train.labels()).len();
        let n = num_scored(dataset, for_floor, evaluation.samples, network.min_samples())?;
        let mut notes = notes(&network, dataset.test.shape(), n);
        let is_default_lenet = network.network() == Network::Small && evaluation.features.is_none();
        let classes = match network.true_classes(&dataset.test.labels()[..n]) {
            // People's own classes may be too small for a test image each, and FID needs no classes.
            Err(MetricError::MissingClass { class, n }) if !is_default_lenet => {
                notes.push(without_class(&dataset.class_names, class, n));
                None
            }
            classes => classes.map_err(|error| not_scored(n, error))?,
        };
        Ok(Ok(Self { network, n, classes, notes }))
    }
}

/// Why there are no class scores by `n` images of which none is of the class with the number `class`.
pub(super) fn without_class(names: &[String], class: usize, n: usize) -> String {
    let name = names.get(class).map_or_else(|| class.to_string(), |name| without_control(name));
    format!("no class scores: there is no image of class {name} among the {n} reference images; use more of them")
}

/// First test images as a reference, and what to know about scores by it; or why the images have no scores.
///
/// # Errors
/// As [`Scorer::new`].
fn reference(
    dataset: &Dataset,
    evaluation: &EvaluationConfig,
    how: Training<'_>,
) -> Result<OrReason<(DatasetReference, Vec<String>)>> {
    let Chosen { network, n, classes, notes } = match Chosen::new(dataset, evaluation, how)? {
        Ok(chosen) => chosen,
        Err(reason) => return Ok(Err(reason)),
    };
    // The split may be large: nothing of it is copied.
    let shape = dataset.test.shape();
    let pixels = &dataset.test.pixels()[..n * shape.iter().product::<usize>()];
    let images = features(&network, pixels, shape, how.jobs, how.stop).map_err(|error| not_scored(n, error))?;
    let images = network.reference(images.ok_or(FlError::Interrupted)?, classes);
    let images = images.map_err(|error| not_scored(n, error))?;
    Ok(Ok((DatasetReference { network, images, shape }, notes)))
}

/// What to know about scores of `n` images of `shape` by `network`.
fn notes(network: &FeatureNet, [c, h, w]: [usize; 3], n: usize) -> Vec<String> {
    let converted = network.input_shape().filter(|taken| *taken != [c, h, w]).map(|[to_c, to_h, to_w]| {
        format!(
            "real and generated images are converted from {c} × {h} × {w} to {to_c} × {to_h} × {to_w} before they are scored"
        )
    });
    let name = match network.network() {
        Network::Small => None,
        Network::Own | Network::LowPass => Some(format!("scores are by a {}", network.name())),
        Network::Inception => Some(format!("scores are by {}", network.name())),
    };
    let has_distance = matches!(network.network(), Network::Own | Network::Inception);
    let few = (has_distance && n <= network.dim()).then(|| {
        format!(
            "{n} images are too few for {} features: compare distances only at the same n, and with the floor",
            network.dim()
        )
    });
    [converted, name, few, network.note()].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use effgan_data::{DatasetConfig, DatasetName};
    use effgan_fl::ensemble::NormStatistics;

    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn how() -> Training<'static> {
        Training { device: Device::cpu().unwrap(), jobs: 1, progress: &|_, _, _| {}, stop: &NEVER }
    }

    fn samples(samples: Option<usize>) -> EvaluationConfig {
        EvaluationConfig { every: 1, samples, norm_statistics: NormStatistics::default(), features: None }
    }

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

    /// The digits as a folder of one class, as so many training and test images that are cut to squares of `side`.
    fn without_classes(num_train: usize, num_test: usize, side: usize) -> Dataset {
        let digits = DatasetConfig::of(DatasetName::MnistMini).load().unwrap();
        let [train, test] = [(&digits.train, num_train), (&digits.test, num_test)].map(|(set, n)| {
            let rows = (0..n).flat_map(|i| set.image(i).chunks(28).skip(7).take(side));
            let pixels = rows.flat_map(|row| &row[7..7 + side]).copied().collect();
            ImageSet::new([1, side, side], pixels, vec![0; n], 1).unwrap()
        });
        Dataset { name: DatasetName::Folder, train, test, ..digits }
    }

    fn model() -> Arc<dyn Model> {
        Arc::new(crate::config::tests::model())
    }

    #[test]
    fn images_without_classes_are_scored_by_their_pixels_and_a_note_says_so() {
        let dataset = without_classes(200, 100, 20);
        let scorer = Scorer::new(&dataset, &samples(None), &model(), 1, how()).unwrap();
        let note = "scores are by a low-pass of 16 × 16 (no network: the images have no classes, which a feature network would learn)";
        assert_eq!(scorer.notes(), [note]);
        let floor = scorer.floor(&dataset.train, &NEVER).unwrap().unwrap();
        let names: Vec<&str> = floor.all().map(|(metric, _)| metric.name).collect();
        assert_eq!(names, ["swd", "precision", "recall", "density", "coverage"]);
        assert_eq!((floor.n, floor.settings.swd_levels.len()), (100, 1));
        assert_eq!(scorer.score(dataset.test.pixels(), &NEVER).unwrap().unwrap().main().unwrap().1, 0.0);
        assert_eq!(scorer.class_counts(dataset.test.pixels()).unwrap(), None);
    }

    #[test]
    fn images_without_classes_that_are_too_few_or_too_small_have_no_score_and_a_note_that_says_so() {
        let reason = "no scores: the images have no classes, which a feature network would learn, and";
        for (num_train, num_test, side, why) in [
            (20, 5, 20, "20 training and 5 test images are too few to compare: 6 of each are needed"),
            (20, 10, 6, "images of 6 × 6 pixels are too small for swd, which takes patches of 7 × 7"),
        ] {
            let dataset = without_classes(num_train, num_test, side);
            let scorer = Scorer::new(&dataset, &samples(None), &model(), 1, how()).unwrap();
            assert_eq!(scorer.notes(), [format!("{reason} {why}")]);
            assert_eq!(scorer.floor(&dataset.train, &NEVER).unwrap(), None);
        }
    }

    #[test]
    fn a_number_of_samples_that_images_without_classes_do_not_have_is_refused() {
        for n in [5, 101] {
            let error = Scorer::new(&without_classes(200, 100, 20), &samples(Some(n)), &model(), 1, how())
                .err()
                .unwrap()
                .line();
            assert_eq!(error, format!("evaluation.samples = {n} must be from 6 to 100, the images of folder"));
        }
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
        let error = Scorer::new(&config.load().unwrap(), &samples(Some(10)), &model(), 1, how()).err().unwrap().line();
        assert!(error.starts_with("evaluation.samples = 10: there is no image of class"), "{error}");
    }
}
