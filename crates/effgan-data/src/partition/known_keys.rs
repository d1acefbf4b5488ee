//! The list of a kind's keys in the error about an unknown one, which serde leaves out where a table is flattened into another.

use super::{ByLabel, Dirichlet, Iid, LabelQuantity, Quantity, Shards};
use serde::{Deserialize, Deserializer, de::Error};

/// A kind of partition that has the [`CommonKeys`](super::CommonKeys).
pub(super) trait OwnKeys {
    /// Its keys beside the common ones.
    const OWN_KEYS: &'static [&'static str];
}

impl OwnKeys for Iid {
    const OWN_KEYS: &'static [&'static str] = &[];
}

impl OwnKeys for Dirichlet {
    const OWN_KEYS: &'static [&'static str] = &["alpha"];
}

impl OwnKeys for ByLabel {
    const OWN_KEYS: &'static [&'static str] = &["classes_per_client"];
}

impl OwnKeys for Shards {
    const OWN_KEYS: &'static [&'static str] = &["shards_per_client"];
}

impl OwnKeys for Quantity {
    const OWN_KEYS: &'static [&'static str] = &["sigma", "alpha"];
}

impl OwnKeys for LabelQuantity {
    const OWN_KEYS: &'static [&'static str] = &["alpha", "sigma"];
}

/// Deserialises a kind; an error about an unknown key lists those that are known.
pub(super) fn listed<'de, D: Deserializer<'de>, T: Deserialize<'de> + OwnKeys>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(deserializer).map_err(|error| {
        let message = error.to_string();
        if !message.starts_with("unknown field") {
            return error;
        }
        let common = ["clients", "min_examples", "held_out"];
        let known: Vec<String> = T::OWN_KEYS.iter().chain(&common).map(|key| format!("`{key}`")).collect();
        D::Error::custom(format!("{}, expected one of {}", message.trim_end(), known.join(", ")))
    })
}
