//! The data of a run: images in this process, or what sites say of images that never leave them.

use std::sync::Arc;

use effgan_data::control_chars::without_control;
use effgan_data::{ClientName, Dataset, Partition, heterogeneity};
use effgan_fl::{Algorithm, Roster};
use effgan_metrics::spread;
use effgan_nn::{Model, params};

use crate::config::Config;
use crate::failure::Result;
use crate::privacy::{self, Counts, PrivacyStatement};
use crate::progress::Progress;
use crate::protocol::{Introduction, class_labels, privacy_statement};
use crate::record::data_hash::data_hash;
use crate::record::run_dir::RunDir;
use crate::record::run_info::{DatasetInfo, PartitionInfo};
use crate::scores::{Scorer, Training};

/// The images of a run, and which client has which.
pub(super) enum RunData {
    /// All images, and which simulated client has which.
    Simulated(Box<Dataset>, Partition),
    /// What the sites say of their images, sorted by name.
    AtSites(Vec<Introduction>),
}

/// The file of a run folder that says which sites take part: what they said of themselves.
pub(super) const SITES: &str = "sites.json";

impl RunData {
    /// Reads the data set of `config` and splits it by the config's partition. The listener of `progress` is told of the reading.
    ///
    /// # Errors
    /// A config that cannot be simulated, or not on this machine; data that cannot be read or split.
    pub(super) fn load(config: &Config, progress: &Progress) -> Result<Self> {
        config.check_simulated()?;
        config.device()?;
        let dataset = config.read_dataset(&|report| progress.report(report))?;
        let partition = Self::partition(config, &dataset)?;
        Ok(Self::Simulated(Box::new(dataset), partition))
    }

    /// Splits `dataset` by the config's partition; all of it is one client's where the algorithm pools it.
    pub(super) fn partition(config: &Config, dataset: &Dataset) -> Result<Partition> {
        let split = config.deal(dataset)?;
        Ok(if config.algorithm.pools_data() { split.pooled() } else { split })
    }

    /// The clients and how many images each counts for: at most `max_examples`, and at most what the server's list of sites allows.
    pub(super) fn roster(&self, max_examples: Option<u64>) -> Roster {
        match self {
            Self::Simulated(_, partition) => Roster::of(partition).at_most(|_| max_examples),
            Self::AtSites(sites) => {
                let roster = Roster::new(sites.iter().map(|site| (site.name.clone(), site.num_examples)).collect());
                let of_site = |name: &ClientName| sites.iter().find(|site| site.name == *name)?.max_examples;
                roster.at_most(|name| of_site(name).into_iter().chain(max_examples).min())
            }
        }
    }

    /// What private training with `algorithm` costs the clients; none where it is not private.
    ///
    /// # Errors
    /// As [`privacy::statements`].
    pub(super) fn privacy(&self, config: &Config, algorithm: &dyn Algorithm) -> Result<Vec<PrivacyStatement>> {
        match self {
            Self::Simulated(dataset, partition) => {
                privacy::statements(config, algorithm, partition, dataset.train.persons())
            }
            Self::AtSites(sites) => {
                let counts = |site: &Introduction| Counts { images: site.num_examples, persons: site.num_persons };
                let statements = sites.iter().map(|site| privacy_statement(config, counts(site)));
                Ok(privacy::merged(statements.filter_map(Result::transpose).collect::<Result<_>>()?))
            }
        }
    }

    /// `[c, h, w]` of all images, and how many classes there are.
    pub(super) fn image_shape_and_classes(&self) -> ([usize; 3], usize) {
        match self {
            Self::Simulated(dataset, _) => (dataset.train.shape(), dataset.train.num_classes()),
            // The server refuses sites whose images differ in shape, so the first site speaks for all.
            Self::AtSites(sites) => {
                (sites[0].image_shape, sites.iter().map(|site| site.num_classes).max().unwrap_or_default())
            }
        }
    }

    /// The names of the classes, in the order of their labels.
    pub(super) fn class_names(&self, config: &Config) -> Vec<String> {
        match self {
            Self::Simulated(dataset, _) => dataset.class_names.clone(),
            Self::AtSites(_) => class_labels::names(config, self.image_shape_and_classes().1),
        }
    }

    /// Labels of the classes of which no client has a training image, sorted; none where nobody knows, or where that is private.
    pub(super) fn classes_without_examples(&self, config: &Config) -> Vec<u8> {
        if config.privacy.is_some() {
            return Vec::new();
        }
        let Some(counts) = self.class_counts() else { return Vec::new() };
        let (_, num_classes) = self.image_shape_and_classes();
        let is_empty = |label: &usize| counts.iter().all(|of_client| of_client[*label] == 0);
        (0..num_classes).filter(is_empty).map(|label| label as u8).collect()
    }

    /// The scorer, which scores only where there are images to compare with.
    ///
    /// # Errors
    /// When the features of the images cannot be computed.
    pub(super) fn scorer(&self, config: &Config, model: &Arc<dyn Model>, how: Training<'_>) -> Result<Scorer> {
        match self {
            Self::Simulated(dataset, _) => Scorer::new(dataset, &config.evaluation, model, config.seed, how),
            Self::AtSites(_) => Ok(Scorer::without_images(model, config.seed, how.jobs, how.device)),
        }
        .map(|scorer| scorer.without_classes(self.classes_without_examples(config)))
    }

