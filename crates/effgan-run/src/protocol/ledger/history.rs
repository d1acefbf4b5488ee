//! What a site's ledger says about one run, and about all runs together.

use std::collections::{BTreeMap, BTreeSet};

use effgan_fl::policy::{Amount, Release, Spent};
use effgan_fl::{ExchangeKind, Refusal, RunRequest};
use effgan_nn::params;

use super::line::{Answered, Array, Asked, Audited, Began, Entry};
use super::{Ledger, LedgerError};
use crate::privacy::Counts;

/// What a site has to know about its past before it answers a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// How much was trained so far, in this run and in all others.
    pub spent: Spent,
    /// The approved runs, by the SHA-256 of their configs.
    pub approved: BTreeMap<String, Approval>,
    /// Whether the site's fine-tuned generator was decided on for this run: it has left, or was withheld.
    pub is_fine_tuned: bool,
    /// The last decision on what this very exchange asks for: the limits, and whether a generator may leave.
    pub decided: Option<(Release, bool)>,
    /// The exchange whose training was charged with the last decision, and its answer not yet seen.
    charged: Option<(String, Exchange)>,
    /// Whether answers have left whose training had no noise: no ε bounds what these gave away.
    pub has_plain_answers: bool,
    /// The share of the images that is held out, since the first answer.
    pub held_out: Option<f64>,
    /// Hashes of the answers that left for this very exchange; more than one where the images changed in between.
    sent: BTreeSet<String>,
}

/// What somebody at the site approved.
#[derive(Clone, Debug, PartialEq)]
pub struct Approval {
    /// The run's last round.
    pub last_round: u32,
    /// How many images, and of how many persons, were to train at that time, where it was known.
    pub counts: Option<Counts>,
}

/// What determines the answer to an exchange, given the config and the images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    round: u32,
    iteration: Option<u64>,
    kind: String,
    /// SHA-256 of the parameters in the request.
    received: String,
}

/// More runs than anybody reads: beyond these, the oldest is dropped.
const MAX_WAITING: usize = 100;

/// A run that is waiting for approval.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingRun {
    /// SHA-256 of its config.
    pub config: String,
    /// When it first asked, in UTC as RFC 3339.
    pub since: String,
    /// What it requests of the site.
    pub run_request: RunRequest,
    /// [`Config::identity`](crate::config::Config::identity)
    pub identity: String,
}

/// The runs that are waiting for approval and those that have it.
#[derive(Debug, Default)]
pub struct Approvals {
    /// Those that are waiting, the oldest first.
    pub waiting: Vec<PendingRun>,
    /// Those that are approved: the SHA-256 of each config, and the run's last round.
    pub approved: BTreeMap<String, u32>,
}

impl History {
    /// Reads what the ledger says about the run that sends the request `asked`: every line with the run's id, and every line of the same
    /// config, whatever its number of rounds.
    ///
    /// # Errors
    /// When the ledger is broken or cannot be read.
    pub fn of(ledger: &Ledger, asked: &Asked) -> Result<Self, LedgerError> {
        let (mut history, exchange) = (Self::default(), Exchange::of(asked));
        ledger.read(|_, line| match line.entry {
            Entry::Answered(answered) => history.add(*answered, asked, exchange.as_ref()),
            Entry::Began(began) => history.add_private(*began, asked),
            Entry::Audited(audited) => history.add_decision(*audited, asked, exchange.as_ref()),
            Entry::Approved { config, last_round, images, persons, .. } => {
                let counts = images.map(|images| Counts { images, persons });
                history.approved.insert(config, Approval { last_round, counts });
            }
            Entry::Withdrawn { config } => drop(history.approved.remove(&config)),
            Entry::Refused(_) | Entry::Mended { .. } => {}
        })?;
        Ok(history)
    }

    /// Reads what the ledger says about all runs of a config, by its [`Config::identity`](crate::config::Config::identity).
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_config(ledger: &Ledger, identity: &str) -> Result<Self, LedgerError> {
        Self::of(ledger, &Asked { identity: identity.into(), ..Asked::default() })
    }

    fn add(&mut self, answered: Answered, request: &Asked, exchange: Option<&Exchange>) {
        let Answered { asked, held_out, trained, arrays, .. } = answered;
        self.held_out.get_or_insert(held_out);
        let is_same_config = asked.identity == request.identity;
        let is_this = asked.is_of_the_run_of(request);
        let was_charged = self
            .charged
            .take()
            .is_some_and(|of| Exchange::of(&asked).is_some_and(|exchange| of == (asked.identity.clone(), exchange)));
        if !was_charged {
            self.add_trained(is_this, &trained);
        }
        if is_this {
            self.is_fine_tuned |= asked.kind == ExchangeKind::Collect.name();
        }
        if is_same_config && exchange.is_some() && Exchange::of(&asked).as_ref() == exchange {
            self.sent.insert(hash_of(&arrays));
        }
    }

