//! The checks of a config: the bounds of every table, what goes together across tables, and what a simulation or a federation needs.
//!
//! [`Config::parse`] makes all checks that need nothing but the config. The others wait for what they need: for the number of clients
//! ([`Config::check_clients`]), for the shape of the images and their classes ([`Config::model`]), and, for `local.precision`, for the
//! processor ([`LocalConfig::device`](effgan_fl::LocalConfig::device)).

use anyhow::anyhow;
use effgan_data::partition::CommonKeys;
use effgan_data::{DataError, DatasetConfig, DatasetName};
use effgan_fl::{AggregationKind, AlgorithmConfig, ExchangeKind, SimulationConfig};
use effgan_nn::Precision;
use effgan_nn::gan::DiscriminatorSteps;

use super::Config;
use super::typed::short;
use crate::failure::{Failure, Result};

impl Config {
    /// Checks the bounds of every table, and what has to agree between tables.
    pub(super) fn check(self) -> Result<Self> {
        check_name(&self.name)?;
        self.dataset.check()?;
        self.partition.check()?;
        self.network.check()?;
        self.local.check(self.network.min_images())?;
        self.check_privacy()?;
        self.algorithm.check()?;
        self.aggregation.check()?;
        self.simulation.check()?;
        self.federation.check()?;
        self.evaluation.check()?;
        self.checkpoint.check()?;
        self.algorithm.check_aggregation(&self.aggregation)?;
        self.algorithm.check_training(&self.local, &self.network)?;
        self.check_private_mean()?;
        if let (Some(size), Some(channels)) = (self.dataset.size, self.dataset.channels) {
            self.check_fit(size, channels)?;
        }
        Ok(self)
    }

    /// Checks the `[privacy]` table, and that networks and algorithm can be trained privately.
    fn check_privacy(&self) -> Result<()> {
        let Some(privacy) = &self.privacy else {
            if self.local.discriminator_steps == DiscriminatorSteps::Adaptive {
                return Err(usage(
                    "local.discriminator_steps = \"adaptive\" is for [privacy], whose noise weakens the discriminator; set a number"
                        .into(),
                ));
            }
            return Ok(());
        };
        privacy.check()?;
        self.network.check_private()?;
        if self.local.precision != Precision::F32 {
            return Err(usage("local.precision must be f32 with [privacy], which bounds gradients in f32".into()));
        }
        if self.federation.label_counts {
            let line = "federation.label_counts = true is not for [privacy]: no noise hides the numbers of images by class; set it to false";
            return Err(usage(line.into()));
        }
        if !self.algorithm.exchanges().iter().all(|kind| matches!(kind, ExchangeKind::Average | ExchangeKind::Collect))
        {
            let line = format!(
                "algorithm.kind = \"{}\" sends gradients and discriminators that no noise hides; remove [privacy], or take another \
                 algorithm, such as effgan",
                self.algorithm.name()
            );
            return Err(usage(line));
        }
        Ok(())
    }

    /// Checks that averaging with noise, where the config wants it, hides all that is averaged.
    fn check_private_mean(&self) -> Result<()> {
        if self.aggregation.kind != AggregationKind::PrivateMean {
            return Ok(());
        }
        if self.algorithm.has_single_batch_replies() {
            let name = self.algorithm.name();
            return Err(usage(format!(
                "aggregation.kind = \"private-mean\" is not for {name}, whose rounds average no networks; use mean"
            )));
        }
        if self.network.has_batch_norm() {
            let line = "network.norm = \"batch\" is not for aggregation.kind = \"private-mean\": noise would make running variances negative; \
                        take \"group\" or \"none\"";
            return Err(usage(line.into()));
        }
        if self.federation.strategy.is_some() {
            let line = "federation.strategy averages without the noise of aggregation.kind = \"private-mean\"; remove one of them";
            return Err(usage(line.into()));
        }
        Ok(())
    }

    /// Checks that there is no `[privacy]`: its noise is planned for a whole run, and whatever else builds a model would train plainly.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the table.
    pub(crate) fn check_plain(&self) -> Result<()> {
        if self.privacy.is_none() {
            return Ok(());
        }
        let line = "[privacy] is for effgan run, effgan sweep and federations, which plan its noise; remove it";
        Err(usage(line.into()))
    }

