//! A line of the ledger.

use std::collections::BTreeMap;

use effgan_fl::policy::Amount;
use effgan_fl::{Refusal, RunRequest};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// When, what, and the hash of the line before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// UTC, as RFC 3339 writes it.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub entry: Entry,
    /// SHA-256 of the line before, as hex, without the end of the line.
    pub previous: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Entry {
    /// An answer left.
    Answered(Box<Answered>),
    /// Nothing left but a code.
    Refused(Box<Refused>),
    /// Somebody at the site said yes to a run.
    Approved {
        /// SHA-256 of its config.
        config: String,
        /// Its name.
        name: String,
        /// The number of its last question.
        last_round: u32,
        /// How many images were to train when it was said, where that was known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        images: Option<u64>,
    },
    /// Somebody at the site took a yes back.
    Withdrawn {
        /// SHA-256 of the run's config.
        config: String,
    },
    /// A crash had left a part of a line, which was cut off.
    Mended {
        /// Its length.
        bytes: u64,
        /// Its hash.
        sha256: String,
    },
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Names the run; empty before it has begun.
    pub run: String,
    /// SHA-256 of the config's text.
    pub config: String,
    /// [`Config::identity`](crate::config::Config::identity), which is the same for a run that goes on with more rounds.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// `query`, or the exchange's kind.
    pub kind: String,
    /// Round, from 1; none for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// Step of the server in the round, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<u64>,
    /// SHA-256 of the parameters that came, by name, shape and bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received: Option<String>,
}

/// What left.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// To what.
    #[serde(flatten)]
    pub question: Question,
    /// Arrays, by the names under which they left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrays: BTreeMap<String, Array>,
    /// Numbers that left.
    pub numbers: BTreeMap<String, f64>,
    /// Words that left.
    pub words: BTreeMap<String, String>,
    /// Share of the images held out.
    pub held_out: f64,
    /// What the run wants; with the answer to a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wishes: Option<RunRequest>,
    /// What was trained for it; nothing where the same question had been answered before, with the same.
    pub trained: Amount,
}

/// Numbers that left together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Array {
    pub bytes: u64,
    /// Of the values, f32 with the lowest byte first.
    pub sha256: String,
}

/// Why nothing left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// What was asked.
    #[serde(flatten)]
    pub question: Question,
    /// The code that left.
    #[serde(rename = "refused")]
    pub refusal: Refusal,
    /// In words, which did not leave.
    pub why: String,
    /// What the run wants, where that was understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wishes: Option<RunRequest>,
}

impl Line {
    /// That follows the line with the hash `previous`.
    pub fn now(previous: String, entry: Entry) -> Self {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        Self { time: now.format(&Rfc3339).unwrap_or_default(), entry, previous }
    }
}

impl Entry {
    /// Whether `later` is the same question, refused for the same reason, of the same images. Of a question without a config nobody knows.
    pub fn is_refused_again(&self, later: &Self) -> bool {
        let (Self::Refused(before), Self::Refused(later)) = (self, later) else { return false };
        !before.question.config.is_empty() && before == later
    }
}
