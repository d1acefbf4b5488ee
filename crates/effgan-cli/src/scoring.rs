//! Drawing images and scoring them against the data set's test split.

use effgan_data::{Dataset, DatasetName, ImageSet};
use effgan_fl::sample::sample;
use effgan_fl::{Ensemble, ensemble::Selection};
use effgan_metrics::{Reference, Scores, SmallNet};
use effgan_nn::Params;
use effgan_nn::networks::Network;

use crate::failure::{Failure, Result};

/// The fixed side of all comparisons of a run: n reference images, and the seed of the samples.
pub struct Scorer {
    reference: Reference,
    network: Network,
    seed: u64,
    jobs: usize,
}

impl Scorer {
    /// Scores `n` samples (all test images when `None`) against the first `n` test images.
    ///
    /// # Errors
    /// When a split has fewer than `n` images.
    pub fn new(dataset: &Dataset, n: Option<usize>, network: &Network, seed: u64, jobs: usize) -> Result<Self> {
        let most = dataset.test.len().min(dataset.train.len());
        let n = n.unwrap_or(most);
        if n < 2 || n > most {
            let line = format!("evaluation.samples = {n} is outside 2..={most}, the images of {}", dataset.name);
            return Err(Failure::usage(anyhow::anyhow!(line)));
        }
        let test = dataset.test.first(n);
        let net = small_net(dataset.name);
        let reference =
            Reference::new(net, test.pixels(), test.shape(), test.labels(), jobs).map_err(anyhow::Error::from)?;
        Ok(Self { reference, network: network.clone(), seed, jobs })
    }

    /// Real training images against the reference: what a perfect generator would score.
    ///
    /// # Errors
    /// When the features are unusable.
    pub fn floor(&self, train: &ImageSet) -> anyhow::Result<Scores> {
        self.score(train.first(self.reference.n()).pixels())
    }

    /// As many samples of one generator as the reference has images.
    ///
    /// # Errors
    /// When the tensors do not fit the network.
    pub fn samples_of(&self, generator: &Params) -> anyhow::Result<Vec<u8>> {
        let range = 0..self.reference.n() as u64;
        Ok(sample(&self.network, &[1.0], &|_| Ok(generator.clone()), self.seed, range, self.jobs)?)
    }

    /// As many samples of an ensemble as the reference has images.
    ///
    /// # Errors
    /// When a member cannot be read.
    pub fn samples_of_ensemble(&self, ensemble: &Ensemble) -> anyhow::Result<Vec<u8>> {
        let range = 0..self.reference.n() as u64;
        Ok(ensemble.sample(&Selection::Ensemble, self.seed, range, self.jobs)?)
    }

    /// Scores u8 images `[n, c, h, w]`.
    ///
    /// # Errors
    /// When the features are unusable.
    pub fn score(&self, images: &[u8]) -> anyhow::Result<Scores> {
        Ok(self.reference.score(images)?)
    }
}

/// The shipped feature network that was trained on the same kind of images.
fn small_net(dataset: DatasetName) -> SmallNet {
    match dataset {
        DatasetName::MnistMini | DatasetName::Mnist => SmallNet::mnist(),
        DatasetName::FashionMnist => SmallNet::fashion_mnist(),
    }
}
