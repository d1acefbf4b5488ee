//! The checks that every reply passes before it is folded.
//!
//! Both drivers hand each reply to the [`Intake`] of its exchange. A reply that was not asked for (from an unknown client, a
//! second one, one for another exchange or after the deadline) is refused: the round's record names it, and it changes nothing
//! else. If a client of the cohort failed or sent an unusable reply, the [`FailurePolicy`] decides. The checks are outside of the
//! algorithms, so that every driver has the same ones and an algorithm only sees replies that can be folded.

use std::collections::BTreeSet;

use effgan_data::ClientName;
use effgan_nn::Params;
use effgan_nn::model::LossName;

use crate::failure_policy::{FailurePolicy, OnFailure};
use crate::message::{Exchange, ExchangeId, Numbers, STEPS, Shapes, Update};
use crate::one_line::one_line;
use crate::record::Missing;
use crate::reply::Reply;
use crate::roster::RoundContext;
use crate::{FlError, Result};

/// Checks and counts the replies of one exchange.
#[derive(Debug)]
pub struct Intake<'a> {
    exchange: &'a Exchange,
    ctx: RoundContext<'a>,
    expected: Shapes,
    losses: &'static [LossName],
    policy: FailurePolicy,
    answered: BTreeSet<ClientName>,
    usable: usize,
    closed: bool,
    missing: Vec<Missing>,
    refused: Vec<Missing>,
}

impl<'a> Intake<'a> {
    /// The intake of `exchange`, whose replies must have the tensors `expected` (see [`Algorithm::expects`](crate::Algorithm::expects))
    /// and may have the metrics `losses` ([`Algorithm::losses`](crate::Algorithm::losses)).
    pub fn new(
        exchange: &'a Exchange,
        ctx: RoundContext<'a>,
        expected: Shapes,
        losses: &'static [LossName],
        policy: FailurePolicy,
    ) -> Self {
        let (answered, missing, refused) = (BTreeSet::new(), Vec::new(), Vec::new());
        Self { exchange, ctx, expected, losses, policy, answered, usable: 0, closed: false, missing, refused }
    }

    /// Checks `reply`. Returns its update when it is to be folded, and `None` when it is refused or its client is left out.
    ///
    /// # Errors
    /// With [`OnFailure::Stop`]: [`FlError::ClientFailed`] or [`FlError::BadReply`].
    pub fn take<'r>(&mut self, reply: &'r Reply) -> Result<Option<&'r Update>> {
        if let Some(reason) = self.not_asked_for(reply) {
            self.refused.push(Missing { name: reply.client.clone(), reason });
            return Ok(None);
        }
        self.answered.insert(reply.client.clone());
        let (client, round) = (reply.client.clone(), self.exchange.round);
        let failure = match &reply.outcome {
            Err(reason) => FlError::ClientFailed { client, round, reason: one_line(reason) },
            Ok(update) => match self.check(&client, update, reply.norm()) {
                Ok(()) => {
                    self.usable += 1;
                    return Ok(Some(update));
                }
                Err(reason) => FlError::BadReply { client, round, reason },
            },
        };
        match self.policy.on_failure {
            OnFailure::Stop => Err(failure),
            OnFailure::LeaveOut => {
                self.missing.push(Missing { name: reply.client.clone(), reason: failure.of_client() });
                Ok(None)
            }
        }
    }

    /// Ends the exchange: every later reply is late, and clients that have not replied are missing for `reason`.
    pub fn close(&mut self, reason: &str) {
        self.closed = true;
        let silent = self.exchange.cohort.iter().filter(|name| !self.answered.contains(name));
        self.missing.extend(silent.map(|name| Missing { name: name.clone(), reason: reason.into() }));
    }

    /// Checks, when all replies are in, that there are enough usable ones.
    ///
    /// # Errors
    /// [`FlError::TooFewClients`].
    pub fn enough(&self) -> Result<()> {
        let (usable, least) = (self.usable, self.policy.min_clients.unwrap_or(1));
        if usable >= least {
            return Ok(());
        }
        let first = self.missing.first().map(|Missing { name, reason }| format!("; {name}: {reason}"));
        let (round, asked) = (self.exchange.round, self.exchange.cohort.len());
        Err(FlError::TooFewClients { round, usable, asked, least, first: first.unwrap_or_default() })
    }

    /// The clients of the cohort without a usable reply, and the replies that were refused.
    pub fn finish(self) -> (Vec<Missing>, Vec<Missing>) {
        (self.missing, self.refused)
    }

    /// Why the reply was not asked for; `None` when it was.
    fn not_asked_for(&self, Reply { client, exchange, .. }: &Reply) -> Option<String> {
        let Exchange { round, ref cohort, .. } = *self.exchange;
        if self.ctx.roster.binary_search(client).is_err() {
            Some("not a client of this run".into())
        } else if *exchange != self.exchange.id() {
            let text = |ExchangeId { round, kind, iteration }: ExchangeId| {
                format!("{} of round {round}, step {}", kind.name(), iteration + 1)
            };
            Some(format!("answers {}, not {}", text(*exchange), text(self.exchange.id())))
        } else if cohort.binary_search(client).is_err() {
            Some(format!("was not asked in round {round}"))
        } else if self.answered.contains(client) {
            Some(format!("has already answered round {round}"))
        } else {
            self.closed.then(|| format!("too late for round {round}"))
        }
    }

    fn check(&self, client: &ClientName, update: &Update, norm: Option<f64>) -> std::result::Result<(), String> {
        let known = self.ctx.num_examples_of(client);
        if update.num_examples != known {
            return Err(format!("reports {} images, but the roster has {known}", update.num_examples));
        }
        self.check_numbers(&update.metrics)?;
        check_shapes(&update.params, &self.expected)?;
        update.params.check_finite().map_err(|error| error.to_string())?;
        self.policy.bounds.check(&update.params, norm)
    }

    /// Checks the metrics of a reply: they are column names of `clients.csv`, so clients may not invent any. An unknown name is not
    /// repeated in the error, because it is text of the client's choice.
    fn check_numbers(&self, metrics: &Numbers) -> std::result::Result<(), String> {
        let known = || self.losses.iter().map(|name| name.key).chain([STEPS]);
        for (name, value) in metrics {
            if !known().any(|known| known == name) {
                let known: Vec<&str> = known().collect();
                return Err(format!("has an unknown metric; the known ones are {}", known.join(", ")));
            }
            let is_in_bounds =
                if name == STEPS { (0.0..=MAX_STEPS).contains(value) } else { value.abs() <= MAX_METRIC };
            if !is_in_bounds {
                return Err(format!("metric `{name}` is {value:e}"));
            }
        }
        Ok(())
    }
}

