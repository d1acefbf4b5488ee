//! The progress bar of reading pictures.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use effgan_data::datasets::Report;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::size::can_redraw;

/// Reading that takes no longer shows no bar.
const AFTER: Duration = Duration::from_secs(1);

/// Shows how many pictures have been read, on standard error if that is a terminal.
#[derive(Default)]
pub(crate) struct ReadingBar(Mutex<Option<Begun>>);

/// Reading that is under way.
struct Begun {
    since: Instant,
    /// Hidden at first, when it already measures the speed.
    bar: ProgressBar,
    is_shown: bool,
}

impl ReadingBar {
    /// Shows that `done` of `of` pictures have been read; with the last one the bar is gone.
    pub(crate) fn show(&self, done: usize, of: usize) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Begun { since, bar, is_shown } = begun.get_or_insert_with(Begun::now);
        if !*is_shown && since.elapsed() > AFTER && can_redraw() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            *is_shown = true;
        }
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        if done == of {
            bar.finish_and_clear();
            *begun = None;
        }
    }

    /// Shows what reading reports; its lines go to `line`.
    pub(crate) fn report(&self, report: Report<'_>, line: impl Fn(&str)) {
        match report {
            Report::Pictures { done, of } => self.show(done, of),
            Report::Line(text) => line(text),
        }
    }
}

impl Begun {
    fn now() -> Self {
        let bar = styled(ProgressBar::hidden()).with_message("reading pictures");
        Self { since: Instant::now(), bar, is_shown: false }
    }
}

/// A progress bar with the time left, hidden unless standard error is a terminal that can redraw lines.
pub(crate) fn bar() -> ProgressBar {
    styled(if can_redraw() { ProgressBar::new(0) } else { ProgressBar::hidden() })
}

/// Shows on `bar` the kind of work, and how many of how many pieces of it are done.
pub(crate) fn shown_on(bar: &ProgressBar) -> impl Fn(&str, usize, usize) + Sync + '_ {
    |what, done, of| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
    }
}

fn styled(bar: ProgressBar) -> ProgressBar {
    let template = "{bar:30} {pos} of {len}  {msg}, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("━╸─"))
}
