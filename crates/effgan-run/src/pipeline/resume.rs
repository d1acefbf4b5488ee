//! Going on with a run that was cut off, or that is to have more rounds.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_fl::{Carrier, Checkpoint, ExchangeKind};
use effgan_nn::checkpoint::read_file;
use serde::Deserialize;

use super::data::SITES;
use super::{Data, Material, Notes, Run, Seconds};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::record::events::Event;
use crate::record::run_dir::{MOST_BYTES, RunDir};
use crate::record::run_info::{RunInfo, Status};

/// Goes on with the run in `path` from its newest usable checkpoint, or from its beginning when there is none. It ends
/// as it would have without the interruption. `settings` may change what [`Config::identity`] leaves out.
///
/// # Errors
/// No run folder, one in use, a setting that may not change, a checkpoint of another run; then as [`run`](super::run).
pub fn resume(path: &Path, settings: &[String], jobs: usize, progress: &Progress, stop: &AtomicBool) -> Result<()> {
    let started = Instant::now();
    let (config, earlier) = (config_of(path, settings)?, info_of(path)?);
    if path.join(SITES).is_file() {
        let line = format!(
            "{} is a federation's, whose images are elsewhere; start it again with effgan federation run",
            path.display()
        );
        return Err(Failure::usage(anyhow!(line)));
    }
    if earlier.status == Status::Done && settings.is_empty() {
        progress.line(&format!("{} is done; --set algorithm.rounds=… gives it more rounds", path.display()));
        return Ok(());
    }
    let material = Material::of(&config, Data::here(&config)?, jobs)?;
    Run::reopen(&config, &material, path, &earlier, progress, jobs, stop)?.go_on_from_newest(None, started)
}

impl<'a> Run<'a> {
    /// Opens the run in `path`, of which `earlier` is known.
    pub(super) fn reopen(
        config: &'a Config,
        material: &'a Material,
        path: &Path,
        earlier: &RunInfo,
        progress: &'a Progress,
        jobs: usize,
        stop: &'a AtomicBool,
    ) -> Result<Self> {
        let info = RunInfo {
            started: earlier.started,
            resumed: earlier.resumed + 1,
            seconds: earlier.seconds,
            ..material.info(config, jobs)
        };
        warn_of_another_machine(earlier, &info);
        Ok(Self::new(config, material, RunDir::open(path, info)?, progress, jobs, stop))
    }

    /// Goes on from the newest state that is usable, or from the beginning.
    pub(super) fn go_on_from_newest(mut self, carrier: Option<&mut dyn Carrier>, started: Instant) -> Result<()> {
        let from = self.checkpoints.latest(|checkpoint| self.can_go_on_from(checkpoint))?;
        self.go_back_to(from.as_ref())?;
        self.dir.begin_again(self.config)?;
        let round = from.as_ref().map_or(0, |from| from.state.round);
        self.progress.line(&format!("{} goes on after round {round}", self.dir.path().display()));
        self.finish(carrier, from, started)
    }

    /// Whether the run as it is now comes by this state, and nothing that was written before it is lost.
    fn can_go_on_from(&self, checkpoint: &Checkpoint) -> std::result::Result<(), String> {
        let Notes { lengths, rounds, .. } = notes_of(checkpoint).map_err(|failure| failure.line())?;
        let (round, algorithm) = (checkpoint.state.round, &self.config.algorithm);
        if !rounds.is_none_or(|rounds| algorithm.has_same_prefix(rounds, round)) {
            let now = algorithm.rounds().unwrap_or_default();
            return Err(format!("is of a run of {} rounds, and no state of one of {now}", rounds.unwrap_or_default()));
        }
        self.dir.reaches(&lengths)
    }

    /// Takes back what was written after the checkpoint, and takes up what was known then.
    fn go_back_to(&mut self, from: Option<&Checkpoint>) -> Result<()> {
        let notes = from.map(notes_of).transpose()?;
        self.dir.rewind(notes.as_ref().map(|notes| notes.lengths))?;
        self.seconds = notes.map_or_else(Seconds::default, |notes| notes.seconds);
        for event in self.dir.events()? {
            match event {
                Event::Score(score) => self.scores.push(score),
                Event::Round(round) => {
                    self.averaged |= round.kind != ExchangeKind::Collect && !round.clients.is_empty();
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// What the run kept with a state.
pub(super) fn notes_of(checkpoint: &Checkpoint) -> Result<Notes> {
    Ok(Notes::deserialize(&checkpoint.notes).context("has notes of another version of this program")?)
}

/// The config of the folder, with what may change.
pub(super) fn config_of(path: &Path, settings: &[String]) -> Result<Config> {
    let file = path.join("config.toml");
    if !file.is_file() {
        let line = format!("{} is no run folder: it has no config.toml", path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    let (before, now) = (Config::load(&file, &[])?, Config::load(&file, settings)?);
    if before.identity() != now.identity() {
        let line = "a run that is resumed may change algorithm.rounds (but with local.decay = \"linear\" or \
                    local-ensemble), aggregation.on_failure, min_clients, max_norm, max_value, flagged and max_share, checkpoint.*, federation.* \
                    but max_examples, dataset.dir and name; start a new run for other settings";
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(now)
}

/// `run.json` of a run folder.
///
/// # Errors
/// [`Kind::Data`](crate::Kind::Data) when it is not there, or is none.
pub fn info_of(path: &Path) -> Result<RunInfo> {
    let file = path.join("run.json");
    let read = || -> anyhow::Result<RunInfo> { Ok(serde_json::from_slice(&read_file(&file, MOST_BYTES)?)?) };
    read().with_context(|| format!("reading {}", file.display())).map_err(Failure::data)
}

/// Equal bits are promised for one machine and build.
fn warn_of_another_machine(earlier: &RunInfo, now: &RunInfo) {
    let what = |info: &RunInfo| {
        let machine = &info.machine;
        format!("effgan {} on {}, {}, {}", info.version, machine.cpu, machine.instruction_set, machine.os)
    };
    if what(earlier) != what(now) {
        log::warn!(
            "the run began with {}, and goes on with {}: from here on its bits may differ",
            what(earlier),
            what(now)
        );
    }
}
