//! The model folder: a manifest, the averaged generator and the members, each a PyTorch state dict in safetensors.
//!
//! ```text
//! model/  manifest.json  global.safetensors  members/<client>.safetensors
//! ```
//! Removing a client is removing its member and its row. There are no discriminators here: they stay home.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::networks::{Network, check};
use effgan_nn::{Params, checkpoint, params};
use serde::{Deserialize, Serialize};

use crate::aggregate::{MemberSink, WeightedMean, Weights};
use crate::{FlError, Result, sample};

/// Of `manifest.json`; a reader refuses any other.
const FORMAT_VERSION: u32 = 1;

/// How an averaged generator's batch-norm statistics are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormStatistics {
    /// Computed anew by running the averaged generator on fixed z.
    #[default]
    Recompute,
    /// The average of the clients' statistics.
    Average,
}

/// One generator of the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The client that trained it.
    pub name: ClientName,
    /// n_k: images it was trained on.
    pub num_examples: u64,
    /// Its share of the samples, not normalised, ≥ 0.
    pub weight: f64,
    /// Of its file, as lower-case hex.
    pub sha256: String,
}

/// The averaged generator of the folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Global {
    /// How its batch-norm statistics were made.
    pub norm_statistics: NormStatistics,
    /// Of its file, as lower-case hex.
    pub sha256: String,
}

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this layout.
    pub format_version: u32,
    /// The algorithm's name in a config.
    pub algorithm: String,
    /// Network and image shape: what is needed to build a generator.
    pub network: Network,
    /// The averaged generator.
    pub global: Global,
    /// The ensemble, sorted by name; empty for algorithms without one.
    pub members: Vec<Member>,
}

/// Which generators samples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// All members by weight, or the averaged generator when there are none.
    Ensemble,
    /// These members, by weight.
    Members(Vec<ClientName>),
    /// The averaged generator.
    Global,
}

/// Writes a model folder: members as they are collected, the manifest at the end.
#[derive(Debug)]
pub struct ModelWriter {
    dir: PathBuf,
    weights: Weights,
    members: Vec<Member>,
    mean: WeightedMean,
}

impl ModelWriter {
    /// Starts the folder `dir`.
    ///
    /// # Errors
    /// [`FlError::Io`] when it cannot be made.
    pub fn create(dir: &Path, weights: Weights) -> Result<Self> {
        let members = dir.join("members");
        fs::create_dir_all(&members).map_err(|source| FlError::Io { path: members, source })?;
        Ok(Self { dir: dir.into(), weights, members: Vec::new(), mean: WeightedMean::new() })
    }

    /// The mean of all members so far by weight: what averaging would have made of the same work. `None` without members.
    pub fn mean(&self) -> Option<Params> {
        self.mean.clone().finish()
    }

    /// Writes the averaged generator (tensors without prefix) and the manifest; opens the whole.
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
        let sha256 = write(&self.dir.join("global.safetensors"), global)?;
        let manifest = Manifest {
            format_version: FORMAT_VERSION,
            algorithm: algorithm.into(),
            network: network.clone(),
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
        let sha256 = write(&member_file(&self.dir, &client), &generator)?;
        let weight = self.weights.of(num_examples);
        self.mean.add(&generator, weight)?;
        self.members.push(Member { name: client, num_examples, weight, sha256 });
        Ok(())
    }
}

/// A model folder that was opened.
#[derive(Clone, Debug)]
pub struct Ensemble {
    dir: PathBuf,
    manifest: Manifest,
}

impl Ensemble {
    /// Opens the model folder `dir`, or the one inside a run folder. Generators are read when they are needed.
    ///
    /// # Errors
    /// [`FlError::NotAModel`] naming what is wrong.
    pub fn open(dir: &Path) -> Result<Self> {
        let inner = dir.join("model");
        let dir = if inner.join("manifest.json").exists() { &inner } else { dir };
        let path = dir.join("manifest.json");
        let not_a_model = |reason: String| FlError::NotAModel { path: path.clone(), reason };
        let json = fs::read(&path).map_err(|error| not_a_model(error.to_string()))?;
        let manifest: Manifest = serde_json::from_slice(&json).map_err(|error| not_a_model(error.to_string()))?;
        check_manifest(&manifest).map_err(not_a_model)?;
        Ok(Self { dir: dir.into(), manifest })
    }