    /// Checks that the noise at a real site is a secret.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub(crate) fn check_secret(&self) -> Result<()> {
        if self.privacy.as_ref().is_none_or(|privacy| privacy.insecure_seed.is_none()) {
            return Ok(());
        }
        Err(usage("privacy.insecure_seed makes nothing private and is for simulations alone; remove it".into()))
    }

    /// Checks that the network fits images of `size` pixels per side and `channels`.
    fn check_fit(&self, size: usize, channels: usize) -> Result<()> {
        // The data tell the number of classes, which does not matter to the fit.
        let num_classes = self.federation.classes.as_ref().map_or(2, Vec::len);
        self.model_without_noise([channels, size, size], num_classes).map(drop)
    }

    /// Checks network and classes against the images, as far as the `[dataset]` table tells what these are like. The rest is checked once
    /// they are read.
    fn check_images(&self) -> Result<()> {
        let DatasetConfig { name, size, channels, .. } = self.dataset;
        let shape = name.image_shape();
        if let Some(size) = size.or(shape.map(|[_, side, _]| side)) {
            // The side alone decides: a network that fits images in grey fits coloured ones.
            self.check_fit(size, channels.or(shape.map(|[channels, ..]| channels)).unwrap_or(1))?;
        }
        let (found, classes) = (name.classes().len(), self.federation.classes.as_deref());
        match classes.map(<[String]>::len).filter(|named| found > *named) {
            Some(named) => Err(DataError::FewerClasses { name: name.to_string(), found, named }.into()),
            None => Ok(()),
        }
    }

    /// Checks the bounds that depend on the number of clients.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_clients(&self, clients: usize) -> Result<()> {
        self.aggregation.check_clients(clients, self.algorithm.num_in_round(clients))?;
        Ok(self.simulation.check_clients(clients)?)
    }

    /// Checks that a label means the same class at all sites.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_classes(&self) -> Result<()> {
        let named = self.dataset.name == DatasetName::Folder;
        if self.network.is_conditional() && named && self.federation.classes.is_none() {
            let line = "network.conditional = true with dataset.name = \"folder\" needs federation.classes, the names of the folders in the \
                        order of their labels, such as [\"cat\", \"dog\"]: otherwise each site would number its folders differently";
            return Err(usage(line.into()));
        }
        Ok(())
    }

    /// Checks that the run can be a federation of several machines.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_federated(&self) -> Result<()> {
        if self.algorithm.pools_data() {
            let line = "algorithm.kind = \"central\" trains on all images in one place, and in a federation they stay where they \
                        are; choose another algorithm, or use effgan run";
            return Err(usage(line.into()));
        }
        self.check_secret()?;
        self.check_images()?;
        self.check_classes()?;
        // Without a list of them, the number of sites is known once all are connected.
        self.federation.sites.as_ref().map_or(Ok(()), |sites| self.check_clients(sites.len()))?;
        if self.simulation != SimulationConfig::default() {
            let line =
                "[simulation] describes simulated dropouts and attackers and has no meaning at real sites; remove it";
            return Err(usage(line.into()));
        }
        let has_mean = self.algorithm.takes_strategy() && self.aggregation.kind == AggregationKind::Mean;
        if self.federation.strategy.is_some() && !has_mean {
            let all = AlgorithmConfig::one_of_each();
            let of: Vec<&str> = all.iter().filter(|kind| kind.takes_strategy()).map(|kind| kind.name()).collect();
            let line = format!(
                "federation.strategy replaces the mean of {}; remove it, or use one of these algorithms with \
                 aggregation.kind = \"mean\"",
                of.join(", ")
            );
            return Err(usage(line));
        }
        Ok(())
    }

    /// Checks that the run can be a simulation on one machine.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_simulated(&self) -> Result<()> {
        if self.federation.strategy.is_some() {
            let line = "federation.strategy names a strategy of Flower, which a simulation does not use; remove it, or use \
                        algorithm.kind = \"fedadam\" or aggregation.kind = \"median\"";
            return Err(usage(line.into()));
        }
        self.check_partition()
    }

    /// Checks that images like those of the data set can be trained on, that the clients of the partition can have enough of them, and the
    /// bounds that depend on the number of clients.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_partition(&self) -> Result<()> {
        self.check_images()?;
        // The number of clients of a partition from a file is known once that is read.
        let Some(&CommonKeys { clients, min_examples, .. }) = self.partition.common_keys() else { return Ok(()) };
        if let Some(limit) = self.dataset.limit {
            if clients > limit {
                return Err(DataError::MoreClientsThanImages { clients, num_assigned: limit, what: "images" }.into());
            }
            if min_examples > limit / clients {
                return Err(usage(format!(
                    "partition.min_examples = {min_examples} must be at most {}, as {clients} clients share dataset.limit = {limit} \
                     images; lower it or partition.clients, or raise dataset.limit",
                    limit / clients
                )));
            }
        }
        self.check_clients(if self.algorithm.pools_data() { 1 } else { clients })
    }
}

/// Checks a name that becomes a folder, so that it cannot lead out of its parent.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fine) && !name.starts_with('.') {
        return Ok(());
    }
    let name = short(name);
    Err(usage(format!("name = {name:?} is not 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.` with no `.` at the start")))
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
pub(super) mod tests;
