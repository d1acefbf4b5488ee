//! A feature network in a file, which `effgan features train` writes: a LeNet like the built-in ones, or the network that a run trains on
//! images of any size for itself; with the names of the classes that it tells apart.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::{Dataset, DatasetName, resize};
use effgan_metrics::{OwnNet, Quality, Recipe, SmallNet};
use effgan_nn::networks::ResnetShape;
use effgan_nn::{Device, Params, sealed};
use serde::{Deserialize, Serialize};

use super::own_features::{MAX_SIDE, Training, Weights, own_net};
use crate::failure::{Failure, Result};

/// Maximum number of images by which a network is judged.
pub(super) const MAX_TRIED: usize = 1000;

/// A network that was trained on the images of one data set.
pub struct NetworkFile {
    head: Head,
    params: Params,
}

/// What the file says of the network.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    network: Kind,
    dataset: DatasetName,
    /// Shape `[c, h, w]` of the images that it takes.
    images: [usize; 3],
    classes: Vec<String>,
    quality: Quality,
    /// The mean probability of the most likely class of test images, 0..=1.
    certainty: f64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Lenet,
    Resnet,
}

/// The network of a file on a device.
pub(super) enum Loaded {
    Small(Box<SmallNet>),
    Own(Box<OwnNet>),
}

impl NetworkFile {
    /// Trains a residual network on the images of `dataset`, or takes it from the cache.
    ///
    /// # Errors
    /// When the images have no classes, there are too few, or the network tells them apart no better than chance.
    pub fn train(dataset: &Dataset, recipe: Recipe, how: Training<'_>) -> Result<Self> {
        let weights = own_net(dataset, recipe, how)?;
        let weights = weights.map_err(|reason| Failure::data(anyhow!("there is no feature network: {reason}")))?;
        let (test, images) = (dataset.test.first(dataset.test.len().min(MAX_TRIED)), weights.shape.images);
        let net = weights.on(how.device).map_err(Failure::data)?;
        let certainty = net.certainty(&resize::fit(test.pixels(), test.shape(), images)).map_err(Failure::data)?;
        let Weights { params, quality, .. } = weights;
        Ok(Self { head: Head::of(Kind::Resnet, dataset, images, quality, certainty), params })
    }

    /// The LeNet with the tensors `params`, which was trained on the images of `dataset`.
    ///
    /// # Errors
    /// When it does not take such images.
    pub fn of_lenet(params: Params, dataset: &Dataset, device: Device, jobs: usize) -> Result<Self> {
        let test = &dataset.test;
        let of_net = || -> effgan_metrics::Result<(Quality, f64)> {
            let net = SmallNet::new(&params, device)?;
            let found = net.classify(test.pixels(), test.shape(), jobs)?;
            let tried = test.first(test.len().min(MAX_TRIED));
            let certainty = net.certainty(tried.pixels(), test.shape())?;
            Ok((Quality::of_classes(&found.classes, test.labels(), SmallNet::CLASSES)?, certainty))
        };
        let (quality, certainty) = of_net().map_err(Failure::usage)?;
        Ok(Self { head: Head::of(Kind::Lenet, dataset, SmallNet::SHAPE, quality, certainty), params })
    }

    /// Writes the file, completely or not at all, for its owner alone: what a network knows of private images is nobody else's business.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(sealed::save(path, &self.head, &self.params)?)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// One line that continues the file's name when it is torn, or not such a file.
    pub(super) fn of_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (head, params) = sealed::open::<Head>(bytes)?;
        let Quality { accuracy, chance, feature_size, .. } = head.quality;
        if ![accuracy, chance, head.certainty].iter().all(|share| (0.0..=1.0).contains(share)) {
            return Err(format!("claims a test accuracy of {accuracy}, above chance {chance}, which are no shares"));
        }
        if !(feature_size.is_finite() && feature_size > 0.0) {
            return Err(format!("claims features of the size {feature_size}"));
        }
        // Every image that is scored is converted to that size.
        let [_, height, width] = head.images;
        if height.max(width) > MAX_SIDE {
            return Err(format!(
                "takes images of {height} × {width} pixels; a feature network's have {MAX_SIDE} a side at most"
            ));
        }
        Ok(Self { head, params })
    }

    /// The network on `device`.
    ///
    /// # Errors
    /// When the tensors do not fit the shape.
    pub(super) fn on(&self, device: Device) -> effgan_metrics::Result<Loaded> {
        let Head { network, images, classes, quality, .. } = &self.head;
        let shape = ResnetShape { images: *images, num_classes: classes.len() };
        match network {
            Kind::Lenet => SmallNet::new(&self.params, device).map(|net| Loaded::Small(Box::new(net))),
            Kind::Resnet => OwnNet::new(shape, &self.params, *quality, device).map(|net| Loaded::Own(Box::new(net))),
        }
    }

    /// How well it tells the classes of test images apart.
    pub fn quality(&self) -> Quality {
        self.head.quality
    }

    /// How sure it is of the classes of test images: the mean probability of the most likely one.
    pub(super) fn certainty(&self) -> f64 {
        self.head.certainty
    }

    /// The data set that it was trained on.
    pub(super) fn dataset(&self) -> DatasetName {
        self.head.dataset
    }

    /// The classes that it tells apart, in the order of their labels.
    pub(super) fn classes(&self) -> &[String] {
        &self.head.classes
    }
}

