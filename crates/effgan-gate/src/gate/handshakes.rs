//! Handshakes under way, with a limit on their number.
//!
//! Strangers can begin as many as they like, so when there are too many, the oldest is ended: an honest handshake takes a moment, and no other
//! keeps its place for long.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::task::AbortHandle;

/// The handshakes, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    next: u64,
    handshakes: VecDeque<(u64, IpAddr, AbortHandle)>,
}

impl Handshakes {
    /// Starts a handshake by calling `start` with its number. Ends the oldest handshake of this peer, or of all, when there are more than
    /// `max_per_peer` or `max`.
    pub(super) fn start(&self, peer: IpAddr, [max, max_per_peer]: [usize; 2], start: impl FnOnce(u64) -> AbortHandle) {
        let mut queue = self.0.lock().expect("no thread panics while it holds the handshakes");
        let number = queue.next;
        queue.next += 1;
        // Started under the lock, so that a handshake that ends at once finds itself in the queue.
        let handle = start(number);
        queue.handshakes.push_back((number, peer, handle));
        let of_peer = queue.handshakes.iter().filter(|(_, other, _)| *other == peer).count();
        let oldest = if of_peer > max_per_peer {
            queue.handshakes.iter().position(|(_, other, _)| *other == peer)
        } else {
            (queue.handshakes.len() > max).then_some(0)
        };
        if let Some((_, _, handle)) = oldest.and_then(|oldest| queue.handshakes.remove(oldest)) {
            handle.abort();
        }
    }

    /// Removes a finished handshake; false when it was ended before.
    pub(super) fn finish(&self, number: u64) -> bool {
        let mut queue = self.0.lock().expect("no thread panics while it holds the handshakes");
        let found = queue.handshakes.iter().position(|(other, _, _)| *other == number);
        found.and_then(|found| queue.handshakes.remove(found)).is_some()
    }
}
