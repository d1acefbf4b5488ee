//! What a site's ledger says about a run, and of all runs together.

use std::collections::{BTreeMap, BTreeSet};

use effgan_fl::policy::Spent;
use effgan_fl::{ExchangeKind, Refusal, RunRequest};
use effgan_nn::params;

use super::line::{Answered, Array, Entry, Question};
use super::{Ledger, LedgerError};

/// What has to be known to answer a question.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Trained so far.
    pub spent: Spent,
    /// Configs, by their hashes, that somebody has said yes to.
    pub approved: BTreeMap<String, Yes>,
    /// Whether this run has been given its fine-tuned generator.
    pub is_fine_tuned: bool,
    /// The share that is held out, since the first answer.
    pub held_out: Option<f64>,
    /// What left in answer to this very exchange: a hash of all arrays, several where the images had changed.
    sent: BTreeSet<String>,
}

/// What somebody has said yes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Yes {
    /// The number of the last question.
    pub last_round: u32,
    /// How many images were to train then, where that was known.
    pub images: Option<u64>,
}

/// What a training exchange's answer hangs on, for one config and images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Exchange {
    round: u32,
    iteration: Option<u64>,
    kind: String,
    /// Hash of the parameters that came.
    received: String,
}

/// More runs than anybody reads; the oldest go first.
const MOST_WAITING: usize = 100;

/// A run that waits for somebody's yes.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// SHA-256 of its config.
    pub config: String,
    /// When it asked first.
    pub since: String,
    /// What it wants.
    pub wishes: RunRequest,
    /// [`Config::identity`](crate::config::Config::identity)
    pub identity: String,
}

/// Runs by what people at the site have said to them.
#[derive(Debug, Default)]
pub struct Yeses {
    /// Those that wait, the oldest first.
    pub waiting: Vec<Request>,
    /// Those that have a yes: their configs' hashes, and the numbers of their last questions.
    pub approved: BTreeMap<String, u32>,
}

impl History {
    /// Of the run that asks: all of its id, and all of the same config, whatever its length.
    ///
    /// # Errors
    /// When the ledger is broken or cannot be read.
    pub fn of(ledger: &Ledger, asked: &Question) -> Result<Self, LedgerError> {
        let (mut history, exchange) = (Self::default(), Exchange::of(asked));
        ledger.read(|_, line| match line.entry {
            Entry::Answered(answered) => history.take(*answered, asked, exchange.as_ref()),
            Entry::Approved { config, last_round, images, .. } => {
                history.approved.insert(config, Yes { last_round, images });
            }
            Entry::Withdrawn { config } => drop(history.approved.remove(&config)),
            Entry::Refused(_) | Entry::Mended { .. } => {}
        })?;
        Ok(history)
    }

    /// Of all runs of a config, without an exchange in mind.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn of_config(ledger: &Ledger, identity: &str) -> Result<Self, LedgerError> {
        Self::of(ledger, &Question { identity: identity.into(), ..Question::default() })
    }

    fn take(&mut self, answered: Answered, asked: &Question, exchange: Option<&Exchange>) {
        let Answered { question, held_out, trained, arrays, .. } = answered;
        self.held_out.get_or_insert(held_out);
        let is_same_config = question.identity == asked.identity;
        // The run's name is the server's word: it only ever makes what is allowed less.
        let is_this = is_same_config || (!asked.run.is_empty() && question.run == asked.run);
        let spent = if is_this { &mut self.spent.run } else { &mut self.spent.others };
        *spent = spent.plus(trained);
        if is_this {
            self.is_fine_tuned |= question.kind == ExchangeKind::Collect.name();
        }
        if is_same_config && exchange.is_some() && Exchange::of(&question).as_ref() == exchange {
            self.sent.insert(hash_of(&arrays));
        }
    }

    /// Whether this very exchange was answered.
    pub fn has_answered(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether these very `arrays` left in answer to it: once more they tell nobody anything new.
    pub fn has_sent(&self, arrays: &BTreeMap<String, Array>) -> bool {
        self.sent.contains(&hash_of(arrays))
    }

    /// Who waits for a yes, and who has one.
    ///
    /// # Errors
    /// When the ledger is broken or cannot be read.
    pub fn yeses(ledger: &Ledger) -> Result<Yeses, LedgerError> {
        let Yeses { mut waiting, mut approved } = Yeses::default();
        ledger.read(|_, line| match line.entry {
            Entry::Refused(refused) if refused.refusal == Refusal::WaitingForApproval => {
                let (Question { config, identity, .. }, Some(wishes)) = (refused.question, refused.wishes) else {
                    return;
                };
                if let Some(request) = waiting.iter_mut().find(|request| request.config == config) {
                    // How many images there are may be known by now, or be another number.
                    request.wishes = wishes;
                    return;
                }
                if waiting.len() == MOST_WAITING {
                    waiting.remove(0);
                }
                waiting.push(Request { config, since: line.time, wishes, identity });
            }
            Entry::Approved { config, last_round, .. } => {
                waiting.retain(|request| request.config != config);
                approved.insert(config, last_round);
            }
            Entry::Withdrawn { config } => drop(approved.remove(&config)),
            _ => {}
        })?;
        Ok(Yeses { waiting, approved })
    }

    /// What the run that asked last wanted.
    ///
    /// # Errors
    /// When the ledger is broken or cannot be read.
    pub fn last_wishes(ledger: &Ledger) -> Result<Option<(RunRequest, String)>, LedgerError> {
        let mut last = None;
        ledger.read(|_, line| {
            let (question, wishes) = match line.entry {
                Entry::Refused(refused) => (refused.question, refused.wishes),
                Entry::Answered(answered) => (answered.question, answered.wishes),
                _ => return,
            };
            if let Some(wishes) = wishes {
                last = Some((wishes, question.identity));
            }
        })?;
        Ok(last)
    }
}

impl Exchange {
    /// None of a question that is no exchange.
    fn of(question: &Question) -> Option<Self> {
        let Question { round, iteration, kind, received, .. } = question.clone();
        Some(Self { round: round?, iteration, kind, received: received? })
    }
}

/// Of all arrays by their names.
fn hash_of(arrays: &BTreeMap<String, Array>) -> String {
    let lines: String = arrays.iter().map(|(name, array)| format!("{name} {}\n", array.sha256)).collect();
    params::sha256(lines.as_bytes())
}
