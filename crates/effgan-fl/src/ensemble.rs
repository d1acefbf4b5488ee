//! The model folder: a manifest, the averaged generator and the members, each a PyTorch state dict in safetensors.
//!
//! ```text
//! model/  manifest.json  global.safetensors  members/<client>.safetensors
//! ```
//! Removing a client is removing its member and its row. There are no discriminators here: they stay home.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::networks::{Network, check};
use effgan_nn::{Params, checkpoint, params};
use serde::{Deserialize, Serialize};

use crate::aggregate::{Flagged, MemberSink, WeightedMean, Weights};
use crate::{FlError, Result, sample, share};

/// Of `manifest.json`; a reader refuses any other.
const FORMAT_VERSION: u32 = 1;
/// Most bytes of a manifest that is read, 64 MiB: 300,000 members.
const MOST_BYTES: u64 = 1 << 26;

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

impl NormStatistics {
    /// In a sentence.
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
    /// The client that trained it.
    pub name: ClientName,
    /// n_k: images it was trained on, or what it counts as where a cap is lower.
    pub num_examples: u64,
    /// Its share of the samples, not normalised, ≥ 0.
    pub weight: f64,
    /// Of its file, as lower-case hex.
    pub sha256: String,
    /// Why its samples are not to be trusted; absent where nothing is known against them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flagged: Option<String>,
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
    /// What the classes of a conditional network are called, in the order of their labels; absent where nobody said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
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
    /// These members, by weight; members that are left out, and are asked for alone, count the same.
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
    classes: Vec<String>,
}

impl ModelWriter {
    /// Starts the folder `dir`.
    ///
    /// # Errors
    /// [`FlError::Io`] when it cannot be made.
    pub fn create(dir: &Path, weights: Weights) -> Result<Self> {
        let members = dir.join("members");
        fs::create_dir_all(&members).map_err(|source| FlError::Io { path: members, source })?;
        // Of an earlier end of the same run: what is now made is no model before it is whole.
        remove_manifest(&dir.join("manifest.json"))?;
        Ok(Self { dir: dir.into(), weights, members: Vec::new(), mean: WeightedMean::new(), classes: Vec::new() })
    }

    /// Opens the folder `dir` again, in which `members` were written before the program ended.
    ///
    /// # Errors
    /// [`FlError::Model`] when one of them is not as it was written.
    pub fn reopen(dir: &Path, weights: Weights, members: Vec<Member>) -> Result<Self> {
        let mut writer = Self::create(dir, weights)?;
        for member in &members {
            let generator = read_generator(&member_file(dir, &member.name), &member.sha256)?;
            writer.mean.add(&generator, member.weight)?;
        }
        writer.members = members;
        Ok(writer)
    }

    /// The same folder, in which the classes of a conditional network are called so, in the order of their labels.
    #[must_use]
    pub fn with_class_names(self, classes: Vec<String>) -> Self {
        Self { classes, ..self }
    }

