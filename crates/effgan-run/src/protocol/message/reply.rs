//! Replies, site → server: an update, or the code of a refusal.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_fl::{Answered, Refusal, Reply, Update};

use super::{Content, ITERATION, LEDGER, MAX_SECONDS, NUM_EXAMPLES, REFUSED, ROUND, RequestId};

/// Wall time of the site's work.
const SECONDS: &str = "seconds";

impl Content {
    /// A reply that refuses the request.
    pub fn refusing(refusal: Refusal) -> Self {
        Self { words: [(REFUSED.to_owned(), refusal.code().to_owned())].into(), ..Self::default() }
    }

    /// The reply that leaves a site: tensors, n_k and named metrics. Of a failure only a code leaves; the reason stays at the site.
    pub fn of_answer(answered: Answered) -> Self {
        match answered.reply {
            Reply::Failed(_) => Self::refusing(Refusal::WorkFailed),
            Reply::Update(Update { params, num_examples, metrics: mut numbers }) => {
                numbers.insert(NUM_EXAMPLES.into(), num_examples as f64);
                numbers.insert(SECONDS.into(), answered.seconds);
                Self { params, numbers, words: BTreeMap::new() }
            }
        }
    }

    /// What `client` answered to `request`: its update, or why there is none.
    pub fn into_answer(self, client: ClientName, request: &RequestId) -> Answered {
        let (reply, seconds) = match self.into_update(request) {
            Ok((update, seconds)) => (Reply::Update(update), seconds),
            Err(reason) => (Reply::Failed(reason), 0.0),
        };
        Answered { client, reply, seconds }
    }

    fn into_update(mut self, request: &RequestId) -> Result<(Update, f64), String> {
        request.check(&self.request_id())?;
        if let Some(refusal) = self.refusal()? {
            return Err(refusal.to_string());
        }
        let num_examples = self.count(NUM_EXAMPLES)?;
        for name in [NUM_EXAMPLES, ROUND, ITERATION] {
            self.numbers.remove(name);
        }
        let is_time = |seconds: &f64| (0.0..=MAX_SECONDS).contains(seconds);
        let seconds = self.numbers.remove(SECONDS).filter(is_time).unwrap_or_default();
        Ok((Update { params: self.params, num_examples, metrics: self.numbers }, seconds))
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
