//! The progress of a run: a bar while pictures are read, then a live view on standard error when that is a terminal, and on standard output a line per round or JSON lines.

mod live;
mod reading;
mod screen;
mod size;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use effgan_fl::PlannedRound;
use effgan_run::progress::{Clients, Listener, Progress, line_of};
use effgan_run::record::events::Event;

use self::live::Live;
pub(crate) use self::reading::{ReadingBar, bar, shown_on};
use crate::output::say;

/// Returns a progress that is shown on the terminal. With `json`, standard output holds JSON lines and nothing else.
pub(crate) fn progress(json: bool) -> Progress {
    Progress::new(Terminal { json, reading: ReadingBar::default(), live: Mutex::default() })
}

struct Terminal {
    json: bool,
    reading: ReadingBar,
    /// `Some` while the run is under way and standard error is a terminal.
    live: Mutex<Option<Live>>,
}

impl Terminal {
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

impl Listener for Terminal {
    fn reading(&self, done: usize, of: usize) {
        self.reading.show(done, of);
    }

    fn started(&self, plan: Vec<PlannedRound>, done: usize, clients: &Arc<Clients>) {
        if size::can_redraw() {
            *self.live() = Some(Live::start(plan, done, Arc::clone(clients)));
        }
    }

    fn event(&self, event: &Event) {
        if let Some(live) = &*self.live() {
            live.note(event);
        }
        if self.json {
            self.print(&serde_json::to_string(event).expect("an event is plain data"));
        } else if let Some(line) = line_of(event) {
            self.print(&line);
        }
    }

    fn line(&self, line: &str) {
        if !self.json {
            self.print(line);
        }
    }

    fn finished(&self) {
        *self.live() = None;
    }
}
