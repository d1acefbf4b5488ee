//! Reading a request: a site works only on a message whose parts agree with each other.

use std::time::Duration;

use effgan_fl::{AlgorithmConfig, Broadcast, ExchangeKind, Refusal, RunRequest, SiteMessage};
use effgan_nn::params;

use super::config_request;
use super::site_error::SiteError;
use crate::config::Config;
use crate::protocol::Content;
use crate::protocol::ledger::Asked;
use crate::protocol::message::{
    CONFIG, CONFIG_HASH, DEADLINE, ITERATION, KIND, LEDGER_HEAD, MAX_SECONDS, QUERY, ROUND, RUN, VERSION, message_type,
};

/// Maximum number of bytes of a config; those in configs/ have up to 2,000.
const MAX_CONFIG: usize = 1 << 20;
/// Maximum number of characters of a run's id.
const MAX_RUN: usize = 64;

/// A request whose parts agree.
pub(super) struct ServerRequest {
    pub(super) config: Config,
    /// SHA-256 of the config's text.
    pub(super) config_hash: String,
    /// The run's id; empty before the run has begun.
    pub(super) run: String,
    /// How long the server waits for the reply.
    pub(super) seconds: Duration,
    /// What the config requests of the site, before any image is known.
    pub(super) run_request: RunRequest,
    /// The work; `None` for a query.
    pub(super) site_message: Option<SiteMessage>,
    /// The newest head of the site's ledger that the server has; `None` where it has none.
    pub(super) ledger_head: Option<String>,
}

impl ServerRequest {
    /// Reads a message of Flower's type `kind`.
    ///
    /// # Errors
    /// [`Refusal::OtherVersion`], or [`Refusal::OtherQuestion`] with the part that does not agree.
    fn of(kind: &str, message: Content) -> Result<Self, SiteError> {
        let word = |name: &str| message.word(name).map(ToOwned::to_owned).map_err(SiteError::inconsistent);
        let (version, ours) = (word(VERSION)?, env!("CARGO_PKG_VERSION"));
        if version != ours {
            let why = format!("the server has effgan {version:?}, and this site has {ours}");
            return Err(SiteError::new(Refusal::OtherVersion, why));
        }
        let (text, run) = (word(CONFIG)?, word(RUN)?);
        let config_hash = params::sha256(text.as_bytes());
        if word(CONFIG_HASH)? != config_hash {
            return Err(SiteError::inconsistent("the message's `config-hash` is not the hash of its config"));
        }
        if !is_run_id(&run) {
            return Err(SiteError::inconsistent("the message's `run` is not the id of a run"));
        }
        if text.len() > MAX_CONFIG {
            return Err(SiteError::inconsistent(format!(
                "the config has {} bytes, more than {MAX_CONFIG}",
                text.len()
            )));
        }
        let seconds = message.numbers.get(DEADLINE).copied().unwrap_or_default();
        if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
            return Err(SiteError::inconsistent(format!(
                "the message's `deadline` is {seconds} s, and must be from 0 to {MAX_SECONDS}"
            )));
        }
        let in_config = |failure: crate::Failure| SiteError::inconsistent(format!("the config: {}", failure.line()));
        let config = Config::parse(&text, &[]).map_err(in_config)?;
        config.check_secret().map_err(in_config)?;
        let run_request = config_request::from_config(&config, seconds).map_err(in_config)?;
        let ledger_head = message.words.get(LEDGER_HEAD).cloned();
        let site_message = site_message(kind, message)?;
        if let Some(site_message) = &site_message {
            check_site_message(site_message, &config.algorithm, &run_request).map_err(SiteError::inconsistent)?;
        }
        let seconds = Duration::from_secs_f64(seconds);
        Ok(Self { config, config_hash, run, seconds, run_request, site_message, ledger_head })
    }

    /// What the ledger records of it.
    fn asked(&self) -> Asked {
        let broadcast = self.site_message.as_ref().map(|site_message| &site_message.broadcast);
        Asked {
            run: self.run.clone(),
            config: self.config_hash.clone(),
            identity: self.config.identity(),
            kind: broadcast.map_or(QUERY, |broadcast| broadcast.kind.name()).into(),
            round: broadcast.map(|broadcast| broadcast.round),
            iteration: broadcast.map(|broadcast| broadcast.iteration),
            received: broadcast.map(|broadcast| broadcast.params.hash()),
        }
    }
}

