//! A message between a server and a site.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_fl::{ExchangeId, ExchangeKind, Refusal};
use effgan_nn::{Array, Params};
use effgan_run::api::Content;

/// Maximum number of values of one array.
const MAX_VALUES: usize = 1000;

/// Reads the message as a request and as a reply: its first line holds the arrays' sizes, the numbers and the words as JSON, the rest the
/// names and shapes of the tensors.
pub fn check(message: &[u8]) {
    let Some(content) = content(message) else { return };
    let num_sent = num_values(&content.params);
    let Ok(content) = content.unpacked() else { return };
    assert_eq!(num_values(&content.params), num_sent, "no value is lost or made up");
    for (name, array) in &content.params {
        assert_eq!(array.shape.iter().product::<usize>(), array.values().len(), "{name} is as large as its shape");
    }
    assert_eq!(content.clone().packed().unpacked(), Ok(content.clone()), "what is packed is unpacked");
    if let Ok(site_message) = content.clone().into_site_message() {
        assert_eq!(
            Content::of_site_message(&site_message).into_site_message(),
            Ok(site_message),
            "a request is read as it was written"
        );
    }
    let north = || ClientName::new("north").expect("a name");
    let id = content.request_id();
    let exchange = ExchangeId { round: 1, kind: ExchangeKind::Average, iteration: 0 };
    let reply = content.into_reply(north(), exchange, &id);
    let again = Content::of_reply(reply.clone()).replying_to(id.clone()).into_reply(north(), exchange, &id);
    match reply.outcome {
        Ok(_) => assert_eq!(again, reply, "a reply is read as it was written"),
        Err(reason) => {
            assert!(reason.len() < 300, "{reason}");
            assert_eq!(again.outcome, Err(Refusal::WorkFailed.to_string()), "only a code is written of a failure");
        }
    }
}

type FirstLine = (BTreeMap<String, usize>, BTreeMap<String, f64>, BTreeMap<String, String>);

fn content(message: &[u8]) -> Option<Content> {
    let end = message.iter().position(|byte| *byte == b'\n')?;
    let (sizes, numbers, mut words): FirstLine = serde_json::from_slice(&message[..end]).ok()?;
    let array = |(name, size): (String, usize)| {
        let size = size.min(MAX_VALUES);
        (name, Array::new([size], (0..size).map(|i| i as f32).collect()))
    };
    words.insert("tensors".into(), str::from_utf8(&message[end + 1..]).ok()?.into());
    Some(Content { params: sizes.into_iter().map(array).collect(), numbers, words })
}

fn num_values(params: &Params) -> usize {
    params.iter().map(|(_, array)| array.values().len()).sum()
}
