//! A run folder, read back: everything that the run has recorded so far.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{ExchangeKind, RoundRecord};
use effgan_metrics::OwnNetwork;
use effgan_metrics::metric::Network;
use effgan_nn::Model;
use effgan_nn::checkpoint::read_file;
use effgan_nn::gan::{LOSSES, Loss};

use super::chart_axis::Axis;
use crate::Config;
use crate::record::events::{Event, Flag, LossCurve, Score, Scored, Stage, Verdict};
use crate::record::grid_name::round_of_grid;
use crate::record::loss_key;
use crate::record::run_dir::{MAX_BYTES, read_events};
use crate::record::run_info::RunInfo;

/// Maximum number of losses that are shown: a file from elsewhere may hold any number.
const MAX_LOSSES: usize = 16;

/// The recorded events of a run, sorted. Of two events about the same thing, as after a resume, the later one counts.
pub(crate) struct Folder {
    /// The content of `run.json`.
    pub(crate) info: RunInfo,
    /// The text of `config.toml`; empty when it is missing.
    pub(crate) config: String,
    /// The config in it; `None` when it is missing or not valid, as one of another version may be.
    pub(crate) settings: Option<Config>,
    /// Finished rounds, by number.
    pub(crate) rounds: BTreeMap<u32, RoundRecord>,
    /// Loss curves, by round and client.
    pub(crate) losses: BTreeMap<(u32, String), LossCurve>,
    /// Scores, by what was scored, how its statistics were made, and round.
    pub(crate) scores: BTreeMap<(Scored, Option<NormStatistics>, u32), Score>,
    /// Predicted classes of a member's samples, by client.
    pub(crate) members: BTreeMap<String, Vec<u64>>,
    /// Flagged members, by client.
    pub(crate) flags: BTreeMap<String, Flag>,
    /// Times of the stages, in the order of the events.
    pub(crate) stages: Vec<Stage>,
    /// The verdict on a run that is done.
    pub(crate) verdict: Option<Verdict>,
    /// Remarks about the data or the scores.
    pub(crate) notes: Vec<String>,
    /// Numbers, from 1, of the lines of `metrics.jsonl` that are not events.
    pub(crate) unreadable: Vec<usize>,
    dir: PathBuf,
}

