//! What the gate holds in memory for a site: its node, its request rate, when it was last seen.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::request_check::node_state::NodeState;

/// The session of one admitted key, shared by the site's connections.
#[derive(Debug)]
pub(super) struct Session {
    /// The key as the list has it: its `SubjectPublicKeyInfo`.
    pub(super) spki: Vec<u8>,
    pub(super) fingerprint: String,
    pub(super) connections: AtomicUsize,
    node: Mutex<NodeState>,
    /// Unix time of the last request; 0 before the first.
    seen: AtomicI64,
    bucket: Mutex<TokenBucket>,
}

impl Session {
    pub(super) fn new(spki: Vec<u8>, fingerprint: String, node: NodeState) -> Self {
        let bucket = TokenBucket { tokens: f64::INFINITY, filled: Instant::now() }.into();
        Self { spki, fingerprint, connections: 0.into(), node: node.into(), seen: 0.into(), bucket }
    }

    pub(super) fn node(&self) -> MutexGuard<'_, NodeState> {
        self.node.lock().expect("no thread panics while it holds a node")
    }

    /// Notes a request.
    pub(super) fn mark_seen(&self) {
        self.seen.store(OffsetDateTime::now_utc().unix_timestamp(), Ordering::Relaxed);
    }

    /// Time of the last request.
    pub(super) fn last_seen(&self) -> Option<OffsetDateTime> {
        let seen = self.seen.load(Ordering::Relaxed);
        (seen > 0).then(|| OffsetDateTime::from_unix_timestamp(seen).ok()).flatten()
    }

    /// Whether one more request is within `per_second` in the long run and `burst` at once.
    pub(super) fn allows_request(&self, per_second: f64, burst: f64) -> bool {
        let mut bucket = self.bucket.lock().expect("no thread panics while it holds a bucket");
        let now = Instant::now();
        let filled = bucket.tokens + per_second * (now - bucket.filled).as_secs_f64();
        bucket.tokens = filled.min(burst);
        bucket.filled = now;
        let is_allowed = bucket.tokens >= 1.0;
        if is_allowed {
            bucket.tokens -= 1.0;
        }
        is_allowed
    }
}

/// Requests that a site may still make at once.
#[derive(Debug)]
struct TokenBucket {
    tokens: f64,
    filled: Instant,
}