/// What the ledger records of a message, and the request, where the message's parts agree.
pub(super) fn read(kind: &str, message: Content) -> (Asked, Result<ServerRequest, SiteError>) {
    let unread = unread(kind, &message);
    let request =
        message.unpacked().map_err(SiteError::inconsistent).and_then(|message| ServerRequest::of(kind, message));
    (request.as_ref().map_or(unread, ServerRequest::asked), request)
}

/// What the ledger records of a message whose parts do not agree.
fn unread(kind: &str, message: &Content) -> Asked {
    let word = |name: &str| message.words.get(name);
    let config = word(CONFIG).map(|text| params::sha256(text.as_bytes()));
    let number = |name: &str| message.numbers.get(name).copied().filter(|number| (0.0..1e9).contains(number));
    let is_known = kind == QUERY || ExchangeKind::ALL.iter().any(|known| message_type(*known) == kind);
    Asked {
        run: word(RUN).filter(|run| is_run_id(run)).cloned().unwrap_or_default(),
        config: config.unwrap_or_default(),
        kind: if is_known { kind } else { "unknown" }.into(),
        round: number(ROUND).map(|round| round as u32),
        iteration: number(ITERATION).map(|iteration| iteration as u64),
        ..Asked::default()
    }
}

/// Whether `run` can be a run's id: letters and digits alone, since the ledger records it.
fn is_run_id(run: &str) -> bool {
    run.len() <= MAX_RUN && run.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The work in a message of Flower's type `kind`, which must be the type for that work; `None` for a query.
fn site_message(kind: &str, message: Content) -> Result<Option<SiteMessage>, SiteError> {
    let stated = message.words.get(KIND).map(String::as_str);
    if kind == QUERY && stated == Some(QUERY) {
        return Ok(None);
    }
    let site_message = message.into_site_message().map_err(SiteError::inconsistent)?;
    if message_type(site_message.broadcast.kind) != kind {
        let stated = site_message.broadcast.kind.name();
        let why = format!("the message's `kind` is {stated}, but its Flower type belongs to another kind");
        return Err(SiteError::inconsistent(why));
    }
    Ok(Some(site_message))
}

/// Checks that a run of this algorithm sends this message at some point.
fn check_site_message(
    site_message: &SiteMessage,
    algorithm: &AlgorithmConfig,
    run_request: &RunRequest,
) -> Result<(), String> {
    let SiteMessage { broadcast: Broadcast { round, kind, iteration, iterations, .. }, now, oldest } = site_message;
    if !algorithm.exchanges().contains(kind) {
        return Err(format!("{} has no exchanges of kind {}", algorithm.name(), kind.name()));
    }
    let last_round = run_request.last_round();
    let (first, last) = if *kind == ExchangeKind::Collect { (last_round, last_round) } else { (1, run_request.rounds) };
    if !(first..=last).contains(round) {
        return Err(format!(
            "the message is for round {round}, and exchanges of kind {} are in rounds {first}..={last}",
            kind.name()
        ));
    }
    if kind.trains() && (*iteration, *iterations) != (0, 1) {
        return Err(format!(
            "a round of kind {} is one exchange, and the message is iteration {iteration} of {iterations}",
            kind.name()
        ));
    }
    if now.round.checked_add(1) != Some(*round) || oldest > now {
        return Err(format!("the message is for round {round}, and says that {} rounds are done", now.round));
    }
    Ok(())
}
