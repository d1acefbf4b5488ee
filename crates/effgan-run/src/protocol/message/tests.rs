//! What one side writes, the other reads, and nothing else.

use effgan_data::ClientName;
use effgan_fl::{Broadcast, ExchangeId, ExchangeKind, Reply, RunPosition, SiteMessage, Update};
use effgan_nn::{Array, params};

use super::*;

fn params() -> Params {
    [("generator.w".to_owned(), Array::new([2], vec![1.0, -2.0]))].into_iter().collect()
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let broadcast = Broadcast { round: 3, kind: ExchangeKind::Collect, iteration: 4, iterations: 9, params: params() };
    let site_message = SiteMessage {
        broadcast,
        now: RunPosition { round: 2, exchanges: 7 },
        oldest: RunPosition { round: 1, exchanges: 5 },
    };
    assert_eq!(Content::of_site_message(&site_message).into_site_message(), Ok(site_message.clone()));
    let mut without = Content::of_site_message(&site_message);
    without.numbers.remove("iteration");
    let error = without.into_site_message().unwrap_err();
    assert_eq!(error, "the message lacks the number `iteration`; do both sides have the same effgan?");
}

#[test]
fn both_halves_of_a_swap_are_called_swap_and_told_apart_by_their_tensors() {
    let halves = [(ExchangeKind::SwapUp, 9, Params::new()), (ExchangeKind::SwapDown, 10, params())];
    for (kind, iteration, params) in halves {
        let now = RunPosition { round: 2, exchanges: iteration };
        let broadcast = Broadcast { round: 3, kind, iteration, iterations: 9, params };
        let site_message = SiteMessage { broadcast, now, oldest: now };
        let content = Content::of_site_message(&site_message);
        assert_eq!((content.word(KIND), content.count(ITERATION)), (Ok("swap"), Ok(iteration)));
        assert_eq!(content.into_site_message(), Ok(site_message));
        assert_eq!(serde_json::to_string(&kind).unwrap(), "\"swap\"");
    }
    assert_eq!(serde_json::from_str::<ExchangeKind>("\"swap\"").unwrap(), ExchangeKind::SwapUp);
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
fn a_message_has_one_array_per_network_and_unpacks_to_the_same_tensors() {
    let packed = two_networks().packed();
    let arrays: Vec<_> = packed.params.iter().map(|(name, array)| (name.as_str(), array.shape[0])).collect();
    assert_eq!(arrays, [("discriminator", 7), ("generator", 1), ("logits", 2)]);
    assert_eq!(packed.params.get("discriminator").unwrap().values(), [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0]);
    assert_eq!(packed.unpacked(), Ok(two_networks()));
    assert_eq!(Content::default().packed().unpacked(), Ok(Content::default()));
}

#[test]
fn tensors_that_the_arrays_do_not_hold_are_refused_before_memory_is_allocated() {
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

/// The request to average in round 2, under a config.
fn request() -> Content {
    let broadcast =
        Broadcast { round: 2, kind: ExchangeKind::Average, iteration: 0, iterations: 1, params: Params::new() };
    let site_message = SiteMessage { broadcast, now: RunPosition::default(), oldest: RunPosition::default() };
    Content::of_site_message(&site_message).with_config("seed = 1\n")
}

const EXCHANGE: ExchangeId = ExchangeId { round: 2, kind: ExchangeKind::Average, iteration: 0 };

fn reply(outcome: Result<Update, String>, seconds: f64) -> Reply {
    let mut reply = Reply::new(client(), EXCHANGE, outcome);
    reply.seconds = seconds;
    reply
}

fn update() -> Update {
    Update { params: params(), num_examples: 5, metrics: [("loss_d".to_owned(), 0.5)].into() }
}

#[test]
fn a_reply_is_read_as_it_was_written() {
    let id = request().request_id();
    let content = Content::of_reply(reply(Ok(update()), 1.5)).replying_to(id.clone());
    assert_eq!(content.into_reply(client(), EXCHANGE, &id), reply(Ok(update()), 1.5));
}

#[test]
fn a_reply_to_another_request_is_refused() {
    let id = request().request_id();
    let good = Content::of_reply(reply(Ok(update()), 1.5)).replying_to(id.clone());
    let (mut kind, mut hash, mut round, mut lacking) = (good.clone(), good.clone(), good.clone(), good);
    kind.words.insert(KIND.into(), "collect".into());
    hash.words.insert(CONFIG_HASH.into(), params::sha256(b"seed = 2\n"));
    round.numbers.insert(ROUND.into(), 3.0);
    lacking.numbers.remove(ITERATION);
    for (other, what) in [(kind, KIND), (hash, CONFIG_HASH), (round, ROUND), (lacking, ITERATION)] {
        let reason = format!("replies to another request: its `{what}` is not the request's");
        assert_eq!(other.into_reply(client(), EXCHANGE, &id), reply(Err(reason), 0.0));
    }
}

#[test]
fn only_a_code_leaves_a_site_that_failed() {
    let id = request().request_id();
    let failed = reply(Err("cannot read /data/jane-doe-1961.png".into()), 1.5);
    let failed = Content::of_reply(failed).replying_to(id.clone());
    assert!(!format!("{failed:?}").contains("jane"));
    let reason = "refused: work-failed (its own log says why)".to_owned();
    assert_eq!(failed.clone().into_reply(client(), EXCHANGE, &id).outcome, Err(reason));
    let mut unknown = failed;
    unknown.words.insert(REFUSED.into(), "jane-doe".into());
    let reason = "unusable reply: its `refused` is not a code that this version of effgan knows".to_owned();
    assert_eq!(unknown.into_reply(client(), EXCHANGE, &id).outcome, Err(reason));
}

#[test]
fn a_ledgers_head_must_be_a_hash() {
    let with = |head: &str| Content { words: [(LEDGER.to_owned(), head.to_owned())].into(), ..Content::default() };
    let head = params::sha256(b"a line");
    assert_eq!(with(&head).ledger(), Ok(Some(head.as_str())));
    assert_eq!(Content::default().ledger(), Ok(None));
    for other in ["", "=1+1", &head.to_uppercase(), &head[1..]] {
        assert_eq!(with(other).ledger().unwrap_err(), "the message's `ledger` is not a SHA-256");
    }
}

#[test]
fn numbers_that_are_not_counts_are_refused() {
    let content = |n| Content { numbers: [(NUM_EXAMPLES.to_owned(), n)].into(), ..Content::default() };
    for n in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
        let reply = content(n).into_reply(client(), EXCHANGE, &RequestId::default());
        assert!(reply.outcome.unwrap_err().ends_with("which is not a count"));
    }
}

#[test]
fn impossible_work_times_count_as_zero() {
    let id = RequestId::default();
    for seconds in [f64::NAN, f64::INFINITY, -1.0, 1e300] {
        let content = Content::of_reply(reply(Ok(update()), seconds));
        assert_eq!(content.into_reply(client(), EXCHANGE, &id), reply(Ok(update()), 0.0));
    }
}