    /// Notes for the record: those on the data set, clients that count for fewer images than they have, and a client that outweighs all
    /// others.
    pub(super) fn notes(&self, config: &Config) -> Vec<String> {
        let of_dataset = match self {
            Self::Simulated(dataset, _) => dataset.notes.clone(),
            Self::AtSites(_) => Vec::new(),
        };
        let roster = self.roster(config.federation.max_examples);
        let all = roster.names().iter().zip(roster.num_examples()).zip(roster.counts());
        let capped = all.filter(|((_, claimed), count)| count < claimed);
        let capped = capped
            .map(|((name, claimed), count)| format!("{name} says it has {claimed} images, and counts for {count}"));
        let notes = of_dataset.into_iter().chain(self.not_drawn(config));
        notes.chain(capped).chain(majority(config, &roster)).collect()
    }

    /// A note about classes that a conditional model does not draw.
    fn not_drawn(&self, config: &Config) -> Option<String> {
        let (labels, names) = (self.classes_without_examples(config), self.class_names(config));
        if labels.is_empty() || !config.network.is_conditional() {
            return None;
        }
        let name =
            |label: &u8| names.get(usize::from(*label)).map_or_else(|| label.to_string(), |name| without_control(name));
        let listed = labels.iter().map(name).collect::<Vec<_>>().join(", ");
        Some(format!("not drawn, classes of which no client has a training image: {listed}"))
    }

    /// SHA-256, in hex, over all images and the partition, or over what the sites say of themselves.
    pub(super) fn hash(&self) -> String {
        match self {
            Self::Simulated(dataset, partition) => data_hash(dataset, partition),
            Self::AtSites(sites) => {
                let text = serde_json::to_string(sites).expect("an introduction is plain data");
                params::sha256(text.as_bytes())
            }
        }
    }

    /// The spread of the images that `client` trains on, or all clients; `None` where they are not known or all equal.
    pub(super) fn spread_of(&self, client: Option<&ClientName>) -> Option<f64> {
        let Self::Simulated(dataset, partition) = self else { return None };
        let clients = partition.clients.iter().filter(|share| client.is_none_or(|client| share.name == *client));
        let images = clients.flat_map(|share| &share.train).map(|&image| dataset.train.image(image as usize));
        spread(images).filter(|&spread| spread > 0.0)
    }

    /// Writes into the run folder which client has which images, or which sites take part.
    pub(super) fn write(&self, dir: &RunDir) -> anyhow::Result<()> {
        match self {
            Self::Simulated(_, partition) => dir.write_json("partition.json", partition),
            Self::AtSites(sites) => dir.write_json(SITES, sites),
        }
    }

    /// What `run.json` says about the data.
    pub(super) fn infos(&self, config: &Config) -> (DatasetInfo, PartitionInfo) {
        let ((image_shape, num_classes), roster) =
            (self.image_shape_and_classes(), self.roster(config.federation.max_examples));
        let (num_dealt, num_test, sha256) = match self {
            Self::Simulated(dataset, _) => (dataset.num_assigned(), Some(dataset.test.len()), Some(self.hash())),
            Self::AtSites(_) => (roster.num_examples().iter().sum::<u64>() as usize, None, None),
        };
        let name = config.dataset.name.to_string();
        let clients = roster.names().iter().map(ToString::to_string).collect();
        let num_examples = roster.num_examples().to_vec();
        let counted = (roster.counts() != roster.num_examples()).then(|| roster.counts().to_vec());
        let class_names = self.class_names(config);
        let are_labels = class_names.iter().enumerate().all(|(label, name)| *name == label.to_string());
        let class_names = if are_labels { Vec::new() } else { class_names };
        let class_counts = self.class_counts();
        let label_skew = class_counts.as_deref().map(heterogeneity::label_skew);
        (
            DatasetInfo { name, image_shape, num_classes, class_names, num_dealt, num_test, sha256 },
            PartitionInfo { clients, num_examples, counted, class_counts, label_skew },
        )
    }

    /// Numbers of training images by client and class; `None` unless all clients' are known.
    fn class_counts(&self) -> Option<Vec<Vec<u64>>> {
        match self {
            Self::Simulated(dataset, partition) => Some(partition.class_counts(&dataset.train)),
            Self::AtSites(sites) => {
                let (_, num_classes) = self.image_shape_and_classes();
                let padded = |mut counts: Vec<u64>| {
                    counts.resize(num_classes, 0);
                    counts
                };
                sites.iter().map(|site| site.label_counts.clone().map(padded)).collect()
            }
        }
    }
}

/// A warning about a client that has over half of the weight, unless the config bounds weights.
fn majority(config: &Config, roster: &Roster) -> Option<String> {
    let weights = config.algorithm.weights();
    let total: f64 = roster.counts().iter().map(|&n| weights.of(n)).sum();
    let of_all = |(_, n): &(&ClientName, &u64)| weights.of(**n) > 0.5 * total;
    let (name, &n) = roster.names().iter().zip(roster.counts()).find(of_all)?;
    let is_bounded = config.aggregation.max_weight.is_some() || roster.names().len() == 1;
    (!is_bounded).then(|| {
        format!(
            "{name} alone has {:.0} % of the weight, because it says it has {n} images; bound it by aggregation.max_weight or \
             federation.max_examples",
            100.0 * weights.of(n) / total
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_missing_is_refused_before_data_are_read() {
        let settings = [r#"dataset={ name = "mnist", dir = "/nowhere" }"#, "run.device=gpu:255"].map(String::from);
        let config = Config::parse(include_str!("../../tests/tiny.toml"), &settings).unwrap();
        let error = RunData::load(&config, &Progress::events(|_| {})).err().unwrap().line();
        assert!(error.starts_with("device = gpu:255 is not "), "{error}");
    }
}
