//! The feature network that somebody asks for, or that fits the real images.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::{Dataset, ImageList, download};
use effgan_metrics::{Resize, SmallNet};

use super::evaluator::RealImages;
use super::feature_net::FeatureNet;
use super::own_features::{OrReason, Training};
use super::real_set::RealSet;
use crate::config::NetworkName;
use crate::failure::{Failure, Result};

/// Maximum number of real images by which a network is judged.
const MAX_TRIED: usize = 1000;
/// Least mean probability of the most likely class at which a network knows what it sees.
const MIN_CERTAINTY: f64 = 0.8;

/// Which network's features are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkChoice<'a> {
    /// The network; that of the real images' data set when absent.
    pub features: Option<&'a NetworkName>,
    /// A file of Inception's weights; those that `effgan data fetch inception` fetched when absent.
    pub weights: Option<&'a Path>,
    /// How Inception resizes images.
    pub resize: Resize,
}

impl NetworkChoice<'_> {
    /// The network for the real images, which is trained on them by `how` where it is their own.
    ///
    /// # Errors
    /// When there is no such network, none fits, it was trained on other images, or its weights are missing or damaged.
    pub fn load(&self, real: &RealSet, how: Training<'_>) -> Result<FeatureNet> {
        match (real.dataset(), self.features) {
            (Some(dataset), _) => self.for_dataset(dataset, how)?.map_err(|reason| no_network(dataset, &reason)),
            (None, Some(name)) => self.named(name, &real.images(), None, how),
            (None, None) => Err(usage(
                "images without a data set have no feature network of their own; pass --features (in Python features=): inception, \
                 mnist, fashion-mnist or a file that effgan features train wrote",
            )),
        }
    }

    /// The network for the images of `dataset`; or why there is none.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn for_dataset(&self, dataset: &Dataset, how: Training<'_>) -> Result<OrReason<FeatureNet>> {
        match self.features {
            Some(name) => self.named(name, &RealImages::of_dataset(dataset), Some(dataset), how).map(Ok),
            None if self.weights.is_some() => Err(weights_of_inception()),
            None => FeatureNet::for_images_of(dataset, how),
        }
    }

    fn named(
        &self,
        name: &NetworkName,
        real: &RealImages<'_>,
        dataset: Option<&Dataset>,
        how: Training<'_>,
    ) -> Result<FeatureNet> {
        if *name == NetworkName::Inception {
            let weights = self.weights.map(Path::to_owned).or_else(download::inception_weights);
            let missing = "Inception's weights were not found; fetch them with effgan data fetch inception, or pass --weights FILE \
                           (in Python weights=FILE)";
            let weights = weights.ok_or_else(|| usage(missing))?;
            return FeatureNet::inception(&weights, self.resize, dataset.map(|dataset| dataset.name), how.device);
        }
        if self.weights.is_some() {
            return Err(weights_of_inception());
        }
        let network = match name {
            NetworkName::File(file) => FeatureNet::in_file(file, how.device)?,
            NetworkName::FashionMnist => FeatureNet::fashion_mnist(how.device),
            NetworkName::Mnist | NetworkName::Inception => FeatureNet::mnist(how.device),
        };
        if let Some(dataset) = dataset {
            check_trained_on_such(name, &network, dataset, how)?;
        }
        let images = real.images.pieces(real.images.count().unwrap_or(0).min(MAX_TRIED), MAX_TRIED).next();
        let Some(first) = images else { return Ok(network) };
        let images = real.images.read(first.clone(), how.device, how.jobs, how.stop)?;
        match dataset.filter(|dataset| dataset.train.num_classes() > 1) {
            Some(dataset) => check_accuracy(name, &network, &images, &dataset.test.labels()[first], how.jobs)?,
            None => check_certainty(name, &network, &images)?,
        }
        Ok(network)
    }
}

impl FeatureNet {
    /// The network that a run of `dataset` is scored with: the one that its config asks for, or else that of the images; or why there is
    /// none.
    ///
    /// # Errors
    /// As [`NetworkChoice::load`].
    pub fn for_run(dataset: &Dataset, features: Option<&NetworkName>, how: Training<'_>) -> Result<OrReason<Self>> {
        NetworkChoice { features, ..NetworkChoice::default() }.for_dataset(dataset, how)
    }

    /// The same, or an error.
    ///
    /// # Errors
    /// Also [`Kind::Usage`](crate::Kind::Usage) when there is none.
    pub fn required_for(dataset: &Dataset, features: Option<&NetworkName>, how: Training<'_>) -> Result<Self> {
        Self::for_run(dataset, features, how)?.map_err(|reason| no_network(dataset, &reason))
    }
}

