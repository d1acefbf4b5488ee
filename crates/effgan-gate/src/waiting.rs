//! Handshakes that are under way. Strangers can begin as many as they like, so where there are too many the oldest ends: one that is in
//! earnest is over in a moment, and nobody's place is taken for long by one that is not.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use tokio::task::AbortHandle;

/// The handshakes, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Handshakes>);

#[derive(Debug, Default)]
struct Handshakes {
    next: u64,
    handshakes: VecDeque<(u64, IpAddr, AbortHandle)>,
}

impl Waiting {
    /// Starts one more, by `start`, which is told its number; ends the oldest of all or of this peer where there would be too many.
    pub(crate) fn add(&self, peer: IpAddr, [most, most_a_peer]: [usize; 2], start: impl FnOnce(u64) -> AbortHandle) {
        let mut waiting = self.0.lock().expect("nobody panics with the handshakes");
        let number = waiting.next;
        waiting.next += 1;
        // While it is locked: a handshake that is over at once finds itself here.
        let handle = start(number);
        waiting.handshakes.push_back((number, peer, handle));
        let of_peer = waiting.handshakes.iter().filter(|(_, other, _)| *other == peer).count();
        let oldest = if of_peer > most_a_peer {
            waiting.handshakes.iter().position(|(_, other, _)| *other == peer)
        } else {
            (waiting.handshakes.len() > most).then_some(0)
        };
        if let Some((_, _, handle)) = oldest.and_then(|oldest| waiting.handshakes.remove(oldest)) {
            handle.abort();
        }
    }

    /// This one is over; false where it was ended.
    pub(crate) fn leave(&self, number: u64) -> bool {
        let mut waiting = self.0.lock().expect("nobody panics with the handshakes");
        let found = waiting.handshakes.iter().position(|(other, _, _)| *other == number);
        found.and_then(|found| waiting.handshakes.remove(found)).is_some()
    }
}
