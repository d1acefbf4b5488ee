//! What a message says: tensors, numbers and a few words. Letters and answers as such, and back.
//!
//! A question has the config, its hash and a kind; the answer repeats hash, kind, round and iteration, so that neither can be taken
//! for another's, and has tensors and numbers, or the code of a [`Refusal`]. No words of a site's own travel.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_fl::message::Numbers;
use effgan_fl::{Answered, Broadcast, ExchangeKind, Moment, Refusal, Reply, Shapes, SiteMessage, Update};
use effgan_nn::{Array, Params, params};

use super::introduction::VERSION;

/// Tensors, numbers and words by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Parameters.
    pub params: Params,
    /// Counts and metrics.
    pub numbers: Numbers,
    /// Settings and names.
    pub words: BTreeMap<String, String>,
}

/// Largest number that f64 counts to without gaps.
const MOST: f64 = 9_007_199_254_740_992.0;
/// No work takes longer: 30 years. A sum of such times is finite.
const MOST_SECONDS: f64 = 1e9;
/// Most bytes of a word that is repeated: as many as a SHA-256 has digits.
const MOST_REPEATED: usize = 64;

impl Content {
    /// The number `name`.
    ///
    /// # Errors
    /// A line that names it when it is missing, or none that counts.
    pub fn count(&self, name: &str) -> Result<u64, String> {
        match self.numbers.get(name) {
            Some(&n) if (0.0..=MOST).contains(&n) && n.fract() == 0.0 => Ok(n as u64),
            Some(n) => Err(format!("the message's `{name}` is {n}, which is no count")),
            None => Err(format!("the message lacks the number `{name}`; do both sides have the same effgan?")),
        }
    }

    /// The words `name`.
    ///
    /// # Errors
    /// A line that names it when it is missing.
    pub fn word(&self, name: &str) -> Result<&str, String> {
        let word = self.words.get(name).map(String::as_str);
        word.ok_or_else(|| format!("the message lacks `{name}`; do both sides have the same effgan?"))
    }

    /// All tensors of a network as one, in the order of their names; their names and shapes are said in words. A message of many small
    /// tensors costs Flower a request each.
    #[must_use]
    pub fn packed(mut self) -> Self {
        if self.params.is_empty() {
            return self;
        }
        let shapes = shapes_of(&self.params);
        self.words.insert(TENSORS.into(), serde_json::to_string(&shapes).expect("names and shapes are plain data"));
        let mut networks: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        for (name, array) in &self.params {
            networks.entry(network_of(name).into()).or_default().extend(&array.values);
        }
        let array = |(name, values): (String, Vec<f32>)| (name, Array::new([values.len()], values));
        Self { params: networks.into_iter().map(array).collect(), ..self }
    }

    /// What was [`packed`](Self::packed).
    ///
    /// # Errors
    /// A line that says in what names, shapes and values differ.
    pub fn unpacked(mut self) -> Result<Self, String> {
        let Some(said) = self.words.remove(TENSORS) else {
            return if self.params.is_empty() { Ok(self) } else { Err(format!("the message lacks `{TENSORS}`")) };
        };
        let shapes: Shapes =
            serde_json::from_str(&said).map_err(|error| format!("the message's `{TENSORS}`: {error}"))?;
        let mut left: BTreeMap<&str, &[f32]> =
            self.params.iter().map(|(name, array)| (name.as_str(), array.values.as_slice())).collect();
        let mut params = Params::new();
        for (name, shape) in shapes {
            let network = network_of(&name);
            let values = left.get_mut(network).ok_or_else(|| format!("the message lacks the array `{network}`"))?;
            let size = shape.iter().try_fold(1_usize, |size, &n| size.checked_mul(n)).filter(|&n| n <= values.len());
            let (these, rest) = values
                .split_at_checked(size.unwrap_or(usize::MAX))
                .ok_or_else(|| format!("the array `{network}` ends before `{name}` {shape:?}"))?;
            params.insert(name, Array::new(shape, these.to_vec()));
            *values = rest;
        }
        match left.iter().find(|(_, rest)| !rest.is_empty()) {
            Some((network, rest)) => {
                Err(format!("the array `{network}` has {} values more than its tensors", rest.len()))
            }
            None => Ok(Self { params, ..self }),
        }
    }

