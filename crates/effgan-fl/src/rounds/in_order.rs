//! Replies in the order of names, whatever order they arrive in, and what is recorded of them.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;

use crate::aggregate::Weights;
use crate::checkpoints::{Checkpoints, Kept, OpenRound};
use crate::drift::{Sketch, drifts};
use crate::intake::{Answer, Intake};
use crate::loss_history::LossHistory;
use crate::message::{Exchange, Reply, Update};
use crate::record::{ClientRecord, Drift, Missing};
use crate::{FlError, Result};

/// What a client has come to in an exchange.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    pub(crate) steps: LossHistory,
    pub(crate) seconds: f64,
    /// Whether its tensors lie in a file too.
    pub(crate) is_kept: bool,
}

/// A reply as it arrives.
pub(crate) struct Arrival {
    pub(crate) client: ClientName,
    pub(crate) done: Result<Done>,
    pub(crate) update: Option<Sketch>,
    /// Whether its tensors wait in a file alone.
    pub(crate) on_disk: bool,
    pub(crate) bytes_down: u64,
}

/// Replies as they arrive, in any order.
pub(crate) trait Arrivals: Send {
    /// Waits for the next: of each client of the cohort there is one.
    ///
    /// # Errors
    /// When there will be no more, and why.
    fn next(&mut self) -> Result<Arrival>;
}

/// Replies in the order of the cohort, whatever order they arrive in.
pub(crate) struct InOrder<'a> {
    exchange: &'a Exchange,
    cohort: std::slice::Iter<'a, ClientName>,
    intake: Intake<'a>,
    arriving: &'a mut dyn Arrivals,
    /// Out of turn.
    waiting: BTreeMap<ClientName, Arrival>,
    /// How many of them wait in memory at most; the tensors of others lie in files.
    room: usize,
    checkpoints: &'a Checkpoints,
    tally: Tally,
}

/// What a round's record says of the replies of one exchange.
#[derive(Default)]
pub(crate) struct Tally {
    clients: Vec<(ClientRecord, Option<Sketch>)>,
    steps: Vec<(ClientName, LossHistory)>,
    missing: Vec<Missing>,
    refused: Vec<Missing>,
    bytes_down: u64,
    bytes_up: u64,
}

impl<'a> InOrder<'a> {
    pub(crate) fn new(
        exchange: &'a Exchange,
        intake: Intake<'a>,
        arriving: &'a mut dyn Arrivals,
        checkpoints: &'a Checkpoints,
        room: usize,
    ) -> Self {
        let (cohort, waiting, tally) = (exchange.cohort.iter(), BTreeMap::new(), Tally::default());
        Self { exchange, cohort, intake, arriving, waiting, room, checkpoints, tally }
    }

    /// The update of `client`; nothing when it is left out.
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

    fn put_aside(&self, mut arrival: Arrival) -> Result<Arrival> {
        if self.waiting.values().filter(|waiting| !waiting.on_disk).count() < self.room {
            return Ok(arrival);
        }
        if let Ok(Done { reply: Reply::Update(update), is_kept, .. }) = &mut arrival.done {
            let params = std::mem::take(&mut update.params);
            if !*is_kept {
                let update = Update { params, ..update.clone() };
                let kept = Kept { update, memory: Params::new(), steps: LossHistory::default(), seconds: 0.0 };
                self.checkpoints.keep_reply(self.exchange, &arrival.client, &kept)?;
            }
            arrival.on_disk = true;
        }
        Ok(arrival)
    }

    fn fetch(&self, mut arrival: Arrival) -> Result<Arrival> {
        if let (Ok(Done { reply: Reply::Update(update), .. }), true) = (&mut arrival.done, arrival.on_disk) {
            let kept = self.checkpoints.reply(self.exchange, &arrival.client)?;
            let client = || arrival.client.clone();
            let lost = || FlError::LostReply { client: client(), round: self.exchange.round };
            update.params = kept.ok_or_else(lost)?.update.params;
        }
        Ok(arrival)
    }

    /// What is to be recorded, when all are folded.
    pub(crate) fn done(self) -> Tally {
        let (missing, refused) = self.intake.finish();
        Tally { missing, refused, ..self.tally }
    }
}

impl Tally {
    fn add(&mut self, client: &ClientName, update: &Update, sketch: Option<Sketch>, seconds: f64) {
        self.bytes_up += update.params.num_bytes();
        let Update { num_examples, ref metrics, .. } = *update;
        let record = ClientRecord {
            name: client.clone(),
            num_examples,
            counted: None,
            metrics: metrics.clone(),
            seconds,
            drift: None,
        };
        self.clients.push((record, sketch));
    }

    /// Adds the exchange to the round, in which each client counted as `counts` says; the mean weighs them by `weights`.
    pub(crate) fn tell(
        mut self,
        open: &mut OpenRound,
        exchange: &Exchange,
        counts: &BTreeMap<ClientName, u64>,
        weights: Weights,
    ) {
        for (client, _) in &mut self.clients {
            client.counted = counts.get(&client.name).copied().filter(|count| *count < client.num_examples);
        }
        let OpenRound { record, steps } = open;
        record.bytes_down += self.bytes_down;
        record.bytes_up += self.bytes_up;
        record.miss(self.missing);
        record.refused.extend(self.refused);
        let weight = |client: &ClientRecord| weights.of(client.counted.unwrap_or(client.num_examples));
        let weights: Vec<f64> = self.clients.iter().map(|(client, _)| weight(client)).collect();
        let (clients, sketches): (Vec<_>, Vec<_>) = self.clients.into_iter().unzip();
        let sketches: Option<Vec<Sketch>> = sketches.into_iter().collect();
        let drifts = sketches.map(|all| drifts(&all.into_iter().zip(weights).collect::<Vec<_>>()));
        for (index, client) in clients.into_iter().enumerate() {
            let drift = drifts.as_ref().map(|drifts| drifts[index]).filter(Drift::is_finite);
            record.add(ClientRecord { drift, ..client });
        }
        // A round of one exchange is kept as a whole.
        if !exchange.kind.trains() {
            for (client, later) in self.steps.into_iter().filter(|(_, steps)| !steps.losses.is_empty()) {
                steps.entry(client).or_default().extend(later);
            }
        }
    }
}

impl Iterator for InOrder<'_> {
    type Item = Result<(ClientName, Update)>;

    /// An error also when all are done and they are too few.
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
