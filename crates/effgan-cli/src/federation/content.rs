//! What a message says: tensors, numbers and a few words. Letters and answers as such, and back.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_fl::message::Numbers;
use effgan_fl::{Answered, Broadcast, ExchangeKind, Letter, Moment, Reply, Shapes, Update};
use effgan_nn::{Array, Params};

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
    pub fn of_letter(letter: &Letter) -> Self {
        let Letter { broadcast, now, oldest } = letter;
        let numbers = [
            ("round", u64::from(broadcast.round)),
            ("iteration", broadcast.iteration),
            ("iterations", broadcast.iterations),
            ("rounds-done", u64::from(now.round)),
            ("exchanges-done", now.exchanges),
            ("oldest-round", u64::from(oldest.round)),
            ("oldest-exchanges", oldest.exchanges),
        ];
        let numbers = numbers.map(|(name, n)| (name.to_owned(), n as f64)).into();
        let words = [("kind".to_owned(), broadcast.kind.name().to_owned())].into();
        Self { params: broadcast.params.clone(), numbers, words }
    }

    /// The letter that it is.
    ///
    /// # Errors
    /// A line that names what is missing.
    pub fn into_letter(self) -> Result<Letter, String> {
        let round = |name: &str| u32::try_from(self.count(name)?).map_err(|error| error.to_string());
        let word = self.word("kind")?;
        let kind = ExchangeKind::of_name(word).ok_or_else(|| format!("there is no exchange of kind {word}"))?;
        let moment = |of: &str, exchanges: &str| {
            Ok::<_, String>(Moment { round: round(of)?, exchanges: self.count(exchanges)? })
        };
        let (now, oldest) = (moment("rounds-done", "exchanges-done")?, moment("oldest-round", "oldest-exchanges")?);
        let (round, iteration, iterations) = (round("round")?, self.count("iteration")?, self.count("iterations")?);
        Ok(Letter { broadcast: Broadcast { round, kind, iteration, iterations, params: self.params }, now, oldest })
    }

    /// What leaves a site: tensors, n_k and named metrics, or why there are none.
    pub fn of_answer(answered: Answered) -> Self {
        match answered.reply {
            Reply::Failed(reason) => Self { words: [(FAILED.to_owned(), reason)].into(), ..Self::default() },
            Reply::Update(Update { params, num_examples, metrics: mut numbers }) => {
                numbers.insert(NUM_EXAMPLES.into(), num_examples as f64);
                numbers.insert(SECONDS.into(), answered.seconds);
                Self { params, numbers, words: BTreeMap::new() }
            }
        }
    }

    /// What `client` answered.
    pub fn into_answer(mut self, client: ClientName) -> Answered {
        if let Some(reason) = self.words.remove(FAILED) {
            return Answered { client, reply: Reply::Failed(reason), seconds: 0.0 };
        }
        let num_examples = match self.count(NUM_EXAMPLES) {
            Ok(num_examples) => num_examples,
            Err(reason) => return Answered { client, reply: Reply::Failed(reason), seconds: 0.0 },
        };
        self.numbers.remove(NUM_EXAMPLES);
        let seconds = self.numbers.remove(SECONDS).filter(|seconds| seconds.is_finite()).unwrap_or_default();
        let update = Update { params: self.params, num_examples, metrics: self.numbers };
        Answered { client, reply: Reply::Update(update), seconds }
    }
}

/// What Flower's strategies weigh by.
pub(super) const NUM_EXAMPLES: &str = "num-examples";
const SECONDS: &str = "seconds";
const FAILED: &str = "failed";
/// Names and shapes of the tensors.
const TENSORS: &str = "tensors";

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
        let letter =
            Letter { broadcast, now: Moment { round: 2, exchanges: 7 }, oldest: Moment { round: 1, exchanges: 5 } };
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

    #[test]
    fn an_answer_comes_out_as_it_went_in() {
        let client = ClientName::new("north").unwrap();
        let update = Update { params: params(), num_examples: 5, metrics: [("loss_d".to_owned(), 0.5)].into() };
        for reply in [Reply::Update(update), Reply::Failed("disk full".into())] {
            let seconds = if matches!(reply, Reply::Failed(_)) { 0.0 } else { 1.5 };
            let answered = Answered { client: client.clone(), reply, seconds };
            assert_eq!(Content::of_answer(answered.clone()).into_answer(client.clone()), answered);
        }
    }

    #[test]
    fn numbers_that_count_nothing_are_refused() {
        let content = |n| Content { numbers: [(NUM_EXAMPLES.to_owned(), n)].into(), ..Content::default() };
        for n in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
            let reply = content(n).into_answer(ClientName::new("a").unwrap()).reply;
            assert!(matches!(reply, Reply::Failed(reason) if reason.ends_with("which is no count")));
        }
    }
}
