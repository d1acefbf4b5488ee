//! The networks that features are of.

use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_data::{DatasetName, resize};
use effgan_metrics::{Inception, Resize, SmallNet};
use effgan_nn::{checkpoint, params};

use super::evaluation::Seen;
use super::scorer::small_net;
use crate::failure::{Failure, Result};

/// What the small networks see.
pub(super) const SEEN: [usize; 3] = [1, 28, 28];

/// A feature network, and a classifier for the same images where there is one.
pub struct FeatureNet {
    kind: Kind,
    /// What it is called, and for a file what its weights are.
    name: String,
    /// SHA-256 of the weights.
    hash: String,
}

enum Kind {
    Small(SmallNet),
    /// Features of Inception-2015, classes of a small network.
    Inception(Box<Inception>, Resize, Option<SmallNet>),
}

impl FeatureNet {
    /// The network `name`: `mnist` or `fashion-mnist`, which are in the program, or a file that `effgan features train` wrote.
    ///
    /// # Errors
    /// A file that is no such network.
    pub fn small(name: &str) -> Result<Self> {
        let shipped = match name {
            "mnist" => small_net(DatasetName::Mnist),
            "fashion-mnist" => small_net(DatasetName::FashionMnist),
            _ => None,
        };
        if let Some(net) = shipped {
            let hash = net.hash().to_owned();
            return Ok(Self { kind: Kind::Small(net), name: format!("LeNet ({name})"), hash });
        }
        let path = Path::new(name);
        if !path.is_file() {
            let line = format!(
                "--features {name} is no network: take mnist, fashion-mnist, inception, or a file of `effgan features train`"
            );
            return Err(Failure::usage(anyhow!(line)));
        }
        let read = || -> anyhow::Result<SmallNet> { Ok(SmallNet::new(&checkpoint::load(path)?)?) };
        let net = read().with_context(|| path.display().to_string()).map_err(Failure::data)?;
        let hash = net.hash().to_owned();
        Ok(Self { kind: Kind::Small(net), name: format!("LeNet ({})", path.display()), hash })
    }

    /// The shipped network for the images of a data set; none for others.
    pub fn of_dataset(dataset: DatasetName) -> Option<Self> {
        let name = if dataset == DatasetName::FashionMnist { "fashion-mnist" } else { "mnist" };
        small_net(dataset).and_then(|_| Self::small(name).ok())
    }

    /// Inception-2015 with the weights of a file, and the classifier for the images of `dataset`, where there is one.
    ///
    /// # Errors
    /// A file that is not there or holds other weights.
    pub fn inception(weights: &Path, resize: Resize, dataset: Option<DatasetName>) -> Result<Self> {
        let inception = Inception::load(weights, resize).map_err(Failure::data)?;
        let (hash, name) = (params::sha256(inception.sha256().as_bytes()), format!("Inception-2015, resize {resize}"));
        let classifier = dataset.and_then(small_net);
        Ok(Self { kind: Kind::Inception(Box::new(inception), resize, classifier), name, hash })
    }

    /// What an answer calls it.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// What its features follow from, besides the images.
    pub fn id(&self) -> String {
        match &self.kind {
            Kind::Small(_) => format!("small {}", self.hash),
            Kind::Inception(_, resize, classifier) => {
                format!("inception {} {resize} {:?}", self.hash, classifier.as_ref().map(SmallNet::hash))
            }
        }
    }

    /// Length of a feature vector.
    pub fn dim(&self) -> usize {
        match self.kind {
            Kind::Small(_) => SmallNet::FEATURES,
            Kind::Inception(..) => Inception::FEATURES,
        }
    }

    /// Images that are looked at before it is asked whether to go on: some seconds' work.
    pub fn piece(&self) -> usize {
        if self.is_inception() { 64 } else { 2048 }
    }

    pub fn is_inception(&self) -> bool {
        matches!(self.kind, Kind::Inception(..))
    }

    /// The network that tells classes apart.
    pub fn classifier(&self) -> Option<&SmallNet> {
        match &self.kind {
            Kind::Small(net) => Some(net),
            Kind::Inception(_, _, classifier) => classifier.as_ref(),
        }
    }

    /// Features and classes of u8 images `[n, c, h, w]` of `shape` `[c, h, w]`; `jobs` threads change no bit.
    ///
    /// # Errors
    /// Images that the network does not take.
    pub fn see(&self, images: &[u8], shape: [usize; 3], jobs: usize) -> effgan_metrics::Result<Seen> {
        let classified = |net: &SmallNet| net.classify(&resize::fit(images, shape, SEEN), SEEN, jobs);
        match &self.kind {
            Kind::Small(net) => classified(net).map(|seen| Seen { features: seen.features, classes: seen.classes }),
            Kind::Inception(inception, _, classifier) => {
                let classes = classifier.as_ref().map(|net| classified(net).map(|seen| seen.classes)).transpose()?;
                let features = inception.features(images, shape, jobs)?;
                Ok(Seen { features, classes: classes.unwrap_or_default() })
            }
        }
    }
}