    /// As a letter says it.
    pub fn of_letter(letter: &SiteMessage) -> Self {
        let SiteMessage { broadcast, now, oldest } = letter;
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

    /// The letter that it is.
    ///
    /// # Errors
    /// A line that names what is missing.
    pub fn into_letter(self) -> Result<SiteMessage, String> {
        let round = |name: &str| u32::try_from(self.count(name)?).map_err(|error| error.to_string());
        let word = self.word(KIND)?;
        let kind = ExchangeKind::of_name(word).ok_or_else(|| format!("there is no exchange of kind {word}"))?;
        let moment = |of: &str, exchanges: &str| {
            Ok::<_, String>(Moment { round: round(of)?, exchanges: self.count(exchanges)? })
        };
        let (now, oldest) = (moment("rounds-done", "exchanges-done")?, moment("oldest-round", "oldest-exchanges")?);
        let (round, iteration, iterations) = (round(ROUND)?, self.count(ITERATION)?, self.count("iterations")?);
        Ok(SiteMessage {
            broadcast: Broadcast { round, kind, iteration, iterations, params: self.params },
            now,
            oldest,
        })
    }

    /// The question who a node is.
    pub fn query() -> Self {
        Self { words: [(KIND.to_owned(), QUERY.to_owned())].into(), ..Self::default() }
    }

    /// With the config, as text, and its hash.
    #[must_use]
    pub fn with_config(mut self, text: &str) -> Self {
        self.words.insert(CONFIG.into(), text.into());
        self.words.insert(CONFIG_HASH.into(), params::sha256(text.as_bytes()));
        self
    }

    /// With what a site needs beside what it is asked: the config, as text, what names the run, and for how many seconds the server waits.
    #[must_use]
    pub fn asked(mut self, text: &str, run: &str, deadline: f64) -> Self {
        self.numbers.insert("deadline".into(), deadline);
        self.words.insert("run".into(), run.into());
        self.words.insert(VERSION.into(), env!("CARGO_PKG_VERSION").into());
        self.with_config(text)
    }

    /// What ties it to a question, and an answer to it.
    pub fn tie(&self) -> Tie {
        let word = |name: &str| self.words.get(name).filter(|word| word.len() <= MOST_REPEATED).cloned();
        let number = |name: &str| self.numbers.get(name).copied();
        Tie { kind: word(KIND), config_hash: word(CONFIG_HASH), round: number(ROUND), iteration: number(ITERATION) }
    }

    /// As an answer to the question that `tie` is of.
    #[must_use]
    pub fn tied(mut self, tie: Tie) -> Self {
        let Tie { kind, config_hash, round, iteration } = tie;
        self.words.extend([(KIND, kind), (CONFIG_HASH, config_hash)].into_iter().filter_map(said));
        self.numbers.extend([(ROUND, round), (ITERATION, iteration)].into_iter().filter_map(said));
        self
    }

    /// The head of the site's ledger after this answer's line, 64 hex digits; sites without a ledger have none.
    ///
    /// # Errors
    /// A line that says that it is no such thing.
    pub fn ledger(&self) -> Result<Option<&str>, String> {
        let is_hash = |head: &str| head.len() == 64 && head.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match self.words.get(LEDGER) {
            Some(head) if !is_hash(head) => Err(format!("the message's `{LEDGER}` is no SHA-256")),
            head => Ok(head.map(String::as_str)),
        }
    }

    /// Why the site does not do what it was asked, where it does not.
    ///
    /// # Errors
    /// A line that says that its code is none of the list.
    pub fn refusal(&self) -> Result<Option<Refusal>, String> {
        let unknown = || format!("unusable reply: its `{REFUSED}` is no code that this effgan knows");
        self.words.get(REFUSED).map(|code| Refusal::of_code(code).ok_or_else(unknown)).transpose()
    }

    /// What leaves a site: tensors, n_k and named metrics. Of a failure nothing leaves but its code: why is the site's business.
    pub fn of_answer(answered: Answered) -> Self {
        match answered.reply {
            Reply::Failed(_) => {
                let code = Refusal::WorkFailed.code().to_owned();
                Self { words: [(REFUSED.to_owned(), code)].into(), ..Self::default() }
            }
            Reply::Update(Update { params, num_examples, metrics: mut numbers }) => {
                numbers.insert(NUM_EXAMPLES.into(), num_examples as f64);
                numbers.insert(SECONDS.into(), answered.seconds);
                Self { params, numbers, words: BTreeMap::new() }
            }
        }
    }

    /// What `client` answered, to the question that `tie` is of.
    pub fn into_answer(self, client: ClientName, tie: &Tie) -> Answered {
        let (reply, seconds) = match self.into_update(tie) {
            Ok((update, seconds)) => (Reply::Update(update), seconds),
            Err(reason) => (Reply::Failed(reason), 0.0),
        };
        Answered { client, reply, seconds }
    }

    fn into_update(mut self, tie: &Tie) -> Result<(Update, f64), String> {
        tie.check(&self.tie())?;
        if let Some(refusal) = self.refusal()? {
            return Err(refusal.to_string());
        }
        let num_examples = self.count(NUM_EXAMPLES)?;
        for name in [NUM_EXAMPLES, ROUND, ITERATION] {
            self.numbers.remove(name);
        }
        let is_time = |seconds: &f64| (0.0..=MOST_SECONDS).contains(seconds);
        let seconds = self.numbers.remove(SECONDS).filter(is_time).unwrap_or_default();
        Ok((Update { params: self.params, num_examples, metrics: self.numbers }, seconds))
    }
}

/// What an answer repeats of its question; a query has no round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tie {
    pub kind: Option<String>,
    pub config_hash: Option<String>,
    pub round: Option<f64>,
    pub iteration: Option<f64>,
}

