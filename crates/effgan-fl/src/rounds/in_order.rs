//! Replies in the order of the clients' names, whatever order they arrive in.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;

use super::tally::Tally;
use crate::checkpoints::Checkpoints;
use crate::intake::Intake;
use crate::message::{Exchange, Update};
use crate::reply::{Place, Reply};
use crate::state::ClientState;
use crate::{FlError, Result};

/// A client with its reply, or with the error that ends the run when its turn comes.
pub(crate) type Arrival = (ClientName, Result<Reply>);

/// A source of replies, in the order in which they arrive.
pub(crate) trait Arrivals: Send {
    /// Waits for the next reply. Each client of the cohort has exactly one; replies to other exchanges may come besides.
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
    waiting: BTreeMap<ClientName, Result<Reply>>,
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
        let reply = self.wait_for(client)?;
        let is_usable = self.intake.take(&reply)?.is_some();
        Ok(self.tally.add(reply, is_usable))
    }

    fn wait_for(&mut self, client: &ClientName) -> Result<Reply> {
        if let Some(reply) = self.waiting.remove(client) {
            return self.fetch(reply?);
        }
        loop {
            let (sender, reply) = self.arriving.next()?;
            if let Ok(stray) = &reply
                && stray.exchange != self.exchange.id()
            {
                self.intake.take(stray)?;
                continue;
            }
            if sender == *client {
                return reply;
            }
            let waiting = match reply {
                Ok(reply) => Ok(self.put_aside(reply)?),
                error => error,
            };
            self.waiting.insert(sender, waiting);
        }
    }

    /// Keeps a reply that arrived before its turn: in memory if there is room, else in a file.
    fn put_aside(&self, mut reply: Reply) -> Result<Reply> {
        let in_memory = self.waiting.values().flatten().filter(|waiting| waiting.place != Place::File);
        if in_memory.count() < self.max_in_memory {
            return Ok(reply);
        }
        if reply.place == Place::Memory {
            self.checkpoints.save_reply(&mut reply, &ClientState::new())?;
        }
        if let Ok(update) = &mut reply.outcome {
            // A reply that cannot be saved has metrics for which the intake refuses it, whatever its tensors are.
            update.params = Params::new();
            reply.place = if reply.place == Place::MemoryAndFile { Place::File } else { reply.place };
        }
        Ok(reply)
    }

    /// Reads the tensors back where they wait in a file.
    fn fetch(&self, mut reply: Reply) -> Result<Reply> {
        if let (Ok(update), Place::File) = (&mut reply.outcome, reply.place) {
            let saved = self.checkpoints.load_reply(reply.exchange, &reply.client)?;
            let Some((Reply { outcome: Ok(saved), .. }, _)) = saved else {
                return Err(FlError::LostReply { client: reply.client, round: self.exchange.round });
            };
            update.params = saved.params;
        }
        Ok(reply)
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

#[cfg(test)]
mod tests {
    use effgan_nn::Array;

    use super::*;
    use crate::checkpoints::{CheckpointConfig, RunId};
    use crate::failure_policy::FailurePolicy;
    use crate::message::{ExchangeKind, Shapes};
    use crate::roster::Roster;

    struct NoMore;

    impl Arrivals for NoMore {
        fn next(&mut self) -> Result<Arrival> {
            unreachable!("nothing waits for a reply")
        }
    }

    #[test]
    fn a_reply_that_cannot_be_saved_waits_without_its_tensors() {
        let (folder, client) = (tempfile::tempdir().unwrap(), ClientName::new("a").unwrap());
        let exchange = Exchange::of_round(1, ExchangeKind::Average, vec![client.clone()]);
        let roster = Roster::new(vec![(client.clone(), 3)]);
        let intake = Intake::new(&exchange, roster.context(1), Shapes::new(), &[], FailurePolicy::default());
        let config = CheckpointConfig { keep: 1, every_steps: None };
        let checkpoints = Checkpoints::new(folder.path().into(), RunId::default(), config, |line| panic!("{line}"));
        let mut no_more = NoMore;
        let replies = InOrder::new(&exchange, intake, &mut no_more, &checkpoints, 0);
        for (loss, place) in [(0.5, Place::File), (f64::NAN, Place::Memory)] {
            let params = [("w".to_owned(), Array::new([2], vec![1.0; 2]))].into_iter().collect();
            let update = Update { params, num_examples: 3, metrics: [("loss_d".to_owned(), loss)].into() };
            let waiting = replies.put_aside(Reply::new(client.clone(), exchange.id(), Ok(update))).unwrap();
            assert_eq!(waiting.place, place);
            assert!(waiting.outcome.unwrap().params.is_empty());
        }
    }
}
