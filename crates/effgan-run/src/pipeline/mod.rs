//! A run, top to bottom: images, partition, rounds, ensemble, samples, scores, report.

mod branch;
mod data;
mod federation;
mod flag;
mod late;
mod resume;
mod scores;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use effgan_data::{Dataset, Partition};
use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::local::check_shard;
use effgan_fl::rounds::{ObserverResult, SaveState};
use effgan_fl::{
    Algorithm, Carrier, Checkpoint, Checkpoints, ClientRecord, Ensemble, ExchangeKind, Federation, FlError, OnFailure,
    Roster, RoundObserver, RoundRecord, RunId, ServerState, Simulation, StepRecord, Strategy, WithStrategy,
};
use effgan_nn::checkpoint;
use effgan_nn::file::{make_private_folder, write_private_file};
use effgan_nn::networks::Network;
use effgan_nn::{Params, params};
use serde::{Deserialize, Serialize};

pub use self::branch::branch;
use self::data::Data;
pub use self::federation::federate;
pub use self::late::hand_in;
pub use self::resume::{info_of, resume};
use self::scores::with_statistics;
use crate::config::Config;
use crate::failure::{Kind, Result};
use crate::progress::Progress;
use crate::protocol::{JOIN_CONFIG, NETWORKS};
use crate::record::events::{Event, LossCurve, Score, Scored, Stage};
use crate::record::run_dir::{Lengths, RunDir, check_new};
use crate::record::run_info::{RunInfo, Status};
use crate::record::{run_info, summary};
use crate::report;
use crate::scores::Scorer;

/// Runs `config` into the new folder `out`, with `jobs` clients at work at a time, until done or `stop`.
///
/// # Errors
/// Before the folder is made: a wrong config, data that cannot be read. After that: why the run failed, which its folder says too.
pub fn run(config: &Config, out: &Path, jobs: usize, progress: &Progress, stop: &AtomicBool) -> Result<()> {
    check_new(out)?;
    let started = Instant::now();
    let material = Material::of(config, Data::here(config)?, jobs)?;
    let dir = RunDir::create(out, config, material.info(config, jobs))?;
    Run::new(config, &material, dir, progress, jobs, stop).finish(None, None, started)
}

/// All that a run works with and that follows from its config.
struct Material {
    data: Data,
    roster: Roster,
    network: Network,
    algorithm: Box<dyn Algorithm>,
    scorer: Scorer,
}

impl Material {
    fn of(config: &Config, data: Data, jobs: usize) -> Result<Self> {
        let (image_shape, num_classes) = data.image_shape_and_classes();
        let network = Network::of_classes(config.network.clone(), image_shape, num_classes)?;
        let algorithm = config.algorithm.build(network.clone(), config.local.clone(), &config.aggregation)?;
        let roster = data.roster(config.federation.max_examples);
        config.check_clients(roster.names().len())?;
        for (name, &num_examples) in roster.names().iter().zip(roster.num_examples()) {
            check_shard(&network, name, num_examples as usize)?;
        }
        let scorer = data.scorer(config, &network, jobs)?;
        Ok(Self { data, roster, network, algorithm, scorer })
    }

    /// With `strategy` in the place of the averaging.
    fn with_strategy(self, strategy: Arc<dyn Strategy>) -> Self {
        Self { algorithm: Box::new(WithStrategy::new(self.algorithm, strategy)), ..self }
    }

    fn info(&self, config: &Config, jobs: usize) -> RunInfo {
        run_info::at_start(config, self.data.infos(config), &self.roster, &self.network, jobs)
    }

    /// What the bits of the run depend on.
    fn run_id(&self, config: &Config) -> RunId {
        RunId { config: config.identity(), data: self.data.hash() }
    }
}

struct Run<'a> {
    config: &'a Config,
    network: &'a Network,
    data: &'a Data,
    roster: &'a Roster,
    algorithm: &'a dyn Algorithm,
    scorer: &'a Scorer,
    dir: RunDir,
    checkpoints: Checkpoints,
    progress: &'a Progress,
    jobs: usize,
    /// Set when somebody wants the run to end.
    stop: &'a AtomicBool,
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

/// What a run keeps with a state of its server.
#[derive(Serialize, Deserialize)]
struct Notes {
    /// What is written of the files that grow.
    lengths: Lengths,
    seconds: Seconds,
    /// Collected, all of them or none.
    members: Vec<Member>,
    /// Rounds of the run, as the config said then.
    rounds: Option<u32>,
}

