//! One line of the ledger. The names of its keys are on disk: Rust's names may differ.

use std::collections::BTreeMap;

use effgan_fl::policy::{Amount, PrivateUpdates, Release};
use effgan_fl::{Refusal, RunRequest};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::scores::MemberAudit;

/// A line: when it was written, what happened, and the hash of the line before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// UTC, in RFC 3339 format.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
    /// SHA-256 of the line before, without its line feed, in hex.
    pub previous: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Entry {
    /// The site answered a request.
    Answered(Box<Answered>),
    /// The site began private training, which costs its ε whether an answer or a refusal follows: both may depend on the noised updates.
    Began(Box<Began>),
    /// The site audited a generator that has trained on its images, before the generator left or stayed.
    Audited(Box<Audited>),
    /// The site refused a request; only a code left.
    Refused(Box<Refused>),
    /// Somebody at the site approved a run.
    Approved {
        /// SHA-256 of the run's config.
        config: String,
        /// The run's name.
        name: String,
        /// The run's last round.
        last_round: u32,
        /// How many images were to train at that time, where it was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        images: Option<u64>,
        /// How many persons these were of, where the data name persons.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        persons: Option<u64>,
    },
    /// Somebody at the site withdrew an approval.
    Withdrawn {
        /// SHA-256 of the run's config.
        config: String,
    },
    /// A line that a crash had left incomplete was cut off.
    Mended {
        /// How many bytes were cut off.
        bytes: u64,
        /// Their SHA-256, in hex.
        sha256: String,
    },
}

/// A request, as the ledger records it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// The run's id; empty before the run has begun.
    pub run: String,
    /// SHA-256 of the config's text.
    pub config: String,
    /// [`Config::identity`](crate::config::Config::identity), which stays the same when a run is extended by more rounds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// `query`, or the exchange's kind.
    pub kind: String,
    /// Round, from 1; `None` for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// The server's step within the round, from 0; `None` for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// SHA-256 over names, shapes and bits of the parameters in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
}

/// A request that was answered, and all that left with the answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The request.
    #[serde(flatten)]
    pub asked: Asked,
    /// Arrays that left, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrays: BTreeMap<String, Array>,
    /// Numbers that left, by name.
    pub numbers: BTreeMap<String, f64>,
    /// Words that left, by name.
    pub words: BTreeMap<String, String>,
    /// Share of the images that is held out, in 0..1.
    pub held_out: f64,
    /// What the run requests; recorded with the answer to a query.
    #[serde(rename = "wishes", default, skip_serializing_if = "Option::is_none")]
    pub run_request: Option<RunRequest>,
    /// The training that the answer took; none where the same answer had left before. What its private updates cost was counted when they began.
    pub trained: Amount,
}

/// Private training that began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Began {
    /// The request.
    #[serde(flatten)]
    pub asked: Asked,
    /// The updates that it takes.
    pub private: Vec<PrivateUpdates>,
}

/// The audit of what a request for a generator is answered with, and the decision. None of it leaves but whether a generator does. Whatever was
/// decided, the training is charged, and a fine-tuning is over: otherwise a server could ask for one decision after another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audited {
    /// The request whose answer has the generator.
    #[serde(flatten)]
    pub asked: Asked,
    /// The policy's limits at that time.
    pub limits: Release,
    /// Whether the last of the generators may leave.
    pub leaves: bool,
    /// The generators that were audited: the trained one, and earlier ones where it stays.
    pub generators: Vec<AuditedGenerator>,
    /// The training that the request took; none where it was charged before.
    pub trained: Amount,
}

/// What was found about one generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditedGenerator {
    /// Its training steps.
    pub steps: u64,
    /// What was beyond a limit, or why it is not known; empty where an audit found nothing beyond one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What was found; `None` where it could not be audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<MemberAudit>,
}

/// An array that left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of the values as little-endian f32, in hex.
    pub sha256: String,
}

/// A request that was refused, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The request.
    #[serde(flatten)]
    pub asked: Asked,
    /// The code that left.
    #[serde(rename = "refused")]
    pub refusal: Refusal,
    /// The reason in words, which did not leave.
    pub why: String,
    /// What the run requests, where the message could be read.
    #[serde(rename = "wishes", default, skip_serializing_if = "Option::is_none")]
    pub run_request: Option<RunRequest>,
}

impl Line {
    /// A line with the current time that follows the line with the hash `previous`.
    pub fn now(previous: String, entry: Entry) -> Self {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self { time: now.format(&Rfc3339).unwrap_or_default(), entry, previous }
    }
}

impl Entry {
    /// Whether `later` refuses the same request for the same reason. Two requests without a config are never the same: nobody can tell.
    pub fn is_refused_again(&self, later: &Self) -> bool {
        let (Self::Refused(before), Self::Refused(later)) = (self, later) else { return false };
        !before.asked.config.is_empty() && before == later
    }
}
