//! The model folder: a manifest, the averaged generator and the members, each a PyTorch state dict in a safetensors file.
//!
//! ```text
//! model/  manifest.json  global.safetensors  members/<client>.safetensors
//! ```
//! A client is removed by deleting its member file and its row in the manifest. The folder holds no discriminators: they never
//! leave their client.

mod generator_file;
mod manifest;
mod model_writer;
mod selection;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::networks::check;
use effgan_nn::{Params, checkpoint};

use self::generator_file::{member_file, read_generator};
pub use self::manifest::{Global, Manifest, Member, NormStatistics};
use self::manifest::{MAX_BYTES, check_manifest};
pub use self::model_writer::ModelWriter;
pub use self::selection::Selection;
use crate::{FlError, Result};

/// An opened model folder.
#[derive(Clone, Debug)]
pub struct Ensemble {
    dir: PathBuf,
    manifest: Manifest,
}

impl Ensemble {
    /// Opens the model folder `dir`, or the folder `model` of a run folder `dir`. Generators are read when they are needed.
    ///
    /// # Errors
    /// [`FlError::Model`] when there is no manifest, or an unusable one.
    pub fn open(dir: &Path) -> Result<Self> {
        let inner = dir.join("model");
        let dir = if inner.join("manifest.json").exists() { &inner } else { dir };
        let path = dir.join("manifest.json");
        let unusable = |reason: String| FlError::Model { path: path.clone(), reason };
        let json = checkpoint::read_file(&path, MAX_BYTES).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                FlError::Model { path: dir.into(), reason: "not a model folder (no manifest.json)".into() }
            }
            _ => unusable(error.to_string()),
        })?;
        let manifest: Manifest = serde_json::from_slice(&json).map_err(|error| unusable(error.to_string()))?;
        check_manifest(&manifest).map_err(unusable)?;
        Ok(Self { dir: dir.into(), manifest })
    }

    /// The folder that was opened: a model folder, or a run folder that holds one.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Shape `[c, h, w]` of the images.
    pub fn image_shape(&self) -> [usize; 3] {
        self.manifest.network.image_shape
    }

    /// The averaged generator (tensors without prefix).
    ///
    /// # Errors
    /// When the file is missing, differs from what the manifest says, or does not fit the network.
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

    fn named(&self, name: &ClientName) -> Result<&Member> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, init};
    use effgan_nn::{ArithmeticVersion, Device, Purpose, Streams};
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;
    use crate::aggregate::{Flagged, MemberSink, Weights};
    use crate::sample::Draw;

    fn network() -> Network {
        let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, ..DcganConfig::default() };
        Network::new(NetworkConfig::Dcgan(dcgan), [1, 8, 8]).unwrap()
    }

    fn generator(seed: u64) -> Params {
        init(&network().generator_tensors(), &mut Streams::of_run(seed).at(Purpose::Init, 0))
    }

    /// The first `n` images of seed 1.
    fn first(n: u64) -> Draw<'static> {
        Draw::new(1, 0..n, Device::cpu().unwrap(), 1)
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
        edit_manifest(&folder, edit);
        Ensemble::open(folder.path())
    }

    fn edit_manifest(folder: &TempDir, edit: impl FnOnce(&mut Value)) {
        let path = folder.path().join("manifest.json");
        let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        edit(&mut manifest);
        fs::write(&path, manifest.to_string()).unwrap();
    }

    #[test]
    fn a_written_model_is_read_back() {
        let (folder, written) = model(Weights::Examples);
        let opened = Ensemble::open(folder.path()).unwrap();
        assert_eq!(opened.manifest(), written.manifest());
        assert_eq!(opened.global().unwrap(), generator(3));
        assert_eq!(opened.generator(&opened.manifest().members[1]).unwrap(), generator(2));
    }

    #[test]
    fn a_model_names_the_arithmetic_that_trained_it_and_one_of_another_version_is_sampled_all_the_same() {
        let (_folder, ours) = model(Weights::Examples);
        assert_eq!(ours.manifest.arithmetic_version, ArithmeticVersion::OURS);
        let draw = |ensemble: &Ensemble| ensemble.sample(&Selection::Ensemble, &first(9)).unwrap();
        let rename = |version: Option<u32>| {
            let (folder, _) = model(Weights::Examples);
            edit_manifest(&folder, |manifest| match version {
                Some(version) => manifest["arithmetic_version"] = version.into(),
                None => _ = manifest.as_object_mut().unwrap().remove("arithmetic_version").unwrap(),
            });
            folder
        };
        // Programs of version 1 did not name it.
        for (named, version) in [(None, 1), (Some(7), 7)] {
            let folder = rename(named);
            let other = Ensemble::open(folder.path()).unwrap();
            assert_eq!(other.manifest.arithmetic_version, ArithmeticVersion(version));
            assert_eq!(draw(&other), draw(&ours));
        }
    }

    #[test]
    fn members_are_weighted_by_images_or_equally() {
        let weights =
            |weights| model(weights).1.manifest.members.iter().map(|member| member.weight).collect::<Vec<_>>();
        assert_eq!(weights(Weights::Examples), [30.0, 10.0]);
        assert_eq!(weights(Weights::Uniform), [1.0, 1.0]);
    }

    #[test]
    fn a_flagged_member_keeps_its_weight_or_has_none_and_the_manifest_gives_the_reason() {
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
            assert_eq!(ensemble.sample(&south, &first(9)).unwrap().len(), 9 * 64);
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
            let (a, b) = (generator(1).get(name).unwrap().values()[0], generator(2).get(name).unwrap().values()[0]);
            assert_eq!(array.values()[0], ((30.0 * f64::from(a) + 10.0 * f64::from(b)) / 40.0) as f32, "{name}");
        }
    }

    #[test]
    fn removing_a_row_removes_its_member_and_no_other() {
        let left = reopened(|manifest| drop(manifest["members"].as_array_mut().unwrap().remove(1))).unwrap();
        assert_eq!(left.manifest().members.len(), 1);
        assert_eq!(left.manifest().members[0].name, client("north"));
    }

    #[test]
    fn selected_members_may_be_named_in_any_order_and_twice() {
        let (_folder, ensemble) = model(Weights::Examples);
        let sample = |names: &[&str]| {
            let names = names.iter().map(|name| client(name)).collect();
            ensemble.sample(&Selection::Members(names), &first(100)).unwrap()
        };
        let both = sample(&["north", "south"]);
        assert_eq!(both, sample(&["south", "north", "south"]));
        assert_eq!(both, ensemble.sample(&Selection::Ensemble, &first(100)).unwrap());
        assert_ne!(both, sample(&["north"]));
    }

    /// A model of the classes a, b, c and d, of which `without` have no training image.
    fn conditional(without: &[u8]) -> Result<(TempDir, Ensemble)> {
        let dcgan = DcganConfig { latent_dim: 3, base_channels: 2, conditional: true, ..DcganConfig::default() };
        let network = Network::of_classes(NetworkConfig::Dcgan(dcgan), [1, 8, 8], 4)?;
        let folder = tempfile::tempdir().unwrap();
        let classes = ["a", "b", "c", "d"].map(String::from).to_vec();
        let writer = ModelWriter::create(folder.path(), Weights::Examples)?.with_class_names(classes);
        let writer = writer.with_classes_without_examples(without.to_vec());
        let generator = init(&network.generator_tensors(), &mut Streams::of_run(1).at(Purpose::Init, 0));
        writer.finish("fedgan", &network, &generator, NormStatistics::Average)?;
        let ensemble = Ensemble::open(folder.path())?;
        Ok((folder, ensemble))
    }

    #[test]
    fn a_class_without_training_images_is_refused_and_never_drawn_unasked() {
        let (_folder, ensemble) = conditional(&[1, 3]).unwrap();
        assert_eq!(ensemble.drawable(), [0, 2]);
        let draw = |classes: &'static [u8]| {
            ensemble.sample(&Selection::Ensemble, &Draw { classes, ..first(40) }).map_err(|error| error.to_string())
        };
        assert_eq!(
            draw(&[0, 3]).unwrap_err(),
            "class d cannot be drawn: no client had a training image of it; the classes that can be drawn are a, c"
        );
        // Each image of unknown class is that image of one of the classes that can be drawn.
        let (unasked, of_a, of_c) = (draw(&[]).unwrap(), draw(&[0]).unwrap(), draw(&[2]).unwrap());
        let images = unasked.chunks_exact(64).zip(of_a.chunks_exact(64)).zip(of_c.chunks_exact(64));
        let found: Vec<[bool; 2]> = images.map(|((image, a), c)| [image == a, image == c]).collect();
        assert!(found.iter().all(|[a, c]| a != c), "{found:?}");
        // A model that leaves nothing out has no such key, so that earlier programs read it.
        let (folder, _whole) = conditional(&[]).unwrap();
        assert!(!fs::read_to_string(folder.path().join("manifest.json")).unwrap().contains("without_examples"));
    }

    #[test]
    fn sampling_ends_with_the_error_of_its_callback() {
        let (_folder, ensemble) = model(Weights::Examples);
        let stop = || Err(FlError::Interrupted);
        for selection in [Selection::Ensemble, Selection::Global] {
            let drawn = ensemble.sample_while(&stop, &selection, &first(100));
            assert!(matches!(drawn, Err(FlError::Interrupted)), "{selection:?}");
        }
    }

    #[test]
    fn an_invalid_manifest_is_refused() {
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
        for (labels, said) in [
            (vec![3, 1], "which must be labels below 4, the network's classes, in order and each once"),
            (vec![1, 1], "which must be labels below 4"),
            (vec![4], "which must be labels below 4"),
            (vec![0, 1, 2, 3], "names all classes"),
        ] {
            let error = conditional(&labels).unwrap_err().to_string();
            assert!(error.contains(said), "{labels:?}: {error}");
        }
        let of_none = error(|manifest| manifest["without_examples"] = vec![0].into());
        assert!(of_none.contains("labels below 0"), "{of_none}");
        let twice = error(|manifest| manifest["members"][1]["name"] = "north".into());
        assert!(twice.ends_with("member north has two rows; remove one of them"), "{twice}");
        let escape = error(|manifest| manifest["members"][0]["name"] = "../../x".into());
        assert!(escape.contains("a-z, 0-9 and -"), "{escape}");
    }
}