impl Folder {
    /// Reads the run folder `dir`; everything but `run.json` may be missing.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("run.json");
        let json = read_file(&path, MAX_BYTES).with_context(|| format!("reading {}", path.display()))?;
        let info = serde_json::from_slice(&json).with_context(|| format!("reading {}", path.display()))?;
        let config = text(&dir.join("config.toml"))?;
        let mut folder = Self {
            info,
            settings: Config::parse(&config, &[]).ok(),
            config,
            rounds: BTreeMap::new(),
            losses: BTreeMap::new(),
            scores: BTreeMap::new(),
            members: BTreeMap::new(),
            flags: BTreeMap::new(),
            stages: Vec::new(),
            verdict: None,
            notes: Vec::new(),
            unreadable: Vec::new(),
            dir: dir.into(),
        };
        let (events, unreadable) = read_events(dir)?;
        for event in events {
            folder.take(event);
        }
        folder.unreadable = unreadable;
        Ok(folder)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Round(round) => drop(self.rounds.insert(round.round, round)),
            Event::Losses(curve) => drop(self.losses.insert((curve.round, curve.client.clone()), curve)),
            Event::Member(member) => drop(self.members.insert(member.client, member.class_counts)),
            Event::Score(score) => drop(self.scores.insert((score.of, score.norm_statistics, score.round), score)),
            Event::Note(note) => self.notes.push(note.note),
            Event::Flag(flag) => drop(self.flags.insert(flag.client.clone(), flag)),
            Event::Stage(stage) => self.stages.push(stage),
            Event::Verdict(verdict) => self.verdict = Some(verdict),
            Event::Spread(_) => {}
        }
    }

    /// The latest score of `of`, preferring recomputed batch-norm statistics.
    pub(crate) fn latest(&self, of: Scored) -> Option<&Score> {
        let scores = || self.scores.values().filter(|score| score.of == of);
        let fresh = scores().filter(|score| score.norm_statistics != Some(NormStatistics::Average));
        fresh.max_by_key(|score| score.round).or_else(|| scores().max_by_key(|score| score.round))
    }

    /// The kind of network that the run was scored with; of a run without scores, the usual one.
    pub(crate) fn network(&self) -> Network {
        self.scores.values().find_map(|score| score.main_metric().network).unwrap_or(Network::Small)
    }

    /// The networks of the data set's own by which the run was scored: none where it was another one, and one unless the run was resumed by
    /// another version of the program.
    pub(crate) fn own_networks(&self) -> Vec<&OwnNetwork> {
        let mut found: Vec<&OwnNetwork> = Vec::new();
        for own in self.scores.values().filter_map(|score| score.scores.settings.own_network.as_ref()) {
            if found.iter().all(|other| other.sha256 != own.sha256) {
                found.push(own);
            }
        }
        found
    }

    /// Bytes of tensors sent up to the end of `round`, both directions.
    pub(crate) fn bytes_until(&self, round: u32) -> u64 {
        self.rounds.range(..=round).map(|(_, round)| round.bytes_down + round.bytes_up).sum()
    }

    /// Keys of the losses of the config's model and of all that are recorded, at most [`MAX_LOSSES`].
    pub(crate) fn loss_keys(&self) -> BTreeSet<String> {
        let (mut keys, in_rounds) = (self.losses_of_model(), self.rounds.values().flat_map(|round| &round.clients));
        let in_rounds = in_rounds.flat_map(|client| loss_key::losses(&client.metrics)).map(|loss| loss.0);
        for key in in_rounds.chain(self.losses.values().flat_map(|curve| curve.losses.keys().map(String::as_str))) {
            if keys.len() < MAX_LOSSES && !keys.contains(key) {
                keys.insert(key.to_owned());
            }
        }
        keys
    }

    /// Keys of the losses of the config's model; none where the config is missing or not valid.
    fn losses_of_model(&self) -> BTreeSet<String> {
        let dataset = &self.info.dataset;
        let model = |config: &Config| config.model_without_noise(dataset.image_shape, dataset.num_classes).ok();
        let model = self.settings.as_ref().and_then(model);
        model.map_or_else(BTreeSet::new, |model| model.losses().iter().map(|name| name.key.to_owned()).collect())
    }

    /// Whether the loss `key` is known to be in nats.
    pub(crate) fn is_in_nats(&self, key: &str) -> bool {
        let loss = self.settings.as_ref().map(|config| config.local.loss);
        loss == Some(Loss::NonSaturating) && LOSSES.iter().any(|name| name.key == key)
    }

    /// Why there are no scores; `None` where there are some.
    pub(crate) fn no_scores(&self) -> Option<String> {
        let noted = || self.notes.iter().find(|note| is_of_scores(note)).cloned();
        let nothing = || "no scores: nothing has been scored in this run".into();
        self.scores.is_empty().then(|| noted().unwrap_or_else(nothing))
    }

    /// Notes and flags, without the note why there are no scores.
    pub(crate) fn other_notes(&self) -> Vec<String> {
        let notes = self.notes.iter().filter(|note| !is_of_scores(note)).cloned();
        notes.chain(self.flags.values().map(Flag::sentence)).collect()
    }

    /// Whether the client attacks in the simulation.
    pub(crate) fn attacks(&self, client: &str) -> bool {
        self.info.attackers.iter().any(|name| name == client)
    }

    /// The axis of rounds `first..=last`, with a margin of `around` rounds on both sides and the label `fine-tuning` where the last
    /// round is that.
    pub(crate) fn axis(&self, first: u32, last: u32, around: f64) -> Axis {
        let axis = Axis::of_rounds("round", first, last, around);
        let collects = |round: &RoundRecord| round.kind == ExchangeKind::Collect;
        if last > 1 && self.rounds.get(&last).is_some_and(collects) {
            axis.name_last(last, "fine-tuning")
        } else {
            axis
        }
    }

    /// Names of the files in `samples/`, sorted.
    pub(crate) fn sample_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("samples")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// The path of the sample file `name`.
    pub(crate) fn sample_path(&self, name: &str) -> PathBuf {
        self.dir.join("samples").join(name)
    }

    /// Names and rounds of the files `samples/round_….png`, by round.
    pub(crate) fn round_files(&self) -> Vec<(String, u32)> {
        let round = |name: &str| round_of_grid(name.strip_suffix(".png")?);
        let files = self.sample_files().into_iter().filter_map(|name| round(&name).map(|round| (name, round)));
        let mut files: Vec<(String, u32)> = files.collect();
        files.sort_by_key(|file| file.1);
        files
    }
}

/// The step at which `len` things are shown so that at most `max_len` are; counted from the last.
pub(crate) fn one_in(len: usize, max_len: usize) -> usize {
    len.div_ceil(max_len).max(1)
}

/// The text of a file; a missing one is empty.
fn text(path: &Path) -> anyhow::Result<String> {
    match read_file(path, MAX_BYTES) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn is_of_scores(note: &str) -> bool {
    note.starts_with("no scores")
}
