//! What the gate holds of a site that is connected: its node, its rate, when it was last seen.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use time::OffsetDateTime;
use tokio::time::Instant;

use crate::node::Node;

/// One admitted key.
#[derive(Debug)]
pub(crate) struct Member {
    /// As the list has it.
    pub(crate) spki: Vec<u8>,
    pub(crate) fingerprint: String,
    pub(crate) node: Mutex<Node>,
    pub(crate) connections: AtomicUsize,
    seen: AtomicI64,
    bucket: Mutex<Bucket>,
}

impl Member {
    pub(crate) fn new(spki: Vec<u8>, fingerprint: String, node: Node) -> Self {
        let bucket = Bucket { left: f64::INFINITY, filled: Instant::now() }.into();
        Self { spki, fingerprint, node: node.into(), connections: 0.into(), seen: 0.into(), bucket }
    }

    pub(crate) fn node(&self) -> std::sync::MutexGuard<'_, Node> {
        self.node.lock().expect("nobody panics with a node")
    }

    pub(crate) fn sees(&self) {
        self.seen.store(OffsetDateTime::now_utc().unix_timestamp(), Ordering::Relaxed);
    }

    /// Its last request.
    pub(crate) fn seen(&self) -> Option<OffsetDateTime> {
        let seen = self.seen.load(Ordering::Relaxed);
        (seen > 0).then(|| OffsetDateTime::from_unix_timestamp(seen).ok()).flatten()
    }

    /// Whether one more request is within `a_second` in the long run and `at_once` in a moment.
    pub(crate) fn is_within(&self, a_second: f64, at_once: f64) -> bool {
        let mut bucket = self.bucket.lock().expect("nobody panics with a bucket");
        let now = Instant::now();
        let filled = bucket.left + a_second * (now - bucket.filled).as_secs_f64();
        bucket.left = filled.min(at_once);
        bucket.filled = now;
        let is_within = bucket.left >= 1.0;
        if is_within {
            bucket.left -= 1.0;
        }
        is_within
    }
}

/// Requests that a site may still make at once.
#[derive(Debug)]
struct Bucket {
    left: f64,
    filled: Instant,
}
