//! The progress bar of reading pictures.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use effgan_data::datasets::Report;
use indicatif::{ProgressBar, ProgressStyle};

use super::size::can_redraw;

/// Reading that takes no longer shows no bar.
const AFTER: Duration = Duration::from_secs(1);

/// Shows how many pictures have been read, on standard error if that is a terminal.
#[derive(Default)]
pub(crate) struct ReadingBar(Mutex<Option<Begun>>);

/// Reading that is under way.
struct Begun {
    since: Instant,
    /// There is none at first.
    bar: Option<ProgressBar>,
}

impl ReadingBar {
    /// Shows that `done` of `of` pictures have been read; with the last one the bar is gone.
    pub(crate) fn show(&self, done: usize, of: usize) {
        let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Begun { since, bar } = begun.get_or_insert_with(|| Begun { since: Instant::now(), bar: None });
        if bar.is_none() && since.elapsed() > AFTER {
            *bar = Some(self::bar().with_elapsed(since.elapsed()).with_message("reading pictures"));
        }
        if let Some(bar) = bar {
            bar.set_length(of as u64);
            bar.set_position(done as u64);
        }
        if done == of
            && let Some(bar) = begun.take().and_then(|begun| begun.bar)
        {
            bar.finish_and_clear();
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

/// A progress bar with the time left, hidden unless standard error is a terminal that can redraw lines.
pub(crate) fn bar() -> ProgressBar {
    let bar = if can_redraw() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    let template = "{bar:30} {pos} of {len}  {msg}, {eta} left";
    bar.with_style(ProgressStyle::with_template(template).expect("the template is fixed").progress_chars("━╸─"))
}
