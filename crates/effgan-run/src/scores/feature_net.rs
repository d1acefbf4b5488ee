//! The networks whose features are compared: small ones that are built in or trained, and Inception-2015. Images that have none are
//! compared by their own pixels.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_data::{Dataset, DatasetName, ImageList};
use effgan_metrics::metric::Network;
use effgan_metrics::{
    ClassHistogram, Features, Inception, OwnNet, OwnNetwork, Patches, Prdc, Recipe, Reference, Resize, SmallNet,
    low_pass, low_pass_size,
};
use effgan_nn::{Device, checkpoint, params, sealed};

use super::network_file::{Loaded, NetworkFile};
use super::own_features::{OrReason, Training, own_net, unseen};
use crate::config::MIN_SAMPLES;
use crate::failure::{Failure, Result};

/// A feature network, and a classifier for the same images where there is one.
pub struct FeatureNet {
    kind: Kind,
    /// The name in results; of a network from a file, with its path.
    name: String,
    /// SHA-256 of the weights.
    hash: String,
    /// The names of the classes that it tells apart; empty where they are not known.
    class_names: Vec<String>,
    /// How sure it is of the classes of images like those that it was trained on; `None` where that is not known.
    certainty: Option<f64>,
    /// Share of test images whose class it predicts, of a network that people train.
    test_accuracy: Option<f64>,
    /// Why it predicts no classes of the images that are scored, though it could predict some.
    without_classes: Option<String>,
}

enum Kind {
    Small(SmallNet),
    /// A network that was trained on the images of the data set.
    Own(OwnNet),
    /// Images without a network, of this shape: vectors are their low-passes.
    LowPass([usize; 3]),
    /// Features of Inception-2015, and classes of a small network where there is one for the images.
    Inception(Box<Inception>, Resize, Option<SmallNet>),
}

impl FeatureNet {
    /// The network in a file that `effgan features train` wrote, on `device`. An error says how it was `asked` for.
    ///
    /// # Errors
    /// When there is no such file, or it does not hold such a network.
    pub(super) fn in_file(path: &Path, asked: &str, device: Device) -> Result<Self> {
        let file = path.display().to_string();
        if !path.is_file() {
            let line = format!(
                "{asked} is not a network; give mnist, fashion-mnist, inception, or a file that effgan features train wrote"
            );
            return Err(Failure::usage(anyhow!(line)));
        }
        let bytes = checkpoint::read_file(path, checkpoint::MAX_BYTES).with_context(|| file.clone());
        let network = Self::of_bytes(&bytes.map_err(Failure::data)?, &file, device);
        network.map_err(|reason| Failure::data(anyhow!("{file}: {reason}")))
    }

    /// The network in the `bytes` of a `file`; or why there is none.
    fn of_bytes(bytes: &[u8], file: &str, device: Device) -> OrReason<Self> {
        let said = |error: effgan_metrics::MetricError| error.to_string();
        if !sealed::is_sealed(bytes) {
            let torn =
                |reason| format!("is torn, or no feature network ({reason}); train one with effgan features train");
            let params = checkpoint::from_bytes(bytes).map_err(torn)?;
            params.check_finite().map_err(|error| error.to_string())?;
            return Ok(Self::of_small(SmallNet::new(&params, device).map_err(said)?, file));
        }
        let read = NetworkFile::of_bytes(bytes)?;
        let origin = format!("{file}, trained on {}", read.dataset());
        let net = match read.on(device).map_err(said)? {
            Loaded::Small(net) => Self::of_small(*net, &origin),
            Loaded::Own(net) => Self::of_own(*net, &origin),
        };
        let (certainty, test_accuracy) = (Some(read.certainty()), Some(read.quality().accuracy));
        Ok(Self { class_names: read.classes().to_vec(), certainty, test_accuracy, ..net })
    }

