//! What ties a reply to its request.

use super::{CONFIG_HASH, Content, ITERATION, KIND, ROUND};

/// Maximum number of bytes of a word that a reply repeats: a SHA-256 has as many hex digits.
const MAX_REPEATED: usize = 64;

/// The parts of a request that its reply repeats, so that the reply cannot be taken for the reply to another request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestId {
    /// What is requested: an exchange's kind, or `query`.
    pub kind: Option<String>,
    /// SHA-256 of the config's text, in hex.
    pub config_hash: Option<String>,
    /// The round, from 1; a query has none.
    pub round: Option<f64>,
    /// The server's step within the round, from 0; a query has none.
    pub iteration: Option<f64>,
}

impl RequestId {
    /// Checks that a reply with the id `reply` answers this request.
    ///
    /// # Errors
    /// One line that names what differs. It does not repeat what the other side sent.
    pub fn check(&self, reply: &Self) -> Result<(), String> {
        let differs = [
            (KIND, self.kind != reply.kind),
            (CONFIG_HASH, self.config_hash != reply.config_hash),
            (ROUND, self.round != reply.round),
            (ITERATION, self.iteration != reply.iteration),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            Some((name, _)) => Err(format!("replies to another request: its `{name}` is not the request's")),
            None => Ok(()),
        }
    }
}

impl Content {
    /// The id in this message, whether it is a request or the reply to one.
    pub fn request_id(&self) -> RequestId {
        let word = |name: &str| self.words.get(name).filter(|word| word.len() <= MAX_REPEATED).cloned();
        let number = |name: &str| self.numbers.get(name).copied();
        RequestId {
            kind: word(KIND),
            config_hash: word(CONFIG_HASH),
            round: number(ROUND),
            iteration: number(ITERATION),
        }
    }

    /// Makes this message a reply to the request with this id.
    #[must_use]
    pub fn replying_to(mut self, request: RequestId) -> Self {
        let RequestId { kind, config_hash, round, iteration } = request;
        self.words.extend([(KIND, kind), (CONFIG_HASH, config_hash)].into_iter().filter_map(present));
        self.numbers.extend([(ROUND, round), (ITERATION, iteration)].into_iter().filter_map(present));
        self
    }
}

fn present<T>((name, value): (&str, Option<T>)) -> Option<(String, T)> {
    Some((name.to_owned(), value?))
}
