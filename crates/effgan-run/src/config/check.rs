//! The checks of a config: the bounds of every table, what goes together across tables, and what a simulation or a federation needs.
//!
//! [`Config::parse`] makes all checks that need nothing but the config. The others wait for what they need: for the number of clients
//! ([`Config::check_clients`]), for the shape of the images and their classes ([`Config::model`]), and, for `local.precision`, for the
//! processor ([`LocalTraining::new`](effgan_fl::local::LocalTraining::new)).

use anyhow::anyhow;
use effgan_data::DatasetName;
use effgan_fl::{AggregationKind, SimulationConfig};

use super::Config;
use crate::failure::{Failure, Result};

impl Config {
    /// Checks the bounds of every table, and what has to agree between tables.
    pub(super) fn check(self) -> Result<Self> {
        check_name(&self.name)?;
        self.dataset.check()?;
        self.partition.check()?;
        self.network.check()?;
        self.local.check(self.network.min_images())?;
        self.algorithm.check()?;
        self.aggregation.check()?;
        self.simulation.check()?;
        self.federation.check()?;
        self.evaluation.check()?;
        self.checkpoint.check()?;
        self.algorithm.check_aggregation(&self.aggregation)?;
        self.algorithm.check_training(&self.local, &self.network)?;
        self.check_image_shape()?;
        Ok(self)
    }

    /// Checks that the network fits the images, where the config says which shape they have.
    fn check_image_shape(&self) -> Result<()> {
        if let (Some(size), Some(channels)) = (self.dataset.size, self.dataset.channels) {
            // The data tell the number of classes, which does not matter to the fit.
            let num_classes = self.federation.classes.as_ref().map_or(2, Vec::len);
            self.model([channels, size, size], num_classes)?;
        }
        Ok(())
    }

    /// Checks the bounds that depend on the number of clients.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check_clients(&self, clients: usize) -> Result<()> {
        self.aggregation.check_clients(clients)?;
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
            let line = "federation.strategy replaces the mean of fedgan, fedprox and effgan; remove it, or use one of these \
                        algorithms with aggregation.kind = \"mean\"";
            return Err(usage(line.into()));
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
        // The number of clients of a partition from a file is known once that is read.
        self.num_simulated().map_or(Ok(()), |clients| self.check_clients(clients))
    }

    /// The number of clients of a simulation, where it is in the config.
    fn num_simulated(&self) -> Option<usize> {
        let clients = self.partition.common_keys()?.clients;
        Some(if self.algorithm.pools_data() { 1 } else { clients })
    }
}

/// Checks a name that becomes a folder, so that it cannot lead out of its parent.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(fine) && !name.starts_with('.') {
        return Ok(());
    }
    Err(usage(format!("name = {name:?} is not 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.` with no `.` at the start")))
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
pub(super) mod tests;
