//! The networks whose features are compared: small ones that are built in or trained, and Inception-2015. Images that have none are
//! compared by their own pixels.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_data::{Dataset, DatasetName, ImageList, download};
use effgan_metrics::metric::Network;
use effgan_metrics::{
    ClassHistogram, Features, Inception, OwnNet, OwnNetwork, Patches, Prdc, Reference, Resize, SmallNet, low_pass,
    low_pass_size,
};
use effgan_nn::{Device, checkpoint, params};

use super::own_features::{OrReason, Training, own_net, unseen};
use crate::config::{MIN_SAMPLES, RunFeatures};
use crate::failure::{Failure, Result};

/// A feature network, and a classifier for the same images where there is one.
pub struct FeatureNet {
    kind: Kind,
    /// The name in results; of a network from a file, with its path.
    name: String,
    /// SHA-256 of the weights.
    hash: String,
    /// Whether it comes with the program.
    is_built_in: bool,
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
    /// The small network `name`: `mnist` or `fashion-mnist`, which are built in, or a file that `effgan features train` wrote;
    /// on `device`.
    ///
    /// # Errors
    /// When there is no such file, or it does not hold such a network.
    pub fn small(name: &str, device: Device) -> Result<Self> {
        if let Some(built_in) = BUILT_IN.iter().find(|built_in| built_in.name == name) {
            return Ok(Self::of_built_in(built_in, device));
        }
        let path = Path::new(name);
        if !path.is_file() {
            let known = BUILT_IN.map(|built_in| built_in.name).join(", ");
            let line = format!(
                "--features {name} is not a network; give {known}, inception, or a file that effgan features train wrote"
            );
            return Err(Failure::usage(anyhow!(line)));
        }
        let read = || -> anyhow::Result<SmallNet> { Ok(SmallNet::new(&checkpoint::load(path)?, device)?) };
        let net = read().with_context(|| path.display().to_string()).map_err(Failure::data)?;
        Ok(Self::of_small(net, &path.display().to_string()))
    }

    /// The built-in network for the images of a data set, on `device`; `None` where there is none.
    pub fn of_dataset(dataset: DatasetName, device: Device) -> Option<Self> {
        small_net(dataset).map(|built_in| Self::of_built_in(built_in, device))
    }

    /// The network for the images of `dataset`: the built-in one, or else one that is trained on them, or else their low-passes and
    /// patches; or why there are no scores.
    ///
    /// # Errors
    /// When a network cannot be trained.
    pub fn for_images_of(dataset: &Dataset, how: Training<'_>) -> Result<OrReason<Self>> {
        match Self::of_dataset(dataset.name, how.device) {
            Some(built_in) => Ok(Ok(built_in)),
            None => Ok(match own_net(dataset, how)? {
                Ok(net) => Ok(Self::of_own(net, dataset)),
                Err(reason) => Self::low_pass(dataset, &reason),
            }),
        }
    }

    /// The network that a run of `dataset` is scored with: the one that its config asks for, or else that of the images; or why there is none.
    ///
    /// # Errors
    /// When a network cannot be trained, or Inception's weights have not been fetched.
    pub(super) fn for_run(
        dataset: &Dataset,
        features: Option<RunFeatures>,
        how: Training<'_>,
    ) -> Result<OrReason<Self>> {
        match features {
            Some(RunFeatures::Inception) => {
                let missing = "Inception's weights were not found; fetch them with effgan data fetch inception";
                let weights = download::inception_weights().ok_or_else(|| Failure::usage(anyhow!(missing)))?;
                Self::inception(&weights, Resize::default(), Some(dataset.name), how.device).map(Ok)
            }
            None => Self::for_images_of(dataset, how),
        }
    }

    /// That of the images, or an error.
    ///
    /// # Errors
    /// Also [`Kind::Usage`](crate::Kind::Usage) when there is none.
    pub fn required_for(dataset: &Dataset, how: Training<'_>) -> Result<Self> {
        let found = Self::for_images_of(dataset, how)?;
        found.map_err(|reason| {
            Failure::usage(anyhow!("no feature network fits the images of {}: {reason}", dataset.name))
        })
    }

