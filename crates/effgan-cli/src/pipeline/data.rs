//! Where the images of a run are: in this process, or at sites that never send them.

use effgan_data::{Dataset, ImageSet, Partition, heterogeneity};
use effgan_fl::Roster;
use effgan_nn::networks::Network;
use effgan_nn::params;

use crate::config::Config;
use crate::events::{DatasetInfo, PartitionInfo};
use crate::failure::Result;
use crate::federation::{Introduction, classes};
use crate::run_dir::RunDir;
use crate::scoring::Scorer;

/// The images of a run, and who has which.
pub(super) enum Data {
    /// All of them, dealt to simulated clients.
    Here(Box<Dataset>, Partition),
    /// What sites said of theirs, sorted by name.
    AtSites(Vec<Introduction>),
}

/// Who is in the federation, in its run folder.
pub(super) const SITES: &str = "sites.json";

impl Data {
    /// What `config` names, dealt as it says.
    pub(super) fn here(config: &Config) -> Result<Self> {
        config.check_simulated()?;
        let dataset = config.load_dataset()?;
        let dealt = config.deal(&dataset)?;
        let partition = if config.pools_data() { dealt.pooled() } else { dealt };
        Ok(Self::Here(Box::new(dataset), partition))
    }

    pub(super) fn roster(&self) -> Roster {
        match self {
            Self::Here(_, partition) => Roster::of(partition),
            Self::AtSites(sites) => {
                Roster::new(sites.iter().map(|site| (site.name.clone(), site.num_examples)).collect())
            }
        }
    }

    /// `[c, h, w]` of all images, and how many classes there are.
    pub(super) fn image_shape_and_classes(&self) -> ([usize; 3], usize) {
        match self {
            Self::Here(dataset, _) => (dataset.train.shape(), dataset.train.num_classes()),
            // Sites that differ in their shape have not come so far.
            Self::AtSites(sites) => {
                (sites[0].image_shape, sites.iter().map(|site| site.num_classes).max().unwrap_or_default())
            }
        }
    }

    /// What the classes are called, in the order of their labels.
    pub(super) fn class_names(&self, config: &Config) -> Vec<String> {
        match self {
            Self::Here(dataset, _) => dataset.class_names.clone(),
            Self::AtSites(_) => classes::names(config, self.image_shape_and_classes().1),
        }
    }

    pub(super) fn scorer(&self, config: &Config, network: &Network, jobs: usize) -> Result<Scorer> {
        match self {
            Self::Here(dataset, _) => Scorer::new(dataset, config.evaluation.samples, network, config.seed, jobs),
            Self::AtSites(_) => Ok(Scorer::without_images(network, config.seed, jobs)),
        }
    }

    /// What a person has to know of the images.
    pub(super) fn note(&self) -> Option<String> {
        match self {
            Self::Here(dataset, _) => dataset.left_out_line(),
            Self::AtSites(_) => None,
        }
    }

    /// SHA-256, as hex, of all images and who has which; of what sites said of theirs.
    pub(super) fn hash(&self) -> String {
        let text = match self {
            Self::Here(dataset, partition) => {
                let of_set = |images: &ImageSet| {
                    [images.pixels(), images.labels()].map(params::sha256).join(" ") + &format!(" {:?}", images.shape())
                };
                let partition = serde_json::to_string(partition).expect("a partition is plain data");
                [of_set(&dataset.train), of_set(&dataset.test), partition].join("\n")
            }
            Self::AtSites(sites) => serde_json::to_string(sites).expect("an introduction is plain data"),
        };
        params::sha256(text.as_bytes())
    }

    /// Writes who has what into the run folder.
    pub(super) fn write(&self, dir: &RunDir) -> anyhow::Result<()> {
        match self {
            Self::Here(_, partition) => dir.write_json("partition.json", partition),
            Self::AtSites(sites) => dir.write_json(SITES, sites),
        }
    }

    /// What `run.json` says of it.
    pub(super) fn infos(&self, config: &Config) -> (DatasetInfo, PartitionInfo) {
        let ((image_shape, num_classes), roster) = (self.image_shape_and_classes(), self.roster());
        let (num_dealt, num_test) = match self {
            Self::Here(dataset, _) => (dataset.num_dealt(), Some(dataset.test.len())),
            Self::AtSites(_) => (roster.num_examples().iter().sum::<u64>() as usize, None),
        };
        let name = config.dataset.name.to_string();
        let clients = roster.names().iter().map(ToString::to_string).collect();
        let num_examples = roster.num_examples().to_vec();
        let class_counts = self.class_counts();
        let label_skew = class_counts.as_deref().map(heterogeneity::label_skew);
        (
            DatasetInfo { name, image_shape, num_classes, num_dealt, num_test },
            PartitionInfo { clients, num_examples, class_counts, label_skew },
        )
    }

    /// Training images by client and class, where they are known of all.
    fn class_counts(&self) -> Option<Vec<Vec<u64>>> {
        match self {
            Self::Here(dataset, partition) => Some(partition.class_counts(&dataset.train)),
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
