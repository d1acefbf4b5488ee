//! Resuming a run that was interrupted, or that is extended by more rounds.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_fl::{Carrier, Checkpoint, ExchangeKind, FlError};
use effgan_nn::ArithmeticVersion;
use effgan_nn::checkpoint::read_file;
use serde::Deserialize;

use super::run_data::SITES;
use super::run_inputs::RunInputs;
use super::{Execution, Notes, Run, Seconds};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::record::events::Event;
use crate::record::machine;
use crate::record::run_dir::{MAX_BYTES, RunDir};
use crate::record::run_info::{RunInfo, Status};

/// The file of a run folder that holds its config.
const CONFIG: &str = "config.toml";

/// Resumes the run in `path` from its newest usable checkpoint, or from the start when there is none. The result is bit-identical to that of
/// an uninterrupted run. `settings` may change what [`Config::identity`] leaves out.
///
/// # Errors
/// A folder that is not a run folder or is in use; a setting that may not change; a run of another version of the arithmetic; a checkpoint
/// of another run; then as [`run`](super::run).
pub fn resume(path: &Path, settings: &[String], execution: Execution) -> Result<()> {
    let started = Instant::now();
    let (config, earlier) = (config_of(path, settings)?, info_of(path)?);
    if path.join(SITES).is_file() {
        let line = format!(
            "{} is the run folder of a federation, whose images are at the sites; resume it with effgan federation run",
            path.display()
        );
        return Err(Failure::usage(anyhow!(line)));
    }
    if earlier.status == Status::Done && settings.is_empty() {
        let extended = "; --set algorithm.rounds=… extends it by more rounds";
        let how = if config.is_of_fixed_length() { "" } else { extended };
        execution.progress.line(&format!("{} is done{how}", path.display()));
        return Ok(());
    }
    check_arithmetic(path, &earlier)?;
    let inputs = RunInputs::load(&config, execution).map_err(|failure| failure.of_config(&path.join(CONFIG)))?;
    Run::reopen(&config, &inputs, path, &earlier, execution)?.resume_from_newest(None, started)
}

impl<'a> Run<'a> {
    /// Opens the run in `path`, whose `run.json` is `earlier`.
    pub(super) fn reopen(
        config: &'a Config,
        inputs: &'a RunInputs,
        path: &Path,
        earlier: &RunInfo,
        execution: Execution<'a>,
    ) -> Result<Self> {
        let mut info = RunInfo {
            started: earlier.started,
            resumed: earlier.resumed + 1,
            seconds: earlier.seconds,
            ..inputs.info(config, execution)
        };
        warn_of_another_machine(earlier, &info);
        info.machine.gpu = machine::after(&earlier.machine, &info.machine);
        check_feature_network(config, earlier, inputs)?;
        Ok(Self::new(config, inputs, RunDir::open(path, info)?, execution))
    }

    /// Resumes from the newest usable checkpoint, or from the start.
    pub(super) fn resume_from_newest(mut self, carrier: Option<&mut dyn Carrier>, started: Instant) -> Result<()> {
        self.check_rounds()?;
        let from = self.checkpoints.latest(|checkpoint| self.can_resume_from(checkpoint))?;
        self.rewind_to(from.as_ref())?;
        self.dir.begin_again(self.config)?;
        let round = from.as_ref().map_or(0, |from| from.state.round);
        self.execution.progress.line(&format!("{} resumes after round {round}", self.dir.path().display()));
        self.finish(carrier, from, started)
    }

    /// Checks that a run of the present number of rounds passes through one of the states that are kept.
    fn check_rounds(&self) -> Result<()> {
        let algorithm = &self.config.algorithm;
        let Some(now) = algorithm.rounds() else { return Ok(()) };
        let (mut kept, mut possible) = (BTreeSet::new(), BTreeSet::new());
        for checkpoint in self.checkpoints.intact()? {
            let Checkpoint { state, notes, .. } = checkpoint?;
            // A state that cannot be read is said with its file, where the newest of the others is chosen.
            let Ok(Notes { rounds: total, .. }) = Notes::deserialize(&notes) else { return Ok(()) };
            let Some(total) = total.filter(|total| !algorithm.has_same_prefix(*total, state.round)) else {
                return Ok(());
            };
            kept.insert(state.round);
            possible.insert(if now < total { algorithm.fewest_rounds(total, state.round) } else { total });
        }
        let Some(fewest) = possible.first() else { return Ok(()) };
        let kept: Vec<String> = kept.iter().map(u32::to_string).collect();
        Err(Failure::usage(anyhow!(
            "algorithm.rounds = {now} passes through none of the states that {} keeps, which are those after round {}; set it to \
             {}{fewest}, or start a new run",
            self.dir.path().display(),
            kept.join(" and "),
            if now < *fewest { "at least " } else { "" },
        )))
    }