/// Steps are summed over many exchanges in f64, which must stay exact.
const MAX_STEPS: f64 = 1e12;
/// Losses are f32 values.
const MAX_METRIC: f64 = f32::MAX as f64;

/// Checks that `params` are exactly the tensors of `shapes`.
fn check_shapes(params: &Params, shapes: &Shapes) -> std::result::Result<(), String> {
    for (name, expected) in shapes {
        let found = &params.get(name).map_err(|_| format!("no tensor `{name}` among {} tensors", params.len()))?.shape;
        if found != expected {
            return Err(format!("tensor `{name}` has shape {found:?}, expected {expected:?}"));
        }
    }
    let extra = params.len() - shapes.len();
    if extra == 0 { Ok(()) } else { Err(format!("has {extra} tensors more than it was asked for")) }
}

#[cfg(test)]
mod tests {
    use effgan_nn::Array;

    use super::*;
    use crate::message::ExchangeKind;

    const GAN_LOSSES: &[LossName] = &[LossName { key: "loss_d", of: "d" }, LossName { key: "loss_g", of: "g" }];

    fn name(name: &str) -> ClientName {
        ClientName::new(name).unwrap()
    }

    fn params(name: &str, shape: &[usize], value: f32) -> Params {
        let array = Array::new(shape, vec![value; shape.iter().product()]);
        [(name.to_owned(), array)].into_iter().collect()
    }

    fn good() -> Update {
        Update { params: params("w", &[2], 1.0), num_examples: 3, metrics: [("loss_d".to_owned(), 0.5)].into() }
    }

    /// Round 4 asks `east` and `north` of `east`, `north` and `west`, who have 3 images each, for `w` of two values.
    fn with_intake<R>(policy: FailurePolicy, what: impl FnOnce(&Exchange, &mut Intake) -> R) -> R {
        let roster = ["east", "north", "west"].map(name);
        let exchange = Exchange::of_round(4, ExchangeKind::Average, roster[..2].to_vec());
        let ctx = RoundContext { seed: 1, roster: &roster, num_examples: &[3; 3], counts: &[3; 3] };
        let expected = [("w".to_owned(), vec![2])].into();
        what(&exchange, &mut Intake::new(&exchange, ctx, expected, GAN_LOSSES, policy))
    }

    fn leave_out(min_clients: Option<usize>) -> FailurePolicy {
        FailurePolicy { on_failure: OnFailure::LeaveOut, min_clients, ..FailurePolicy::default() }
    }

