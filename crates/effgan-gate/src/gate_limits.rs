//! Limits on what the gate accepts from any caller.

use std::time::Duration;

/// Limits of a gate.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum number of connections of all sites; a further one is answered with 503.
    pub connections: usize,
    /// Maximum number of connections of one site, whose node opens four; a further one is answered with 503.
    pub connections_per_site: usize,
    /// Maximum number of handshakes under way; a further one ends the oldest.
    pub handshakes: usize,
    /// Maximum number of handshakes under way from one address; a further one ends the oldest from this address.
    pub handshakes_per_peer: usize,
    /// How long a handshake may take.
    pub handshake: Duration,
    /// How long a connection may be idle, and the head of a request may take.
    pub idle: Duration,
    /// Requests of one site per second, on average; further ones are answered with 503.
    pub requests_per_second: f64,
    /// Requests that one site may make at once.
    pub request_burst: f64,
    /// Maximum number of bytes of all objects of a reply; a reply to a `query` has 64 KiB at most.
    pub max_reply: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            connections_per_site: 16,
            handshakes: 256,
            handshakes_per_peer: 128,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            requests_per_second: 200.0,
            request_burst: 2000.0,
            max_reply: 1 << 30,
        }
    }
}

/// Maximum number of bytes of a request's head.
pub const HEAD: usize = 16 << 10;
/// Maximum number of headers of a request.
pub const NUM_HEADERS: usize = 48;