impl<'a> Run<'a> {
    fn new(
        config: &'a Config,
        material: &'a Material,
        dir: RunDir,
        progress: &'a Progress,
        jobs: usize,
        stop: &'a AtomicBool,
    ) -> Self {
        let Material { data, roster, network, algorithm, scorer } = material;
        let run_id = material.run_id(config);
        let checkpoints =
            Checkpoints::new(dir.join("checkpoints"), run_id, config.checkpoint.clone(), |line| log::warn!("{line}"));
        Self {
            config,
            network,
            data,
            roster,
            algorithm: &**algorithm,
            scorer,
            dir,
            checkpoints,
            progress,
            jobs,
            stop,
            averaged: false,
            seconds: Seconds::default(),
            scores: Vec::new(),
        }
    }

    /// Works, over sites where there is a `carrier` to them, and says in the folder how it ended.
    fn finish(mut self, carrier: Option<&mut dyn Carrier>, from: Option<Checkpoint>, started: Instant) -> Result<()> {
        let before = self.seconds.sum();
        self.seconds.prepare += started.elapsed().as_secs_f64();
        let outcome = self.work(carrier, from);
        self.progress.finished();
        let ended = self.end(&outcome, before + started.elapsed().as_secs_f64());
        outcome.and(ended)
    }

    fn work(&mut self, carrier: Option<&mut dyn Carrier>, from: Option<Checkpoint>) -> Result<()> {
        self.data.write(&self.dir)?;
        let mut members = self.begin(from.as_ref())?;
        let state = self.train(carrier, from, &mut members)?;
        self.share_out(&mut members)?;
        let mean = members.mean();
        let ensemble = self.finish_model(members, &state, mean.as_ref())?;
        if let Some(mean) = mean {
            self.score_average(&mean, state.round, Scored::MeanOfMembers)?;
            self.score_ensemble(&ensemble, state.round)?;
        }
        self.draw_members(&ensemble)?;
        self.dir.set_model_hash(model_hash(&ensemble, &state));
        self.go_on()?;
        summary::save(&self.dir, &self.scores)?;
        Ok(())
    }

    /// What comes before the rounds, or before those that are still to come.
    fn begin(&mut self, from: Option<&Checkpoint>) -> Result<ModelWriter> {
        let (model, weights) = (self.dir.join("model"), self.config.algorithm.weights());
        let Some(from) = from else {
            self.record_notes()?;
            self.go_on()?;
            self.score_floor()?;
            return Ok(ModelWriter::create(&model, weights)?);
        };
        let Notes { members, .. } = resume::notes_of(from)?;
        let (state, is_collected) = (&from.state, !members.is_empty());
        // A round is kept before it is scored.
        if state.round > 0 && from.open.is_none() && !is_collected {
            self.score_round(state)?;
        }
        Ok(ModelWriter::reopen(&model, weights, members)?)
    }

    fn train(
        &mut self,
        carrier: Option<&mut dyn Carrier>,
        from: Option<Checkpoint>,
        members: &mut ModelWriter,
    ) -> Result<ServerState> {
        let is_collected = !members.members().is_empty();
        let state = match (carrier, self.data) {
            (Some(carrier), _) => self.train_at_sites(carrier, from, members)?,
            (None, Data::Here(dataset, partition)) => self.train_here(dataset, partition, from, members)?,
            (None, Data::AtSites(_)) => unreachable!("sites are reached by a carrier"),
        };
        if !is_collected && !members.members().is_empty() {
            self.checkpoints.save(&state, None, self.notes(members.members())?)?;
        }
        Ok(state)
    }

