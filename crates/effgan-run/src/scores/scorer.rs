//! Drawing images and scoring them against the data set's test split.
//!
//! Feature networks are there for digits and clothes, 28 × 28 and grey. Where these data sets have another size or
//! colours, all images on both sides of a comparison are brought to that by the rule of [`effgan_data::resize`] first.
//! Images of other data sets are drawn and not scored.

use anyhow::anyhow;
use effgan_data::{Dataset, DatasetName, ImageSet, resize};
use effgan_fl::sample::sample;
use effgan_fl::{Ensemble, ensemble::Selection};
use effgan_metrics::{MetricError, Reference, Scores, SmallNet};
use effgan_nn::Params;
use effgan_nn::networks::Network;

use crate::failure::{Failure, Result};
use crate::record::summary::SHOWN;

/// What the feature networks see.
const SEEN: [usize; 3] = [1, 28, 28];

/// The fixed side of all comparisons of a run: n reference images, and the seed of the samples.
pub(crate) struct Scorer {
    /// None where no feature network knows such images.
    reference: Option<DatasetReference>,
    /// Why there are no scores, or what is to be known of them.
    note: Option<String>,
    network: Network,
    seed: u64,
    jobs: usize,
}

impl Scorer {
    /// Scores `n` samples (all test images when `None`) against the first `n` test images.
    ///
    /// # Errors
    /// When a split has fewer than `n` images.
    pub(crate) fn new(dataset: &Dataset, n: Option<usize>, network: &Network, seed: u64, jobs: usize) -> Result<Self> {
        let reference = reference(dataset, n, "evaluation.samples", jobs)?;
        let [c, h, w] = dataset.test.shape();
        let note = match &reference {
            None => Some(format!("no scores: there is no feature network for the images of {}", dataset.name)),
            Some(_) if [c, h, w] != SEEN => Some(format!(
                "scores are of the images brought from {c} × {h} × {w} to 28 × 28 grey, real and generated alike"
            )),
            Some(_) => None,
        };
        Ok(Self { reference, note, network: network.clone(), seed, jobs })
    }

    /// Draws and scores nothing, since the real images are elsewhere.
    pub(crate) fn without_images(network: &Network, seed: u64, jobs: usize) -> Self {
        let note =
            "no scores: the sites' images stay with them; effgan evaluate scores the model where there are some".into();
        Self { reference: None, note: Some(note), network: network.clone(), seed, jobs }
    }

    /// What a person has to know of the scores, or why there are none.
    pub(crate) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Whether images are scored.
    pub(crate) fn scores(&self) -> bool {
        self.reference.is_some()
    }

    /// Real training images against the reference: what a perfect generator would score.
    ///
    /// # Errors
    /// When the features are unusable.
    pub(crate) fn floor(&self, train: &ImageSet) -> anyhow::Result<Option<Scores>> {
        self.score(train.first(self.num_samples()).pixels())
    }

    /// As many samples of one generator as the reference has images.
    ///
    /// # Errors
    /// When the tensors do not fit the network.
    pub(crate) fn samples_of(&self, generator: &Params) -> anyhow::Result<Vec<u8>> {
        let range = 0..self.num_samples() as u64;
        Ok(sample(&self.network, &[1.0], &|_| Ok(generator.clone()), self.seed, range, self.jobs)?)
    }

    /// As many samples of an ensemble as the reference has images.
    ///
    /// # Errors
    /// When a member cannot be read.
    pub(crate) fn samples_of_ensemble(&self, ensemble: &Ensemble) -> anyhow::Result<Vec<u8>> {
        let range = 0..self.num_samples() as u64;
        Ok(ensemble.sample(&Selection::Ensemble, self.seed, range, self.jobs)?)
    }

    /// Scores u8 images `[n, c, h, w]`; none where there is no feature network.
    ///
    /// # Errors
    /// When the features are unusable.
    pub(crate) fn score(&self, images: &[u8]) -> anyhow::Result<Option<Scores>> {
        self.reference.as_ref().map(|reference| reference.score(images)).transpose()
    }

    /// As many as are scored, or as a picture shows.
    fn num_samples(&self) -> usize {
        self.reference.as_ref().map_or(SHOWN * SHOWN, DatasetReference::n)
    }
}

/// Test images of a data set as its feature network sees them.
pub(super) struct DatasetReference {
    reference: Reference,
    shape: [usize; 3],
}

impl DatasetReference {
    /// Images of the reference; as many are to be scored.
    pub(super) fn n(&self) -> usize {
        self.reference.n()
    }

    /// Scores u8 images `[n, c, h, w]` of the data set's shape.
    ///
    /// # Errors
    /// When the features are unusable.
    pub(super) fn score(&self, images: &[u8]) -> anyhow::Result<Scores> {
        Ok(self.reference.score(&resize::fit(images, self.shape, SEEN))?)
    }
}

