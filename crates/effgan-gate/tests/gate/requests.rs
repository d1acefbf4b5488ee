//! Requests to the ten endpoints pass, in the site's own name, and no others.

use effgan_gate::Endpoint;
use effgan_gate::wire::{
    ActivateNodeRequest, GetFabRequest, GetRunRequest, Node, NodeId, PullMessagesRequest, SendNodeHeartbeatRequest,
};
use prost::Message;

use crate::support::{Lab, identity, new_key};

fn node(node_id: u64) -> Node {
    Node { node_id }
}

#[test]
fn other_endpoints_do_not_exist() {
    let lab = Lab::new();
    let mut north = lab.north();
    north.activate();
    let before = lab.superlink.count();
    for path in [
        "/",
        "/docs",
        "/health",
        "/openapi.json",
        "/v1/control/list-runs",
        "/v1/control/start-run",
        "/v1/control/register-node",
        "/v1/control/stop-run",
        "/v1/control/stream-logs",
        "/v1/runtime/acquire-task",
        "/v1/runtime/push-object",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/pull-messages/",
        "/v1/fleet/pull-messages?a=b",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet//pull-messages",
        "//v1/fleet/pull-messages",
        "http://127.0.0.1/v1/control/list-runs",
    ] {
        let answer = north.post(path, b"x");
        assert_eq!((answer.status(), &answer.body[..]), (404, &b""[..]), "{path}");
    }
    for method in ["GET", "PUT", "OPTIONS", "CONNECT", "TRACE"] {
        let head = north.head(method, Endpoint::PullMessages.path(), 0);
        let mut north = lab.north();
        north.write(head.as_bytes()).expect("it is sent");
        assert!([400, 404].contains(&north.read().expect("an answer").status()), "{method}");
    }
    assert_eq!(lab.superlink.count(), before, "nothing of it reached Flower");
}

#[test]
fn a_request_reaches_flower_unchanged_without_foreign_headers() {
    let lab = Lab::new();
    let mut north = lab.north();
    let id = north.activate();
    let requests: [(Endpoint, Vec<u8>); 5] = [
        (
            Endpoint::SendNodeHeartbeat,
            SendNodeHeartbeatRequest { node: Some(node(id)), heartbeat_interval: 30.0 }.encode_to_vec(),
        ),
        (Endpoint::PullMessages, PullMessagesRequest { node: Some(node(id)), message_ids: vec![] }.encode_to_vec()),
        (Endpoint::GetRun, GetRunRequest { node: Some(node(id)), run_id: 7 }.encode_to_vec()),
        (Endpoint::GetFab, GetFabRequest { node: Some(node(id)), hash_str: "f".into(), run_id: 7 }.encode_to_vec()),
        (Endpoint::DeactivateNode, NodeId { node_id: id }.encode_to_vec()),
    ];
    for (call, body) in requests {
        assert_eq!(north.post(call.path(), &body).status(), 200);
        let seen = lab.superlink.last();
        assert_eq!((seen.path(), &seen.body), (call.path(), &body));
        assert_eq!(seen.headers["flwr-public-key"], north.header);
        assert_eq!(seen.headers["flwr-signature"], "it");
        assert!(
            !seen.headers.contains_key("cookie") && !seen.headers.contains_key("x-forwarded-for"),
            "{:?}",
            seen.headers
        );
    }
}

#[test]
fn a_response_reveals_nothing_of_the_superlink() {
    let lab = Lab::new();
    let mut north = lab.north();
    let id = north.activate();
    let answer = north.call(
        Endpoint::SendNodeHeartbeat,
        &SendNodeHeartbeatRequest { node: Some(node(id)), heartbeat_interval: 30.0 },
    );
    let names: Vec<&str> = answer.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["content-length", "content-type", "date"]);
}

#[test]
fn a_listed_key_is_registered_with_flower_at_its_first_activation() {
    let lab = Lab::new();
    let id = lab.north().activate();
    let first = ["/v1/fleet/activate-node", "/v1/control/register-node", "/v1/fleet/activate-node"];
    assert_eq!(lab.superlink.paths(), first);
    assert_eq!(lab.north().activate(), id, "the same node");
    assert_eq!(lab.superlink.count(), 4, "the key is registered with Flower already");
}

#[test]
fn a_node_restarted_before_flower_has_missed_it_retries() {
    let lab = Lab::new();
    let id = lab.north().activate();
    lab.superlink.set_nodes_connected(true);
    let mut north = lab.north();
    let request = ActivateNodeRequest { public_key: north.pem.clone(), heartbeat_interval: 30.0 };
    assert_eq!(north.call(Endpoint::ActivateNode, &request).status(), 503);
    lab.superlink.set_nodes_connected(false);
    assert_eq!(lab.north().activate(), id);
}

#[test]
fn another_sites_key_in_the_header_is_refused() {
    let lab = Lab::new();
    let mut north = lab.north();
    let id = north.activate();
    let before = lab.superlink.count();
    north.header = identity(&lab.south).header().into();
    let request = SendNodeHeartbeatRequest { node: Some(node(id)), heartbeat_interval: 30.0 };
    assert_eq!(north.call(Endpoint::SendNodeHeartbeat, &request).status(), 401);
    assert_eq!(lab.superlink.count(), before);
}