    /// What the folder holds.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Shape `[c, h, w]` of its images.
    pub fn image_shape(&self) -> [usize; 3] {
        self.manifest.network.image_shape
    }

    /// The averaged generator (tensors without prefix).
    ///
    /// # Errors
    /// When the file is missing, is not what the manifest says, or does not fit the network.
    pub fn global(&self) -> Result<Params> {
        self.read(&self.dir.join("global.safetensors"), &self.manifest.global.sha256)
    }

    /// A member's generator (tensors without prefix).
    ///
    /// # Errors
    /// As [`global`](Self::global).
    pub fn generator(&self, member: &Member) -> Result<Params> {
        self.read(&member_file(&self.dir, &member.name), &member.sha256)
    }

    /// Images `range` of `seed` from `selection`: u8 `[n, c, h, w]`.
    ///
    /// # Errors
    /// [`FlError::UnknownMember`]; files as in [`global`](Self::global).
    pub fn sample(&self, selection: &Selection, seed: u64, range: Range<u64>, jobs: usize) -> Result<Vec<u8>> {
        let network = &self.manifest.network;
        match self.selected(selection)? {
            members if members.is_empty() => {
                let global = self.global()?;
                sample::sample(network, &[1.0], &|_| Ok(global.clone()), seed, range, jobs)
            }
            members => {
                let weights: Vec<f64> = members.iter().map(|member| member.weight).collect();
                sample::sample(network, &weights, &|index| self.generator(members[index]), seed, range, jobs)
            }
        }
    }

    /// The members of `selection`; none of them stands for the averaged generator.
    fn selected(&self, selection: &Selection) -> Result<Vec<&Member>> {
        match selection {
            Selection::Ensemble => Ok(self.manifest.members.iter().collect()),
            Selection::Global => Ok(Vec::new()),
            Selection::Members(names) => names.iter().map(|name| self.member(name)).collect(),
        }
    }

    fn member(&self, name: &ClientName) -> Result<&Member> {
        self.manifest.members.iter().find(|member| member.name == *name).ok_or_else(|| {
            let names: Vec<&str> = self.manifest.members.iter().map(|member| member.name.as_str()).collect();
            let members = if names.is_empty() { "only `global`".into() } else { names.join(", ") };
            FlError::UnknownMember { name: name.to_string(), members }
        })
    }

    fn read(&self, path: &Path, sha256: &str) -> Result<Params> {
        let not_a_model = |reason: String| FlError::NotAModel { path: path.into(), reason };
        let bytes = fs::read(path).map_err(|error| not_a_model(error.to_string()))?;
        let found = params::sha256(&bytes);
        if found != sha256 {
            return Err(not_a_model(format!("its sha256 is {found}, the manifest says {sha256}")));
        }
        let generator = checkpoint::from_bytes(&bytes).map_err(not_a_model)?;
        generator.check_finite()?;
        check(&generator, &self.manifest.network.generator_tensors())?;
        Ok(generator)
    }
}

fn check_manifest(manifest: &Manifest) -> std::result::Result<(), String> {
    if manifest.format_version != FORMAT_VERSION {
        return Err(format!("format_version is {}, this program reads {FORMAT_VERSION}", manifest.format_version));
    }
    Network::new(manifest.network.config.clone(), manifest.network.image_shape).map_err(|error| error.to_string())?;
    let bad = manifest.members.iter().find(|member| !(member.weight.is_finite() && member.weight >= 0.0));
    if let Some(member) = bad {
        return Err(format!("member {} has weight {}, which must be 0 or more", member.name, member.weight));
    }
    let total: f64 = manifest.members.iter().map(|member| member.weight).sum();
    if !manifest.members.is_empty() && total <= 0.0 {
        return Err("all members have weight 0".into());
    }
    Ok(())
}

fn member_file(dir: &Path, client: &ClientName) -> PathBuf {
    dir.join("members").join(format!("{client}.safetensors"))
}

/// Writes the tensors and answers with the SHA-256 of the file.
fn write(path: &Path, generator: &Params) -> Result<String> {
    let bytes = checkpoint::to_bytes(generator);
    checkpoint::write_file(path, &bytes).map_err(|source| FlError::Io { path: path.into(), source })?;
    Ok(params::sha256(&bytes))
}
