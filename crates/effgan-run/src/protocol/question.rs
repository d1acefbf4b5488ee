//! What a site is asked, once all parts of the message agree with each other.

use std::time::Duration;

use effgan_fl::{AlgorithmConfig, Broadcast, ExchangeKind, Refusal, RunRequest, SiteMessage};
use effgan_nn::params;

use super::answer::Unanswered;
use super::content::{CONFIG, CONFIG_HASH, ITERATION, KIND, QUERY, ROUND};
use super::introduction::VERSION;
use super::ledger;
use super::post::message_type;
use super::{Content, wishes};
use crate::config::Config;

/// Most bytes of a config; the longest of ours has 2,000.
const MOST_CONFIG: usize = 1 << 20;
/// Most characters of a run's name among the sites.
const MOST_RUN: usize = 64;
/// Longer than any work takes: 30 years, in seconds.
const MOST_SECONDS: f64 = 1e9;

/// A question whose parts agree.
pub(super) struct Question {
    pub(super) config: Config,
    /// SHA-256 of the config's text.
    pub(super) config_hash: String,
    /// Names the run; empty before it has begun.
    pub(super) run: String,
    /// For so long the server waits.
    pub(super) seconds: Duration,
    /// What the config wants, before an image is known.
    pub(super) wishes: RunRequest,
    /// The work; none when the site is only asked who it is.
    pub(super) letter: Option<SiteMessage>,
}

impl Question {
    /// Of a message of Flower's type `kind`.
    ///
    /// # Errors
    /// [`Refusal::OtherVersion`] or [`Refusal::OtherQuestion`]: what does not agree.
    fn of(kind: &str, message: Content) -> Result<Self, Unanswered> {
        let word = |name: &str| message.word(name).map(ToOwned::to_owned).map_err(Unanswered::other_question);
        let (version, ours) = (word(VERSION)?, env!("CARGO_PKG_VERSION"));
        if version != ours {
            let why = format!("the server has effgan {version:?}, and this site {ours}");
            return Err(Unanswered::new(Refusal::OtherVersion, why));
        }
        let (text, run) = (word(CONFIG)?, word("run")?);
        let config_hash = params::sha256(text.as_bytes());
        if word(CONFIG_HASH)? != config_hash {
            return Err(Unanswered::other_question("the message's `config-hash` is not the hash of its config"));
        }
        if !is_run(&run) {
            return Err(Unanswered::other_question("the message's `run` is no name of a run"));
        }
        if text.len() > MOST_CONFIG {
            return Err(Unanswered::other_question(format!(
                "the config has {} bytes, more than {MOST_CONFIG}",
                text.len()
            )));
        }
        let seconds = message.numbers.get("deadline").copied().unwrap_or_default();
        if !(seconds > 0.0 && seconds <= MOST_SECONDS) {
            return Err(Unanswered::other_question(format!("the message's `deadline` is {seconds} s")));
        }
        let wrong = |failure: crate::Failure| Unanswered::other_question(format!("the config: {}", failure.line()));
        let config = Config::parse(&text, &[]).map_err(wrong)?;
        let wishes = wishes::of_config(&config, seconds).map_err(wrong)?;
        let letter = letter(kind, message)?;
        if let Some(letter) = &letter {
            check_letter(letter, &config.algorithm, &wishes).map_err(Unanswered::other_question)?;
        }
        Ok(Self { config, config_hash, run, seconds: Duration::from_secs_f64(seconds), wishes, letter })
    }

    /// As the ledger has it.
    fn entry(&self) -> ledger::Question {
        let broadcast = self.letter.as_ref().map(|letter| &letter.broadcast);
        ledger::Question {
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

/// What the ledger has of a message, and the question where its parts agree.
pub(super) fn read(kind: &str, message: Content) -> (ledger::Question, Result<Question, Unanswered>) {
    let bare = entry_of(kind, &message);
    let question =
        message.unpacked().map_err(Unanswered::other_question).and_then(|message| Question::of(kind, message));
    (question.as_ref().map_or(bare, Question::entry), question)
}

/// What can be said of a message that does not agree with itself.
fn entry_of(kind: &str, message: &Content) -> ledger::Question {
    let said = |name: &str| message.words.get(name);
    let config = said(CONFIG).map(|text| params::sha256(text.as_bytes()));
    let number = |name: &str| message.numbers.get(name).copied().filter(|number| (0.0..1e9).contains(number));
    let known = kind == QUERY || KINDS.iter().any(|known| message_type(*known) == kind);
    ledger::Question {
        run: said("run").filter(|run| is_run(run)).cloned().unwrap_or_default(),
        config: config.unwrap_or_default(),
        kind: if known { kind } else { "unknown" }.into(),
        round: number(ROUND).map(|round| round as u32),
        iteration: number(ITERATION).map(|iteration| iteration as u64),
        ..ledger::Question::default()
    }
}

/// Whether it can be the name of a run: no text of the server's own choice gets into the ledger by it.
fn is_run(run: &str) -> bool {
    run.len() <= MOST_RUN && run.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

const KINDS: [ExchangeKind; 5] =
    [ExchangeKind::Average, ExchangeKind::Collect, ExchangeKind::Feedback, ExchangeKind::Logits, ExchangeKind::Swap];

/// The letter in a message of Flower's type `kind`, which is the one of the letter's kind.
fn letter(kind: &str, message: Content) -> Result<Option<SiteMessage>, Unanswered> {
    let said = message.words.get(KIND).map(String::as_str);
    if kind == QUERY && said == Some(QUERY) {
        return Ok(None);
    }
    let letter = message.into_letter().map_err(Unanswered::other_question)?;
    if message_type(letter.broadcast.kind) != kind {
        let kind = letter.broadcast.kind.name();
        return Err(Unanswered::other_question(format!("the message says kind {kind}, and its type is another's")));
    }
    Ok(Some(letter))
}

/// Whether a run of this algorithm comes to this letter.
fn check_letter(letter: &SiteMessage, algorithm: &AlgorithmConfig, wishes: &RunRequest) -> Result<(), String> {
    use AlgorithmConfig as A;
    use ExchangeKind as E;
    let SiteMessage { broadcast: Broadcast { round, kind, iteration, iterations, .. }, now, oldest } = letter;
    let is_asked = match kind {
        E::Average => wishes.rounds > 0 && !wishes.single_batch_replies,
        E::Collect => wishes.fine_tune.is_some(),
        E::Feedback => wishes.single_batch_replies,
        E::Logits => matches!(algorithm, A::UaGan(_)),
        E::Swap => matches!(algorithm, A::MdGan(_)),
    };
    if !is_asked {
        return Err(format!("{} asks for nothing of kind {}", algorithm.name(), kind.name()));
    }
    let (first, last) =
        if *kind == E::Collect { (wishes.last_round(), wishes.last_round()) } else { (1, wishes.rounds) };
    if !(first..=last).contains(round) {
        return Err(format!(
            "the message is of round {round}, and kind {} is asked for in {first}..={last}",
            kind.name()
        ));
    }
    let trains = matches!(kind, E::Average | E::Collect);
    if trains && (*iteration, *iterations) != (0, 1) {
        return Err(format!(
            "a round of kind {} is one exchange, and the message has iteration {iteration} of {iterations}",
            kind.name()
        ));
    }
    if now.round.checked_add(1) != Some(*round) || oldest > now {
        return Err(format!("the message is of round {round}, and says that {} rounds are done", now.round));
    }
    Ok(())
}
