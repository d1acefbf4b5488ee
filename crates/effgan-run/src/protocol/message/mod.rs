//! The content of a message between the server and a site: tensors, numbers and a few words, each by name.
//!
//! A request holds the config, its hash and a kind. The reply repeats the hash, the kind, the round and the iteration ([`RequestId`]), so
//! that it cannot be taken for the reply to another request, and holds tensors and numbers, or the code of a [`Refusal`]. A site sends no
//! words of its own choice.

mod introduction;
mod packing;
mod reply;
mod request;
mod request_id;

use std::collections::BTreeMap;

use effgan_fl::message::Numbers;
use effgan_nn::Params;

pub use self::introduction::Introduction;
pub(super) use self::request::message_type;
pub use self::request_id::RequestId;

/// The tensors, numbers and words of a message, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Tensors: parameters, or what the algorithm sends in their place.
    pub params: Params,
    /// Counts and metrics.
    pub numbers: Numbers,
    /// Settings and names.
    pub words: BTreeMap<String, String>,
}

// The names of numbers and words. They are on the wire: see docs/what-leaves-your-site.md.

/// The config of the run, as text.
pub(super) const CONFIG: &str = "config";
/// SHA-256 of that text, in lower-case hex.
pub(super) const CONFIG_HASH: &str = "config-hash";
/// What is requested: an exchange's kind, or [`QUERY`].
pub(super) const KIND: &str = "kind";
/// The kind, and Flower's message type, of the request that asks a node which site it is.
pub(super) const QUERY: &str = "query";
/// The run's id.
pub(super) const RUN: &str = "run";
/// How many seconds the server waits for the reply.
pub(super) const DEADLINE: &str = "deadline";
/// The sender's version of effgan.
pub(super) const VERSION: &str = "version";
/// The version of a site's arithmetic.
pub(super) const ARITHMETIC_VERSION: &str = "arithmetic-version";
/// The round, from 1.
pub(super) const ROUND: &str = "round";
/// The server's step within the round, from 0.
pub(super) const ITERATION: &str = "iteration";
/// Names and shapes of the tensors, as JSON.
pub(super) const TENSORS: &str = "tensors";
/// The head of the site's ledger.
pub(super) const LEDGER: &str = "ledger";
/// The newest head of the site's ledger that the server has.
pub(super) const LEDGER_HEAD: &str = "ledger-head";
/// The code of a [`Refusal`](effgan_fl::Refusal).
pub(super) const REFUSED: &str = "refused";
/// n_k, under the name by which Flower's strategies find the weight of a reply.
pub(super) const NUM_EXAMPLES: &str = "num-examples";

/// Seconds that no deadline and no work exceeds: 30 years. A sum of such times is finite.
pub(super) const MAX_SECONDS: f64 = 1e9;

/// 2^53: f64 holds every whole number up to here.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

impl Content {
    /// The number `name`, as a count.
    ///
    /// # Errors
    /// One line with the name, when the number is missing or is not a whole number in 0..=2^53.
    pub fn count(&self, name: &str) -> Result<u64, String> {
        match self.numbers.get(name) {
            Some(&n) if (0.0..=MAX_COUNT).contains(&n) && n.fract() == 0.0 => Ok(n as u64),
            Some(n) => Err(format!("the message's `{name}` is {n}, which is not a count")),
            None => Err(format!("the message lacks the number `{name}`; do both sides have the same effgan?")),
        }
    }

    /// The text under `name`.
    ///
    /// # Errors
    /// One line with the name, when it is missing.
    pub fn word(&self, name: &str) -> Result<&str, String> {
        let word = self.words.get(name).map(String::as_str);
        word.ok_or_else(|| format!("the message lacks `{name}`; do both sides have the same effgan?"))
    }
}

#[cfg(test)]
mod tests;
