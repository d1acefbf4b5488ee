//! The rounds of a run: simulated clients in this process, or sites that a carrier reaches.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use effgan_data::{Dataset, Partition};
use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::message::STEPS;
use effgan_fl::rounds::{ObserverResult, SaveState};
use effgan_fl::{
    Carrier, Checkpoint, ClientRecord, ExchangeKind, Federation, OnFailure, RoundObserver, RoundRecord, ServerState,
    Simulation, StepRecord,
};
use effgan_nn::Model;

use super::run_data::RunData;
use super::{Notes, Run, join_folder};
use crate::failure::Result;
use crate::record::events::{Event, LossCurve, Scored};
use crate::record::loss_key;

impl Run<'_> {
    /// Runs the rounds and the collection, from `from` or from the start, and returns the server's last state.
    pub(super) fn train(
        &mut self,
        carrier: Option<&mut dyn Carrier>,
        from: Option<Checkpoint>,
        members: &mut ModelWriter,
    ) -> Result<ServerState> {
        let is_collected = !members.members().is_empty();
        let state = match (carrier, self.data) {
            (Some(carrier), _) => self.train_at_sites(carrier, from, members)?,
            (None, RunData::Simulated(dataset, partition)) => self.simulate(dataset, partition, from, members)?,
            (None, RunData::AtSites(_)) => unreachable!("a run over sites has a carrier"),
        };
        if !is_collected && !members.members().is_empty() {
            self.checkpoints.save(&state, None, self.notes(members.members())?)?;
        }
        Ok(state)
    }

    fn simulate(
        &mut self,
        dataset: &Dataset,
        partition: &Partition,
        from: Option<Checkpoint>,
        members: &mut ModelWriter,
    ) -> Result<ServerState> {
        let (progress, stop) = (self.execution.progress, self.execution.stop);
        let on_step = |record: &StepRecord| {
            progress.step(record);
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let checkpoints = self.checkpoints.clone();
        let simulation = Simulation {
            algorithm: self.algorithm,
            images: &dataset.train,
            partition,
            participation: &self.config.simulation,
            // A simulated client fails only because of a bug, so by default a failure stops the run.
            failures: self.config.failures(OnFailure::Stop),
            seed: self.config.seed,
            jobs: self.execution.clients_at_a_time(self.device),
            checkpoints: &checkpoints,
            on_step: &on_step,
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
            // A site that fails must not end the run of the others.
            failures: self.config.failures(OnFailure::LeaveOut),
            deadline: Duration::from_secs_f64(self.config.federation.deadline),
            seed: self.config.seed,
            jobs: self.execution.jobs(),
            checkpoints: &checkpoints,
        };
        self.execution.progress.started(federation.plan(), rounds_done(from.as_ref()));
        Ok(federation.run(carrier, from, members, self)?)
    }

    /// Scores the average of a round, if it is the last round or one of those that the config scores.
    pub(super) fn score_round(&mut self, state: &ServerState) -> anyhow::Result<()> {
        let next = self.algorithm.next(state, &self.roster.context(self.config.seed));
        let is_last = next.is_none_or(|exchange| exchange.kind == ExchangeKind::Collect);
        if is_last || state.round.is_multiple_of(self.config.evaluation.every) {
            self.score_average(&state.params.under(self.model.generator()), state.round, Scored::Average)?;
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
            RunData::Simulated(..) => self.execution.progress.take_losses(record.round),
            RunData::AtSites(_) => mean_losses(record),
        };
        for curve in curves {
            self.record(&Event::Losses(curve))?;
        }
        // The collection is checkpointed by `train`, once all members are there.
        if record.kind == ExchangeKind::Collect {
            return Ok(());
        }
        // A round without participants has averaged nothing.
        self.averaged |= !record.clients.is_empty();
        join_folder::save(&self.dir, self.config, &state.params)?;
        // The checkpoint comes before the scores. A resumed run therefore scores at most one round again, and an extended run decides
        // anew whether this round is one that is scored.
        keep(self.notes(&[])?)?;
        self.score_round(state)
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

/// The losses that sites send: the mean over all steps of each.
fn mean_losses(record: &RoundRecord) -> Vec<LossCurve> {
    let curve = |client: &ClientRecord| {
        let losses = loss_key::losses(&client.metrics).map(|(key, mean)| (key.to_owned(), vec![mean])).collect();
        let steps = client.metrics.get(STEPS).map_or(0, |&steps| steps as u64);
        LossCurve { round: record.round, client: client.name.to_string(), steps, losses }
    };
    record.clients.iter().map(curve).filter(|curve| !curve.losses.is_empty()).collect()
}

fn rounds_done(from: Option<&Checkpoint>) -> usize {
    from.map_or(0, |from| from.state.round as usize)
}