    /// The built-in network for the images of a data set, on `device`; `None` where there is none.
    pub fn of_dataset(dataset: DatasetName, device: Device) -> Option<Self> {
        match dataset {
            DatasetName::MnistMini | DatasetName::Mnist => Some(Self::mnist(device)),
            DatasetName::FashionMnist => Some(Self::fashion_mnist(device)),
            DatasetName::Cifar10 | DatasetName::Folder | DatasetName::Npz | DatasetName::Idx => None,
        }
    }

    /// The built-in network for digits.
    pub(super) fn mnist(device: Device) -> Self {
        Self::of_built_in(SmallNet::mnist(device), DatasetName::Mnist)
    }

    /// The built-in network for clothes.
    pub(super) fn fashion_mnist(device: Device) -> Self {
        Self::of_built_in(SmallNet::fashion_mnist(device), DatasetName::FashionMnist)
    }

    /// The network for the images of `dataset`: the built-in one, or else one that is trained on them, or else their low-passes and
    /// patches; or why there are no scores.
    ///
    /// # Errors
    /// When a network cannot be trained.
    pub(super) fn for_images_of(dataset: &Dataset, how: Training<'_>) -> Result<OrReason<Self>> {
        match Self::of_dataset(dataset.name, how.device) {
            Some(built_in) => Ok(Ok(built_in)),
            None => Ok(match own_net(dataset, Recipe::default(), how)? {
                Ok(net) => Ok(Self::of_own(
                    net.on(how.device).map_err(Failure::data)?,
                    &format!("trained on {}", dataset.name),
                )),
                Err(reason) => Self::low_pass(dataset, &reason),
            }),
        }
    }

    /// What compares the images of `dataset` without being trained on them: the built-in network, or else low-passes.
    pub fn without_training(dataset: &Dataset, device: Device) -> Self {
        let shape = dataset.train.shape();
        let low_pass = || {
            let [h, w] = low_pass_size(shape);
            Self::of(Kind::LowPass(shape), format!("low-pass of {h} × {w}"), String::new())
        };
        Self::of_dataset(dataset.name, device).unwrap_or_else(low_pass)
    }

    /// The low-passes and patches of images like those of `dataset`, which have no network for this `reason`; or why there are none either.
    fn low_pass(dataset: &Dataset, reason: &str) -> OrReason<Self> {
        check_low_pass(dataset).map_err(|problem| format!("{reason}, and {problem}"))?;
        let shape = dataset.train.shape();
        let [h, w] = low_pass_size(shape);
        let name = format!("low-pass of {h} × {w} (no network: {reason})");
        Ok(Self::of(Kind::LowPass(shape), name, String::new()))
    }

    fn of_own(net: OwnNet, origin: &str) -> Self {
        let accuracy = 100.0 * net.quality().accuracy;
        let name = format!("ResNet ({origin}, test accuracy {accuracy:.1} %, {:.8})", net.hash());
        let (hash, test_accuracy) = (net.hash().to_owned(), Some(net.quality().accuracy));
        Self { test_accuracy, ..Self::of(Kind::Own(net), name, hash) }
    }

    fn of_small(net: SmallNet, name: &str) -> Self {
        let hash = net.hash().to_owned();
        Self::of(Kind::Small(net), format!("LeNet ({name})"), hash)
    }

    fn of_built_in(net: SmallNet, dataset: DatasetName) -> Self {
        let class_names = dataset.classes().iter().map(ToString::to_string).collect();
        // On 1,000 test images of each.
        let certainty = Some(if dataset == DatasetName::FashionMnist { 0.94 } else { 0.996 });
        Self { class_names, certainty, ..Self::of_small(net, dataset.as_str()) }
    }

    fn of(kind: Kind, name: String, hash: String) -> Self {
        let (class_names, certainty, test_accuracy, without_classes) = (Vec::new(), None, None, None);
        Self { kind, name, hash, class_names, certainty, test_accuracy, without_classes }
    }