    /// The members so far: with them [`reopen`](Self::reopen) goes on.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Puts the members in the order of names, where one came out of turn.
    pub fn sort(&mut self) {
        self.members.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// A member's generator (tensors without prefix).
    ///
    /// # Errors
    /// [`FlError::Model`] when its file is not as it was written.
    pub fn generator(&self, member: &Member) -> Result<Params> {
        read_generator(&member_file(&self.dir, &member.name), &member.sha256)
    }

    /// Flags a member for `reason`; its weight becomes 0 where it is to be left out.
    pub fn flag(&mut self, client: &ClientName, reason: &str, flagged: Flagged) {
        for member in self.members.iter_mut().filter(|member| member.name == *client) {
            member.flagged = Some(reason.into());
            if flagged == Flagged::LeaveOut {
                member.weight = 0.0;
            }
        }
    }

    /// Lowers the largest weights until none is more than `max_share` of all, and answers with the largest share that
    /// is left. Where there are too few members for that, they all weigh the same. The [mean](Self::mean) of the
    /// members stays as it is.
    pub fn cap(&mut self, max_share: f64) -> f64 {
        let weights: Vec<f64> = self.members.iter().map(|member| member.weight).collect();
        let capped = share::capped(&weights, max_share);
        let (largest, total) = (capped.iter().copied().fold(0.0, f64::max), capped.iter().sum::<f64>());
        self.members.iter_mut().zip(capped).for_each(|(member, weight)| member.weight = weight);
        largest / total
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
            classes: if network.num_classes.is_some() { self.classes } else { Vec::new() },
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
        self.members.push(Member { name: client, num_examples, weight, sha256, flagged: None });
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
    /// [`FlError::Model`] naming what is wrong.
    pub fn open(dir: &Path) -> Result<Self> {
        let inner = dir.join("model");
        let dir = if inner.join("manifest.json").exists() { &inner } else { dir };
        let path = dir.join("manifest.json");
        let unusable = |reason: String| FlError::Model { path: path.clone(), reason };
        let json = checkpoint::read_file(&path, MOST_BYTES).map_err(|error| unusable(error.to_string()))?;
        let manifest: Manifest = serde_json::from_slice(&json).map_err(|error| unusable(error.to_string()))?;
        check_manifest(&manifest).map_err(unusable)?;
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
        self.sample_classes(selection, &[], seed, range, jobs)
    }

    /// As [`sample`](Self::sample), of these `classes` in turn (see [`sample_classes`](sample::sample_classes)).
    ///
    /// # Errors
    /// [`FlError::Config`] for a class that the model does not know; as [`sample`](Self::sample).
    pub fn sample_classes(
        &self,
        selection: &Selection,
        classes: &[u8],
        seed: u64,
        range: Range<u64>,
        jobs: usize,
    ) -> Result<Vec<u8>> {
        self.sample_while(&|| Ok(()), selection, classes, seed, range, jobs)
    }

    /// [`sample_classes`](Self::sample_classes), which ends with the error of `go_on` when it has one; it is asked every few hundred images.
    ///
    /// # Errors
    /// As [`sample_classes`](Self::sample_classes), and what `go_on` says.
    pub fn sample_while(
        &self,
        go_on: &(dyn Fn() -> Result<()> + Sync),
        selection: &Selection,
        classes: &[u8],
        seed: u64,
        range: Range<u64>,
        jobs: usize,
    ) -> Result<Vec<u8>> {
        let network = &self.manifest.network;
        match self.selected(selection)? {
            members if members.is_empty() => {
                let global = self.global()?;
                let load = |_| go_on().map(|()| global.clone());
                sample::sample_classes(network, classes, &[1.0], &load, seed, range, jobs)
            }
            members => {
                let mut weights: Vec<f64> = members.iter().map(|member| member.weight).collect();
                if weights.iter().all(|&weight| weight == 0.0) {
                    weights.fill(1.0);
                }
                let load = |index: usize| go_on().and_then(|()| self.generator(members[index]));
                sample::sample_classes(network, classes, &weights, &load, seed, range, jobs)
            }
        }
    }

    /// The members of `selection`; none of them stands for the averaged generator.
    fn selected(&self, selection: &Selection) -> Result<Vec<&Member>> {
        match selection {
            Selection::Ensemble => Ok(self.manifest.members.iter().collect()),
            Selection::Global => Ok(Vec::new()),
            Selection::Members(names) => {
                let names: BTreeSet<&ClientName> = names.iter().collect();
                names.into_iter().map(|name| self.member(name)).collect()
            }
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
        let generator = read_generator(path, sha256)?;
        check(&generator, &self.manifest.network.generator_tensors())
            .map_err(|error| FlError::Model { path: path.into(), reason: error.to_string() })?;
        Ok(generator)
    }
}

/// The tensors of a file that is as it was written.
fn read_generator(path: &Path, sha256: &str) -> Result<Params> {
    let unusable = |reason: String| FlError::Model { path: path.into(), reason };
    let bytes = checkpoint::read_file(path, checkpoint::MOST_BYTES).map_err(|error| unusable(error.to_string()))?;
    let found = params::sha256(&bytes);
    if found != sha256 {
        return Err(unusable(format!("its sha256 is {found}, the manifest says {sha256}")));
    }
    let generator = checkpoint::from_bytes(&bytes).map_err(unusable)?;
    generator.check_finite().map_err(|error| unusable(error.to_string()))?;
    Ok(generator)
}

fn remove_manifest(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(FlError::Io { path: path.into(), source }),
        _ => Ok(()),
    }
}

fn check_manifest(manifest: &Manifest) -> std::result::Result<(), String> {
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
        return Err(format!("classes has {names} names, and the network {classes} classes; name all or none"));
    }
    let mut names = BTreeSet::new();
    if let Some(member) = manifest.members.iter().find(|member| !names.insert(&member.name)) {
        return Err(format!("member {} has two rows, expected one; remove one of them", member.name));
    }
    let total: f64 = manifest.members.iter().map(|member| member.weight).sum();
    let drawable = total > 0.0 && total.is_finite();
    if !drawable && !manifest.members.is_empty() {
        return Err(format!("the members' weights sum to {total}, which must be above 0 and finite"));
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

#[cfg(test)]
mod tests {
    use effgan_nn::networks::{DcganConfig, NetworkConfig, init};
    use effgan_nn::{Purpose, Streams};
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;

    fn network() -> Network {
        let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, ..DcganConfig::default() };
        Network::new(NetworkConfig::Dcgan(dcgan), [1, 8, 8]).unwrap()
    }

    fn generator(seed: u64) -> Params {
        init(&network().generator_tensors(), &mut Streams::of_run(seed).at(Purpose::Init, 0))
    }

    fn client(name: &str) -> ClientName {
        ClientName::new(name).unwrap()
    }

    /// `north` with 30 images and `south` with 10.
    fn model(weights: Weights) -> (TempDir, Ensemble) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ModelWriter::create(folder.path(), weights).unwrap();
        writer.member(client("north"), 30, generator(1)).unwrap();
        writer.member(client("south"), 10, generator(2)).unwrap();
        let ensemble = writer.finish("effgan", &network(), &generator(3), NormStatistics::Average).unwrap();
        (folder, ensemble)
    }

    /// Opens the folder after `edit` changed its manifest.
    fn reopened(edit: impl FnOnce(&mut Value)) -> Result<Ensemble> {
        let (folder, _) = model(Weights::Examples);
        let path = folder.path().join("manifest.json");
        let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut manifest);
        fs::write(&path, manifest.to_string()).unwrap();
        Ensemble::open(folder.path())
    }

