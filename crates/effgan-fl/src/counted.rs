//! How much each reply counts. A client reports n_k itself, so the server caps it: a client that reports more counts as the cap,
//! and its record has both numbers.

use std::collections::BTreeMap;
use std::vec::IntoIter;

use effgan_data::ClientName;

use crate::Result;
use crate::aggregate::Weights;
use crate::bounds::Bounds;
use crate::capped_weights::capped;
use crate::message::{Exchange, ExchangeKind, Replies, Update};
use crate::roster::Roster;

/// The replies, with the n_k that count in place of those reported. These are capped by the roster and, where `max_weight` is
/// set, lowered until no client has more than that share of the replies; for the latter, all replies are in memory at once.
pub(crate) struct Counted<'a, 'b> {
    replies: &'a mut Replies<'b>,
    roster: &'a Roster,
    max_weight: Option<f64>,
    held: IntoIter<(ClientName, Update)>,
    /// The n_k that counted, by client.
    counts: BTreeMap<ClientName, u64>,
}

impl<'a, 'b> Counted<'a, 'b> {
    pub(crate) fn new(
        replies: &'a mut Replies<'b>,
        roster: &'a Roster,
        exchange: &Exchange,
        weights: Weights,
        bounds: &Bounds,
    ) -> Self {
        let is_mean = matches!(exchange.kind, ExchangeKind::Average | ExchangeKind::Feedback);
        let max_weight = bounds.max_weight.filter(|_| is_mean && weights == Weights::Examples);
        Self { replies, roster, max_weight, held: Vec::new().into_iter(), counts: BTreeMap::new() }
    }

    /// The n_k that counted, of each client whose reply was folded.
    pub(crate) fn counts(self) -> BTreeMap<ClientName, u64> {
        self.counts
    }

    fn next_reply(&mut self) -> Option<Result<(ClientName, Update)>> {
        let (client, mut update) = match self.replies.next()? {
            Ok(reply) => reply,
            Err(error) => return Some(Err(error)),
        };
        update.num_examples = update.num_examples.min(self.roster.context(0).counts_of(&client));
        Some(Ok((client, update)))
    }

    /// Reads all replies into memory and caps their shares.
    fn hold(&mut self, max_weight: f64) -> Result<()> {
        let mut all = std::iter::from_fn(|| self.next_reply()).collect::<Result<Vec<_>>>()?;
        let counts: Vec<f64> = all.iter().map(|(_, update)| update.num_examples as f64).collect();
        for ((_, update), count) in all.iter_mut().zip(capped(&counts, max_weight)) {
            // Weights are whole numbers, so that the mean of equal models is that model. The cap is never below the smallest n_k.
            update.num_examples = count.floor() as u64;
        }
        self.held = all.into_iter();
        Ok(())
    }
}

impl Iterator for Counted<'_, '_> {
    type Item = Result<(ClientName, Update)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(max_weight) = self.max_weight.take()
            && let Err(error) = self.hold(max_weight)
        {
            return Some(Err(error));
        }
        let reply = self.held.next().map(Ok).or_else(|| self.next_reply());
        if let Some(Ok((client, update))) = &reply {
            self.counts.insert(client.clone(), update.num_examples);
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::{Array, Params};

    use super::*;
    use crate::message::Numbers;

    fn params(value: f32) -> Params {
        [("w".to_owned(), Array::new([2], vec![0.0, value]))].into_iter().collect()
    }

    fn client(name: &str) -> ClientName {
        ClientName::new(name).unwrap()
    }

    /// The n_k that count of `clients`, given as (name, reported n_k), in an exchange of `kind`.
    fn counts(
        clients: &[(&str, u64)],
        max_examples: Option<u64>,
        max_weight: Option<f64>,
        kind: ExchangeKind,
    ) -> Vec<u64> {
        let roster =
            Roster::new(clients.iter().map(|(name, n)| (client(name), *n)).collect()).at_most(|_| max_examples);
        let exchange = Exchange::of_round(1, kind, roster.names().to_vec());
        let reply = |&(name, num_examples): &(&str, u64)| {
            Ok((client(name), Update { params: params(1.0), num_examples, metrics: Numbers::new() }))
        };
        let mut replies = clients.iter().map(reply);
        let bounds = Bounds { max_weight, ..Bounds::default() };
        let mut counted = Counted::new(&mut replies, &roster, &exchange, Weights::Examples, &bounds);
        let folded: Vec<u64> = counted.by_ref().map(|reply| reply.unwrap().1.num_examples).collect();
        assert_eq!(counted.counts().into_values().collect::<Vec<_>>(), folded);
        folded
    }

    #[test]
    fn a_client_that_reports_more_than_the_cap_counts_as_the_cap() {
        let clients = [("east", 10), ("north", (1 << 53) - 1), ("south", 40)];
        assert_eq!(counts(&clients, Some(30), None, ExchangeKind::Average), [10, 30, 30]);
        assert_eq!(counts(&clients, None, None, ExchangeKind::Average), [10, (1 << 53) - 1, 40]);
    }

    #[test]
    fn no_client_has_a_larger_share_of_the_replies_than_max_weight() {
        let clients = [("east", 10), ("north", (1 << 53) - 1), ("south", 20)];
        // c = 1/2 · (c + 30), so c = 30.
        assert_eq!(counts(&clients, None, Some(0.5), ExchangeKind::Average), [10, 30, 20]);
        // Of two clients one has at least half.
        assert_eq!(counts(&clients[..2], None, Some(0.4), ExchangeKind::Average), [10, 10]);
        // An ensemble is capped by max_share instead.
        assert_eq!(counts(&clients, None, Some(0.5), ExchangeKind::Collect), [10, (1 << 53) - 1, 20]);
    }
}