    /// Inception-2015 with the weights in a file, and the built-in classifier for the images of `dataset`, where there is one; both on
    /// `device`.
    ///
    /// # Errors
    /// When the file cannot be read or holds other weights.
    pub fn inception(weights: &Path, resize: Resize, dataset: Option<DatasetName>, device: Device) -> Result<Self> {
        let inception = Inception::load(weights, resize, device).map_err(Failure::data)?;
        let (hash, name) = (params::sha256(inception.sha256().as_bytes()), format!("Inception-2015, resize {resize}"));
        let classifier = match dataset.and_then(|dataset| Self::of_dataset(dataset, device)).map(|net| net.kind) {
            Some(Kind::Small(net)) => Some(net),
            _ => None,
        };
        Ok(Self::of(Kind::Inception(Box::new(inception), resize, classifier), name, hash))
    }

    /// The name in results, as in `LeNet (mnist)`.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// An identifier of everything that the features follow from, besides the images.
    pub fn id(&self) -> String {
        match &self.kind {
            Kind::Small(_) => format!("small {}", self.hash),
            Kind::Own(net) => format!("own {} {}", self.hash, net.quality().feature_size),
            Kind::LowPass(shape) => format!("low-pass {shape:?}"),
            Kind::Inception(_, resize, classifier) => {
                format!("inception {} {resize} {:?}", self.hash, classifier.as_ref().map(SmallNet::hash))
            }
        }
    }

    /// d, the length of a feature vector.
    pub fn dim(&self) -> usize {
        match self.kind {
            Kind::Small(_) => SmallNet::FEATURES,
            Kind::Own(_) => OwnNet::FEATURES,
            Kind::LowPass(shape) => shape[0] * low_pass_size(shape).iter().product::<usize>(),
            Kind::Inception(..) => Inception::FEATURES,
        }
    }

    /// The shape `[c, h, w]` that images are converted to; `None` for Inception, whose resize is part of its name.
    pub fn input_shape(&self) -> Option<[usize; 3]> {
        match &self.kind {
            Kind::Small(_) => Some(SmallNet::SHAPE),
            Kind::Own(net) => Some(net.shape().images),
            Kind::LowPass(shape) => Some(*shape),
            Kind::Inception(..) => None,
        }
    }

    /// Images per call of [`extract`](Self::extract), between checks whether to stop: a few seconds of work.
    pub fn piece(&self) -> usize {
        match self.network() {
            Network::Small | Network::LowPass => 2048,
            Network::Own => 1024,
            Network::Inception => 64,
        }
    }

    /// The kind of network, which decides what distances on its features are called.
    pub fn network(&self) -> Network {
        match self.kind {
            Kind::Small(_) => Network::Small,
            Kind::Own(_) => Network::Own,
            Kind::LowPass(_) => Network::LowPass,
            Kind::Inception(..) => Network::Inception,
        }
    }

    /// The same network, which predicts no classes of the images that are scored, for this `reason`.
    #[must_use]
    pub(super) fn without_classes(self, reason: String) -> Self {
        Self { without_classes: Some(reason), ..self }
    }

    /// What to know of scores by it.
    pub(super) fn note(&self) -> Option<String> {
        self.without_classes.as_ref().map(|reason| format!("no class scores: {reason}"))
    }

    /// The small network that predicts classes, where there is one.
    pub fn classifier(&self) -> Option<&SmallNet> {
        if self.without_classes.is_some() {
            return None;
        }
        match &self.kind {
            Kind::Small(net) => Some(net),
            Kind::Own(_) | Kind::LowPass(_) => None,
            Kind::Inception(_, _, classifier) => classifier.as_ref(),
        }
    }

    /// Indices of the training images with these `labels` that the floor is scored on: those that the network was not trained on.
    pub(super) fn for_floor(&self, labels: &[u8]) -> Vec<u32> {
        match self.network() {
            Network::Own => unseen(labels),
            // A LeNet has the digits of its training and test split right equally often, and Inception was trained on neither.
            Network::Small | Network::LowPass | Network::Inception => (0..labels.len() as u32).collect(),
        }
    }

