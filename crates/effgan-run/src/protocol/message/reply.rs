//! Replies, site → server: an update, or the code of a refusal.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_fl::{ExchangeId, Refusal, Reply, Update};

use super::{Content, ITERATION, LEDGER, MAX_SECONDS, NUM_EXAMPLES, REFUSED, ROUND, RequestId};

/// Wall time of the site's work.
const SECONDS: &str = "seconds";

impl Content {
    /// A reply that refuses the request.
    pub fn refusing(refusal: Refusal) -> Self {
        Self { words: [(REFUSED.to_owned(), refusal.code().to_owned())].into(), ..Self::default() }
    }

    /// The reply that leaves a site: tensors, n_k and named metrics. Of a failure only a code leaves; the reason stays at the site.
    pub fn of_reply(reply: Reply) -> Self {
        match reply.outcome {
            Err(_) => Self::refusing(Refusal::WorkFailed),
            Ok(Update { params, num_examples, metrics: mut numbers }) => {
                numbers.insert(NUM_EXAMPLES.into(), num_examples as f64);
                numbers.insert(SECONDS.into(), reply.seconds);
                Self { params, numbers, words: BTreeMap::new() }
            }
        }
    }

    /// The reply of `client` to `request`, which was for `exchange`.
    pub fn into_reply(mut self, client: ClientName, exchange: ExchangeId, request: &RequestId) -> Reply {
        let seconds = self.numbers.remove(SECONDS).filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
        let mut reply = Reply::new(client, exchange, self.into_update(request));
        reply.seconds = seconds.filter(|_| reply.outcome.is_ok()).unwrap_or_default();
        reply
    }

    fn into_update(mut self, request: &RequestId) -> Result<Update, String> {
        request.check(&self.request_id())?;
        if let Some(refusal) = self.refusal()? {
            return Err(refusal.to_string());
        }
        let num_examples = self.count(NUM_EXAMPLES)?;
        for name in [NUM_EXAMPLES, ROUND, ITERATION] {
            self.numbers.remove(name);
        }
        Ok(Update { params: self.params, num_examples, metrics: self.numbers })
    }

    /// Why the site refuses the request; `None` where it does not.
    ///
    /// # Errors
    /// One line, when the code is not on the list. It does not repeat the code, which is the site's text.
    pub fn refusal(&self) -> Result<Option<Refusal>, String> {
        let unknown = || format!("unusable reply: its `{REFUSED}` is not a code that this version of effgan knows");
        self.words.get(REFUSED).map(|code| Refusal::of_code(code).ok_or_else(unknown)).transpose()
    }

    /// The head of the site's ledger after the line of this reply, 64 hex digits; `None` from a site without a ledger.
    ///
    /// # Errors
    /// One line, when it is not a SHA-256.
    pub fn ledger(&self) -> Result<Option<&str>, String> {
        let is_hash = |head: &str| head.len() == 64 && head.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match self.words.get(LEDGER) {
            Some(head) if !is_hash(head) => Err(format!("the message's `{LEDGER}` is not a SHA-256")),
            head => Ok(head.map(String::as_str)),
        }
    }
}
