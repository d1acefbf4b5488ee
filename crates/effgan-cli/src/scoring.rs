//! Drawing images and scoring them against the data set's test split.

use anyhow::anyhow;
use effgan_data::{Dataset, DatasetName, ImageSet};
use effgan_fl::sample::sample;
use effgan_fl::{Ensemble, ensemble::Selection};
use effgan_metrics::{MetricError, Reference, Scores, SmallNet};
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
        let reference = reference(dataset, n, "evaluation.samples", jobs)?;
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

/// The first `n` test images (all when `None`) to score against; `key` is what a person calls `n`.
///
/// # Errors
/// When a split has fewer than `n` images: the floor needs as many training images.
pub fn reference(dataset: &Dataset, n: Option<usize>, key: &str, jobs: usize) -> Result<Reference> {
    let most = dataset.test.len().min(dataset.train.len());
    let n = n.unwrap_or(most);
    if n < 2 || n > most {
        let line = format!("{key} = {n} is outside 2..={most}, the images of {}", dataset.name);
        return Err(Failure::usage(anyhow!(line)));
    }
    let test = dataset.test.first(n);
    let net = small_net(dataset.name);
    Reference::new(net, test.pixels(), test.shape(), test.labels(), jobs).map_err(|error| match error {
        MetricError::ImageShape { .. } => Failure::data(error),
        _ => Failure::usage(anyhow!("{key} = {n}: {error}")),
    })
}

/// The shipped feature network that was trained on the same kind of images.
fn small_net(dataset: DatasetName) -> SmallNet {
    match dataset {
        DatasetName::MnistMini | DatasetName::Mnist => SmallNet::mnist(),
        DatasetName::FashionMnist => SmallNet::fashion_mnist(),
    }
}

#[cfg(test)]
mod tests {
    use effgan_data::DatasetConfig;

    use super::*;

    fn accuracy(config: &DatasetConfig) -> f64 {
        let test = config.load().unwrap().test;
        let classes = small_net(config.name).classify(test.pixels(), test.shape(), 2).unwrap().classes;
        let right = classes.iter().zip(test.labels()).filter(|(ours, label)| ours == label).count();
        right as f64 / test.len() as f64
    }

    #[test]
    fn the_shipped_network_reads_the_digits_inside_the_program() {
        let accuracy = accuracy(&DatasetConfig { name: DatasetName::MnistMini, dir: None, limit: None });
        assert!(accuracy >= 0.985, "{accuracy}");
    }

    #[test]
    #[ignore = "wants the full data sets: set EFFGAN_DATA to the folder with mnist/ and fashion-mnist/"]
    fn the_shipped_networks_have_the_accuracy_that_is_claimed() {
        let data = std::path::PathBuf::from(std::env::var_os("EFFGAN_DATA").expect("EFFGAN_DATA is set"));
        for (name, at_least) in [(DatasetName::Mnist, 0.9915), (DatasetName::FashionMnist, 0.9080)] {
            let accuracy = accuracy(&DatasetConfig { name, dir: Some(data.join(name.as_str())), limit: None });
            assert!(accuracy >= at_least, "{name}: {accuracy}");
        }
    }

    #[test]
    fn a_reference_that_lacks_a_class_is_refused() {
        let config = DatasetConfig { name: DatasetName::MnistMini, dir: None, limit: None };
        let network = crate::config::tests::network();
        let error = Scorer::new(&config.load().unwrap(), Some(10), &network, 1, 1).err().unwrap().line();
        assert!(error.starts_with("evaluation.samples = 10: the 10 reference images have none of class"), "{error}");
    }
}
