//! What a run reports while it works: to a terminal, a log, or the program that embeds it.
//!
//! An [`Execution`](crate::pipeline::Execution) takes the [`Progress`] of a [`Listener`]. The listener's [`Event`]s are those of the run's
//! `metrics.jsonl`, in its order. A program that did not start the run reads them from the folder
//! ([`read_events`](crate::record::run_dir::read_events)).

mod clients;
mod lines;

use std::sync::Arc;

use effgan_data::datasets::Report;
use effgan_fl::{PlannedRound, StepRecord};

pub use self::clients::{ClientProgress, Clients};
pub use self::lines::line_of;
use crate::record::events::{Event, LossCurve};

/// Receives what a run does. The run waits for each call, so calls must return quickly.
pub trait Listener: Send + Sync {
    /// `done` of `of` pictures of a folder have been read, where the data set is one; called from several threads, one at a time.
    fn reading(&self, done: usize, of: usize) {
        let _ = (done, of);
    }

    /// The run begins its rounds, `plan`, of which an earlier start has finished the first `done`. `clients` has the progress of each
    /// client at any time.
    fn started(&self, plan: Vec<PlannedRound>, done: usize, clients: &Arc<Clients>) {
        let _ = (plan, done, clients);
    }

    /// The run goes on in its folder after `events`: all that `metrics.jsonl` has now. They replace what the listener has been told, since
    /// events after the newest usable checkpoint have been cut off and come again. Not called for a new run.
    fn resumed(&self, events: &[Event]) {
        let _ = events;
    }

    /// An event that has been appended to `metrics.jsonl`. The picture of the samples that a score is of, where there is one, has been written
    /// before it.
    fn event(&self, event: &Event);

    /// A line for people. Programs that read events can ignore it.
    fn line(&self, line: &str) {
        let _ = line;
    }

    /// The run is over, however it ended.
    fn finished(&self) {}
}

/// Passes what happens to a [`Listener`], and collects the loss curves of the clients.
pub struct Progress {
    clients: Arc<Clients>,
    listener: Box<dyn Listener>,
}

impl Progress {
    /// Passes everything to `listener`.
    pub fn new(listener: impl Listener + 'static) -> Self {
        Self { clients: Arc::default(), listener: Box::new(listener) }
    }

    /// Calls `event` with each event and ignores lines.
    pub fn events(event: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self::new(Events(event))
    }

    /// Calls `line` with each line for people, and with each event that has a line.
    pub fn lines(line: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::new(Lines(line))
    }

    pub(crate) fn started(&self, plan: Vec<PlannedRound>, done: usize) {
        self.listener.started(plan, done, &self.clients);
    }

    pub(crate) fn resumed(&self, events: &[Event]) {
        self.listener.resumed(events);
    }

    pub(crate) fn step(&self, record: &StepRecord) {
        self.clients.step(record);
    }

    /// Removes and returns the loss curves of a round, one per client.
    pub(crate) fn take_losses(&self, round: u32) -> Vec<LossCurve> {
        self.clients.take_losses(round)
    }

    pub(crate) fn event(&self, event: &Event) {
        self.listener.event(event);
    }

    pub(crate) fn line(&self, line: &str) {
        self.listener.line(line);
    }

    /// Passes on what reading a data set reports.
    pub(crate) fn report(&self, report: Report<'_>) {
        match report {
            Report::Pictures { done, of } => self.listener.reading(done, of),
            Report::Line(line) => self.listener.line(line),
        }
    }

    pub(crate) fn finished(&self) {
        self.listener.finished();
    }
}

struct Events<F>(F);

impl<F: Fn(&Event) + Send + Sync> Listener for Events<F> {
    fn event(&self, event: &Event) {
        self.0(event);
    }
}

struct Lines<F>(F);

impl<F: Fn(&str) + Send + Sync> Listener for Lines<F> {
    fn event(&self, event: &Event) {
        if let Some(line) = line_of(event) {
            self.0(&line);
        }
    }

    fn line(&self, line: &str) {
        self.0(line);
    }
}
