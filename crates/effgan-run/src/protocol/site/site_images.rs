//! The images of a site: where they are, and what is read of them.

use std::path::PathBuf;
use std::sync::Arc;

use effgan_data::datasets::FileList;
use effgan_data::{ClientName, ClientShare, Dataset, Partition};
use effgan_fl::local::check_shard;
use effgan_fl::{Algorithm, Policy, Refusal};
use effgan_nn::gan::GanModel;
use effgan_nn::{ArithmeticVersion, DeviceName};

use super::context::SiteContext;
use super::site_error::SiteError;
use super::{class_labels, config_request};
use crate::config::Config;
use crate::failure::Failure;
use crate::privacy::{self, Counts};
use crate::protocol::Introduction;

/// The images of a site.
#[derive(Clone, Debug)]
pub enum SiteImages {
    /// All images of a folder or file, as `dataset.name` of the config reads it.
    Own {
        /// The folder or file.
        data_dir: PathBuf,
        /// The site's name.
        client: ClientName,
    },
    /// For experiments: the images that the config's partition assigns to one of its clients.
    Assigned {
        /// The client's place in the order of names, from 0.
        partition_id: usize,
        /// Where the data set lies, unless it is built in or in the cache.
        data_dir: Option<PathBuf>,
    },
}

impl SiteImages {
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// Whether they are files of this machine that its operator named.
    pub(super) fn names_files(&self) -> bool {
        matches!(self, Self::Own { .. } | Self::Assigned { data_dir: Some(_), .. })
    }

    /// Sets what the site and not the server decides: where the images are, whose they are, and that all of them count.
    pub(super) fn adapt(&self, config: &mut Config, policy: Option<&Policy>) {
        match self {
            Self::Own { data_dir, .. } => {
                config.dataset.dir = Some(data_dir.clone());
                config.dataset.person = policy.and_then(Policy::person).cloned();
                // `limit` says how much of one data set all clients together get.
                config.dataset.limit = None;
            }
            Self::Assigned { data_dir, .. } => config.dataset.dir.clone_from(data_dir),
        }
    }

    /// The site's name and which images train. Of its own images all do, before the site holds some out.
    fn share(&self, config: &Config, dataset: &Dataset) -> Result<ClientShare, SiteError> {
        match self {
            Self::Own { client, .. } => {
                let train = (0..dataset.train.len() as u32).collect();
                Ok(ClientShare { name: client.clone(), train, held_out: Vec::new() })
            }
            &Self::Assigned { partition_id, .. } => {
                let unusable = |why: String| SiteError::new(Refusal::DataUnusable, why);
                let clients = config.deal(dataset).map_err(|failure| unusable(failure.line()))?.clients;
                let last = clients.len() - 1;
                clients.into_iter().nth(partition_id).ok_or_else(|| {
                    unusable(format!(
                        "partition-id = {partition_id} must be from 0 to {last}, the clients of the config"
                    ))
                })
            }
        }
    }
}

/// A site's images in memory, and what trains on them.
pub(super) struct Images {
    pub(super) dataset: Dataset,
    pub(super) share: ClientShare,
    device: DeviceName,
}

impl Images {
    /// Reads the images. Under a policy, the site itself decides which are held out.
    ///
    /// # Errors
    /// Images that cannot be read or are too few; a hold-out secret that cannot be used.
    pub(super) fn open(
        site: &SiteImages,
        config: &Config,
        context: Option<&SiteContext>,
        listed: Option<&FileList>,
    ) -> Result<Self, SiteError> {
        let mut config = config.clone();
        if let Some(context) = context {
            config.dataset.max_memory = context.max_memory(config.dataset.max_memory);
        }
        let site_error = |(refusal, failure): (Refusal, Failure)| SiteError::new(refusal, failure.line());
        let dataset = class_labels::load(&config, context.and_then(SiteContext::image_cache)).map_err(site_error)?;
        let mut share = site.share(&config, &dataset)?;
        if let Some(context) = context {
            context.hold_out(&config, &dataset, listed, &mut share)?;
        }
        let device = context.map(SiteContext::device).unwrap_or_default();
        Ok(Self { dataset, share, device })
    }

    /// The algorithm that trains on these images.
    ///
    /// # Errors
    /// A network that does not fit the images; too few images; an algorithm that cannot be built.
    pub(super) fn algorithm(&self, config: &Config) -> Result<Box<dyn Algorithm>, SiteError> {
        let share = &self.share;
        let (images, device, plain) = (share.train.len(), self.device.open()?, self.model(config)?);
        let statement = config_request::privacy_statement(config, self.counts())?;
        let privacy = privacy::training(config, statement.as_slice());
        let model = Arc::new(GanModel { privacy, ..plain });
        check_shard(&*model, &share.name, images)?;
        if config.privacy.is_some() {
            model.check_private(device)?;
        }
        Ok(config.algorithm.build(model, config.local.clone(), &config.aggregation, device)?)
    }

    /// The networks for these images, without private noise.
    ///
    /// # Errors
    /// A network that does not fit the images.
    pub(super) fn model(&self, config: &Config) -> Result<GanModel, Failure> {
        config.model_without_noise(self.dataset.train.shape(), self.dataset.train.num_classes())
    }

    fn counts(&self) -> Counts {
        Counts::of(&self.share.train, self.dataset.train.persons())
    }

    /// What the site says of itself in its reply to a query.
    pub(super) fn introduction(&self, config: &Config) -> Introduction {
        let train = &self.dataset.train;
        let counts = || Partition { clients: vec![self.share.clone()] }.class_counts(train).swap_remove(0);
        Introduction {
            name: self.share.name.clone(),
            num_examples: self.share.train.len() as u64,
            num_persons: self.counts().persons.filter(|_| config.privacy.is_some()),
            image_shape: train.shape(),
            num_classes: train.num_classes(),
            version: env!("CARGO_PKG_VERSION").into(),
            arithmetic_version: ArithmeticVersion::OURS,
            label_counts: config.federation.label_counts.then(counts),
            max_examples: None,
            ledger: None,
        }
    }
}
