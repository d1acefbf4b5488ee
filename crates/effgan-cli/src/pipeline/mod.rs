//! A run, top to bottom: images, partition, rounds, ensemble, samples, scores, report.

mod scores;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use effgan_data::{Dataset, Partition};
use effgan_fl::ensemble::ModelWriter;
use effgan_fl::local::check_shard;
use effgan_fl::{Algorithm, Ensemble, ExchangeKind, FlError, RoundRecord, ServerState, Simulation, StepRecord};
use effgan_nn::networks::Network;
use effgan_nn::{Params, checkpoint, params};

use self::scores::with_statistics;
use crate::config::Config;
use crate::events::{Event, Score, Scored, Stage, Status};
use crate::failure::{Kind, Result};
use crate::progress::Progress;
use crate::run_dir::{RunDir, check_new};
use crate::scoring::Scorer;
use crate::{report, run_info, summary};

/// Runs `config` into the new folder `out`, with `jobs` clients at work at a time, until done or `stop`.
///
/// # Errors
/// Before the folder is made: a wrong config, data that cannot be read. After that: why the run failed, which its folder says too.
pub fn run(config: &Config, out: &Path, jobs: usize, progress: &Progress, stop: &AtomicBool) -> Result<()> {
    check_new(out)?;
    let started = Instant::now();
    let dataset = config.dataset.load()?;
    let network = Network::of_classes(config.network.clone(), dataset.train.shape(), dataset.train.num_classes())?;
    let algorithm = config.algorithm.build(network.clone(), config.local.clone(), &config.aggregation)?;
    let dealt = config.deal(&dataset)?;
    let partition = if algorithm.pools_data() { dealt.pooled() } else { dealt };
    config.check_clients(partition.clients.len())?;
    for share in &partition.clients {
        check_shard(&network, &share.name, share.train.len())?;
    }
    let scorer = Scorer::new(&dataset, config.evaluation.samples, &network, config.seed, jobs)?;
    let info = run_info::at_start(config, &dataset, &partition, &network, jobs);
    let dir = RunDir::create(out, config, info)?;

    let mut run = Run {
        config,
        network: &network,
        dataset: &dataset,
        partition: &partition,
        scorer,
        dir,
        progress,
        jobs,
        stop,
        averaged: false,
        seconds: Seconds::default(),
        scores: Vec::new(),
    };
    run.seconds.prepare = started.elapsed().as_secs_f64();
    let outcome = run.work(&*algorithm);
    progress.finish();
    run.end(&outcome, started)?;
    outcome
}

struct Run<'a> {
    config: &'a Config,
    network: &'a Network,
    dataset: &'a Dataset,
    partition: &'a Partition,
    scorer: Scorer,
    dir: RunDir,
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
#[derive(Default)]
struct Seconds {
    prepare: f64,
    train: f64,
    score: f64,
    pictures: f64,
}

impl Run<'_> {
    fn work(&mut self, algorithm: &dyn Algorithm) -> Result<()> {
        self.dir.write_json("partition.json", self.partition)?;
        self.record_notes()?;
        self.score_floor()?;
        let mut members = ModelWriter::create(&self.dir.join("model"), self.config.algorithm.weights())?;
        let state = self.train(algorithm, &mut members)?;
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

    fn train(&mut self, algorithm: &dyn Algorithm, members: &mut ModelWriter) -> Result<ServerState> {
        let (progress, dataset, partition, stop) = (self.progress, self.dataset, self.partition, self.stop);
        let watch = |record: &StepRecord| {
            progress.step(record);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let simulation = Simulation {
            algorithm,
            images: &dataset.train,
            partition,
            participation: &self.config.simulation,
            failures: self.config.aggregation.failures(),
            seed: self.config.seed,
            jobs: self.jobs,
            spool: &self.dir.join("checkpoints"),
            watch: &watch,
        };
        progress.start(simulation.plan());
        let goes_on =
            |state: &ServerState| simulation.next(state).is_some_and(|exchange| exchange.kind != ExchangeKind::Collect);
        let state = simulation.run(members, |record, state| Ok(self.after_round(record, state, !goes_on(state))?))?;
        Ok(state)
    }

    fn after_round(&mut self, record: &RoundRecord, state: &ServerState, last: bool) -> anyhow::Result<()> {
        self.seconds.train += record.seconds;
        self.record(&Event::Round(record.clone()))?;
        for curve in self.progress.take_losses(record.round) {
            self.record(&Event::Losses(curve))?;
        }
        if record.kind != ExchangeKind::Collect {
            // A round that nobody answered has averaged nothing.
            self.averaged |= !record.clients.is_empty();
            save_join(&self.dir, &state.params)?;
            if last || record.round.is_multiple_of(self.config.evaluation.every) {
                self.score_average(&state.params.under("generator"), record.round, Scored::Average)?;
            }
        }
        Ok(())
    }

    /// Writes the model folder. Where no round averaged anything, the mean of the members is the averaged generator.
    fn finish_model(
        &self,
        members: ModelWriter,
        state: &ServerState,
        mean: Option<&Params>,
    ) -> anyhow::Result<Ensemble> {
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
        self.progress.tell(event);
        self.dir.record(event)
    }

    /// Writes how it ended, and the report, whatever happened before.
    fn end(&mut self, outcome: &Result<()>, started: Instant) -> Result<()> {
        let Seconds { prepare, train, score, pictures } = self.seconds;
        for (stage, seconds) in [("prepare", prepare), ("train", train), ("score", score), ("pictures", pictures)] {
            self.record(&Event::Stage(Stage { stage: stage.into(), seconds }))?;
        }
        let (status, reason) = match outcome {
            Ok(()) => (Status::Done, None),
            Err(failure) if failure.kind() == Kind::Interrupted => (Status::Interrupted, None),
            Err(failure) => (Status::Failed, Some(failure.line())),
        };
        if status == Status::Done {
            // What clients remember stays home.
            let _ = fs::remove_dir_all(self.dir.join("checkpoints/clients"));
        }
        // Empty when nothing waits in it; then it is of no use.
        let _ = fs::remove_dir(self.dir.join("checkpoints"));
        self.dir.finish(status, reason, started.elapsed().as_secs_f64())?;
        let page = report::write(self.dir.path())?;
        self.progress.say(&format!("{}", page.display()));
        Ok(())
    }
}

/// Both networks of the last averaged round, for a site that comes late. Where discriminators stay at the clients,
/// the one here is that which they began with.
fn save_join(dir: &RunDir, params: &Params) -> anyhow::Result<()> {
    fs::create_dir_all(dir.join("join"))?;
    for network in ["generator", "discriminator"] {
        checkpoint::save(&dir.join(format!("join/{network}.safetensors")), &params.under(network))?;
    }
    Ok(())
}

/// SHA-256 over the server's model hash and each member's file, in order of names.
fn model_hash(ensemble: &Ensemble, state: &ServerState) -> String {
    let members = ensemble.manifest().members.iter().map(|member| format!("{} {}\n", member.name, member.sha256));
    params::sha256(format!("server {}\n{}", state.params.hash(), members.collect::<String>()).as_bytes())
}
