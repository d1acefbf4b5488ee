//! The forwarder: what may leave a site, what may enter it, and what it logs.

use effgan_gate::wire::{
    Error, Fab, GetFabRequest, GetFabResponse, GetRunRequest, GetRunResponse, Node, PullMessagesRequest,
    PullMessagesResponse, PullObjectRequest, Run,
};
use effgan_gate::{ALLOWED_ERRORS, Endpoint, ForwarderConfig};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::support::{
    BUNDLE, BUNDLE_SHA256, Lab, NodeConnection, Running, message, object, object_id, reply, sealed, wait_until,
};

fn fab(content: &[u8], hash: &str) -> Vec<u8> {
    GetFabResponse { fab: Some(Fab { hash_str: hash.into(), content: content.into() }) }.encode_to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run(kind: &str) -> Vec<u8> {
    GetRunResponse { run: Some(Run { run_id: 7, primary_task_type: kind.into() }) }.encode_to_vec()
}

#[test]
fn a_node_trains_through_the_forwarder() {
    let lab = Lab::new();
    let (_kit, _forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    lab.superlink.queue(id, message("train", 5, id, &[6]));
    assert_eq!(node.pull(id).messages_list.len(), 1);
    lab.superlink.set_response(Endpoint::GetRun, run("flwr-serverapp"));
    lab.superlink.set_response(Endpoint::GetFab, fab(BUNDLE, BUNDLE_SHA256));
    let its = || Some(Node { node_id: id });
    let answered = node.call(Endpoint::GetRun, &GetRunRequest { node: its(), run_id: 7 });
    assert_eq!((answered.status(), answered.body), (200, run("flwr-serverapp")));
    let answered =
        node.call(Endpoint::GetFab, &GetFabRequest { node: its(), hash_str: BUNDLE_SHA256.into(), run_id: 7 });
    assert_eq!((answered.status(), answered.body), (200, fab(BUNDLE, BUNDLE_SHA256)));
    lab.superlink.set_response(Endpoint::PullObject, vec![4; 100_000]);
    let answered =
        node.call(Endpoint::PullObject, &PullObjectRequest { node: its(), run_id: 7, object_id: object_id(6) });
    assert_eq!((answered.status(), answered.body), (200, vec![4; 100_000]));
    assert_eq!(node.call(Endpoint::PushMessages, &reply("train", 5, id, &[9])).status(), 200);
    assert_eq!(node.call(Endpoint::PushObject, &object(id, 9, vec![3; 5 << 20])).status(), 200);
}

#[test]
fn a_bundle_other_than_effgans_is_refused() {
    let lab = Lab::new();
    let (_kit, forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    let request = GetFabRequest { node: Some(Node { node_id: id }), hash_str: BUNDLE_SHA256.into(), run_id: 7 };
    let evil: &[u8] = b"import os";
    for bytes in [
        fab(evil, BUNDLE_SHA256),
        fab(BUNDLE, &"0".repeat(64)),
        fab(BUNDLE, ""),
        vec![],
        // Of a repeated field the last one counts, for both readers.
        [fab(BUNDLE, BUNDLE_SHA256), fab(evil, BUNDLE_SHA256)].concat(),
        fab(&vec![0; 100 << 10], BUNDLE_SHA256),
        b"\xff\xff".to_vec(),
    ] {
        lab.superlink.set_response(Endpoint::GetFab, bytes);
        let answered = node.call(Endpoint::GetFab, &request);
        assert_eq!((answered.status(), &answered.body[..]), (403, &b""[..]));
    }
    wait_until("it is logged", || forwarder.log.count("refused: ") > 0);
}

#[test]
fn a_zip_bomb_is_refused_before_the_supernode_unzips_it() {
    let lab = Lab::new();
    let (_kit, _forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    let request = GetFabRequest { node: Some(Node { node_id: id }), hash_str: BUNDLE_SHA256.into(), run_id: 7 };
    // A gigabyte of zeros in a thousand bytes; and the same after more bytes than any bundle has.
    let bomb = include_bytes!("../fixtures/bomb.zip");
    let long = [&vec![0; 4 << 20][..], bomb].concat();
    for content in [&bomb[..], &long] {
        for hash in [BUNDLE_SHA256.to_owned(), sha256(content)] {
            lab.superlink.set_response(Endpoint::GetFab, fab(content, &hash));
            let answered = node.call(Endpoint::GetFab, &request);
            assert_eq!((answered.status(), &answered.body[..]), (403, &b""[..]), "{} bytes", content.len());
        }
    }
    lab.superlink.set_response(Endpoint::GetFab, fab(BUNDLE, BUNDLE_SHA256));
    assert_eq!(
        node.call(Endpoint::GetFab, &request).body,
        fab(BUNDLE, BUNDLE_SHA256),
        "effgan's own bundle is accepted afterwards"
    );
}

#[test]
fn the_run_of_an_agent_is_refused() {
    let lab = Lab::new();
    let (_kit, _forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    for kind in ["flwr-agentapp", "flwr-model", "flwr-connector", "flwr-simulation", ""] {
        lab.superlink.set_response(Endpoint::GetRun, run(kind));
        let answered = node.call(Endpoint::GetRun, &GetRunRequest { node: Some(Node { node_id: id }), run_id: 7 });
        assert_eq!((answered.status(), &answered.body[..]), (403, &b""[..]), "{kind}");
    }
}

#[test]
fn a_response_with_millions_of_messages_is_refused() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let mut config = lab.forwarder_config(kit.path(), &lab.north);
    // Directly to the SuperLink: a server without a gate.
    config.destination.server.port = lab.superlink.port;
    let forwarder = Running::forwarder(config);
    let mut node = NodeConnection::through(forwarder.address, kit.path(), &lab.north);
    let request = PullMessagesRequest { node: Some(Node { node_id: 5 }), message_ids: vec![] };
    let two = [message("train", 5, 5, &[6]), message("train", 7, 5, &[8])];
    let two = two.iter().flat_map(Message::encode_to_vec).collect();
    let many: Vec<u64> = (100..3000).collect();
    let many = message("train", 5, 5, &many).encode_to_vec();
    let tree = PullMessagesResponse { messages_list: vec![], ..message("train", 5, 5, &[6]) }.encode_to_vec();
    for bytes in [b"\x12\x00".repeat(4 << 20), b"\x1a\x00".repeat(4 << 20), two, many, tree, b"\xff".into()] {
        lab.superlink.set_response(Endpoint::PullMessages, bytes);
        let answered = node.call(Endpoint::PullMessages, &request);
        assert_eq!((answered.status(), &answered.body[..]), (403, &b""[..]));
    }
    lab.superlink.set_response(Endpoint::PullMessages, message("train", 5, 5, &[6]).encode_to_vec());
    assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 200);
}

#[test]
fn the_words_of_an_exception_stay_at_the_site() {
    let lab = Lab::new();
    let (_kit, forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    lab.superlink.queue(id, message("train", 5, id, &[]));
    node.pull(id);
    let failed = |reason: &str| {
        let mut request = reply("train", 5, id, &[]);
        request.messages_list[0].content = None;
        request.messages_list[0].error = Some(Error { code: 2, reason: reason.into() });
        sealed(request)
    };
    let before = lab.superlink.count();
    let words = "<class 'OSError'>:<no /home/anna/scans/smith-1970-01-01.png>";
    assert_eq!(
        node.call(Endpoint::PushMessages, &failed(words)).status(),
        403,
        "the node drops the message and continues"
    );
    assert_eq!(lab.superlink.count(), before);
    assert_eq!(forwarder.log.count("whose words must stay at the site"), 1);
    for reason in ALLOWED_ERRORS {
        assert_eq!(node.call(Endpoint::PushMessages, &failed(reason)).status(), 200);
    }
}

#[test]
fn a_reply_that_cannot_be_parsed_stays_at_the_site() {
    let lab = Lab::new();
    let (_kit, _forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    let before = lab.superlink.count();
    let mut request = reply("train", 5, id, &[]);
    request.messages_list[0].error = Some(Error { code: 2, reason: "smith-1970-01-01".into() });
    let mut broken = request.encode_to_vec();
    let at = broken.windows(5).position(|five| five == b"smith").expect("the reason");
    // Not UTF-8: one reader rejects the whole reply, another takes the rest of it.
    broken[at] = 0xff;
    let cut = &broken[..broken.len() - 1];
    for body in [b"\xff\xff\xff", &broken[..], cut] {
        assert_eq!(node.post(Endpoint::PushMessages.path(), body).status(), 403);
    }
    assert_eq!(lab.superlink.count(), before);
    assert_eq!(lab.gate.log.count("north: a body"), 0, "it does not reach the gate: {}", lab.gate.log.all());
}

#[test]
fn the_errors_of_the_executor_may_leave() {
    let executor = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bindings/python/effgan/flower/executor.py");
    let source = std::fs::read_to_string(executor).expect("the executor");
    for constant in ["FAILED", "REFUSED"] {
        let start = format!("{constant} = \"");
        let said = source.lines().find_map(|line| line.strip_prefix(&start)?.strip_suffix('"')).expect("a sentence");
        assert!(ALLOWED_ERRORS.contains(&said), "{constant}: {said}");
    }
}

#[test]
fn a_refusal_in_the_middle_of_an_object_arrives() {
    // A node that only finds the connection closed would retry for ever.
    let lab = Lab::new();
    let (_kit, forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    lab.superlink.queue(id, message("query", 5, id, &[]));
    node.pull(id);
    assert_eq!(node.call(Endpoint::PushMessages, &reply("query", 5, id, &[9])).status(), 200);
    let large = object(id, 9, vec![3; 5 << 20]);
    for _ in 0..10 {
        assert_eq!(node.call(Endpoint::PushObject, &large).status(), 403);
        assert_eq!(lab.north().call(Endpoint::PushObject, &large).status(), 403);
    }
    assert_eq!(node.pull(id).messages_list.len(), 0, "the connection stays open");
    assert_eq!(forwarder.log.count("cannot connect to"), 0, "{}", forwarder.log.all());
}

#[test]
fn a_message_with_more_bytes_than_the_site_accepts_is_refused() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let config = ForwarderConfig { max_message: 10 << 20, ..lab.forwarder_config(kit.path(), &lab.north) };
    let forwarder = Running::forwarder(config);
    let mut node = NodeConnection::through(forwarder.address, kit.path(), &lab.north);
    let id = node.activate();
    lab.superlink.queue(id, message("train", 5, id, &[6]));
    node.pull(id);
    lab.superlink.set_response(Endpoint::PullObject, vec![4; 5 << 20]);
    let request = PullObjectRequest { node: Some(Node { node_id: id }), run_id: 7, object_id: object_id(6) };
    let mut statuses = [0; 3].map(|_: u8| node.call(Endpoint::PullObject, &request).status());
    assert_eq!(statuses, [200, 200, 403]);
    lab.superlink.queue(id, message("train", 15, id, &[6]));
    node.pull(id);
    statuses[0] = node.call(Endpoint::PullObject, &request).status();
    assert_eq!(statuses[0], 200, "the next message has its own limit");
    lab.superlink.set_response(Endpoint::PullObject, vec![4; 9 << 20]);
    assert_eq!(node.call(Endpoint::PullObject, &request).status(), 403, "an object larger than any of Flower's");
}

#[test]
fn endpoints_that_a_node_does_not_need_are_not_forwarded() {
    let lab = Lab::new();
    let (_kit, _forwarder, mut node) = lab.north_through_forwarder();
    for path in ["/docs", "/v1/control/list-runs", "/v1/fleet/register-node"] {
        assert_eq!(node.post(path, b"x").status(), 404);
    }
    assert_eq!(lab.superlink.count(), 0);
}
