//! The timed part of a client's training.

use super::super::mark::Mark;

/// Steps between two points in time.
pub(super) struct Span {
    pub(super) steps: u32,
    pub(super) started: Mark,
    pub(super) ended: Mark,
}

impl Span {
    /// Wall and user CPU seconds from the first client's start to the last one's end.
    pub(super) fn first_to_last(spans: &[Self]) -> (f64, f64) {
        let first = spans.iter().map(|span| &span.started).min_by_key(|mark| mark.at).expect("at least one client");
        let last = spans.iter().map(|span| &span.ended).max_by_key(|mark| mark.at).expect("at least one client");
        ((last.at - first.at).as_secs_f64(), last.user.saturating_sub(first.user).as_secs_f64())
    }
}