    #[test]
    fn what_is_written_is_opened() {
        let (folder, written) = model(Weights::Examples);
        let opened = Ensemble::open(folder.path()).unwrap();
        assert_eq!(opened.manifest(), written.manifest());
        assert_eq!(opened.global().unwrap(), generator(3));
        assert_eq!(opened.generator(&opened.manifest().members[1]).unwrap(), generator(2));
    }

    #[test]
    fn members_weigh_by_images_or_all_the_same() {
        let weights =
            |weights| model(weights).1.manifest.members.iter().map(|member| member.weight).collect::<Vec<_>>();
        assert_eq!(weights(Weights::Examples), [30.0, 10.0]);
        assert_eq!(weights(Weights::Uniform), [1.0, 1.0]);
    }

    #[test]
    fn a_flagged_member_keeps_its_share_or_has_none_and_the_manifest_says_why() {
        for (flagged, weight) in [(Flagged::Keep, 10.0), (Flagged::LeaveOut, 0.0)] {
            let folder = tempfile::tempdir().unwrap();
            let mut writer = ModelWriter::create(folder.path(), Weights::Examples).unwrap();
            writer.member(client("north"), 30, generator(1)).unwrap();
            writer.member(client("south"), 10, generator(2)).unwrap();
            let mean = writer.mean();
            writer.flag(&client("south"), "far off", flagged);
            assert_eq!(writer.mean(), mean);
            writer.finish("effgan", &network(), &generator(3), NormStatistics::Average).unwrap();
            let ensemble = Ensemble::open(folder.path()).unwrap();
            let south = Selection::Members(vec![client("south")]);
            assert_eq!(ensemble.sample(&south, 1, 0..9, 1).unwrap().len(), 9 * 64);
            let members = ensemble.manifest.members;
            assert_eq!((members[0].weight, members[0].flagged.as_deref()), (30.0, None));
            assert_eq!((members[1].weight, members[1].flagged.as_deref()), (weight, Some("far off")));
        }
    }