    /// Checks that a run of the present config passes through this checkpoint, and that no file is shorter than it was then.
    fn can_resume_from(&self, checkpoint: &Checkpoint) -> std::result::Result<(), String> {
        let Notes { lengths, rounds, .. } = notes_of(checkpoint).map_err(|failure| failure.line())?;
        let (round, algorithm) = (checkpoint.state.round, &self.config.algorithm);
        if !rounds.is_none_or(|rounds| algorithm.has_same_prefix(rounds, round)) {
            let now = algorithm.rounds().unwrap_or_default();
            return Err(format!(
                "is of a run of {} rounds, and a run of {now} rounds does not pass through it",
                rounds.unwrap_or_default()
            ));
        }
        self.dir.reaches(&lengths)
    }

    /// Cuts off what was written after the checkpoint, tells the listener what is left, and restores what the run knew then.
    fn rewind_to(&mut self, from: Option<&Checkpoint>) -> Result<()> {
        let notes = from.map(notes_of).transpose()?;
        self.dir.rewind(notes.as_ref().map(|notes| notes.lengths))?;
        self.seconds = notes.map_or_else(Seconds::default, |notes| notes.seconds);
        let events = self.dir.events()?;
        self.execution.progress.resumed(&events);
        for event in events {
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

/// What the run saved with a checkpoint.
pub(super) fn notes_of(checkpoint: &Checkpoint) -> Result<Notes> {
    Ok(Notes::deserialize(&checkpoint.notes).context("has notes of another version of effgan")?)
}

/// The config of a run folder, with `settings` that may change.
pub(super) fn config_of(path: &Path, settings: &[String]) -> Result<Config> {
    let file = path.join(CONFIG);
    if !file.is_file() {
        let line = format!("{} is not a run folder (no config.toml)", path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    let (before, now) = (Config::load(&file, &[])?, Config::load(&file, settings)?);
    let fixed = before.fixed_keys_that_differ(&now);
    if !fixed.is_empty() {
        let line = format!("a run that is resumed may not change {}; start a new run for it", fixed.join(", "));
        return Err(Failure::usage(anyhow!(line)));
    }
    Ok(now)
}

/// `run.json` of a run folder.
///
/// # Errors
/// [`Kind::Data`](crate::Kind::Data) when it does not exist or cannot be parsed.
pub fn info_of(path: &Path) -> Result<RunInfo> {
    let file = path.join("run.json");
    let read = || -> anyhow::Result<RunInfo> { Ok(serde_json::from_slice(&read_file(&file, MAX_BYTES)?)?) };
    read().with_context(|| format!("reading {}", file.display())).map_err(Failure::data)
}

/// Checks that the run in `path`, whose `run.json` is `earlier`, was begun with the arithmetic of this program.
///
/// # Errors
/// [`FlError::OtherArithmetic`].
pub(super) fn check_arithmetic(path: &Path, earlier: &RunInfo) -> Result<()> {
    match earlier.arithmetic_version {
        ArithmeticVersion::OURS => Ok(()),
        version => Err(FlError::OtherArithmetic { path: path.into(), version }.into()),
    }
}

/// Checks that the run goes on to be scored by the network of its earlier scores, with which later ones could not be compared otherwise. A
/// network that is trained on the data set may be another one on another machine: of that a warning is enough.
fn check_feature_network(config: &Config, earlier: &RunInfo, inputs: &RunInputs) -> Result<()> {
    let (Some(before), Some([now, name])) = (&earlier.feature_network, inputs.scorer.network()) else { return Ok(()) };
    if *before == now {
        return Ok(());
    }
    let line = format!(
        "the run was scored by another network than {name} so far, and scores of two networks cannot be compared"
    );
    if config.evaluation.features.is_none() {
        log::warn!("{line}: from here on they differ for that reason alone");
        return Ok(());
    }
    Err(Failure::usage(anyhow!("{line}; put the network back that evaluation.features named, or start a new run")))
}

/// Warns when the machine or the version has changed: bits are equal only on one machine with one build.
fn warn_of_another_machine(earlier: &RunInfo, now: &RunInfo) {
    let build = |info: &RunInfo| {
        let machine = &info.machine;
        let gpu = machine.gpu.as_ref().map_or_else(String::new, |gpu| format!(", {gpu}"));
        format!("effgan {} on {}, {}, {}{gpu}", info.version, machine.cpu, machine.instruction_set, machine.os)
    };
    if build(earlier) != build(now) {
        log::warn!(
            "the run was started with {}, and is resumed with {}: from here on its bits may differ",
            build(earlier),
            build(now)
        );
    }
}
