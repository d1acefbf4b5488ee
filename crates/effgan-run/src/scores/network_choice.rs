//! The feature network that somebody asks for, or that fits the real images.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use effgan_data::control_chars::without_control;
use effgan_data::{Dataset, ImageList, download};
use effgan_metrics::metric::Network;
use effgan_metrics::{Quality, Resize, SmallNet};

use super::evaluator::RealImages;
use super::feature_net::FeatureNet;
use super::network_file::MAX_TRIED;
use super::own_features::{OrReason, Training};
use super::real_set::RealSet;
use crate::config::NetworkName;
use crate::failure::{Failure, Result};

/// Least share of the certainty that a network has of its own test images at which it knows what it sees.
const MIN_CERTAINTY: f64 = 0.86;
/// Images of a class at least that are taken for another before that says something.
const MIN_MISTAKEN: usize = 5;

/// Which network's features are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkChoice<'a> {
    /// The network; that of the real images' data set when absent.
    pub features: Option<&'a NetworkName>,
    /// A file of Inception's weights; those that `effgan data fetch inception` fetched when absent.
    pub weights: Option<&'a Path>,
    /// How Inception resizes images.
    pub resize: Resize,
    /// Whether a config asks for the network, and no command line.
    pub by_config: bool,
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
            let missing = "Inception's weights were not found; fetch them with effgan data fetch inception";
            let or_pass = if self.by_config { "" } else { ", or pass --weights FILE (in Python weights=FILE)" };
            let weights = weights.ok_or_else(|| Failure::usage(anyhow!("{missing}{or_pass}")))?;
            return FeatureNet::inception(&weights, self.resize, dataset.map(|dataset| dataset.name), how.device);
        }
        if self.weights.is_some() {
            return Err(weights_of_inception());
        }
        let asked = format!("{} {name}", if self.by_config { "evaluation.features =" } else { "--features" });
        let network = match name {
            NetworkName::File(file) => FeatureNet::in_file(file, &asked, how.device)?,
            NetworkName::FashionMnist => FeatureNet::fashion_mnist(how.device),
            NetworkName::Mnist | NetworkName::Inception => FeatureNet::mnist(how.device),
        };
        if let Some(dataset) = dataset {
            check_trained_on_such(&asked, name, &network, dataset, how)?;
        }
        let n = real.images.count().unwrap_or(0).min(MAX_TRIED);
        let Some(first) = real.images.pieces(n, MAX_TRIED).next() else { return Ok(network) };
        let images = real.images.read(first.clone(), how.device, how.jobs, how.stop)?;
        if let Some(dataset) = dataset.filter(|dataset| dataset.train.num_classes() > 1) {
            return with_true_classes(&asked, network, &images, dataset, how.jobs);
        }
        check_colours(&asked, &network, &images)?;
        check_certainty(&asked, &network, &images)?;
        Ok(if dataset.is_some() { network.without_classes("the images have no classes".into()) } else { network })
    }
}

