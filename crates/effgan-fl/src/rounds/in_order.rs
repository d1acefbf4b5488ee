//! Replies in the order of the clients' names, whatever order they arrive in.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;

use super::tally::Tally;
use crate::checkpoints::{Checkpoints, Kept};
use crate::drift::Sketch;
use crate::intake::{Answer, Intake};
use crate::loss_history::LossHistory;
use crate::message::{Exchange, Reply, Update};
use crate::{FlError, Result};

/// The result of a client's work in one exchange.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    pub(crate) steps: LossHistory,
    pub(crate) seconds: f64,
    /// Whether the reply has also been saved to a file.
    pub(crate) is_kept: bool,
}

/// A reply that has arrived.
pub(crate) struct Arrival {
    pub(crate) client: ClientName,
    pub(crate) done: Result<Done>,
    /// Sketch of the client's update, where the reply is one.
    pub(crate) update: Option<Sketch>,
    /// Whether the tensors were dropped from memory and only wait in a file.
    pub(crate) on_disk: bool,
    pub(crate) bytes_down: u64,
}

/// A source of replies, in the order in which they arrive.
pub(crate) trait Arrivals: Send {
    /// Waits for the next reply. Each client of the cohort has exactly one.
    ///
    /// # Errors
    /// The reason why no more replies will arrive.
    fn next(&mut self) -> Result<Arrival>;
}

/// An iterator over the usable replies, in the order of the cohort.
pub(crate) struct InOrder<'a> {
    exchange: &'a Exchange,
    cohort: std::slice::Iter<'a, ClientName>,
    intake: Intake<'a>,
    arriving: &'a mut dyn Arrivals,
    /// Replies that arrived before their turn.
    waiting: BTreeMap<ClientName, Arrival>,
    /// How many of them may wait in memory; the tensors of the others wait in files.
    max_in_memory: usize,
    checkpoints: &'a Checkpoints,
    tally: Tally,
}

impl<'a> InOrder<'a> {
    pub(crate) fn new(
        exchange: &'a Exchange,
        intake: Intake<'a>,
        arriving: &'a mut dyn Arrivals,
        checkpoints: &'a Checkpoints,
        max_in_memory: usize,
    ) -> Self {
        let (cohort, waiting, tally) = (exchange.cohort.iter(), BTreeMap::new(), Tally::default());
        Self { exchange, cohort, intake, arriving, waiting, max_in_memory, checkpoints, tally }
    }

    /// The update of `client`; `None` when the client is left out.
    fn update_of(&mut self, client: &ClientName) -> Result<Option<Update>> {
        let Arrival { done, update: sketch, bytes_down, .. } = self.wait_for(client)?;
        let Done { reply, steps, seconds, .. } = done?;
        self.tally.bytes_down += bytes_down;
        self.tally.steps.push((client.clone(), steps));
        let answer = Answer::to(self.exchange, client.clone(), reply).of_norm(sketch.as_ref().map(Sketch::norm));
        let taken = self.intake.take(answer)?;
        if let Some(update) = &taken {
            self.tally.add(client, update, sketch, seconds);
        }
        Ok(taken)
    }

    fn wait_for(&mut self, client: &ClientName) -> Result<Arrival> {
        if let Some(arrival) = self.waiting.remove(client) {
            return self.fetch(arrival);
        }
        loop {
            let arrival = self.arriving.next()?;
            if arrival.client == *client {
                return Ok(arrival);
            }
            let waiting = self.put_aside(arrival)?;
            self.waiting.insert(waiting.client.clone(), waiting);
        }
    }

    /// Keeps a reply that arrived before its turn: in memory if there is room, else in a file.
    fn put_aside(&self, mut arrival: Arrival) -> Result<Arrival> {
        if self.waiting.values().filter(|waiting| !waiting.on_disk).count() < self.max_in_memory {
            return Ok(arrival);
        }
        if let Ok(Done { reply: Reply::Update(update), is_kept, .. }) = &mut arrival.done {
            let params = std::mem::take(&mut update.params);
            if !*is_kept {
                let update = Update { params, ..update.clone() };
                let kept = Kept { update, memory: Params::new(), steps: LossHistory::default(), seconds: 0.0 };
                self.checkpoints.save_reply(self.exchange, &arrival.client, &kept)?;
            }
            arrival.on_disk = true;
        }
        Ok(arrival)
    }

    /// Reads the tensors back where they wait in a file.
    fn fetch(&self, mut arrival: Arrival) -> Result<Arrival> {
        if let (Ok(Done { reply: Reply::Update(update), .. }), true) = (&mut arrival.done, arrival.on_disk) {
            let kept = self.checkpoints.load_reply(self.exchange, &arrival.client)?;
            let client = || arrival.client.clone();
            let lost = || FlError::LostReply { client: client(), round: self.exchange.round };
            update.params = kept.ok_or_else(lost)?.update.params;
        }
        Ok(arrival)
    }

    /// The tally of the exchange, once all replies are folded.
    pub(crate) fn into_tally(self) -> Tally {
        let (missing, refused) = self.intake.finish();
        Tally { missing, refused, ..self.tally }
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<(ClientName, Update)>;

    /// The next usable reply. After the last one, an error when there were too few.
    fn next(&mut self) -> Option<Self::Item> {
        while let Some(client) = self.cohort.next() {
            match self.update_of(client) {
                Ok(None) => {}
                Ok(Some(update)) => return Some(Ok((client.clone(), update))),
                Err(error) => return Some(Err(error)),
            }
        }
        self.intake.enough().err().map(Err)
    }
}