    fn add_decision(&mut self, audited: Audited, request: &Asked, exchange: Option<&Exchange>) {
        let Audited { asked, limits, leaves, trained, .. } = audited;
        let (is_this, of) = (asked.is_of_the_run_of(request), Exchange::of(&asked));
        if asked.identity == request.identity && exchange.is_some() && of.as_ref() == exchange {
            self.decided = Some((limits, leaves));
        }
        if is_this {
            self.is_fine_tuned |= asked.kind == ExchangeKind::Collect.name();
        }
        self.add_trained(is_this, &trained);
        self.charged = of.map(|exchange| (asked.identity, exchange));
    }

    fn add_trained(&mut self, is_this: bool, trained: &Amount) {
        self.has_plain_answers |= trained.steps > 0 && trained.private.is_empty();
        // What its private updates cost was counted when they began.
        self.spend(is_this, &Amount { private: Vec::new(), ..*trained });
    }

    fn add_private(&mut self, Began { asked, private }: Began, request: &Asked) {
        self.spend(asked.is_of_the_run_of(request), &Amount { private, ..Amount::default() });
    }

    fn spend(&mut self, is_this: bool, trained: &Amount) {
        let spent = if is_this { &mut self.spent.run } else { &mut self.spent.others };
        *spent = std::mem::take(spent).plus(trained);
    }

    /// Whether this very exchange was answered before.
    pub fn has_answered(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether these very `arrays` left for this exchange before: sending them again tells the server nothing new.
    pub fn has_sent(&self, arrays: &BTreeMap<String, Array>) -> bool {
        self.sent.contains(&hash_of(arrays))
    }

    /// Reads which runs are waiting for approval, and which have it.
    ///
    /// # Errors
    /// When the ledger is broken or cannot be read.
    pub fn approvals(ledger: &Ledger) -> Result<Approvals, LedgerError> {
        let Approvals { mut waiting, mut approved } = Approvals::default();
        ledger.read(|_, line| match line.entry {
            Entry::Refused(refused) if refused.refusal == Refusal::WaitingForApproval => {
                let (Asked { config, identity, .. }, Some(run_request)) = (refused.asked, refused.run_request) else {
                    return;
                };
                if let Some(pending) = waiting.iter_mut().find(|pending| pending.config == config) {
                    // The newest line counts: by now the number of images may be known, or may have changed.
                    pending.run_request = run_request;
                    return;
                }
                if waiting.len() == MAX_WAITING {
                    waiting.remove(0);
                }
                waiting.push(PendingRun { config, since: line.time, run_request, identity });
            }
            Entry::Approved { config, last_round, .. } => {
                waiting.retain(|pending| pending.config != config);
                approved.insert(config, last_round);
            }
            Entry::Withdrawn { config } => drop(approved.remove(&config)),
            _ => {}
        })?;
        Ok(Approvals { waiting, approved })
    }

    /// What the run that last asked requests of the site, and its config's identity; `None` when no run has asked.
    ///
    /// # Errors
    /// When the ledger is broken or cannot be read.
    pub fn last_run_request(ledger: &Ledger) -> Result<Option<(RunRequest, String)>, LedgerError> {
        let mut last = None;
        ledger.read(|_, line| {
            let (asked, run_request) = match line.entry {
                Entry::Refused(refused) => (refused.asked, refused.run_request),
                Entry::Answered(answered) => (answered.asked, answered.run_request),
                _ => return,
            };
            if let Some(run_request) = run_request {
                last = Some((run_request, asked.identity));
            }
        })?;
        Ok(last)
    }
}

impl Asked {
    /// Whether the run of this request counts as that of `other`. The server chooses the run's id, so an equal id may only ever add to what
    /// counts against the run.
    fn is_of_the_run_of(&self, other: &Self) -> bool {
        self.identity == other.identity || (!other.run.is_empty() && self.run == other.run)
    }
}

impl Exchange {
    /// The exchange of a request; `None` of a query.
    fn of(asked: &Asked) -> Option<Self> {
        let Asked { round, iteration, kind, received, .. } = asked.clone();
        Some(Self { round: round?, iteration, kind, received: received? })
    }
}

/// SHA-256 over the names and hashes of all arrays.
fn hash_of(arrays: &BTreeMap<String, Array>) -> String {
    let lines: String = arrays.iter().map(|(name, array)| format!("{name} {}\n", array.sha256)).collect();
    params::sha256(lines.as_bytes())
}