impl FeatureNet {
    /// The network that a run of `dataset` is scored with: the one that its config asks for, or else that of the images; or why there is
    /// none.
    ///
    /// # Errors
    /// As [`NetworkChoice::load`].
    pub fn for_run(dataset: &Dataset, features: Option<&NetworkName>, how: Training<'_>) -> Result<OrReason<Self>> {
        NetworkChoice { features, by_config: true, ..NetworkChoice::default() }.for_dataset(dataset, how)
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
fn check_trained_on_such(
    asked: &str,
    name: &NetworkName,
    network: &FeatureNet,
    dataset: &Dataset,
    how: Training<'_>,
) -> Result<()> {
    let [c, h, w] = dataset.train.shape();
    let is_lenet = network.network() == Network::Small;
    let line = match FeatureNet::of_dataset(dataset.name, how.device) {
        Some(own) if own.id() != network.id() && !matches!(name, NetworkName::File(_)) => {
            format!("{asked} was not trained on images of {}; leave it out, or use inception", dataset.name)
        }
        None if is_lenet && [c, h, w] != SmallNet::SHAPE => format!(
            "{asked} was trained on images of 28 × 28 grey pixels, and those of {} have {c} × {h} × {w}; leave it out, \
             or use inception",
            dataset.name
        ),
        _ if !tells_apart(network, dataset) => format!(
            "{asked} was trained to tell {} apart, and the classes of {} are {}; leave it out, or train one on such \
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
    let first = without_control(&first);
    if classes.len() > SHOWN { format!("{first}, … ({} classes)", classes.len()) } else { first }
}

/// The network, which predicts no classes where it takes most images of a class for another one: the classes that it knows are then
/// others, or in another order, and numbers of one would stand for the other.
///
/// # Errors
/// When it does not tell the classes of the real `images` apart any better than chance, where as many could show it.
fn with_true_classes(
    asked: &str,
    network: FeatureNet,
    images: &ImageList,
    dataset: &Dataset,
    jobs: usize,
) -> Result<FeatureNet> {
    let Some(num_classes) = network.num_classes() else { return Ok(network) };
    let classes = network.classes(images, jobs).map_err(Failure::data)?;
    let labels = &dataset.test.labels()[..classes.len()];
    let found = Quality::of_classes(&classes, labels, num_classes.max(dataset.train.num_classes()));
    let found = found.map_err(Failure::usage)?;
    if found.can_be_above_chance() && !found.is_above_chance() {
        return Err(Failure::usage(anyhow!(
            "{asked} was not trained on images like these: it has the class of {:.1} % of {} reference images right, and the \
             largest class has {:.1} %; leave it out, or train one on such images with effgan features train",
            100.0 * found.accuracy,
            found.num_test,
            100.0 * found.chance
        )));
    }
    Ok(match mistaken(&classes, labels) {
        Some((label, class)) => {
            let called =
                |label: u8, names: &[String]| names.get(usize::from(label)).cloned().unwrap_or(label.to_string());
            let (real, known) = (called(label, &dataset.class_names), called(class, network.class_names()));
            let reason =
                format!("the network takes most images of {real} for its class {known}, so its classes are others");
            network.without_classes(without_control(&reason))
        }
        None => network,
    })
}

/// A label and the other class that most images with that label, and five at least, are taken for.
fn mistaken(classes: &[u8], labels: &[u8]) -> Option<(u8, u8)> {
    let (mut counts, mut sizes) = (BTreeMap::new(), BTreeMap::new());
    for (&class, &label) in classes.iter().zip(labels) {
        *counts.entry((label, class)).or_insert(0_usize) += 1;
        *sizes.entry(label).or_insert(0_usize) += 1;
    }
    let is_most = |(label, _): &(u8, u8), count: usize| count >= MIN_MISTAKEN && 2 * count > sizes[label];
    let mut others = counts.into_iter().filter(|((label, class), _)| label != class);
    others.find(|(pair, count)| is_most(pair, *count)).map(|(pair, _)| pair)
}

/// Refuses a network for coloured images where all real ones are grey, and the reverse: it was trained on no such image.
fn check_colours(asked: &str, network: &FeatureNet, images: &ImageList) -> Result<()> {
    let called = |channels: usize| if channels == 1 { "grey" } else { "coloured" };
    let takes = network.input_shape().filter(|_| network.network() == Network::Own).map(|[channels, ..]| channels);
    let Some(takes) = takes.filter(|takes| images.iter().all(|(_, [channels, ..])| channels != *takes)) else {
        return Ok(());
    };
    let (known, found) = (called(takes), called(if takes == 1 { 3 } else { 1 }));
    Err(Failure::usage(anyhow!(
        "{asked} was trained on {known} images, and the reference images are {found}; use inception, or a file that effgan features train \
         wrote for such images"
    )))
}

/// Refuses a network that is not sure of what it sees on the real images, whose classes are not known. Of images like those that it was
/// trained on it is as sure as of its test images, whatever they are for a person: the mean probability of the most likely class of 1,000
/// test images is 0.996 for digits and 0.94 for clothes with the built-in network of each, 0.95 for digits that are smaller or blurred; 0.74
/// for clothes with the network for digits, 0.61 and 0.70 for emoji, 0.37 and 0.67 for noise. (A residual network is often sure of what it
/// never saw: one for emoji has 0.90 for them, 0.73 for waves, and passes noise.)
fn check_certainty(asked: &str, network: &FeatureNet, images: &ImageList) -> Result<()> {
    let Some((found, of_its_own)) = network.certainty(images).map_err(Failure::data)? else { return Ok(()) };
    let least = MIN_CERTAINTY * of_its_own;
    if found >= least {
        return Ok(());
    }
    Err(Failure::usage(anyhow!(
        "{asked} was not trained on images like these: of the reference images it gives the most likely class {found:.2} on \
         average, below {least:.2}; use inception, or a file that effgan features train wrote for such images"
    )))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_that_is_mostly_taken_for_another_is_found_and_a_few_mistakes_are_not() {
        // Of class 1, five of eight are taken for 2; of class 2, all are right.
        let (labels, right) = ([1, 1, 1, 1, 1, 1, 1, 1, 2, 2], [2, 2, 2, 2, 2, 1, 1, 1, 2, 2]);
        assert_eq!(mistaken(&right, &labels), Some((1, 2)));
        assert_eq!(mistaken(&[2, 2, 2, 2, 1, 1, 1, 1, 2, 2], &labels), None, "half is not most");
        assert_eq!(mistaken(&[2, 2, 2, 2], &[1, 1, 1, 1]), None, "four images say little");
    }
}
