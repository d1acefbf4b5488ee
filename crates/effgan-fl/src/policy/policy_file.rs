//! `policy.toml`: the file and its defaults.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use effgan_data::datasets::{MaxMemory, PersonKey};
use effgan_nn::DeviceName;
use serde::{Deserialize, Serialize};

use super::Release;
use crate::{AlgorithmConfig, FlError, Result};

/// Largest file that is read; the default one has 5,000 bytes.
const MAX_BYTES: u64 = 1 << 16;
/// A month, in seconds.
const MONTH: f64 = 30.0 * 24.0 * 3600.0;
/// Upper bound of all counts: the largest range of whole numbers that f64 holds exactly.
const MAX_COUNT: u64 = 1 << 53;
/// The smallest δ for which ε is computed.
const MIN_DELTA: f64 = 1e-50;

/// Who decides that a run may use the site's images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approve {
    /// A person at the site, for each run, with `effgan federation approve`.
    #[default]
    EachRun,
    /// The policy alone: everything that it allows is done.
    Any,
}

/// The file `policy.toml`. [`text`](Self::text) explains each key to a data-protection officer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Policy {
    /// Whether each run waits for approval by a person; default `"each-run"`.
    pub approve: Approve,
    /// Minimum number of training images of a run, after the hold-out, ≥ 1; default 100.
    pub min_images: u64,
    /// Largest share of the images that a run may hold out from training, 0..1; default 0.5.
    pub max_held_out: f64,
    /// Smallest batch (`local.batch_size`), 1..=65536; default 8.
    pub min_batch_size: u64,
    /// Whether each reply must be made of at least one whole pass over the images; default true.
    pub whole_pass: bool,
    /// Largest absolute value of a parameter that is received or sent, > 0; default 1e4. Values that are not finite are always refused.
    pub max_parameter: f32,
    /// Maximum number of replies of training in a run, ≥ 1; default 200.
    pub max_rounds: u64,
    /// Maximum number of training steps in a run, ≥ 1; default 200,000.
    pub max_steps: u64,
    /// Maximum number of passes over the images in a run, > 0; default 1,000.
    pub max_passes: f64,
    /// Maximum number of replies of training in all runs together, ≥ 1; default 2,000.
    pub total_rounds: u64,
    /// Maximum number of training steps in all runs together, ≥ 1; default 2,000,000.
    pub total_steps: u64,
    /// Maximum number of passes over the images in all runs together, > 0; default 10,000.
    pub total_passes: f64,
    /// Maximum number of pixels per side of the training images, 1..=1024; default 128.
    pub max_image_size: u64,
    /// Largest size of both networks together; default 128 MiB.
    pub max_model: MaxMemory,
    /// Maximum number of seconds of work on one reply, > 0 and at most a month; default 3,600.
    pub max_seconds: f64,
    /// Maximum memory that images and training may take; default 4 GiB.
    pub max_memory: MaxMemory,
    /// Algorithms that may be run, by their names in a config; default all but `md-gan` and `ua-gan`.
    pub algorithms: Vec<String>,
    /// Where the site's data name the person of each image; see [`person`](Self::person). Default `""`, nowhere.
    pub person: PersonKey,
    /// Whether a run must train privately, with a `[privacy]` table in its config; default false.
    pub require_privacy: bool,
    /// ε > 0 that all private runs together may cost each image, or each person where `person` is set; default 10.
    pub max_epsilon: f64,
    /// δ of `max_epsilon`, and the largest one that a run may have, above 0 and below 1; default 1e-5. Must be below 1 over the number of images.
    pub max_delta: f64,
    /// Whether the number of images of each class may leave the site; default false.
    pub label_counts: bool,
    /// Whether the names of classes, which are names of folders, may leave the site; default false. This version never sends
    /// them: a run that would need them is refused even where this is true.
    pub class_names: bool,
    /// Whether symbolic links in the data folder may point outside of it; default false.
    pub allow_links: bool,
    /// Days after the last write to a run's files at the site (all but the ledger) after which they are removed, 1..=36500;
    /// default 90. They are removed when the site is started, or when a run asks for its introduction.
    pub keep_days: u64,
    /// A folder for decoded images, so that they need not be decoded for each request: a second copy of the site's images, which
    /// only the user of the site's process can read; default empty, which makes no copy.
    pub image_cache: PathBuf,
    /// What trains at this site; default `"cpu"`.
    pub device: DeviceName,
    /// When a generator may leave, by the audit that the site makes of it; by default every one may.
    pub release: Release,
}

fn mebibytes(mib: u64) -> MaxMemory {
    MaxMemory::from_mib(mib).expect("a few MiB are in its bounds")
}

