//! The start of a run: the server waits until all its sites are connected.

use std::thread;
use std::time::Instant;

use anyhow::anyhow;
use effgan_data::ClientName;

use super::{POLL, SiteConnections};
use crate::failure::{Failure, Result};
use crate::protocol::Introduction;

impl SiteConnections<'_> {
    /// Waits until all sites are connected, and returns what they say of themselves, sorted by name.
    ///
    /// # Errors
    /// When sites are missing at the deadline, or no site can take part: which, and why.
    pub fn wait_for_sites(&mut self) -> Result<Vec<Introduction>> {
        let (started, deadline) = (Instant::now(), self.deadline());
        let mut last_line = String::new();
        loop {
            self.poll_nodes()?;
            let connected = self.connected_sites();
            let wanted = self.num_sites();
            let line = format!("{} of {wanted} sites connected{}", connected.len(), self.missing(&connected));
            if line != last_line {
                self.progress.line(&line);
                last_line = line;
            }
            if connected.len() >= wanted {
                return Ok(connected);
            }
            if let Some(reason) = self.all_unable(wanted) {
                return Err(Failure::from(anyhow!("no site can take part: {reason}")));
            }
            if started.elapsed() >= deadline {
                return Err(self.too_few(&connected));
            }
            self.take_replies()?;
            thread::sleep(POLL);
        }
    }

    /// How many sites the config names, or else how many its partition has.
    fn num_sites(&self) -> usize {
        let of_partition = || self.config.partition.common_keys().map_or(1, |shares| shares.clients);
        self.config.federation.sites.as_ref().map_or_else(of_partition, Vec::len)
    }

    /// The first reason, when all nodes, and at least `wanted` of them, are unable to take part for reasons that waiting does not remove.
    fn all_unable(&self, wanted: usize) -> Option<&str> {
        let reasons: Option<Vec<&str>> = self.nodes.values().map(|node| node.unable()?.lasting()).collect();
        reasons.filter(|reasons| reasons.len() >= wanted)?.first().copied()
    }

    /// `, without east` and the like, where the config names the sites.
    fn missing(&self, connected: &[Introduction]) -> String {
        let is_connected = |name: &ClientName| connected.iter().any(|site| site.name == *name);
        let sites = self.config.federation.sites.iter().flatten();
        let missing: Vec<&str> = sites.filter(|name| !is_connected(name)).map(ClientName::as_str).collect();
        if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) }
    }

    fn too_few(&self, connected: &[Introduction]) -> Failure {
        let reasons =
            self.nodes.iter().filter_map(|(&id, node)| Some(format!("; {} {}", self.name_of_node(id), node.unable()?)));
        Failure::from(anyhow!(
            "{} of {} sites connected within {} s{}{}; start their nodes, or raise federation.deadline",
            connected.len(),
            self.num_sites(),
            self.config.federation.deadline,
            self.missing(connected),
            reasons.collect::<String>()
        ))
    }
}
