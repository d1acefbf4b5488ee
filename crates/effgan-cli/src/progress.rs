//! What is seen of a run while it works: a live view on a terminal, a line a round elsewhere, JSON lines or calls for programs.

mod clients;
mod lines;
mod live;
mod screen;
mod terminal;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use effgan_fl::{PlannedRound, StepRecord};

use self::clients::Clients;
use self::live::Live;
use crate::events::{Event, LossCurve};
use crate::output::say;

/// Says what happens, and remembers how losses went.
pub struct Progress {
    clients: Arc<Clients>,
    told: Told,
    /// From the start of the run to its end, on a terminal.
    live: Mutex<Option<Live>>,
}

/// To whom events are told.
enum Told {
    /// A person: the lines of [`lines`].
    Lines,
    /// A person, by way of whoever this program is a part of.
    Log(Box<dyn Fn(&str) + Send + Sync>),
    /// A program that reads standard output.
    Json,
    /// A program that this one is a part of.
    Call(Box<dyn Fn(&Event) + Send + Sync>),
}

impl Progress {
    /// A live view appears when standard error is a terminal; `json` puts JSON lines on standard output and nothing else there.
    pub fn new(json: bool) -> Self {
        Self::told(if json { Told::Json } else { Told::Lines })
    }

    /// Nothing is printed, and `tell` is called with each event.
    pub fn telling(tell: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self::told(Told::Call(Box::new(tell)))
    }

    /// `log` is called with the lines for a person, and there is no live view.
    pub fn logging(log: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self::told(Told::Log(Box::new(log)))
    }

    fn told(told: Told) -> Self {
        Self { clients: Arc::default(), told, live: Mutex::default() }
    }

    /// The run will have these rounds, of which so many are `done`.
    pub fn start(&self, plan: Vec<PlannedRound>, done: usize) {
        if matches!(self.told, Told::Lines | Told::Json) && terminal::can_redraw() {
            *self.live() = Some(Live::start(plan, done, Arc::clone(&self.clients)));
        }
    }

    /// A training step was done.
    pub fn step(&self, record: &StepRecord) {
        self.clients.step(record);
    }

    /// The loss curves of a round, by client.
    pub fn take_losses(&self, round: u32) -> Vec<LossCurve> {
        self.clients.take_losses(round)
    }

    /// Tells an event: its line, the event itself as JSON, or a call.
    pub fn tell(&self, event: &Event) {
        if let Some(live) = &*self.live() {
            live.note(event);
        }
        match &self.told {
            Told::Lines | Told::Log(_) => lines::line(event).iter().for_each(|line| self.say(line)),
            Told::Json => self.print(&serde_json::to_string(event).expect("an event is plain data")),
            Told::Call(tell) => tell(event),
        }
    }

    /// A line for a person; programs do not see it.
    pub fn say(&self, line: &str) {
        match &self.told {
            Told::Lines => self.print(line),
            Told::Log(log) => log(line),
            Told::Json | Told::Call(_) => {}
        }
    }

    /// The live view goes away.
    pub fn finish(&self) {
        *self.live() = None;
    }

    fn print(&self, line: &str) {
        match &*self.live() {
            Some(live) => live.above(|| say(line)),
            None => say(line),
        }
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
