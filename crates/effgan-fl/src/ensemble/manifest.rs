//! `manifest.json`: what a model folder holds.

use std::collections::BTreeSet;

use effgan_data::ClientName;
use effgan_nn::ArithmeticVersion;
use effgan_nn::networks::Network;
use serde::{Deserialize, Serialize};

/// Format version of `manifest.json`; a reader refuses any other.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Largest manifest that is read: 64 MiB, enough for 300,000 members.
pub(super) const MAX_BYTES: u64 = 1 << 26;

/// How the running statistics of an averaged generator's batch norm are obtained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormStatistics {
    /// Recomputed by running the averaged generator on fixed z.
    #[default]
    Recompute,
    /// The average of the clients' statistics.
    Average,
}

impl NormStatistics {
    /// The name in messages: `recomputed` or `averaged`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recompute => "recomputed",
            Self::Average => "averaged",
        }
    }
}

/// One generator of the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The client that trained the generator.
    pub name: ClientName,
    /// n_k: the number of images that it was trained on, or the cap where that is lower.
    pub num_examples: u64,
    /// Weight of the member when samples are drawn, ≥ 0, not normalised.
    pub weight: f64,
    /// SHA-256 of the file, in lower-case hex.
    pub sha256: String,
    /// Why the member was flagged as an outlier; absent for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flagged: Option<String>,
}

/// The averaged generator of the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Global {
    /// How its batch-norm statistics were obtained.
    pub norm_statistics: NormStatistics,
    /// SHA-256 of the file, in lower-case hex.
    pub sha256: String,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub format_version: u32,
    /// The algorithm's name in a config.
    pub algorithm: String,
    /// The version of the arithmetic that trained it. Readers do not need it: a model of any version can be sampled.
    #[serde(default)]
    pub arithmetic_version: ArithmeticVersion,
    /// Network and image shape, from which a generator is built.
    pub network: Network,
    /// Names of a conditional network's classes, in the order of their labels; absent where they are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Labels of a conditional network's classes of which no client had a training image, sorted: the network has not learnt them. Absent
    /// where there are none, and where nobody knows, as at the server of a federation whose sites do not count their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_examples: Vec<u8>,
    /// The averaged generator.
    pub global: Global,
    /// The members of the ensemble, sorted by name; empty for algorithms without an ensemble.
    pub members: Vec<Member>,
}

pub(super) fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    if manifest.format_version != FORMAT_VERSION {
        return Err(format!("format_version is {}, this program reads {FORMAT_VERSION}", manifest.format_version));
    }
    manifest.network.check().map_err(|error| error.to_string())?;
    let bad = manifest.members.iter().find(|member| !(member.weight.is_finite() && member.weight >= 0.0));
    if let Some(member) = bad {
        return Err(format!("member {} has weight {}, which must be 0 or more", member.name, member.weight));
    }
    let (names, classes) = (manifest.classes.len(), manifest.network.num_classes.unwrap_or(0));
    if names > 0 && names != classes {
        return Err(format!(
            "there are {names} names in classes, but the network has {classes} classes; name all of them or none"
        ));
    }
    let without = &manifest.without_examples;
    if !without.is_sorted_by(|a, b| a < b) || without.last().is_some_and(|&last| usize::from(last) >= classes) {
        return Err(format!(
            "without_examples is {without:?}, which must be labels below {classes}, the network's classes, in order and each once"
        ));
    }
    if classes > 0 && without.len() == classes {
        return Err(
            "without_examples names all classes, so that none can be drawn; remove those that have images".into()
        );
    }
    let mut names = BTreeSet::new();
    if let Some(member) = manifest.members.iter().find(|member| !names.insert(&member.name)) {
        return Err(format!("member {} has two rows; remove one of them", member.name));
    }
    let total: f64 = manifest.members.iter().map(|member| member.weight).sum();
    let drawable = total > 0.0 && total.is_finite();
    if !drawable && !manifest.members.is_empty() {
        return Err(format!("the members' weights sum to {total}, which must be above 0 and finite"));
    }
    Ok(())
}
