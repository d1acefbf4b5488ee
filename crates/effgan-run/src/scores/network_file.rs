//! A feature network for images of any size in a file, which `effgan features train` writes: the same network that a run on these images
//! trains for itself, with the names of the classes that it tells apart.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::{Dataset, DatasetName};
use effgan_metrics::{OwnNet, Quality, Recipe};
use effgan_nn::networks::ResnetShape;
use effgan_nn::{Device, sealed};
use serde::{Deserialize, Serialize};

use super::own_features::{Training, Weights, own_net};
use crate::failure::{Failure, Result};

/// A network that was trained on the images of one data set.
pub struct NetworkFile {
    head: Head,
    weights: Weights,
}

/// What the file says of the network.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    dataset: DatasetName,
    /// Shape `[c, h, w]` of the images that it takes.
    images: [usize; 3],
    classes: Vec<String>,
    quality: Quality,
}

impl NetworkFile {
    /// Trains a network on the images of `dataset`, or takes it from the cache.
    ///
    /// # Errors
    /// When the images have no classes, there are too few, or the network tells them apart no better than chance.
    pub fn train(dataset: &Dataset, recipe: Recipe, how: Training<'_>) -> Result<Self> {
        let weights = own_net(dataset, recipe, how)?;
        let weights = weights.map_err(|reason| Failure::data(anyhow!("there is no feature network: {reason}")))?;
        let (images, quality, classes) = (weights.shape.images, weights.quality, dataset.class_names.clone());
        Ok(Self { head: Head { dataset: dataset.name, images, classes, quality }, weights })
    }

    /// Writes the file, completely or not at all, for its owner alone: what a network knows of private images is nobody else's business.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(sealed::save(path, &self.head, &self.weights.params)?)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// One line that continues the file's name when it is torn, or not such a file.
    pub(super) fn of_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (head, params) = sealed::open::<Head>(bytes)?;
        let Head { images, classes, quality, .. } = &head;
        let is_share = |value: f64| (0.0..=1.0).contains(&value);
        if !is_share(quality.accuracy) || !is_share(quality.chance) {
            return Err(format!("claims the test accuracy {}, which is no share", quality.accuracy));
        }
        if !(quality.feature_size.is_finite() && quality.feature_size > 0.0) {
            return Err(format!("claims features of the size {}", quality.feature_size));
        }
        let shape = ResnetShape { images: *images, num_classes: classes.len() };
        Ok(Self { weights: Weights { shape, params, quality: *quality }, head })
    }

    /// The network on `device`.
    ///
    /// # Errors
    /// When the tensors do not fit the shape.
    pub(super) fn on(&self, device: Device) -> effgan_metrics::Result<OwnNet> {
        self.weights.on(device)
    }

    /// How well it tells the classes of test images apart.
    pub fn quality(&self) -> Quality {
        self.head.quality
    }

    /// The data set that it was trained on.
    pub(super) fn dataset(&self) -> DatasetName {
        self.head.dataset
    }

    /// The classes that it tells apart, in the order of their labels.
    pub(super) fn into_classes(self) -> Vec<String> {
        self.head.classes
    }
}

#[cfg(test)]
mod tests {
    use effgan_metrics::Labelled;
    use effgan_nn::checkpoint;

    use super::*;

    const SHAPE: ResnetShape = ResnetShape { images: [1, 8, 8], num_classes: 2 };

    fn head(quality: Quality) -> Head {
        let classes = ["cat", "dog"].map(str::to_owned).to_vec();
        Head { dataset: DatasetName::Folder, images: SHAPE.images, classes, quality }
    }

    fn quality() -> Quality {
        Quality { accuracy: 0.9, chance: 0.5, num_test: 100, feature_size: 2.0 }
    }

    /// A file of a network that was hardly trained, with this header.
    fn file(head: Head) -> Vec<u8> {
        let (images, labels) = (vec![7; 4 * 64], [0, 1, 0, 1]);
        let (train, recipe) = (Labelled { images: &images, labels: &labels }, Recipe { steps: 1, seed: 1 });
        let go_on = |_| std::ops::ControlFlow::Continue(());
        let params = OwnNet::train(SHAPE, train, &[0, 1], recipe, Device::cpu().unwrap(), 1, go_on).unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        let weights = Weights { shape: SHAPE, params, quality: head.quality };
        NetworkFile { head, weights }.save(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_network_is_read_as_it_was_written() {
        let bytes = file(head(quality()));
        let read = NetworkFile::of_bytes(&bytes).unwrap();
        let net = read.on(Device::cpu().unwrap()).unwrap();
        assert_eq!((net.shape(), net.quality(), read.dataset()), (SHAPE, quality(), DatasetName::Folder));
        assert_eq!(net.hash(), checkpoint::from_bytes(&bytes).unwrap().hash());
        assert_eq!(read.into_classes(), ["cat", "dog"]);
    }

    #[test]
    fn a_file_that_claims_what_cannot_be_is_refused() {
        let error = |head: Head| match NetworkFile::of_bytes(&file(head)) {
            Err(reason) => reason,
            Ok(read) => read.on(Device::cpu().unwrap()).err().unwrap().to_string(),
        };
        let found = error(head(Quality { accuracy: 1.5, ..quality() }));
        assert_eq!(found, "claims the test accuracy 1.5, which is no share");
        assert_eq!(error(head(Quality { feature_size: 0.0, ..quality() })), "claims features of the size 0");
        let three = ["a", "b", "c"].map(str::to_owned).to_vec();
        let found = error(Head { classes: three, ..head(quality()) });
        assert!(found.contains("`fc.bias` has shape [2], expected [3]"), "{found}");
        let found = error(Head { images: [1, 1 << 40, 8], ..head(quality()) });
        assert!(found.contains("is not possible: it has 1 or 3 channels"), "{found}");
    }
}
