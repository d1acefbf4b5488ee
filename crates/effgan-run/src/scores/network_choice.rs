//! The feature network that somebody asks for, or that fits the real images.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::{DatasetName, download};
use effgan_metrics::Resize;
use effgan_nn::Device;

use super::feature_net::FeatureNet;
use crate::failure::{Failure, Result};

/// Which network's features are compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct NetworkChoice<'a> {
    /// `mnist`, `fashion-mnist`, `inception`, or a file that `effgan features train` wrote; the built-in network of the real images' data set
    /// when absent.
    pub features: Option<&'a str>,
    /// A file of Inception's weights; those that `effgan data fetch inception` fetched when absent.
    pub weights: Option<&'a Path>,
    /// How Inception resizes images.
    pub resize: Resize,
}

impl NetworkChoice<'_> {
    /// Puts the network for real images of `dataset`, or of no data set, on `device`.
    ///
    /// # Errors
    /// When there is no such network, none fits, or its weights are missing or damaged.
    pub fn load(&self, dataset: Option<DatasetName>, device: Device) -> Result<FeatureNet> {
        match self.features {
            Some("inception") => {
                let fetched = download::inception_weights;
                let weights = self.weights.map(Path::to_owned).or_else(fetched);
                let missing = "Inception's weights were not found; fetch them with effgan data fetch inception, or pass --weights FILE \
                               (in Python weights=FILE)";
                FeatureNet::inception(&weights.ok_or_else(|| usage(missing))?, self.resize, dataset, device)
            }
            _ if self.weights.is_some() => Err(usage("--weights is for --features inception (in Python weights= and features=)")),
            Some(name) => FeatureNet::small(name, device),
            None => dataset.and_then(|dataset| FeatureNet::of_dataset(dataset, device)).ok_or_else(|| {
                usage(
                    "no built-in feature network fits these images; pass --features (in Python features=): mnist, fashion-mnist, inception \
                     or a file that effgan features train wrote",
                )
            }),
        }
    }
}

fn usage(line: &'static str) -> Failure {
    Failure::usage(anyhow!(line))
}