    #[test]
    fn a_reply_that_was_not_asked_for_is_recorded_with_its_sender_and_changes_nothing() {
        for policy in [FailurePolicy::default(), leave_out(None)] {
            with_intake(policy, |exchange, intake| {
                let from = |client: &str| Reply::new(name(client), exchange.id(), Ok(good()));
                let to = |exchange| Reply { exchange, ..from("north") };
                let strays = [
                    (from("south"), "not a client of this run"),
                    (from("west"), "was not asked in round 4"),
                    (
                        to(ExchangeId { round: 3, ..exchange.id() }),
                        "answers average of round 3, step 1, not average of round 4, step 1",
                    ),
                    (
                        to(ExchangeId { kind: ExchangeKind::Collect, iteration: 1, ..exchange.id() }),
                        "answers collect of round 4, step 2, not average of round 4, step 1",
                    ),
                ];
                assert_eq!(intake.take(&from("east")).unwrap(), Some(&good()));
                let second = Reply { outcome: Err("changed my mind".into()), ..from("east") };
                let strays = strays.into_iter().chain([(second, "has already answered round 4")]);
                let mut expected = Vec::new();
                for (reply, reason) in strays {
                    expected.push(Missing { name: reply.client.clone(), reason: reason.into() });
                    assert_eq!(intake.take(&reply).unwrap(), None);
                }
                intake.close("no answer within 60 s");
                assert_eq!(intake.take(&from("north")).unwrap(), None);
                expected.push(Missing { name: name("north"), reason: "too late for round 4".into() });
                assert_eq!(intake.refused, expected);
                let silent = Missing { name: name("north"), reason: "no answer within 60 s".into() };
                assert_eq!(intake.missing, [silent]);
                assert!(intake.enough().is_ok());
            });
        }
    }

    /// Unusable outcomes, and why they are unusable.
    fn unusable() -> Vec<(std::result::Result<Update, String>, &'static str)> {
        let with = |params: Params| Ok(Update { params, ..good() });
        let both = params("w", &[2], 1.0).merged_with(params("extra", &[1], 1.0));
        vec![
            (with(params("v", &[2], 1.0)), "unusable reply: no tensor `w` among 1 tensors"),
            (with(both), "unusable reply: has 1 tensors more than it was asked for"),
            (with(params("w", &[1, 2], 1.0)), "unusable reply: tensor `w` has shape [1, 2], expected [2]"),
            (with(params("w", &[2], f32::NAN)), "unusable reply: tensor `w` has a non-finite value at index 0"),
            (
                Ok(Update { num_examples: 1 << 40, ..good() }),
                "unusable reply: reports 1099511627776 images, but the roster has 3",
            ),
            (
                Ok(Update { metrics: [("loss_d".to_owned(), f64::INFINITY)].into(), ..good() }),
                "unusable reply: metric `loss_d` is inf",
            ),
            (
                Ok(Update { metrics: [("steps".to_owned(), -1.0)].into(), ..good() }),
                "unusable reply: metric `steps` is -1e0",
            ),
            (
                Ok(Update { metrics: [("loss_g".to_owned(), 1e300)].into(), ..good() }),
                "unusable reply: metric `loss_g` is 1e300",
            ),
            (
                Ok(Update { metrics: [("=cmd|' /C calc'!A1".to_owned(), 0.0)].into(), ..good() }),
                "unusable reply: has an unknown metric; the known ones are loss_d, loss_g, steps",
            ),
            (
                with(params("w", &[2], -3.4e38)),
                "unusable reply: tensor `w` has the value -3.4e38 at index 0, beyond 1e15, which no training reaches",
            ),
            (Err("disk\nfull".into()), "disk full"),
        ]
    }

    #[test]
    fn a_client_with_an_unusable_reply_is_left_out_with_the_reason() {
        for (outcome, reason) in unusable() {
            with_intake(leave_out(None), |exchange, intake| {
                assert_eq!(intake.take(&Reply::new(name("north"), exchange.id(), outcome)).unwrap(), None);
                assert_eq!(intake.missing, [Missing { name: name("north"), reason: reason.into() }]);
                assert!(intake.take(&Reply::new(name("east"), exchange.id(), Ok(good()))).unwrap().is_some());
                assert!(intake.enough().is_ok());
            });
        }
    }

    #[test]
    fn an_unusable_reply_ends_a_run_that_stops_at_failures_with_client_and_round() {
        for (outcome, reason) in unusable() {
            with_intake(FailurePolicy::default(), |exchange, intake| {
                let reply = Reply::new(name("north"), exchange.id(), outcome);
                let error = intake.take(&reply).unwrap_err().to_string();
                let reason = reason.strip_prefix("unusable reply: ").unwrap_or(reason);
                assert!(
                    error.starts_with("client north ") && error.ends_with(&format!("in round 4: {reason}")),
                    "{error}"
                );
            });
        }
    }

    #[test]
    fn too_few_usable_replies_are_an_error_that_names_the_first_missing_client() {
        with_intake(leave_out(Some(2)), |exchange, intake| {
            intake.take(&Reply::new(name("east"), exchange.id(), Ok(good()))).unwrap();
            intake.take(&Reply::new(name("north"), exchange.id(), Err("disk full".into()))).unwrap();
            assert_eq!(
                intake.enough().unwrap_err().to_string(),
                "1 of 2 clients gave a usable reply in round 4, and at least 2 must; north: disk full; lower \
                 aggregation.min_clients or fix the clients"
            );
        });
    }
}
