//! A client's reply, from the client's work to the server's fold: the one type for what a simulation hands over, a site sends and a
//! file keeps.

use effgan_data::ClientName;

use crate::drift::Sketch;
use crate::loss_history::LossHistory;
use crate::message::{Broadcast, ExchangeId, Update};

/// The reply of a client to its broadcast in one exchange. A failure is a value, so that the round's record can name it.
///
/// The fields that other crates see are all that a site sends. What the server notes of a reply has no type of its own, because each
/// reply has exactly one such note, from its arrival to its turn in the fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The client.
    pub client: ClientName,
    /// The exchange that it claims to answer.
    pub exchange: ExchangeId,
    /// The client's work or, where it failed, one line of text by the client that says why.
    pub outcome: Result<Update, String>,
    /// Wall time of the work, in seconds.
    pub seconds: f64,
    /// The losses of the client's steps; empty in the reply of a site, which does not send them.
    pub(crate) steps: LossHistory,
    /// The sketch of the client's update, where it trained what it was sent; set by the server.
    pub(crate) sketch: Option<Sketch>,
    /// Bytes of the tensors that it was sent; set by the server.
    pub(crate) bytes_down: u64,
    /// Where its tensors are; set by whoever saves the reply.
    pub(crate) place: Place,
}

/// Where the tensors of a reply are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    MemoryAndFile,
    /// They were dropped from memory until the reply's turn comes.
    File,
}

impl Reply {
    /// The reply of `client` to `exchange`, after no time.
    pub fn new(client: ClientName, exchange: ExchangeId, outcome: Result<Update, String>) -> Self {
        let (steps, place) = (LossHistory::default(), Place::Memory);
        Self { client, exchange, outcome, seconds: 0.0, steps, sketch: None, bytes_down: 0, place }
    }

    /// The reply with the server's notes on what it `sent` to the client, and how the client changed it.
    #[must_use]
    pub(crate) fn compared_to(self, sent: &Broadcast) -> Self {
        let trained = self.outcome.as_ref().ok().filter(|_| sent.kind.trains());
        let sketch = trained.and_then(|update| Sketch::of_update(&sent.params, &update.params).ok());
        Self { sketch, bytes_down: sent.params.num_bytes(), ..self }
    }

    /// L2 norm of the client's update, where it trained what it was sent.
    pub(crate) fn norm(&self) -> Option<f64> {
        self.sketch.as_ref().map(Sketch::norm)
    }
}
