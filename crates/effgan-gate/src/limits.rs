//! How much the gate takes of anybody.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Bounds of a gate.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections of all sites; one more is answered with 503.
    pub connections: usize,
    /// Connections of one site, whose node opens four; one more is answered with 503.
    pub connections_a_site: usize,
    /// Handshakes that are under way; one more ends the oldest.
    pub handshakes: usize,
    /// Of one address; one more ends the oldest of this address.
    pub handshakes_a_peer: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a connection may be idle, and a request's first lines may take.
    pub idle: Duration,
    /// Requests of one site in a second, in the long run; one more is answered with 503.
    pub requests_a_second: f64,
    /// Requests of one site at once.
    pub requests_at_once: f64,
    /// Bytes of all objects of one answer; one to a `query` has 64 KiB at most.
    pub max_answer: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_a_site: 16,
            handshakes: 256,
            handshakes_a_peer: 128,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            requests_a_second: 200.0,
            requests_at_once: 2000.0,
            max_answer: 1 << 30,
        }
    }
}

/// Most bytes of a request's first lines.
pub const HEAD: usize = 16 << 10;
/// Most headers of a request.
pub const NUM_HEADERS: usize = 48;

/// Lines about what anybody can bring about: one in ten seconds, with how many were left out.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Option<(Instant, u64)>>);

const SELDOM: Duration = Duration::from_secs(10);

impl Seldom {
    /// The line with what was left out before it, or `None` when it is to be left out.
    pub(crate) fn line(&self, line: impl FnOnce() -> String) -> Option<String> {
        let mut last = self.0.lock().expect("nobody panics with a line");
        let now = Instant::now();
        if let Some((_, left_out)) = last.as_mut().filter(|(said, _)| now - *said < SELDOM) {
            *left_out += 1;
            return None;
        }
        let left_out = last.replace((now, 0)).map_or(0, |(_, left_out)| left_out);
        let more = if left_out == 0 { String::new() } else { format!(" (and {left_out} more before)") };
        Some(line() + &more)
    }
}