impl Tie {
    /// Checks that an answer has this tie.
    ///
    /// # Errors
    /// A line that names what differs. It does not repeat what the other side said.
    pub fn check(&self, answer: &Self) -> Result<(), String> {
        let differs = [
            (KIND, self.kind != answer.kind),
            (CONFIG_HASH, self.config_hash != answer.config_hash),
            (ROUND, self.round != answer.round),
            (ITERATION, self.iteration != answer.iteration),
        ];
        match differs.iter().find(|(_, differs)| *differs) {
            Some((name, _)) => Err(format!("answers another question: its `{name}` is not what was asked")),
            None => Ok(()),
        }
    }
}

fn said<T>((name, value): (&str, Option<T>)) -> Option<(String, T)> {
    Some((name.to_owned(), value?))
}

/// The config of the run, as text.
pub(super) const CONFIG: &str = "config";
/// SHA-256 of that text, as lower-case hex.
pub(super) const CONFIG_HASH: &str = "config-hash";
/// What is asked: an exchange's kind, or [`QUERY`].
pub(super) const KIND: &str = "kind";
/// The kind, and Flower's type, of the question who a node is.
pub(super) const QUERY: &str = "query";
/// The head of the site's ledger.
pub(super) const LEDGER: &str = "ledger";
/// A [`Refusal`]'s code.
pub(super) const REFUSED: &str = "refused";
pub(super) const ROUND: &str = "round";
pub(super) const ITERATION: &str = "iteration";
/// What Flower's strategies weigh by.
pub(super) const NUM_EXAMPLES: &str = "num-examples";
const SECONDS: &str = "seconds";
/// Names and shapes of the tensors.
pub(super) const TENSORS: &str = "tensors";