    /// The low-passes and patches of images like those of `dataset`, which have no network for this `reason`; or why there are none either.
    fn low_pass(dataset: &Dataset, reason: &str) -> OrReason<Self> {
        check_low_pass(dataset).map_err(|problem| format!("{reason}, and {problem}"))?;
        let shape = dataset.train.shape();
        let [h, w] = low_pass_size(shape);
        let name = format!("low-pass of {h} × {w} (no network: {reason})");
        Ok(Self { kind: Kind::LowPass(shape), name, hash: String::new(), is_built_in: false })
    }

    fn of_own(net: OwnNet, dataset: &Dataset) -> Self {
        let accuracy = 100.0 * net.quality().accuracy;
        let name = format!("ResNet (trained on {}, test accuracy {accuracy:.1} %, {:.8})", dataset.name, net.hash());
        let hash = net.hash().to_owned();
        Self { kind: Kind::Own(net), name, hash, is_built_in: false }
    }

    fn of_small(net: SmallNet, name: &str) -> Self {
        let hash = net.hash().to_owned();
        Self { kind: Kind::Small(net), name: format!("LeNet ({name})"), hash, is_built_in: false }
    }

    fn of_built_in(built_in: &BuiltIn, device: Device) -> Self {
        Self { is_built_in: true, ..Self::of_small((built_in.net)(device), built_in.name) }
    }

    /// Inception-2015 with the weights in a file, and the built-in classifier for the images of `dataset`, where there is one; both on
    /// `device`.
    ///
    /// # Errors
    /// When the file cannot be read or holds other weights.
    pub fn inception(weights: &Path, resize: Resize, dataset: Option<DatasetName>, device: Device) -> Result<Self> {
        let inception = Inception::load(weights, resize, device).map_err(Failure::data)?;
        let (hash, name) = (params::sha256(inception.sha256().as_bytes()), format!("Inception-2015, resize {resize}"));
        let classifier = dataset.and_then(small_net).map(|built_in| (built_in.net)(device));
        Ok(Self { kind: Kind::Inception(Box::new(inception), resize, classifier), name, hash, is_built_in: false })
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

    /// The small network that predicts classes, where there is one.
    pub fn classifier(&self) -> Option<&SmallNet> {
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
        let own_network = match &self.kind {
            Kind::Own(net) => Some(OwnNetwork { sha256: self.hash.clone(), test_accuracy: net.quality().accuracy }),
            Kind::Small(_) | Kind::LowPass(_) | Kind::Inception(..) => None,
        };
        Ok(Reference::new(self.network(), features, classes)?.with_own_network(own_network))
    }

    /// How sure a built-in network is of the classes of `images`: the mean probability of the most likely one; `None` for other networks.
    ///
    /// # Errors
    /// When the network does not take such images.
    pub(super) fn certainty(&self, images: &ImageList) -> effgan_metrics::Result<Option<f64>> {
        match &self.kind {
            Kind::Small(net) if self.is_built_in => {
                net.certainty(&images.fit(SmallNet::SHAPE), SmallNet::SHAPE).map(Some)
            }
            _ => Ok(None),
        }
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

/// A small network that is built into the program.
struct BuiltIn {
    /// The name in `--features` and in results.
    name: &'static str,
    net: fn(Device) -> SmallNet,
}

const MNIST: BuiltIn = BuiltIn { name: "mnist", net: SmallNet::mnist };
const FASHION_MNIST: BuiltIn = BuiltIn { name: "fashion-mnist", net: SmallNet::fashion_mnist };
const BUILT_IN: [BuiltIn; 2] = [MNIST, FASHION_MNIST];

/// The built-in network that was trained on the images of `dataset`; `None` for other data sets.
fn small_net(dataset: DatasetName) -> Option<&'static BuiltIn> {
    match dataset {
        DatasetName::MnistMini | DatasetName::Mnist => Some(&MNIST),
        DatasetName::FashionMnist => Some(&FASHION_MNIST),
        DatasetName::Cifar10 | DatasetName::Folder | DatasetName::Npz | DatasetName::Idx => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_network_of_a_data_set_has_one_name_in_results_and_in_features() {
        let device = Device::cpu().unwrap();
        for dataset in DatasetName::ALL {
            let Some(built_in) = small_net(dataset) else { continue };
            let (network, named) = (FeatureNet::of_dataset(dataset, device), FeatureNet::small(built_in.name, device));
            let found = [network.unwrap(), named.unwrap()].map(|network| (network.name(), network.id()));
            assert_eq!(found[0], found[1], "{dataset}");
            assert_eq!(found[0].0, format!("LeNet ({})", built_in.name));
        }
    }
}