    #[test]
    fn a_cap_lowers_the_weight_of_the_largest_member_and_not_the_mean() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ModelWriter::create(folder.path(), Weights::Examples).unwrap();
        for (name, n) in [("east", 10), ("north", 70), ("south", 20)] {
            writer.member(client(name), n, generator(n)).unwrap();
        }
        let mean = writer.mean();
        assert_eq!(writer.cap(0.5), 0.5);
        assert_eq!(writer.members().iter().map(|member| member.weight).collect::<Vec<_>>(), [10.0, 30.0, 20.0]);
        assert_eq!(writer.mean(), mean);
    }

    #[test]
    fn the_mean_of_members_is_weighted_by_hand() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = ModelWriter::create(folder.path(), Weights::Examples).unwrap();
        assert_eq!(writer.mean(), None);
        writer.member(client("north"), 30, generator(1)).unwrap();
        writer.member(client("south"), 10, generator(2)).unwrap();
        let mean = writer.mean().unwrap();
        for (name, array) in &mean {
            let (a, b) = (generator(1).get(name).unwrap().values[0], generator(2).get(name).unwrap().values[0]);
            assert_eq!(array.values[0], ((30.0 * f64::from(a) + 10.0 * f64::from(b)) / 40.0) as f32, "{name}");
        }
    }

    #[test]
    fn a_client_leaves_with_its_row_and_the_others_are_unchanged() {
        let left = reopened(|manifest| drop(manifest["members"].as_array_mut().unwrap().remove(1))).unwrap();
        assert_eq!(left.manifest().members.len(), 1);
        assert_eq!(left.manifest().members[0].name, client("north"));
    }

    #[test]
    fn names_of_members_may_come_in_any_order_and_twice() {
        let (_folder, ensemble) = model(Weights::Examples);
        let sample = |names: &[&str]| {
            let names = names.iter().map(|name| client(name)).collect();
            ensemble.sample(&Selection::Members(names), 1, 0..100, 1).unwrap()
        };
        let both = sample(&["north", "south"]);
        assert_eq!(both, sample(&["south", "north", "south"]));
        assert_eq!(both, ensemble.sample(&Selection::Ensemble, 1, 0..100, 1).unwrap());
        assert_ne!(both, sample(&["north"]));
    }

    #[test]
    fn sampling_ends_when_it_is_told_to() {
        let (_folder, ensemble) = model(Weights::Examples);
        let stop = || Err(FlError::Interrupted);
        for selection in [Selection::Ensemble, Selection::Global] {
            let drawn = ensemble.sample_while(&stop, &selection, &[], 1, 0..100, 1);
            assert!(matches!(drawn, Err(FlError::Interrupted)), "{selection:?}");
        }
    }

    #[test]
    fn a_manifest_that_makes_no_sense_is_refused() {
        let error = |edit: fn(&mut Value)| reopened(edit).unwrap_err().to_string();
        let of_member = |manifest: &mut Value, weight: f64| manifest["members"][0]["weight"] = weight.into();
        assert!(
            error(|manifest| manifest["format_version"] = 2.into())
                .ends_with("format_version is 2, this program reads 1")
        );
        assert!(
            reopened(|manifest| of_member(manifest, -1.0)).unwrap_err().to_string().contains("north has weight -1")
        );
        let huge = |manifest: &mut Value| (0..2).for_each(|i| manifest["members"][i]["weight"] = f64::MAX.into());
        assert!(error(huge).contains("weights sum to inf"));
        let zero = |manifest: &mut Value| (0..2).for_each(|i| manifest["members"][i]["weight"] = 0.into());
        assert!(error(zero).contains("weights sum to 0"));
        let sides = error(|manifest| manifest["network"]["image_shape"] = vec![1, 4_000_000, 4_000_000].into());
        assert!(sides.contains("at most 1024"), "{sides}");
        let classes = error(|manifest| manifest["network"]["num_classes"] = 10.into());
        assert!(classes.ends_with("num_classes is for networks with conditional = true"), "{classes}");
        let unclassed = error(|manifest| manifest["network"]["config"]["conditional"] = true.into());
        assert!(unclassed.ends_with("a conditional network needs num_classes"), "{unclassed}");
        let twice = error(|manifest| manifest["members"][1]["name"] = "north".into());
        assert!(twice.ends_with("member north has two rows, expected one; remove one of them"), "{twice}");
        let escape = error(|manifest| manifest["members"][0]["name"] = "../../x".into());
        assert!(escape.contains("a-z, 0-9 and -"), "{escape}");
    }
}