/// The part of a tensor's name before its first dot.
fn network_of(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn shapes_of(params: &Params) -> Shapes {
    params.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        [("generator.w".to_owned(), Array::new([2], vec![1.0, -2.0]))].into_iter().collect()
    }

    #[test]
    fn a_letter_comes_out_as_it_went_in() {
        let broadcast =
            Broadcast { round: 3, kind: ExchangeKind::Collect, iteration: 4, iterations: 9, params: params() };
        let letter = SiteMessage {
            broadcast,
            now: Moment { round: 2, exchanges: 7 },
            oldest: Moment { round: 1, exchanges: 5 },
        };
        assert_eq!(Content::of_letter(&letter).into_letter(), Ok(letter.clone()));
        let mut without = Content::of_letter(&letter);
        without.numbers.remove("iteration");
        let error = without.into_letter().unwrap_err();
        assert_eq!(error, "the message lacks the number `iteration`; do both sides have the same effgan?");
    }

    fn two_networks() -> Content {
        let array = |shape: &[usize], first: f32| {
            let n = shape.iter().product::<usize>();
            Array::new(shape, (0..n).map(|i| first + i as f32).collect())
        };
        let params = [
            ("discriminator.a".to_owned(), array(&[2, 2], 0.0)),
            ("discriminator.b".to_owned(), array(&[3], 10.0)),
            ("generator.w".to_owned(), array(&[1], 20.0)),
            ("logits".to_owned(), array(&[2], 30.0)),
        ];
        Content { params: params.into_iter().collect(), ..Content::default() }
    }

    #[test]
    fn a_message_has_one_array_a_network_and_comes_out_as_it_went_in() {
        let packed = two_networks().packed();
        let arrays: Vec<_> = packed.params.iter().map(|(name, array)| (name.as_str(), array.shape[0])).collect();
        assert_eq!(arrays, [("discriminator", 7), ("generator", 1), ("logits", 2)]);
        assert_eq!(packed.params.get("discriminator").unwrap().values, [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0]);
        assert_eq!(packed.unpacked(), Ok(two_networks()));
        assert_eq!(Content::default().packed().unpacked(), Ok(Content::default()));
    }

    #[test]
    fn tensors_that_the_arrays_do_not_hold_are_refused_before_memory_is_taken() {
        let with = |tensors: &str| {
            let mut packed = two_networks().packed();
            packed.words.insert(TENSORS.into(), tensors.into());
            packed.unpacked().unwrap_err()
        };
        assert_eq!(with(r#"{"generator.w": [2]}"#), "the array `generator` ends before `generator.w` [2]");
        assert_eq!(
            with(r#"{"generator.w": [4294967296, 4294967296, 4]}"#),
            "the array `generator` ends before `generator.w` [4294967296, 4294967296, 4]"
        );
        assert_eq!(with(r#"{"other.w": [1]}"#), "the message lacks the array `other`");
        assert_eq!(with("{}"), "the array `discriminator` has 7 values more than its tensors");
        assert!(with("no JSON").starts_with("the message's `tensors`: "));
        let mut without = two_networks().packed();
        without.words.clear();
        assert_eq!(without.unpacked().unwrap_err(), "the message lacks `tensors`");
    }

    fn client() -> ClientName {
        ClientName::new("north").unwrap()
    }

    /// Of the second round's averaging, under a config.
    fn question() -> Content {
        let broadcast =
            Broadcast { round: 2, kind: ExchangeKind::Average, iteration: 0, iterations: 1, params: Params::new() };
        let letter = SiteMessage { broadcast, now: Moment::default(), oldest: Moment::default() };
        Content::of_letter(&letter).with_config("seed = 1\n")
    }

    fn answer(reply: Reply) -> Content {
        Content::of_answer(Answered { client: client(), reply, seconds: 1.5 })
    }

    fn update() -> Reply {
        let metrics = [("loss_d".to_owned(), 0.5)].into();
        Reply::Update(Update { params: params(), num_examples: 5, metrics })
    }

    #[test]
    fn an_answer_comes_out_as_it_went_in() {
        let tie = question().tie();
        let answered = answer(update()).tied(tie.clone()).into_answer(client(), &tie);
        assert_eq!(answered, Answered { client: client(), reply: update(), seconds: 1.5 });
    }

    #[test]
    fn an_answer_to_another_question_is_no_answer() {
        let tie = question().tie();
        let good = answer(update()).tied(tie.clone());
        let (mut kind, mut hash, mut round, mut none) = (good.clone(), good.clone(), good.clone(), good);
        kind.words.insert(KIND.into(), "collect".into());
        hash.words.insert(CONFIG_HASH.into(), params::sha256(b"seed = 2\n"));
        round.numbers.insert(ROUND.into(), 3.0);
        none.numbers.remove(ITERATION);
        for (other, what) in [(kind, KIND), (hash, CONFIG_HASH), (round, ROUND), (none, ITERATION)] {
            let reason = format!("answers another question: its `{what}` is not what was asked");
            assert_eq!(other.into_answer(client(), &tie).reply, Reply::Failed(reason));
        }
    }

    #[test]
    fn of_a_failure_nothing_leaves_but_a_code() {
        let tie = question().tie();
        let failed = answer(Reply::Failed("cannot read /data/jane-doe-1961.png".into())).tied(tie.clone());
        assert!(!format!("{failed:?}").contains("jane"));
        let reason = "refused: work-failed (its own log says why)".to_owned();
        assert_eq!(failed.clone().into_answer(client(), &tie).reply, Reply::Failed(reason));
        let mut unknown = failed;
        unknown.words.insert(REFUSED.into(), "jane-doe".into());
        let reason = "unusable reply: its `refused` is no code that this effgan knows".to_owned();
        assert_eq!(unknown.into_answer(client(), &tie).reply, Reply::Failed(reason));
    }

    #[test]
    fn a_ledgers_head_is_a_hash() {
        let with = |head: &str| Content { words: [(LEDGER.to_owned(), head.to_owned())].into(), ..Content::default() };
        let head = params::sha256(b"a line");
        assert_eq!(with(&head).ledger(), Ok(Some(head.as_str())));
        assert_eq!(Content::default().ledger(), Ok(None));
        for none in ["", "=1+1", &head.to_uppercase(), &head[1..]] {
            assert_eq!(with(none).ledger().unwrap_err(), "the message's `ledger` is no SHA-256");
        }
    }

    #[test]
    fn numbers_that_count_nothing_are_refused() {
        let content = |n| Content { numbers: [(NUM_EXAMPLES.to_owned(), n)].into(), ..Content::default() };
        for n in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
            let reply = content(n).into_answer(client(), &Tie::default()).reply;
            assert!(matches!(reply, Reply::Failed(reason) if reason.ends_with("which is no count")));
        }
    }

    #[test]
    fn times_that_no_work_takes_are_not_believed() {
        let tie = Tie::default();
        for seconds in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
            let answered = Content::of_answer(Answered { client: client(), reply: update(), seconds });
            assert_eq!(answered.into_answer(client(), &tie).seconds, 0.0);
        }
    }
}
