//! The `[federation]` table.

use std::collections::BTreeMap;

use anyhow::anyhow;
use effgan_data::ClientName;
use effgan_data::control_chars::is_control;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Failure, Result};

/// Most images that a site may have.
pub(crate) const MOST_EXAMPLES: u64 = 1 << 32;

/// The `[federation]` table: who is in it, how much each counts, and how long the server waits. A simulation looks at `max_examples` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FederationConfig {
    /// Names of all sites, to whom others cannot be added. When absent, the run waits until there are as many as
    /// `partition.clients` says, and takes all who are there then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sites: Option<Vec<ClientName>>,
    /// Seconds that the server waits for the sites at the start, and for the answers of each exchange, > 0.
    pub deadline: f64,
    /// Names of all classes, in the order of their labels: 1 to 256, each once. A label at a site follows the name of its folder, whichever of
    /// the classes the site has, and a folder of another name is refused there. A conditional network over folders needs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Whether sites tell how many images of each class they have, for the heat map of the report.
    pub label_counts: bool,
    /// Most images that a site counts for, in 1..=2^32: one that says it has more counts as these, and its record has both numbers. What
    /// a site says of itself cannot be checked, and n_k decides how much its word weighs. It holds in a simulation, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<u64>,
    /// One of Flower's strategies, in the place of the averaging of trainable parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<StrategyConfig>,
}

/// `federation.strategy`: a strategy of Flower's by its name, and its settings by theirs, as in `{ name = "FedAdam", eta = 0.01 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrategyConfig {
    /// `FedAdam`, `FedMedian`, `Krum`, …
    pub name: String,
    /// Its keyword arguments.
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
        if !(self.deadline > 0.0 && self.deadline <= MOST_SECONDS) {
            return wrong(format!("federation.deadline = {} is outside 0..={MOST_SECONDS}", self.deadline));
        }
        if let Some(n) = self.max_examples.filter(|n| !(1..=MOST_EXAMPLES).contains(n)) {
            return wrong(format!("federation.max_examples = {n} is outside 1..={MOST_EXAMPLES}"));
        }
        self.check_classes()?;
        let Some(sites) = &self.sites else { return Ok(()) };
        let mut sorted = sites.clone();
        sorted.sort();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => wrong(format!("federation.sites names {} twice", pair[0])),
            None if sites.is_empty() => wrong("federation.sites = [] names nobody".into()),
            None => Ok(()),
        }
    }
}

/// Longest name of a class: that of a folder.
const MOST_NAME: usize = 255;

impl FederationConfig {
    fn check_classes(&self) -> Result<()> {
        let Some(names) = &self.classes else { return Ok(()) };
        let wrong = |line: String| Err(Failure::usage(anyhow!("federation.classes {line}")));
        if !(1..=256).contains(&names.len()) {
            return wrong(format!("has {} names, outside 1..=256, as labels are single bytes", names.len()));
        }
        let is_name = |name: &&String| (1..=MOST_NAME).contains(&name.len()) && !name.contains(is_control);
        if let Some(name) = names.iter().find(|name| !is_name(name)) {
            return wrong(format!("has {name:?}, which is not 1 to {MOST_NAME} bytes of text that shows"));
        }
        match names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            Some((_, name)) => wrong(format!("has {name:?} twice")),
            None => Ok(()),
        }
    }
}

/// A month.
const MOST_SECONDS: f64 = 30.0 * 24.0 * 3600.0;