#[test]
fn a_header_twice_is_refused() {
    let lab = Lab::new();
    let mut north = lab.north();
    let id = north.activate();
    let body = PullMessagesRequest { node: Some(node(id)), message_ids: vec![] }.encode_to_vec();
    let south = identity(&lab.south);
    let twice = format!("flwr-public-key: {}\r\nflwr-timestamp", south.header());
    let head = north.head("POST", Endpoint::PullMessages.path(), body.len()).replace("flwr-timestamp", &twice);
    north.write(&[head.as_bytes(), &body].concat()).expect("it is sent");
    assert_eq!(north.read().expect("an answer").status(), 401);
}

#[test]
fn another_key_in_the_activation_is_refused() {
    let lab = Lab::new();
    for key in [identity(&lab.south).pem().as_bytes().to_vec(), identity(&new_key()).pem().into(), vec![]] {
        let request = ActivateNodeRequest { public_key: key, heartbeat_interval: 30.0 };
        assert_eq!(lab.north().call(Endpoint::ActivateNode, &request).status(), 401);
    }
    assert_eq!(lab.superlink.count(), 0);
}

#[test]
fn another_nodes_id_is_refused() {
    let lab = Lab::new();
    let south = lab.south().activate();
    lab.north().activate();
    let before = lab.superlink.count();
    let requests: [(Endpoint, Vec<u8>); 6] = [
        (
            Endpoint::SendNodeHeartbeat,
            SendNodeHeartbeatRequest { node: Some(node(south)), heartbeat_interval: 30.0 }.encode_to_vec(),
        ),
        (Endpoint::PullMessages, PullMessagesRequest { node: Some(node(south)), message_ids: vec![] }.encode_to_vec()),
        (Endpoint::GetRun, GetRunRequest { node: Some(node(south)), run_id: 7 }.encode_to_vec()),
        (Endpoint::GetFab, GetFabRequest { node: Some(node(south)), hash_str: "f".into(), run_id: 7 }.encode_to_vec()),
        (Endpoint::DeactivateNode, NodeId { node_id: south }.encode_to_vec()),
        (Endpoint::PullMessages, PullMessagesRequest { node: None, message_ids: vec!["a".into()] }.encode_to_vec()),
    ];
    for (call, body) in requests {
        assert_eq!(lab.north().post(call.path(), &body).status(), 401, "{call:?}");
    }
    assert_eq!(lab.superlink.count(), before);
}

#[test]
fn a_node_that_is_not_activated_is_refused() {
    let lab = Lab::new();
    for id in [0, 1, 1 << 63] {
        let request = PullMessagesRequest { node: Some(node(id)), message_ids: vec![] };
        assert_eq!(lab.north().call(Endpoint::PullMessages, &request).status(), 401);
    }
    assert_eq!(lab.superlink.count(), 0);
}

#[test]
fn a_body_that_is_not_a_message_of_flowers_is_refused() {
    let lab = Lab::new();
    let mut north = lab.north();
    north.activate();
    let before = lab.superlink.count();
    for call in Endpoint::ALL {
        assert_eq!(north.post(call.path(), b"\xff\xff\xff").status(), 400, "{call:?}");
        assert_eq!(lab.north().post(call.path(), b"").status(), 400, "{call:?}");
    }
    assert_eq!(lab.superlink.count(), before);
}

#[test]
fn flower_reads_what_was_checked_and_nothing_else() {
    // A repeated field and an unknown one: two readers could read two different requests.
    let lab = Lab::new();
    let mut north = lab.north();
    let id = north.activate();
    let clean = PullMessagesRequest { node: Some(node(id)), message_ids: vec![] }.encode_to_vec();
    let other = PullMessagesRequest { node: Some(node(id + 1)), message_ids: vec![] }.encode_to_vec();
    let unknown = [0x7a, 2, b'h', b'i'];
    assert_eq!(north.post(Endpoint::PullMessages.path(), &[&other[..], &clean, &unknown].concat()).status(), 200);
    assert_eq!(lab.superlink.last().body, clean);
}

#[test]
fn a_body_of_unknown_length_is_refused() {
    let lab = Lab::new();
    let mut north = lab.north();
    let head =
        north.head("POST", Endpoint::PullMessages.path(), 1).replace("content-length: 1", "transfer-encoding: chunked");
    north.write(format!("{head}1\r\nx\r\n0\r\n\r\n").as_bytes()).expect("it is sent");
    assert_eq!(north.read().expect("an answer").status(), 400);
}

#[test]
fn without_a_superlink_a_node_retries() {
    let mut lab = Lab::new();
    let mut north = lab.north();
    let id = north.activate();
    let port = lab.superlink.port;
    let other = tempfile::tempdir().expect("a folder");
    crate::support::make_certificates(other.path(), "127.0.0.1");
    lab.superlink = crate::support::SuperLink::start(other.path(), 0);
    std::thread::sleep(std::time::Duration::from_secs(4));
    let request = PullMessagesRequest { node: Some(node(id)), message_ids: vec![] };
    assert_eq!(north.call(Endpoint::PullMessages, &request).status(), 503);
    lab.superlink = crate::support::SuperLink::start(lab.folder.path(), port);
    assert_eq!(north.call(Endpoint::PullMessages, &request).status(), 200, "it is back");
}