/// The algorithms that a policy may list.
fn algorithms_of_a_federation() -> Vec<&'static str> {
    AlgorithmConfig::one_of_each().iter().filter(|config| !config.pools_data()).map(|config| config.name()).collect()
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            approve: Approve::EachRun,
            min_images: 100,
            max_held_out: 0.5,
            min_batch_size: 8,
            whole_pass: true,
            max_parameter: 1e4,
            max_rounds: 200,
            max_steps: 200_000,
            max_passes: 1_000.0,
            total_rounds: 2_000,
            total_steps: 2_000_000,
            total_passes: 10_000.0,
            max_image_size: 128,
            max_model: mebibytes(128),
            max_seconds: 3_600.0,
            max_memory: mebibytes(4096),
            algorithms: ["effgan", "fedgan", "fedprox", "fedadam", "fedyogi", "local-ensemble"]
                .map(String::from)
                .into(),
            person: PersonKey::Array(String::new()),
            require_privacy: false,
            max_epsilon: 10.0,
            max_delta: 1e-5,
            label_counts: false,
            class_names: false,
            allow_links: false,
            keep_days: 90,
            image_cache: PathBuf::new(),
            device: DeviceName::default(),
            release: Release::default(),
        }
    }
}

impl Policy {
    /// The text of a file with all defaults, each line explained.
    pub fn text() -> &'static str {
        include_str!("policy.toml")
    }

    /// Where the site's data name the person of each image; `None` where they name none.
    pub fn person(&self) -> Option<&PersonKey> {
        Some(&self.person).filter(|person| **person != PersonKey::Array(String::new()))
    }

    /// Reads the file `path`; the defaults where it does not exist.
    ///
    /// # Errors
    /// [`FlError::Config`], which names the file and the key.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |why: String| FlError::Config(format!("{}: {why}", path.display()));
        let mut text = String::new();
        match File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(wrong("is not UTF-8 text; save it as UTF-8".into()));
            }
            Err(error) => return Err(wrong(error.to_string())),
            Ok(n) if n as u64 > MAX_BYTES => {
                return Err(wrong(format!(
                    "has more than {MAX_BYTES} bytes, the most of a policy; is it another file?"
                )));
            }
            Ok(_) => {}
        }
        Self::parse(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`FlError::Config`], which names the line or the key.
    pub fn parse(text: &str) -> Result<Self> {
        let policy: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = text.as_bytes()[..before].split(|&byte| byte == b'\n').count();
            // serde calls keys fields.
            let message = error.message().replacen("unknown field", "unknown key", 1);
            FlError::Config(format!("line {line}: {}", message.replace(char::is_control, " ")))
        })?;
        policy.check_values().map_err(FlError::Config)?;
        Ok(policy)
    }

    fn check_values(&self) -> std::result::Result<(), String> {
        let counts = [
            ("min_images", self.min_images, MAX_COUNT),
            ("min_batch_size", self.min_batch_size, 65_536),
            ("max_rounds", self.max_rounds, MAX_COUNT),
            ("max_steps", self.max_steps, MAX_COUNT),
            ("total_rounds", self.total_rounds, MAX_COUNT),
            ("total_steps", self.total_steps, MAX_COUNT),
            ("max_image_size", self.max_image_size, 1024),
            ("keep_days", self.keep_days, 36_500),
        ];
        if let Some((key, value, max)) = counts.into_iter().find(|(_, value, max)| !(1..=*max).contains(value)) {
            return Err(format!("{key} = {value} must be from 1 to {max}"));
        }
        // As in the file, where it is `nan`.
        let shown = |number: f64| format!("{number:?}").to_lowercase();
        if !(0.0..1.0).contains(&self.max_held_out) {
            let share = shown(self.max_held_out);
            return Err(format!("max_held_out = {share} must be at least 0 and below 1, a share of the images"));
        }
        let above_zero = [
            ("max_parameter", f64::from(self.max_parameter), f64::from(f32::MAX)),
            ("max_passes", self.max_passes, MAX_COUNT as f64),
            ("total_passes", self.total_passes, MAX_COUNT as f64),
            ("max_seconds", self.max_seconds, MONTH),
            ("max_epsilon", self.max_epsilon, MAX_COUNT as f64),
        ];
        if let Some((key, value, max)) = above_zero.into_iter().find(|(_, value, max)| !(*value > 0.0 && value <= max))
        {
            return Err(format!("{key} = {} must be above 0 and at most {max:?}", shown(value)));
        }
        if !(self.max_delta >= MIN_DELTA && self.max_delta < 1.0) {
            let delta = shown(self.max_delta);
            return Err(format!(
                "max_delta = {delta} must be at least {MIN_DELTA:?} and below 1, below 1 over the number of images"
            ));
        }
        let folder = &self.image_cache;
        if folder.is_relative() && !folder.as_os_str().is_empty() {
            let folder = folder.display();
            return Err(format!(
                "image_cache = \"{folder}\" must be a whole path, such as \"/var/cache/effgan\", or \"\""
            ));
        }
        let known = algorithms_of_a_federation();
        if let Some(name) = self.algorithms.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(format!("algorithms has {name:?}, which is not one of {}", known.join(", ")));
        }
        if self.algorithms.is_empty() {
            return Err("algorithms = [] allows nothing; to take no part, leave the site's node stopped".into());
        }
        self.release.check_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_file_has_every_key_with_its_default() {
        assert_eq!(Policy::parse(Policy::text()).unwrap(), Policy::default());
        let table: toml::Table = Policy::text().parse().unwrap();
        let defaults = toml::Table::try_from(Policy::default()).unwrap();
        let release = |table: &toml::Table| table["release"].as_table().unwrap().len();
        assert_eq!((table.len(), release(&table)), (defaults.len(), release(&defaults)), "every key has a line");
        assert_eq!(Policy::parse("").unwrap(), Policy::default(), "missing keys have their defaults");
    }

    #[test]
    fn every_line_of_the_file_is_explained() {
        let mut explained = false;
        for line in Policy::text().lines() {
            assert!(explained || !line.contains(" = ") || line.starts_with('#'), "{line}");
            explained = line.starts_with('#');
        }
    }

    #[test]
    fn a_site_without_the_file_has_the_defaults_and_a_broken_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert_eq!(Policy::read(&path).unwrap(), Policy::default());
        std::fs::write(&path, "min_images = 1\napprov = \"any\"").unwrap();
        let error = Policy::read(&path).unwrap_err().to_string();
        assert!(error.contains("policy.toml: line 2: unknown key `approv`, expected one of `approve`, "), "{error}");
        std::fs::write(&path, b"\xff\xfea\0").unwrap();
        assert!(Policy::read(&path).unwrap_err().to_string().ends_with("is not UTF-8 text; save it as UTF-8"));
        std::fs::write(&path, vec![b'#'; 70_000]).unwrap();
        assert!(Policy::read(&path).unwrap_err().to_string().ends_with("is it another file?"));
        assert!(Policy::read(folder.path()).is_err());
    }

    #[test]
    fn values_out_of_bounds_are_named_with_their_bound() {
        for (text, expected) in [
            ("min_images = 0", "min_images = 0 must be from 1 to "),
            ("max_held_out = 1.0", "max_held_out = 1.0 must be at least 0 and below 1"),
            ("max_held_out = nan", "max_held_out = nan must be at least 0 and below 1"),
            ("max_parameter = inf", "max_parameter = inf must be above 0 and at most 3.4028234663852886e38"),
            ("max_parameter = -1.0", "max_parameter = -1.0 must be above 0 and at most "),
            ("max_passes = nan", "max_passes = nan must be above 0 and at most "),
            ("max_passes = 1e300", "max_passes = 1e300 must be above 0 and at most 9007199254740992.0"),
            ("max_epsilon = 0.0", "max_epsilon = 0.0 must be above 0 and at most "),
            ("max_delta = 1.0", "max_delta = 1.0 must be at least 1e-50 and below 1, "),
            ("max_delta = 0.0", "max_delta = 0.0 must be at least 1e-50"),
            ("max_seconds = 0", "max_seconds = 0.0 must be above 0 and at most 2592000.0"),
            ("max_image_size = 4096", "max_image_size = 4096 must be from 1 to 1024"),
            ("min_batch_size = 100000", "min_batch_size = 100000 must be from 1 to 65536"),
            ("algorithms = [\"central\"]", "algorithms has \"central\", which is not one of effgan, cyclic-effgan"),
            ("algorithms = []", "algorithms = [] allows nothing"),
            ("image_cache = \"cache\"", "image_cache = \"cache\" must be a whole path, such as "),
            ("[release]\nmax_auc = 0.4", "release.max_auc = 0.4 must be from 0.5 to 1"),
            ("[release]\nmax_tpr_at_1 = nan", "release.max_tpr_at_1 = nan must be from 0 to 1"),
            ("[release]\nmin_copy_ratio = 1.5", "release.min_copy_ratio = 1.5 must be from 0 to 1"),
            ("[release]\nmax_aux = 0.6", "line 2: unknown key `max_aux`, expected one of `max_auc`, "),
            ("person = 0", "line 1: invalid value: integer `0`, expected a whole number of at least 1"),
            ("max_rounds = -1", "line 1: invalid value: integer `-1`"),
            ("approve = \"no\"", "line 1: unknown variant `no`, expected `each-run` or `any`"),
            (
                "max_memory = \"4 parsecs\"",
                "line 1: invalid value: string \"4 parsecs\", expected a whole number of MiB",
            ),
        ] {
            let error = Policy::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
