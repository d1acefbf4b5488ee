//! A run, top to bottom: images, partition, rounds, ensemble, samples, scores, report.
//!
//! [`run`] runs a config in this process, [`federate`] over sites. Both build a `Run` from `RunInputs`. `training` runs its rounds,
//! `member_weights` weights the members of the ensemble, and `score_stages` scores the models. [`resume`], [`adopt_rounds`] and
//! [`add_late_member`] continue the run of an existing folder, and [`evaluate`] scores it in depth.

mod adopt_rounds;
mod audit;
mod evaluate;
mod execution;
mod federated_run;
mod join_folder;
mod late_member;
mod member_weights;
mod resume;
mod run_data;
mod run_inputs;
mod score_stages;
mod training;

use std::path::Path;
use std::time::Instant;

use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::{Algorithm, Carrier, Checkpoint, Checkpoints, Ensemble, Roster, ServerState};
use effgan_nn::gan::GanModel;
use effgan_nn::{Device, Model, Params, params};
use serde::{Deserialize, Serialize};

pub use self::adopt_rounds::adopt_rounds;
pub use self::audit::audit;
pub use self::evaluate::evaluate;
pub use self::execution::Execution;
pub use self::federated_run::federate;
pub use self::late_member::add_late_member;
pub use self::resume::{info_of, resume};
use self::run_data::RunData;
use self::run_inputs::RunInputs;
pub(crate) use self::run_inputs::check_on;
pub use self::run_inputs::privacy_plan;
use crate::config::Config;
use crate::failure::{Kind, Result};
use crate::record::events::{Event, Score, Scored, Stage, Verdict};
use crate::record::run_dir::{Lengths, RunDir, check_new, read_events};
use crate::record::run_info::Status;
use crate::record::summary;
use crate::report;
use crate::scores::Scorer;

/// Runs `config` into the new folder `out`, until it is finished or stopped.
///
/// # Errors
/// Before the folder is created: a wrong config, or data that cannot be read. After that: the reason why the run failed, which the folder
/// also records.
pub fn run(config: &Config, out: &Path, execution: Execution) -> Result<()> {
    check_new(out)?;
    let started = Instant::now();
    let inputs = RunInputs::load(config, execution).map_err(|failure| execution.named(failure))?;
    let dir = RunDir::create(out, config, inputs.info(config, execution))?;
    Run::new(config, &inputs, dir, execution).finish(None, None, started)
}

/// A run that is under way.
struct Run<'a> {
    config: &'a Config,
    model: &'a GanModel,
    data: &'a RunData,
    roster: &'a Roster,
    algorithm: &'a dyn Algorithm,
    scorer: &'a Scorer,
    dir: RunDir,
    checkpoints: Checkpoints,
    execution: Execution<'a>,
    device: Device,
    /// Whether a round has changed the server's generator.
    averaged: bool,
    seconds: Seconds,
    scores: Vec<Score>,
}

/// Wall time by stage.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Seconds {
    prepare: f64,
    train: f64,
    score: f64,
    pictures: f64,
}

impl Seconds {
    fn sum(self) -> f64 {
        self.prepare + self.train + self.score + self.pictures
    }
}

