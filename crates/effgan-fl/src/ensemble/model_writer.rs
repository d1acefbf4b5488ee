//! Writing a model folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::networks::Network;
use effgan_nn::{ArithmeticVersion, Params, checkpoint};

use super::generator_file::{member_file, read_generator, write_generator};
use super::manifest::FORMAT_VERSION;
use super::{Ensemble, Global, Manifest, Member, NormStatistics};
use crate::aggregate::{Flagged, MemberSink, WeightedMean, Weights};
use crate::capped_weights::capped;
use crate::{FlError, Result};

/// Writes a model folder: each member when it is collected, and the manifest at the end.
#[derive(Debug)]
pub struct ModelWriter {
    dir: PathBuf,
    weights: Weights,
    members: Vec<Member>,
    mean: WeightedMean,
    classes: Vec<String>,
    without_examples: Vec<u8>,
}

impl ModelWriter {
    /// Starts a model in the folder `dir`, which is created if necessary.
    ///
    /// # Errors
    /// [`FlError::Io`] when it cannot be created.
    pub fn create(dir: &Path, weights: Weights) -> Result<Self> {
        let members = dir.join("members");
        fs::create_dir_all(&members).map_err(|source| FlError::Io { path: members, source })?;
        // An earlier, shorter run may have left a manifest. The folder must not count as a model until it is complete again.
        remove_manifest(&dir.join("manifest.json"))?;
        Ok(Self {
            dir: dir.into(),
            weights,
            members: Vec::new(),
            mean: WeightedMean::new(),
            classes: Vec::new(),
            without_examples: Vec::new(),
        })
    }

    /// Continues the folder `dir`, into which an earlier start of the program has written `members`.
    ///
    /// # Errors
    /// [`FlError::Model`] when one of their files has changed.
    pub fn reopen(dir: &Path, weights: Weights, members: Vec<Member>) -> Result<Self> {
        let mut writer = Self::create(dir, weights)?;
        for member in &members {
            let generator = read_generator(&member_file(dir, &member.name), &member.sha256)?;
            writer.mean.add(&generator, member.weight)?;
        }
        writer.members = members;
        Ok(writer)
    }

    /// Sets the names of a conditional network's classes, in the order of their labels.
    #[must_use]
    pub fn with_class_names(self, classes: Vec<String>) -> Self {
        Self { classes, ..self }
    }

    /// Sets the labels of a conditional network's classes of which no client has a training image, sorted.
    #[must_use]
    pub fn with_classes_without_examples(self, without_examples: Vec<u8>) -> Self {
        Self { without_examples, ..self }
    }

    /// The members so far, from which [`reopen`](Self::reopen) continues.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Sorts the members by name.
    pub fn sort(&mut self) {
        self.members.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// A member's generator (tensors without prefix).
    ///
    /// # Errors
    /// [`FlError::Model`] when its file has changed.
    pub fn generator(&self, member: &Member) -> Result<Params> {
        read_generator(&member_file(&self.dir, &member.name), &member.sha256)
    }

    /// Flags the member of `client` as an outlier for `reason`; with [`Flagged::LeaveOut`], its weight becomes 0.
    pub fn flag(&mut self, client: &ClientName, reason: &str, flagged: Flagged) {
        for member in self.members.iter_mut().filter(|member| member.name == *client) {
            member.flagged = Some(reason.into());
            if flagged == Flagged::LeaveOut {
                member.weight = 0.0;
            }
        }
    }

    /// Lowers the largest weights until none exceeds `max_share` of the sum, and returns the largest remaining share. With too
    /// few members for that, all weights become equal. The [mean](Self::mean) of the members does not change.
    pub fn cap(&mut self, max_share: f64) -> f64 {
        let weights: Vec<f64> = self.members.iter().map(|member| member.weight).collect();
        let capped = capped(&weights, max_share);
        let (largest, total) = (capped.iter().copied().fold(0.0, f64::max), capped.iter().sum::<f64>());
        self.members.iter_mut().zip(capped).for_each(|(member, weight)| member.weight = weight);
        largest / total
    }

    /// The weighted mean of all members so far, which is what averaging would have made of the same work; `None` without members.
    pub fn mean(&self) -> Option<Params> {
        self.mean.clone().finish()
    }

    /// Writes the averaged generator (tensors without prefix) and the manifest, and opens the finished model.
    ///
    /// # Errors
    /// [`FlError::Io`].
    pub fn finish(
        self,
        algorithm: &str,
        network: &Network,
        global: &Params,
        norm_statistics: NormStatistics,
    ) -> Result<Ensemble> {
        let sha256 = write_generator(&self.dir.join("global.safetensors"), global)?;
        let is_conditional = network.num_classes.is_some();
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            algorithm: algorithm.into(),
            arithmetic_version: ArithmeticVersion::OURS,
            network: network.clone(),
            classes: if is_conditional { self.classes } else { Vec::new() },
            without_examples: if is_conditional { self.without_examples } else { Vec::new() },
            global: Global { norm_statistics, sha256 },
            members: self.members,
        };
        let path = self.dir.join("manifest.json");
        let json = serde_json::to_vec_pretty(&manifest).expect("a manifest is plain data");
        checkpoint::write_file(&path, &json).map_err(|source| FlError::Io { path, source })?;
        Ok(Ensemble { dir: self.dir, manifest })
    }
}

impl MemberSink for ModelWriter {
    fn member(&mut self, client: ClientName, num_examples: u64, generator: Params) -> Result<()> {
        let sha256 = write_generator(&member_file(&self.dir, &client), &generator)?;
        let weight = self.weights.of(num_examples);
        self.mean.add(&generator, weight)?;
        self.members.push(Member { name: client, num_examples, weight, sha256, flagged: None });
        Ok(())
    }
}

fn remove_manifest(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(FlError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}
