//! The `[federation]` table, and its checks.

use std::collections::BTreeMap;

use anyhow::anyhow;
use effgan_data::ClientName;
use effgan_data::control_chars::is_control;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, Result};

/// Maximum number of images that a site may report.
pub(crate) const MAX_EXAMPLES: u64 = 1 << 32;

/// The `[federation]` table: the sites, how much each counts, and how long the server waits.
///
/// A simulation uses `max_examples` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FederationConfig {
    /// Names of all sites; no other site may join. When absent, the run waits until `partition.clients` sites are connected
    /// and takes all that are connected then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<ClientName>>,
    /// Seconds that the server waits for the sites at the start and for the replies of each exchange, > 0 and at most 30
    /// days; 600 by default.
    pub deadline: f64,
    /// Names of all classes in the order of their labels: 1 to 256, each once.
    ///
    /// A site labels the images of a folder by the folder's place in this list, and refuses a folder that is not in it. Required
    /// for a conditional network on `dataset.name = "folder"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Whether sites report how many images of each class they have, for the heat map of the report.
    pub label_counts: bool,
    /// Upper bound on n_k, 1..=2^32; the round's record keeps both the reported and the counted number.
    ///
    /// The server cannot verify n_k, which decides a site's weight. Applies in a simulation, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<u64>,
    /// A strategy of Flower that replaces the mean of the trainable parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyConfig>,
}

/// `federation.strategy`: the name of a strategy of Flower and its settings, as in `{ name = "FedAdam", eta = 0.01 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategyConfig {
    /// The class in `flwr.serverapp.strategy`: `FedAdam`, `FedMedian`, `Krum`, …
    pub name: String,
    /// The keyword arguments of its constructor.
    #[serde(flatten)]
    pub settings: BTreeMap<String, Value>,
}

impl Default for FederationConfig {
    fn default() -> Self {
        Self { sites: None, classes: None, deadline: 600.0, label_counts: false, max_examples: None, strategy: None }
    }
}

impl FederationConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`Kind::Usage`](crate::Kind::Usage), naming the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |line: String| Err(Failure::usage(anyhow!(line)));
        if !(self.deadline > 0.0 && self.deadline <= MAX_SECONDS) {
            return wrong(format!(
                "federation.deadline = {:?} must be above 0 and at most {MAX_SECONDS:?}",
                self.deadline
            ));
        }
        if let Some(n) = self.max_examples.filter(|n| !(1..=MAX_EXAMPLES).contains(n)) {
            return wrong(format!("federation.max_examples = {n} must be from 1 to {MAX_EXAMPLES}"));
        }
        self.check_classes()?;
        let Some(sites) = &self.sites else { return Ok(()) };
        let mut sorted = sites.clone();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => wrong(format!("federation.sites names {} twice", pair[0])),
            None if sites.is_empty() => wrong("federation.sites = [] names no site".into()),
            None => Ok(()),
        }
    }
}

/// Maximum number of bytes of a class name: that of a folder name.
const MAX_NAME: usize = 255;

impl FederationConfig {
    fn check_classes(&self) -> Result<()> {
        let Some(names) = &self.classes else { return Ok(()) };
        let wrong = |line: String| Err(Failure::usage(anyhow!("federation.classes {line}")));
        if names.is_empty() {
            return wrong("= [] names no class; name 1 to 256, or leave it out".into());
        }
        if names.len() > 256 {
            return wrong(format!("has {} names, more than 256, as labels are single bytes", names.len()));
        }
        let is_name = |name: &&String| (1..=MAX_NAME).contains(&name.len()) && !name.contains(is_control);
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return wrong(format!("has {name:?}, which is not 1 to {MAX_NAME} bytes of printable text"));
        }
        match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            Some((_, name)) => wrong(format!("has {name:?} twice")),
            None => Ok(()),
        }
    }
}

/// 30 days.
const MAX_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