/// What a run saves with a checkpoint besides the server's state.
#[derive(Serialize, Deserialize)]
struct Notes {
    /// Lengths of the files that grow.
    lengths: Lengths,
    seconds: Seconds,
    /// The collected members: all of them, or none.
    members: Vec<Member>,
    /// How many rounds the config had at that time.
    rounds: Option<u32>,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config, inputs: &'a RunInputs, dir: RunDir, execution: Execution<'a>) -> Self {
        let RunInputs { data, roster, model, algorithm, scorer, device, .. } = inputs;
        let run_id = inputs.run_id(config);
        let checkpoints =
            Checkpoints::new(dir.join("checkpoints"), run_id, config.checkpoint.clone(), |line| log::warn!("{line}"));
        Self {
            config,
            model,
            data,
            roster,
            algorithm: &**algorithm,
            scorer,
            dir,
            checkpoints,
            execution,
            device: *device,
            averaged: false,
            seconds: Seconds::default(),
            scores: Vec::new(),
        }
    }

    /// Does the run's work, from the checkpoint `from` if there is one, and records in its folder how it ended. With a `carrier`, the clients
    /// are the sites that it reaches; without one, they are simulated.
    fn finish(mut self, carrier: Option<&mut dyn Carrier>, from: Option<Checkpoint>, started: Instant) -> Result<()> {
        let before = self.seconds.sum();
        self.seconds.prepare += started.elapsed().as_secs_f64();
        let outcome = self.work(carrier, from);
        self.execution.progress.finished();
        let closed = self.close(&outcome, before + started.elapsed().as_secs_f64());
        outcome.and(closed)
    }

    fn work(&mut self, carrier: Option<&mut dyn Carrier>, from: Option<Checkpoint>) -> Result<()> {
        self.data.write(&self.dir)?;
        let mut members = self.start(from.as_ref())?;
        let state = self.train(carrier, from, &mut members)?;
        self.flag_and_cap(&mut members)?;
        let mean = members.mean();
        let ensemble = self.finish_model(members, &state, mean.as_ref())?;
        if let Some(mean) = mean {
            self.score_average(&mean, state.round, Scored::MeanOfMembers)?;
            self.score_ensemble(&ensemble, state.round)?;
        }
        self.save_member_samples(&ensemble)?;
        if ensemble.manifest().members.is_empty() {
            self.record_spread(&ensemble)?;
        }
        self.dir.set_model_hash(model_hash(&ensemble, &state));
        self.execution.check_stop()?;
        summary::save(&self.dir, &self.scores)?;
        Ok(())
    }

    /// Does what comes before the first round, or before the first round after the checkpoint; returns the writer of the model folder.
    fn start(&mut self, from: Option<&Checkpoint>) -> Result<ModelWriter> {
        let (model, weights) = (self.dir.join("model"), self.config.algorithm.weights());
        let Some(from) = from else {
            self.record_notes()?;
            if let Some(division) = self.config.division(self.roster.names().len()) {
                self.execution.progress.line(&format!("epochs of each client: {division}"));
            }
            self.execution.check_stop()?;
            self.score_floor()?;
            return Ok(ModelWriter::create(&model, weights)?);
        };
        let Notes { members, .. } = resume::notes_of(from)?;
        let (state, is_collected) = (&from.state, !members.is_empty());
        // A checkpoint is saved before its round is scored, so the scores of that round may be missing.
        if state.round > 0 && from.open_round.is_none() && !is_collected {
            self.score_round(state)?;
        }
        Ok(ModelWriter::reopen(&model, weights, members)?)
    }

    /// Writes the model folder. Where no round averaged anything, the mean of the members is the averaged generator.
    fn finish_model(
        &self,
        members: ModelWriter,
        state: &ServerState,
        mean: Option<&Params>,
    ) -> anyhow::Result<Ensemble> {
        let members = members.with_class_names(self.data.class_names(self.config));
        let members = members.with_classes_without_examples(self.data.classes_without_examples(self.config));
        let statistics = self.config.evaluation.norm_statistics;
        let last_average = state.params.under(self.model.generator());
        let global = if self.averaged { &last_average } else { mean.unwrap_or(&last_average) };
        let global = self.with_statistics(global, Some(statistics))?;
        Ok(members.finish(self.config.algorithm.name(), &self.model.network, &global, statistics)?)
    }

    /// Records the event and passes on what has been recorded, so that the listener's events are those of `metrics.jsonl`, and the scores
    /// those that a resumed run reads there.
    fn record(&mut self, event: &Event) -> anyhow::Result<()> {
        let recorded = self.dir.record(event)?;
        if let Event::Score(score) = &*recorded {
            self.scores.push(score.clone());
        }
        self.execution.progress.event(&recorded);
        Ok(())
    }

    /// Records what the numbers of the finished run say of it.
    fn record_verdict(&mut self) -> anyhow::Result<()> {
        match read_events(self.dir.path()) {
            Ok((events, _)) => Verdict::on(&events).map_or(Ok(()), |verdict| self.record(&Event::Verdict(verdict))),
            // The run is done all the same.
            Err(error) => {
                log::warn!("no verdict: {error:#}");
                Ok(())
            }
        }
    }

    /// Records how the run ended, and writes the report, whether or not the run failed.
    fn close(&mut self, outcome: &Result<()>, seconds: f64) -> Result<()> {
        if outcome.is_ok() {
            self.record_verdict()?;
        }
        let Seconds { prepare, train, score, pictures } = self.seconds;
        for (stage, seconds) in [("prepare", prepare), ("train", train), ("score", score), ("pictures", pictures)] {
            self.record(&Event::Stage(Stage { stage: stage.into(), seconds }))?;
        }
        let (status, reason) = match outcome {
            Ok(()) => (Status::Done, None),
            Err(failure) if failure.kind() == Kind::Interrupted => (Status::Interrupted, None),
            Err(failure) => (Status::Failed, Some(failure.line())),
        };
        self.dir.finish(status, reason, seconds)?;
        let page = report::write(self.dir.path())?;
        self.execution.progress.line(&format!("{}", page.display()));
        Ok(())
    }
}

/// SHA-256 over the hash of the server's parameters and the hash of each member's file, in the order of names. The manifest has the hashes
/// of the files, so no member is read into memory.
fn model_hash(ensemble: &Ensemble, state: &ServerState) -> String {
    let members = ensemble.manifest().members.iter().map(|member| format!("{} {}\n", member.name, member.sha256));
    params::sha256(format!("server {}\n{}", state.params.hash(), members.collect::<String>()).as_bytes())
}

#[cfg(test)]
mod tests;
