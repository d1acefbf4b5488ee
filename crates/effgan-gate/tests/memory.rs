//! How much memory a request takes. A process of its own: what it took at most is the whole process's.
#![cfg(target_os = "linux")]

use effgan_data::ClientName;
use effgan_gate::call::{PULL_MESSAGES, PUSH_MESSAGES};
use effgan_gate::count::Announced;
use effgan_gate::decide::{Identity, Request, Verdict};
use effgan_gate::{Call, decide, node::Node, public_key};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

/// MiB that this process had at most.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

/// An entry of two bytes or more: its number, its length, and what it holds.
fn entry(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    [&bytes, value].concat()
}

#[test]
fn millions_of_empty_entries_are_refused_before_memory_is_taken_for_them() {
    let key = public_key(include_str!("fixtures/north.pub")).expect("a key");
    let site = Identity::new(ClientName::new("north").expect("a name"), &key, 1 << 30);
    let mut node = Node::default();
    node.activated(5);
    let of = |entry: &[u8], most: u64| entry.repeat((most as usize - 100) / entry.len());
    let its = [0x0a, 2, 8, 5];
    let message = entry(2, b"");
    let tree = entry(3, &entry(1, &[b'a'; 64]));
    let many = |number: u8| [&its[..], &of(&[number << 3 | 2, 0], PUSH_MESSAGES)].concat();
    let children = entry(3, &of(&[0x12, 0], PUSH_MESSAGES));
    let mut deep = Vec::new();
    while deep.len() < 60_000 {
        deep = entry(2, &[entry(1, &[b'a'; 64]), deep].concat());
    }
    let requests = [
        (Call::PushMessages, many(2), 400),
        (Call::PushMessages, of(&[0x12, 0], PUSH_MESSAGES), 400),
        (Call::PushMessages, many(3), 400),
        (Call::PushMessages, many(15), 400),
        (Call::PushMessages, [&its[..], &message, &children].concat(), 400),
        (Call::PushMessages, [&its[..], &message, &entry(3, &deep)].concat(), 400),
        (Call::PushMessages, [&its[..], &message, &tree, &entry(4, &of(&[0; 8], 1 << 19))].concat(), 400),
        (Call::PushMessages, [&[0x0a, 2, 8, 6], &message[..], &tree].concat(), 401),
        (Call::PullMessages, [&its[..], &of(&[0x12, 0], 4000)].concat(), 400),
        (Call::GetRun, of(&its, 4000), 400),
    ];
    let before = peak();
    for (call, body, status) in &requests {
        let mut headers = HeaderMap::new();
        headers.insert("flwr-public-key", HeaderValue::from_str(site.header()).expect("base64"));
        headers.insert(CONTENT_LENGTH, body.len().into());
        let request = Request { method: "POST", target: call.path(), headers: &headers, body };
        let Verdict::Refuse(refused) = decide(&site, &node, &request) else { panic!("{call:?} of it passes") };
        assert_eq!(refused.status.as_u16(), *status, "{call:?}: {}", refused.reason);
    }
    // What a server answers.
    let answers = [2, 3].map(|number: u8| of(&[number << 3 | 2, 0], PULL_MESSAGES));
    assert!(answers.iter().filter_map(|answer| Announced::of(answer)).all(|announced| !announced.is_one_or_none()));
    // Half of it is the answers' own bytes; one decoded request of a megabyte is a hundred.
    let taken = peak() - before;
    assert!(taken < 32, "{taken} MiB");
}
