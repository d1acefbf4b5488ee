//! What a server believes: how large an update may be, and how much one client may count.
//!
//! Bounds of updates are checked by the [`Intake`](crate::Intake), in whose records a client that breaks one is named. n_k is what a
//! client says of itself, so it has a cap too: one that says more counts as the cap, and its record has both numbers.

use std::collections::BTreeMap;
use std::vec::IntoIter;

use effgan_data::ClientName;
use effgan_nn::Params;

use crate::aggregate::Weights;
use crate::algorithm::Replies;
use crate::change::norm;
use crate::message::{Exchange, ExchangeKind, Update};
use crate::roster::Roster;
use crate::share::capped;
use crate::{FlError, Result};

/// No training comes to such values, and sums, squares and norms of smaller ones stay finite for any number of clients.
const MOST_VALUE: f64 = 1e15;

/// Bounds that a config sets; without one there is none, but that nothing infinite may come out of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Largest L2 norm of an update.
    pub max_norm: Option<f64>,
    /// Largest absolute value of an answer's tensors.
    pub max_value: Option<f64>,
    /// Largest share of a mean that one client has, 0..=1.
    pub max_weight: Option<f64>,
    /// Largest n_k that counts.
    pub max_examples: Option<u64>,
}

impl Bounds {
    /// Checks an answer's tensors, and the norm of its update where it is one.
    ///
    /// # Errors
    /// A line with the value and the bound.
    pub fn check(&self, params: &Params, norm: Option<f64>) -> std::result::Result<(), String> {
        let (most, whose) = match self.max_value {
            Some(most) => (most, format!("aggregation.max_value = {most}")),
            None => (MOST_VALUE, format!("{MOST_VALUE:e}, which no training comes to")),
        };
        for (name, array) in params {
            if let Some(index) = array.values.iter().position(|value| f64::from(value.abs()) > most) {
                let value = array.values[index];
                return Err(format!("tensor `{name}` has the value {value:e} at index {index}, beyond {whose}"));
            }
        }
        match (norm, self.max_norm) {
            (Some(norm), Some(most)) if norm > most => {
                Err(format!("its update has the norm {norm:.3e}, beyond aggregation.max_norm = {most}"))
            }
            _ => Ok(()),
        }
    }

    /// As [`check`](Self::check), of what a client made of what it was `sent`.
    ///
    /// # Errors
    /// As there, and when it was not sent one of the tensors.
    pub fn check_update(&self, sent: &Params, params: &Params) -> std::result::Result<(), String> {
        let norm = norm(sent, params).map_err(|error| error.to_string())?;
        self.check(params, Some(norm))
    }

    /// Checks that the bounds make sense.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub(crate) fn check_config(&self) -> Result<()> {
        let bounds = [("max_norm", self.max_norm), ("max_value", self.max_value)];
        let set = bounds.into_iter().filter_map(|(key, bound)| Some((key, bound?)));
        for (key, bound) in set {
            if !(bound > 0.0 && bound <= MOST_VALUE) {
                let line = format!("aggregation.{key} = {bound} must be above 0 and at most {MOST_VALUE:e}");
                return Err(FlError::Config(line));
            }
        }
        match self.max_weight.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            Some(share) => {
                Err(FlError::Config(format!("aggregation.max_weight = {share} must be above 0 and at most 1")))
            }
            None => Ok(()),
        }
    }
}

/// Replies with the n_k that count: what the roster allows, and where `max_weight` is set, lowered until nobody has more than that share
/// of those who answered. For that all of them are there at once.
pub(crate) struct Counted<'a, 'b> {
    replies: &'a mut Replies<'b>,
    roster: &'a Roster,
    max_weight: Option<f64>,
    held: IntoIter<(ClientName, Update)>,
    /// What each client counted as.
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

    /// What each client that was folded counted as.
    pub(crate) fn counts(self) -> BTreeMap<ClientName, u64> {
        self.counts
    }

    fn next_reply(&mut self) -> Option<Result<(ClientName, Update)>> {
        let (client, mut update) = match self.replies.next()? {
            Ok(reply) => reply,
            Err(error) => return Some(Err(error)),
        };
        update.num_examples = update.num_examples.min(self.roster.counts_of(&client));
        Some(Ok((client, update)))
    }

    fn hold(&mut self, max_weight: f64) -> Result<()> {
        let mut all = std::iter::from_fn(|| self.next_reply()).collect::<Result<Vec<_>>>()?;
        let counts: Vec<f64> = all.iter().map(|(_, update)| update.num_examples as f64).collect();
        for ((_, update), count) in all.iter_mut().zip(capped(&counts, max_weight)) {
            // Whole numbers, so that the mean of equal models stays that model. A cap is never below the least n_k.
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
    use effgan_nn::Array;

    use super::*;
    use crate::message::Numbers;

    fn params(value: f32) -> Params {
        [("w".to_owned(), Array::new([2], vec![0.0, value]))].into_iter().collect()
    }

    fn client(name: &str) -> ClientName {
        ClientName::new(name).unwrap()
    }

    #[test]
    fn values_and_norms_beyond_their_bound_are_told_with_both() {
        let bounds = Bounds { max_norm: Some(10.0), max_value: Some(100.0), ..Bounds::default() };
        assert_eq!(bounds.check(&params(-100.0), Some(10.0)), Ok(()));
        let error = bounds.check(&params(-101.0), None).unwrap_err();
        assert_eq!(error, "tensor `w` has the value -1.01e2 at index 1, beyond aggregation.max_value = 100");
        let error = bounds.check(&params(1.0), Some(10.5)).unwrap_err();
        assert_eq!(error, "its update has the norm 1.050e1, beyond aggregation.max_norm = 10");
    }

    #[test]
    fn values_that_no_training_comes_to_are_refused_without_any_key() {
        let error = Bounds::default().check(&params(3.4e38), Some(3.4e38)).unwrap_err();
        assert_eq!(error, "tensor `w` has the value 3.4e38 at index 1, beyond 1e15, which no training comes to");
        assert_eq!(Bounds::default().check(&params(1e12), Some(1e12)), Ok(()));
    }

    /// What each of `clients`, who say that they have so many images, counts as in `kind`.
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
    fn a_client_that_says_more_than_the_cap_counts_as_the_cap() {
        let clients = [("east", 10), ("north", (1 << 53) - 1), ("south", 40)];
        assert_eq!(counts(&clients, Some(30), None, ExchangeKind::Average), [10, 30, 30]);
        assert_eq!(counts(&clients, None, None, ExchangeKind::Average), [10, (1 << 53) - 1, 40]);
    }

    #[test]
    fn nobody_has_more_than_max_weight_of_those_who_answered() {
        let clients = [("east", 10), ("north", (1 << 53) - 1), ("south", 20)];
        // c = 1/2 · (c + 30), so c = 30.
        assert_eq!(counts(&clients, None, Some(0.5), ExchangeKind::Average), [10, 30, 20]);
        // Two cannot have less than half each.
        assert_eq!(counts(&clients[..2], None, Some(0.4), ExchangeKind::Average), [10, 10]);
        // The ensemble has max_share.
        assert_eq!(counts(&clients, None, Some(0.5), ExchangeKind::Collect), [10, (1 << 53) - 1, 20]);
    }
}
