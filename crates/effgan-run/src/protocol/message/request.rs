//! Requests, server → site: a query, which asks a node which site it is, or the work of an exchange.

use effgan_fl::{Broadcast, ExchangeKind, RunPosition, SiteMessage};
use effgan_nn::params;

use super::{CONFIG, CONFIG_HASH, Content, DEADLINE, ITERATION, KIND, LEDGER_HEAD, QUERY, ROUND, RUN, VERSION};

impl Content {
    /// The request that asks a node which site it is.
    pub fn query() -> Self {
        Self { words: [(KIND.to_owned(), QUERY.to_owned())].into(), ..Self::default() }
    }

    /// The request to do the work in `site_message`.
    pub fn of_site_message(site_message: &SiteMessage) -> Self {
        let SiteMessage { broadcast, now, oldest } = site_message;
        let numbers = [
            (ROUND, u64::from(broadcast.round)),
            (ITERATION, broadcast.iteration),
            ("iterations", broadcast.iterations),
            ("rounds-done", u64::from(now.round)),
            ("exchanges-done", now.exchanges),
            ("oldest-round", u64::from(oldest.round)),
            ("oldest-exchanges", oldest.exchanges),
        ];
        let numbers = numbers.map(|(name, n)| (name.to_owned(), n as f64)).into();
        let words = [(KIND.to_owned(), broadcast.kind.name().to_owned())].into();
        Self { params: broadcast.params.clone(), numbers, words }
    }

    /// Undoes [`of_site_message`](Self::of_site_message).
    ///
    /// # Errors
    /// One line that names what is missing.
    pub fn into_site_message(self) -> Result<SiteMessage, String> {
        let round = |name: &str| u32::try_from(self.count(name)?).map_err(|error| error.to_string());
        let word = self.word(KIND)?;
        let kind = ExchangeKind::of_broadcast(word, &self.params)
            .ok_or_else(|| format!("there is no exchange of kind {word}"))?;
        let position = |of: &str, exchanges: &str| {
            Ok::<_, String>(RunPosition { round: round(of)?, exchanges: self.count(exchanges)? })
        };
        let (now, oldest) = (position("rounds-done", "exchanges-done")?, position("oldest-round", "oldest-exchanges")?);
        let (round, iteration, iterations) = (round(ROUND)?, self.count(ITERATION)?, self.count("iterations")?);
        Ok(SiteMessage {
            broadcast: Broadcast { round, kind, iteration, iterations, params: self.params },
            now,
            oldest,
        })
    }

    /// Adds the config, as text, and its hash.
    #[must_use]
    pub fn with_config(mut self, text: &str) -> Self {
        self.words.insert(CONFIG.into(), text.into());
        self.words.insert(CONFIG_HASH.into(), params::sha256(text.as_bytes()));
        self
    }

    /// Adds the newest head of the site's ledger that the server has.
    #[must_use]
    pub fn with_ledger_head(mut self, head: Option<&str>) -> Self {
        self.words.extend(head.map(|head| (LEDGER_HEAD.to_owned(), head.to_owned())));
        self
    }

    /// Adds what a site needs to decide about any request: the config as text, the run's id, this effgan's version, and for how many
    /// seconds the server waits.
    #[must_use]
    pub fn of_run(mut self, config: &str, run: &str, deadline: f64) -> Self {
        self.numbers.insert(DEADLINE.into(), deadline);
        self.words.insert(RUN.into(), run.into());
        self.words.insert(VERSION.into(), env!("CARGO_PKG_VERSION").into());
        self.with_config(config)
    }
}

/// Flower's message type for an exchange of this kind; the `ClientApp` registers a handler for each.
pub(in crate::protocol) fn message_type(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Average => "train",
        ExchangeKind::Collect => "train.finetune",
        ExchangeKind::Feedback => "train.feedback",
        ExchangeKind::Logits => "train.logits",
        ExchangeKind::SwapUp | ExchangeKind::SwapDown => "train.swap",
    }
}