    fn train_here(
        &mut self,
        dataset: &Dataset,
        partition: &Partition,
        from: Option<Checkpoint>,
        members: &mut ModelWriter,
    ) -> Result<ServerState> {
        let (progress, stop) = (self.progress, self.stop);
        let watch = |record: &StepRecord| {
            progress.step(record);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let checkpoints = self.checkpoints.clone();
        let simulation = Simulation {
            algorithm: self.algorithm,
            images: &dataset.train,
            partition,
            participation: &self.config.simulation,
            failures: self.config.failures(OnFailure::Stop),
            seed: self.config.seed,
            jobs: self.jobs,
            checkpoints: &checkpoints,
            on_step: &watch,
        };
        progress.started(simulation.plan(), rounds_done(from.as_ref()));
        Ok(simulation.run(from, members, self)?)
    }

    fn train_at_sites(
        &mut self,
        carrier: &mut dyn Carrier,
        from: Option<Checkpoint>,
        members: &mut ModelWriter,
    ) -> Result<ServerState> {
        let checkpoints = self.checkpoints.clone();
        let federation = Federation {
            algorithm: self.algorithm,
            roster: self.roster,
            failures: self.config.failures(OnFailure::LeaveOut),
            deadline: Duration::from_secs_f64(self.config.federation.deadline),
            seed: self.config.seed,
            jobs: self.jobs,
            checkpoints: &checkpoints,
        };
        self.progress.started(federation.plan(), rounds_done(from.as_ref()));
        Ok(federation.run(carrier, from, members, self)?)
    }

    /// Scores the average of a round, where it is due.
    fn score_round(&mut self, state: &ServerState) -> anyhow::Result<()> {
        let next = self.algorithm.next(state, &self.roster.context(self.config.seed));
        let is_last = next.is_none_or(|exchange| exchange.kind == ExchangeKind::Collect);
        if is_last || state.round.is_multiple_of(self.config.evaluation.every) {
            self.score_average(&state.params.under("generator"), state.round, Scored::Average)?;
        }
        Ok(())
    }

    fn notes(&self, members: &[Member]) -> anyhow::Result<serde_json::Value> {
        let (lengths, seconds) = (self.dir.lengths()?, self.seconds);
        let notes = Notes { lengths, seconds, members: members.to_vec(), rounds: self.config.algorithm.rounds() };
        Ok(serde_json::to_value(notes)?)
    }

    fn after_round(&mut self, record: &RoundRecord, state: &ServerState, keep: &mut SaveState) -> anyhow::Result<()> {
        self.seconds.train += record.seconds;
        self.record(&Event::Round(record.clone()))?;
        let curves = match self.data {
            Data::Here(..) => self.progress.take_losses(record.round),
            Data::AtSites(_) => means_of(record),
        };
        for curve in curves {
            self.record(&Event::Losses(curve))?;
        }
        // Members are kept when all of them are there.
        if record.kind == ExchangeKind::Collect {
            return Ok(());
        }
        // A round that nobody answered has averaged nothing.
        self.averaged |= !record.clients.is_empty();
        save_join(&self.dir, self.config, &state.params)?;
        keep(self.notes(&[])?)?;
        self.score_round(state)
    }

    /// Writes the model folder. Where no round averaged anything, the mean of the members is the averaged generator.
    fn finish_model(
        &self,
        members: ModelWriter,
        state: &ServerState,
        mean: Option<&Params>,
    ) -> anyhow::Result<Ensemble> {
        let members = members.with_class_names(self.data.class_names(self.config));
        let statistics = self.config.evaluation.norm_statistics;
        let last_average = state.params.under("generator");
        let global = if self.averaged { &last_average } else { mean.unwrap_or(&last_average) };
        let global = with_statistics(self.network, global, Some(statistics))?;
        Ok(members.finish(self.config.algorithm.name(), self.network, &global, statistics)?)
    }

    /// Between the long things: an error when somebody wants the run to end.
    fn go_on(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted.into()) } else { Ok(()) }
    }

    fn record(&mut self, event: &Event) -> anyhow::Result<()> {
        self.progress.event(event);
        self.dir.record(event)
    }

    /// Writes how it ended, and the report, whatever happened before.
    fn end(&mut self, outcome: &Result<()>, seconds: f64) -> Result<()> {
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
        self.progress.line(&format!("{}", page.display()));
        Ok(())
    }
}

impl RoundObserver for Run<'_> {
    fn round(&mut self, record: &RoundRecord, state: &ServerState, keep: &mut SaveState) -> ObserverResult {
        Ok(self.after_round(record, state, keep)?)
    }

    fn mid_round(&mut self, keep: &mut SaveState) -> ObserverResult {
        Ok(keep(self.notes(&[])?)?)
    }
}

/// What sites tell of their losses: a mean over all their steps.
fn means_of(record: &RoundRecord) -> Vec<LossCurve> {
    let curve = |client: &ClientRecord| {
        let mean = |name: &str| client.metrics.get(name).map(|&mean| vec![mean]);
        let steps = client.metrics.get("steps").map_or(0, |&steps| steps as u64);
        let (round, client) = (record.round, client.name.to_string());
        Some(LossCurve { round, client, steps, loss_d: mean("loss_d")?, loss_g: mean("loss_g")? })
    };
    record.clients.iter().filter_map(curve).collect()
}

fn rounds_done(from: Option<&Checkpoint>) -> usize {
    from.map_or(0, |from| from.state.round as usize)
}

/// Both networks of the last averaged round and the config, for a site that comes late. Where discriminators stay at the
/// clients, the one here is that which they began with.
fn save_join(dir: &RunDir, config: &Config, params: &Params) -> anyhow::Result<()> {
    make_private_folder(&dir.join("join"))?;
    write_private_file(&dir.join("join").join(JOIN_CONFIG), config.for_sites().to_toml().as_bytes())?;
    for network in NETWORKS {
        let bytes = checkpoint::to_bytes(&params.under(network));
        write_private_file(&dir.join(format!("join/{network}.safetensors")), &bytes)?;
    }
    Ok(())
}

/// SHA-256 over the server's model hash and each member's file, in order of names.
fn model_hash(ensemble: &Ensemble, state: &ServerState) -> String {
    let members = ensemble.manifest().members.iter().map(|member| format!("{} {}\n", member.name, member.sha256));
    params::sha256(format!("server {}\n{}", state.params.hash(), members.collect::<String>()).as_bytes())
}