    /// The number of classes that are predicted; `None` where none are.
    pub fn num_classes(&self) -> Option<usize> {
        match &self.kind {
            _ if self.without_classes.is_some() => None,
            Kind::Own(net) => Some(net.shape().num_classes),
            Kind::Small(_) | Kind::LowPass(_) | Kind::Inception(..) => self.classifier().map(|_| SmallNet::CLASSES),
        }
    }

    /// The true classes of reference images, by their `labels`; `None` where the network predicts no classes to compare them with.
    ///
    /// # Errors
    /// [`MetricError::MissingClass`](effgan_metrics::MetricError::MissingClass) when a class has no image.
    pub(super) fn true_classes(&self, labels: &[u8]) -> effgan_metrics::Result<Option<ClassHistogram>> {
        self.num_classes().map(|num_classes| ClassHistogram::of_reference(labels, num_classes)).transpose()
    }

    /// Reference images with these features and true classes, whose scores record the network where it is the data set's own.
    ///
    /// # Errors
    /// As [`Reference::new`].
    pub(super) fn reference(
        &self,
        features: Features,
        classes: Option<ClassHistogram>,
    ) -> effgan_metrics::Result<Reference> {
        let own_network =
            self.test_accuracy.map(|test_accuracy| OwnNetwork { sha256: self.hash.clone(), test_accuracy });
        Ok(Reference::new(self.network(), features, classes)?.with_own_network(own_network))
    }

    /// The names of the classes that it tells apart, in the order of their labels; empty where they are not known.
    pub(super) fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// How sure it is of the classes of `images`, the mean probability of the most likely one, and how sure it is of images like those that
    /// it was trained on; `None` where that is not known.
    ///
    /// # Errors
    /// When the network does not take such images.
    pub(super) fn certainty(&self, images: &ImageList) -> effgan_metrics::Result<Option<(f64, f64)>> {
        let Some(of_its_own) = self.certainty else { return Ok(None) };
        let found = match &self.kind {
            Kind::Small(net) => net.certainty(&images.fit(SmallNet::SHAPE), SmallNet::SHAPE)?,
            Kind::Own(net) => net.certainty(&images.fit(net.shape().images))?,
            Kind::LowPass(_) | Kind::Inception(..) => return Ok(None),
        };
        Ok(Some((found, of_its_own)))
    }

    /// Classes of images, without features where those are another network's; empty where no classes are predicted.
    ///
    /// # Errors
    /// As [`extract`](Self::extract).
    pub(super) fn classes(&self, images: &ImageList, jobs: usize) -> effgan_metrics::Result<Vec<u8>> {
        match &self.kind {
            Kind::Inception(_, _, classifier) => classifier.as_ref().map_or(Ok(Vec::new()), |net| {
                net.classify(&images.fit(SmallNet::SHAPE), SmallNet::SHAPE, jobs).map(|found| found.classes)
            }),
            Kind::Small(_) | Kind::Own(_) | Kind::LowPass(_) => Ok(self.extract(images, jobs)?.classes),
        }
    }

    /// Computes features and classes of images. Each image is converted by itself, from its own size and colours: for a small
    /// network to [`input_shape`](Self::input_shape) by the rule of [`effgan_data::resize`], for Inception to 299 × 299. The number of
    /// threads, `jobs`, changes no bit.
    ///
    /// # Errors
    /// When the network does not take such images.
    pub fn extract(&self, images: &ImageList, jobs: usize) -> effgan_metrics::Result<Features> {
        let classified = |net: &SmallNet| net.classify(&images.fit(SmallNet::SHAPE), SmallNet::SHAPE, jobs);
        let (values, classes) = match &self.kind {
            Kind::Small(net) => classified(net).map(|found| (found.features, found.classes))?,
            Kind::Own(net) => {
                let expected = net.shape().images;
                let found = net.classify(&images.fit(expected), expected, jobs)?;
                (found.features, found.classes)
            }
            Kind::LowPass(shape) => (low_pass(&images.fit(*shape), *shape, jobs), Vec::new()),
            Kind::Inception(inception, _, classifier) => {
                let classes = classifier.as_ref().map(|net| classified(net).map(|found| found.classes)).transpose()?;
                (inception.features(&images.iter().collect::<Vec<_>>(), jobs)?, classes.unwrap_or_default())
            }
        };
        Ok(Features { values, dim: self.dim(), classes, patches: None })
    }

