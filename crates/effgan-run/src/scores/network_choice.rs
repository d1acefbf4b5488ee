//! The feature network that somebody asks for, or that fits the real images.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::{Dataset, download};
use effgan_metrics::{Resize, SmallNet};
use effgan_nn::Device;

use super::feature_net::FeatureNet;
use super::own_features::Training;
use super::real_set::RealSet;
use crate::failure::{Failure, Result};

/// Maximum number of real images by which a network is judged.
const MAX_TRIED: usize = 1000;
/// Least mean probability of the most likely class at which a network knows what it sees.
const MIN_CERTAINTY: f64 = 0.8;

/// Which network's features are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkChoice<'a> {
    /// `mnist`, `fashion-mnist`, `inception`, or a file that `effgan features train` wrote; the network of the real images' data set when absent.
    pub features: Option<&'a str>,
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
        let (dataset, device) = (real.dataset(), how.device);
        match self.features {
            Some("inception") => {
                let weights = self.weights.map(Path::to_owned).or_else(download::inception_weights);
                let missing = "Inception's weights were not found; fetch them with effgan data fetch inception, or pass --weights FILE \
                               (in Python weights=FILE)";
                FeatureNet::inception(&weights.ok_or_else(|| usage(missing))?, self.resize, dataset.map(|dataset| dataset.name), device)
            }
            _ if self.weights.is_some() => Err(usage("--weights is for --features inception (in Python weights= and features=)")),
            Some(name) => {
                let network = FeatureNet::small(name, device)?;
                dataset.map_or(Ok(()), |dataset| check_trained_on_such(name, &network, dataset, device))?;
                check_certainty(name, &network, real, how)?;
                Ok(network)
            }
            None => dataset.map_or_else(
                || {
                    Err(usage(
                        "images without a data set have no feature network of their own; pass --features (in Python features=): inception, \
                         mnist, fashion-mnist or a file that effgan features train wrote",
                    ))
                },
                |dataset| FeatureNet::required_for(dataset, how),
            ),
        }
    }
}

/// Refuses a small network for a data set of images that are not like those that it was trained on: its features would say nothing
/// about them, and a collapsed generator could look perfect.
fn check_trained_on_such(name: &str, network: &FeatureNet, dataset: &Dataset, device: Device) -> Result<()> {
    let [c, h, w] = dataset.train.shape();
    let line = match FeatureNet::of_dataset(dataset.name, device) {
        Some(own) if own.id() != network.id() && !Path::new(name).is_file() => {
            format!(
                "--features {name} was not trained on images of {}; leave --features out, or use inception",
                dataset.name
            )
        }
        None if [c, h, w] != SmallNet::SHAPE => format!(
            "--features {name} was trained on images of 28 × 28 grey pixels, and those of {} have {c} × {h} × {w}; leave --features out, \
             or use inception",
            dataset.name
        ),
        _ => return Ok(()),
    };
    Err(Failure::usage(anyhow!(line)))
}

/// Refuses a built-in network that does not know what it sees on the real images. Of those that it was trained on it is sure of one class,
/// whatever they are for a person: the mean probability of the most likely class of 1,000 test images is 0.996 for digits and 0.94 for
/// clothes with the network of each; 0.95 for digits that are smaller or blurred; 0.74 for clothes with the network for digits, 0.61 and
/// 0.70 for emoji, 0.37 and 0.67 for noise.
fn check_certainty(name: &str, network: &FeatureNet, real: &RealSet, how: Training<'_>) -> Result<()> {
    let images = real.images().images;
    let n = images.count().unwrap_or(0).min(MAX_TRIED);
    let Some(first) = images.pieces(n, MAX_TRIED).next() else { return Ok(()) };
    let images = images.read(first, how.device, how.jobs, how.stop)?;
    match network.certainty(&images).map_err(Failure::data)? {
        Some(certainty) if certainty < MIN_CERTAINTY => Err(Failure::usage(anyhow!(
            "--features {name} was not trained on images like these: of the reference images it gives the most likely class {certainty:.2} \
             on average, below {MIN_CERTAINTY}; use inception, or a file that effgan features train wrote for such images"
        ))),
        _ => Ok(()),
    }
}

fn usage(line: &'static str) -> Failure {
    Failure::usage(anyhow!(line))
}
