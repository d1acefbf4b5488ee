//! A message of a federation.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_fl::{Refusal, Reply};
use effgan_nn::{Array, Params};
use effgan_run::api::Content;

/// Most values of one array.
const MOST: usize = 1000;

/// Takes the message for a letter and for an answer: its first line says arrays (by size), numbers and words, the rest what tensors they are.
pub fn check(message: &[u8]) {
    let Some(content) = content(message) else { return };
    let num_sent = num_values(&content.params);
    let Ok(content) = content.unpacked() else { return };
    assert_eq!(num_values(&content.params), num_sent, "no value is lost or made up");
    for (name, array) in &content.params {
        assert_eq!(array.shape.iter().product::<usize>(), array.values.len(), "{name} is as large as its shape");
    }
    assert_eq!(content.clone().packed().unpacked(), Ok(content.clone()), "what is packed is unpacked");
    if let Ok(letter) = content.clone().into_letter() {
        assert_eq!(Content::of_letter(&letter).into_letter(), Ok(letter), "a letter that is written is read");
    }
    let north = || ClientName::new("north").expect("a name");
    let tie = content.tie();
    let answered = content.into_answer(north(), &tie);
    let again = Content::of_answer(answered.clone()).tied(tie.clone()).into_answer(north(), &tie);
    match answered.reply {
        Reply::Update(_) => assert_eq!(again, answered, "an answer that is written is read"),
        Reply::Failed(reason) => {
            assert!(reason.len() < 300, "{reason}");
            assert_eq!(again.reply, Reply::Failed(Refusal::WorkFailed.to_string()), "of a failure a code is written");
        }
    }
}

type Said = (BTreeMap<String, usize>, BTreeMap<String, f64>, BTreeMap<String, String>);

fn content(message: &[u8]) -> Option<Content> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let (sizes, numbers, mut words): Said = serde_json::from_slice(&message[..end]).ok()?;
    let array = |(name, size): (String, usize)| {
        let size = size.min(MOST);
        (name, Array::new([size], (0..size).map(|i| i as f32).collect()))
    };
    words.insert("tensors".into(), str::from_utf8(&message[end + 1..]).ok()?.into());
    Some(Content { params: sizes.into_iter().map(array).collect(), numbers, words })
}

fn num_values(params: &Params) -> usize {
    params.iter().map(|(_, array)| array.values.len()).sum()
}