    /// The same for images that are scored, which are those of `range` of n; with their patches where these are compared.
    ///
    /// # Errors
    /// As [`extract`](Self::extract).
    pub(super) fn extract_to_score(
        &self,
        images: &ImageList,
        range: Range<usize>,
        n: usize,
        jobs: usize,
    ) -> effgan_metrics::Result<Features> {
        let patches = |shape: [usize; 3]| {
            let mut patches = Patches::none_of(shape);
            patches.add(&images.fit(shape), range, n, jobs);
            patches
        };
        let features = self.extract(images, jobs)?;
        match self.kind {
            Kind::LowPass(shape) => Ok(Features { patches: Some(patches(shape)), ..features }),
            Kind::Small(_) | Kind::Own(_) | Kind::Inception(..) => Ok(features),
        }
    }

    /// Whether features are kept in the cache. Low-passes are computed as quickly as they are read.
    pub(super) fn is_cached(&self) -> bool {
        self.network() != Network::LowPass
    }

    /// The number of images that a run has to score at least.
    pub(super) fn min_samples(&self) -> usize {
        if self.network() == Network::LowPass { MIN_LOW_PASSES } else { MIN_SAMPLES }
    }
}

/// Minimum number of images that are scored without a network: a run searches for their neighbours.
pub(super) const MIN_LOW_PASSES: usize = Prdc::NEAREST_K + 1;

/// Why the images of `dataset` cannot be scored without a network, if they cannot.
pub(super) fn check_low_pass(dataset: &Dataset) -> std::result::Result<(), String> {
    let (shape, n) = (dataset.train.shape(), dataset.test.len().min(dataset.train.len()));
    if !Patches::fit(shape) {
        let [_, h, w] = shape;
        return Err(format!("images of {h} × {w} pixels are too small for swd, which takes patches of 7 × 7"));
    }
    if n < MIN_LOW_PASSES {
        let (test, train) = (dataset.test.len(), dataset.train.len());
        return Err(format!(
            "{train} training and {test} test images are too few to compare: {MIN_LOW_PASSES} of each are needed"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_for_digits_is_as_sure_of_them_as_it_says() {
        let digits = effgan_data::DatasetConfig::of(DatasetName::MnistMini).load().unwrap().test.first(1000);
        let network = FeatureNet::mnist(Device::cpu().unwrap());
        let images = ImageList::of_one_shape(digits.pixels(), digits.shape());
        let (found, said) = network.certainty(&images).unwrap().unwrap();
        // These digits are others than those of MNIST's test split; half a percent is five of a thousand.
        assert!((found - said).abs() < 0.005, "{found}, not {said}");
    }

    #[test]
    fn the_network_of_a_data_set_has_its_name_and_its_classes() {
        let device = Device::cpu().unwrap();
        for (dataset, name) in [
            (DatasetName::MnistMini, "LeNet (mnist)"),
            (DatasetName::Mnist, "LeNet (mnist)"),
            (DatasetName::FashionMnist, "LeNet (fashion-mnist)"),
        ] {
            let network = FeatureNet::of_dataset(dataset, device).unwrap();
            assert_eq!((network.name().as_str(), network.class_names().len()), (name, 10));
            assert_eq!(network.class_names(), dataset.classes());
        }
        assert!(FeatureNet::of_dataset(DatasetName::Folder, device).is_none());
    }
}