impl Head {
    fn of(network: Kind, dataset: &Dataset, images: [usize; 3], quality: Quality, certainty: f64) -> Self {
        let classes = dataset.class_names.clone();
        Self { network, dataset: dataset.name, images, classes, quality, certainty }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use effgan_metrics::Labelled;
    use effgan_nn::checkpoint;

    use super::*;

    const SHAPE: ResnetShape = ResnetShape { images: [1, 8, 8], num_classes: 2 };

    fn head(quality: Quality) -> Head {
        let classes = ["cat", "dog"].map(str::to_owned).to_vec();
        let (network, dataset, images) = (Kind::Resnet, DatasetName::Folder, SHAPE.images);
        Head { network, dataset, images, classes, quality, certainty: 0.8 }
    }

    fn quality() -> Quality {
        Quality { accuracy: 0.9, chance: 0.5, num_test: 100, feature_size: 2.0 }
    }

    /// A file of a network that was hardly trained, with this header.
    fn file(head: Head) -> Vec<u8> {
        let (images, labels) = (vec![7; 4 * 64], [0, 1, 0, 1]);
        let (train, recipe) = (Labelled { images: &images, labels: &labels }, Recipe { steps: 1, seed: 1 });
        let go_on = |_| ControlFlow::Continue(());
        let params = OwnNet::train(SHAPE, train, &[0, 1], recipe, Device::cpu().unwrap(), 1, go_on).unwrap().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("net.safetensors");
        NetworkFile { head, params }.save(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_network_is_read_as_it_was_written() {
        let bytes = file(head(quality()));
        let read = NetworkFile::of_bytes(&bytes).unwrap();
        let Loaded::Own(net) = read.on(Device::cpu().unwrap()).unwrap() else { panic!("it is a residual network") };
        assert_eq!((net.shape(), net.quality(), read.dataset()), (SHAPE, quality(), DatasetName::Folder));
        assert_eq!(net.hash(), checkpoint::from_bytes(&bytes).unwrap().hash());
        assert_eq!((read.classes(), read.certainty()), (&["cat".to_owned(), "dog".to_owned()][..], 0.8));
    }

    #[test]
    fn a_file_that_claims_what_cannot_be_is_refused() {
        let error = |head: Head| match NetworkFile::of_bytes(&file(head)) {
            Err(reason) => reason,
            Ok(read) => read.on(Device::cpu().unwrap()).err().unwrap().to_string(),
        };
        let found = error(head(Quality { accuracy: 1.5, ..quality() }));
        assert_eq!(found, "claims a test accuracy of 1.5, above chance 0.5, which are no shares");
        assert_eq!(error(head(Quality { feature_size: 0.0, ..quality() })), "claims features of the size 0");
        let three = ["a", "b", "c"].map(str::to_owned).to_vec();
        let found = error(Head { classes: three, ..head(quality()) });
        assert!(found.contains("`fc.weight` has shape [2, 64], expected [3, 64]"), "{found}");
        let found = error(Head { images: [1, 8, 65], ..head(quality()) });
        assert_eq!(found, "takes images of 8 × 65 pixels; a feature network's have 64 a side at most");
        let found = error(Head { images: [2, 8, 8], ..head(quality()) });
        assert!(found.contains("is not possible: it has 1 or 3 channels"), "{found}");
        let found = error(Head { network: Kind::Lenet, ..head(quality()) });
        assert!(found.contains("tensor"), "{found}");
    }
}