/// The first `n` test images (all when `None`) to score against; `key` is what a person calls `n`. None where no
/// feature network knows such images.
///
/// # Errors
/// When a split has fewer than `n` images: the floor needs as many training images.
pub(super) fn reference(
    dataset: &Dataset,
    n: Option<usize>,
    key: &str,
    jobs: usize,
) -> Result<Option<DatasetReference>> {
    let Some(net) = small_net(dataset.name) else { return Ok(None) };
    let most = dataset.test.len().min(dataset.train.len());
    let n = n.unwrap_or(most);
    if n < 2 || n > most {
        let line = format!("{key} = {n} is outside 2..={most}, the images of {}", dataset.name);
        return Err(Failure::usage(anyhow!(line)));
    }
    let (test, shape) = (dataset.test.first(n), dataset.test.shape());
    let seen = resize::fit(test.pixels(), shape, SEEN);
    let reference = Reference::new(net, &seen, SEEN, test.labels(), jobs).map_err(|error| match error {
        MetricError::ImageShape { .. } => Failure::data(error),
        _ => Failure::usage(anyhow!("{key} = {n}: {error}")),
    })?;
    Ok(Some(DatasetReference { reference, shape }))
}

/// The shipped feature network that was trained on the same kind of images; none for others.
pub(super) fn small_net(dataset: DatasetName) -> Option<SmallNet> {
    match dataset {
        DatasetName::MnistMini | DatasetName::Mnist => Some(SmallNet::mnist()),
        DatasetName::FashionMnist => Some(SmallNet::fashion_mnist()),
        DatasetName::Cifar10 | DatasetName::Folder | DatasetName::Npz => None,
    }
}

#[cfg(test)]
mod tests {
    use effgan_data::DatasetConfig;

    use super::*;

    fn accuracy(config: &DatasetConfig) -> f64 {
        let test = config.load().unwrap().test;
        let seen = resize::fit(test.pixels(), test.shape(), SEEN);
        let classes = small_net(config.name).unwrap().classify(&seen, SEEN, 2).unwrap().classes;
        let right = classes.iter().zip(test.labels()).filter(|(ours, label)| ours == label).count();
        right as f64 / test.len() as f64
    }

    #[test]
    fn the_shipped_network_reads_the_digits_inside_the_program() {
        let accuracy = accuracy(&DatasetConfig::of(DatasetName::MnistMini));
        assert!(accuracy >= 0.985, "{accuracy}");
    }

    #[test]
    fn digits_of_another_size_and_in_colours_are_read_nearly_as_well() {
        // 28 to 32 and back blurs a little, 28 to 64 and back less; half a percent is ten of the 2,000 digits.
        for (size, channels) in [(28, 3), (32, 3), (64, 1)] {
            let config = DatasetConfig {
                size: Some(size),
                channels: Some(channels),
                ..DatasetConfig::of(DatasetName::MnistMini)
            };
            let accuracy = accuracy(&config);
            assert!(accuracy >= 0.98, "{size} × {size} of {channels} channels: {accuracy}");
        }
    }

    #[test]
    fn images_of_other_data_sets_have_no_score_and_a_line_that_says_so() {
        let digits = DatasetConfig::of(DatasetName::MnistMini).load().unwrap();
        let dataset = Dataset { name: DatasetName::Folder, ..digits };
        let scorer = Scorer::new(&dataset, None, &crate::config::tests::network(), 1, 1).unwrap();
        assert_eq!(scorer.note(), Some("no scores: there is no feature network for the images of folder"));
        assert_eq!(scorer.score(dataset.test.first(64).pixels()).unwrap(), None);
        assert_eq!(scorer.floor(&dataset.train).unwrap(), None);
    }

    #[test]
    #[ignore = "wants the full data sets: set EFFGAN_DATA to the folder with mnist/ and fashion-mnist/"]
    fn the_shipped_networks_have_the_accuracy_that_is_claimed() {
        let data = std::path::PathBuf::from(std::env::var_os("EFFGAN_DATA").expect("EFFGAN_DATA is set"));
        for (name, at_least) in [(DatasetName::Mnist, 0.9915), (DatasetName::FashionMnist, 0.9080)] {
            let accuracy = accuracy(&DatasetConfig { dir: Some(data.join(name.as_str())), ..DatasetConfig::of(name) });
            assert!(accuracy >= at_least, "{name}: {accuracy}");
        }
    }

    #[test]
    fn a_reference_that_lacks_a_class_is_refused() {
        let config = DatasetConfig::of(DatasetName::MnistMini);
        let network = crate::config::tests::network();
        let error = Scorer::new(&config.load().unwrap(), Some(10), &network, 1, 1).err().unwrap().line();
        assert!(error.starts_with("evaluation.samples = 10: there is no image of class"), "{error}");
    }
}
