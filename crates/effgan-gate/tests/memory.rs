//! Peak memory of checking requests. It is a test binary of its own, since the peak is the process's.
#![cfg(target_os = "linux")]

use effgan_data::ClientName;
use effgan_gate::endpoint::{MAX_PULL_MESSAGES, MAX_PUSH_MESSAGES};
use effgan_gate::entry_count::EntryCounts;
use effgan_gate::request_check::node_state::NodeState;
use effgan_gate::request_check::{Request, SiteIdentity, Verdict};
use effgan_gate::{Endpoint, check_request, public_key};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};

/// Peak memory of this process in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") >> 10
}

/// A protobuf entry: field number, length and value.
fn entry(number: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    [&bytes, value].concat()
}

#[test]
fn millions_of_empty_entries_are_refused_before_memory_is_taken_for_them() {
    let key = public_key(include_str!("fixtures/north.pub")).expect("a key");
    let site = SiteIdentity::new(ClientName::new("north").expect("a name"), &key, 1 << 30);
    let mut node = NodeState::default();
    node.activate(5);
    let of = |entry: &[u8], max_bytes: u64| entry.repeat((max_bytes as usize - 100) / entry.len());
    let its = [0x0a, 2, 8, 5];
    let message = entry(2, b"");
    let tree = entry(3, &entry(1, &[b'a'; 64]));
    let many = |number: u8| [&its[..], &of(&[number << 3 | 2, 0], MAX_PUSH_MESSAGES)].concat();
    let children = entry(3, &of(&[0x12, 0], MAX_PUSH_MESSAGES));
    let mut deep = Vec::new();
    while deep.len() < 60_000 {
        deep = entry(2, &[entry(1, &[b'a'; 64]), deep].concat());
    }
    let requests = [
        (Endpoint::PushMessages, many(2), 400),
        (Endpoint::PushMessages, of(&[0x12, 0], MAX_PUSH_MESSAGES), 400),
        (Endpoint::PushMessages, many(3), 400),
        (Endpoint::PushMessages, many(15), 400),
        (Endpoint::PushMessages, [&its[..], &message, &children].concat(), 400),
        (Endpoint::PushMessages, [&its[..], &message, &entry(3, &deep)].concat(), 400),
        (Endpoint::PushMessages, [&its[..], &message, &tree, &entry(4, &of(&[0; 8], 1 << 19))].concat(), 400),
        (Endpoint::PushMessages, [&[0x0a, 2, 8, 6], &message[..], &tree].concat(), 401),
        (Endpoint::PullMessages, [&its[..], &of(&[0x12, 0], 4000)].concat(), 400),
        (Endpoint::GetRun, of(&its, 4000), 400),
    ];
    let before = peak();
    for (endpoint, body, status) in &requests {
        let mut headers = HeaderMap::new();
        headers.insert("flwr-public-key", HeaderValue::from_str(site.header()).expect("base64"));
        headers.insert(CONTENT_LENGTH, body.len().into());
        let request = Request { method: "POST", target: endpoint.path(), headers: &headers, body };
        let Verdict::Refuse(refused) = check_request(&site, &node, &request) else {
            panic!("{endpoint:?} of it passes")
        };
        assert_eq!(refused.status.as_u16(), *status, "{endpoint:?}: {}", refused.reason);
    }
    // Responses of a server.
    let answers = [2, 3].map(|number: u8| of(&[number << 3 | 2, 0], MAX_PULL_MESSAGES));
    assert!(
        answers
            .iter()
            .filter_map(|answer| EntryCounts::of(answer))
            .all(|announced| !announced.is_at_most_one_message())
    );
    // Half of it is the bodies themselves; a single request of 1 MB would take 100 MB once decoded.
    let taken = peak() - before;
    assert!(taken < 32, "{taken} MiB");
}