/// Refuses a network for a data set of images that are not like those that it was trained on: its features would say nothing
/// about them, and a collapsed generator could look perfect.
fn check_trained_on_such(name: &NetworkName, network: &FeatureNet, dataset: &Dataset, how: Training<'_>) -> Result<()> {
    let [c, h, w] = dataset.train.shape();
    let is_lenet = network.input_shape() == Some(SmallNet::SHAPE);
    let line = match FeatureNet::of_dataset(dataset.name, how.device) {
        Some(own) if own.id() != network.id() && !matches!(name, NetworkName::File(_)) => {
            format!(
                "--features {name} was not trained on images of {}; leave --features out, or use inception",
                dataset.name
            )
        }
        None if is_lenet && [c, h, w] != SmallNet::SHAPE => format!(
            "--features {name} was trained on images of 28 × 28 grey pixels, and those of {} have {c} × {h} × {w}; leave --features out, \
             or use inception",
            dataset.name
        ),
        _ if !tells_apart(network, dataset) => format!(
            "--features {name} was trained to tell {} apart, and the classes of {} are {}; leave --features out, or train one on such \
             images with effgan features train",
            listed(network.class_names()),
            dataset.name,
            listed(&dataset.class_names)
        ),
        _ => return Ok(()),
    };
    Err(Failure::usage(anyhow!(line)))
}

/// Whether the classes of `dataset` are those that the network tells apart, as far as their names say: numbers stand for any names.
fn tells_apart(network: &FeatureNet, dataset: &Dataset) -> bool {
    let (known, asked) = (network.class_names(), &dataset.class_names);
    let are_numbers = asked.iter().enumerate().all(|(label, name)| *name == label.to_string());
    known.is_empty() || dataset.train.num_classes() < 2 || known == asked || (are_numbers && known.len() == asked.len())
}

/// The first names of `classes`, and how many there are.
fn listed(classes: &[String]) -> String {
    const SHOWN: usize = 3;
    let first = classes.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let first = effgan_data::control_chars::without_control(&first);
    if classes.len() > SHOWN { format!("{first}, … ({} classes)", classes.len()) } else { first }
}

/// Refuses a network that does not tell the classes of the real `images` apart any better than chance, where as many could show it.
fn check_accuracy(
    name: &NetworkName,
    network: &FeatureNet,
    images: &ImageList,
    labels: &[u8],
    jobs: usize,
) -> Result<()> {
    let found = network.quality(images, labels, jobs).map_err(Failure::usage)?;
    match found {
        Some(found) if found.can_be_above_chance() && !found.is_above_chance() => Err(Failure::usage(anyhow!(
            "--features {name} was not trained on images like these: it has the class of {:.1} % of {} reference images right, and the \
             largest class has {:.1} %; leave --features out, or train one on such images with effgan features train",
            100.0 * found.accuracy,
            found.num_test,
            100.0 * found.chance
        ))),
        _ => Ok(()),
    }
}

/// Refuses a built-in network that does not know what it sees on the real images, whose classes are not known. Of those that it was
/// trained on it is sure of one class, whatever they are for a person: the mean probability of the most likely class of 1,000 test images
/// is 0.996 for digits and 0.94 for clothes with the network of each; 0.95 for digits that are smaller or blurred; 0.74 for clothes with
/// the network for digits, 0.61 and 0.70 for emoji, 0.37 and 0.67 for noise.
fn check_certainty(name: &NetworkName, network: &FeatureNet, images: &ImageList) -> Result<()> {
    match network.certainty(images).map_err(Failure::data)? {
        Some(certainty) if certainty < MIN_CERTAINTY => Err(Failure::usage(anyhow!(
            "--features {name} was not trained on images like these: of the reference images it gives the most likely class {certainty:.2} \
             on average, below {MIN_CERTAINTY}; use inception, or a file that effgan features train wrote for such images"
        ))),
        _ => Ok(()),
    }
}

fn no_network(dataset: &Dataset, reason: &str) -> Failure {
    Failure::usage(anyhow!("no feature network fits the images of {}: {reason}", dataset.name))
}

fn weights_of_inception() -> Failure {
    usage("--weights is for --features inception (in Python weights= and features=)")
}

fn usage(line: &'static str) -> Failure {
    Failure::usage(anyhow!(line))
}
