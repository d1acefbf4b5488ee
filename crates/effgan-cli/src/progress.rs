//! What is seen of a run while it works: a live view on a terminal, a line a round elsewhere, JSON lines or calls for programs.

mod clients;
mod lines;

use effgan_fl::StepRecord;

use self::clients::Clients;
use crate::events::{Event, LossCurve};
use crate::output::say;

/// Says what happens, and remembers how losses went.
pub struct Progress {
    clients: Clients,
    told: Told,
}

/// To whom events are told.
enum Told {
    /// A person: the lines of [`lines`].
    Lines,
    /// A program that reads standard output.
    Json,
    /// A program that this one is a part of.
    Call(Box<dyn Fn(&Event) + Send + Sync>),
}

impl Progress {
    /// A live view appears when standard error is a terminal; `json` puts JSON lines on standard output and nothing else there.
    pub fn new(json: bool) -> Self {
        Self { clients: Clients::default(), told: if json { Told::Json } else { Told::Lines } }
    }

    /// Nothing is printed, and `tell` is called with each event.
    pub fn telling(tell: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self { clients: Clients::default(), told: Told::Call(Box::new(tell)) }
    }

    /// The run will do so many training steps.
    pub fn start(&self, _steps: u64) {}

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
        match &self.told {
            Told::Lines => lines::line(event).iter().for_each(say),
            Told::Json => say(serde_json::to_string(event).expect("an event is plain data")),
            Told::Call(tell) => tell(event),
        }
    }

    /// A line for a person; programs do not see it.
    pub fn say(&self, line: &str) {
        if let Told::Lines = self.told {
            say(line);
        }
    }

    /// The live view goes away.
    pub fn finish(&self) {}
}
