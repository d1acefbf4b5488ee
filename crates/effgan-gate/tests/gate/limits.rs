//! Limits on what any caller can make the gate accept.

use std::time::{Duration, Instant};

use effgan_gate::wire::{Node, PullMessagesRequest, SendNodeHeartbeatRequest};
use effgan_gate::{Endpoint, Limits};

use crate::support::{Lab, NodeConnection, object, reply};

#[test]
fn four_hundred_megabytes_in_reply_to_a_query_are_refused_before_they_are_read() {
    let lab = Lab::new();
    let (mut north, node) = lab.north_with_message("query", &[]);
    let pieces: Vec<u64> = (100..180).collect();
    assert_eq!(north.call(Endpoint::PushMessages, &reply("query", 5, node, &pieces)).status(), 200);
    let before = lab.superlink.count();
    for piece in pieces {
        // 5 MiB each, of which only the first 200 bytes are sent.
        let body = prost::Message::encode_to_vec(&object(node, piece, vec![0; 5 << 20]));
        let head = north.head("POST", Endpoint::PushObject.path(), body.len());
        north.write(&[head.as_bytes(), &body[..200]].concat()).expect("it is sent");
        assert_eq!(north.read().expect("an answer").status(), 403);
        north = lab.north();
    }
    assert_eq!(lab.superlink.count(), before);
}

#[test]
fn a_reply_to_a_query_has_at_most_64_kib() {
    let lab = Lab::new();
    let (mut north, node) = lab.north_with_message("query", &[]);
    assert_eq!(north.call(Endpoint::PushMessages, &reply("query", 5, node, &[8, 9])).status(), 200);
    assert_eq!(north.call(Endpoint::PushObject, &object(node, 8, vec![0; 40 << 10])).status(), 200);
    assert_eq!(
        north.call(Endpoint::PushObject, &object(node, 8, vec![0; 40 << 10])).status(),
        200,
        "the same one again"
    );
    assert_eq!(north.call(Endpoint::PushObject, &object(node, 9, vec![0; 24 << 10])).status(), 200);
    assert_eq!(north.call(Endpoint::PushObject, &object(node, 9, vec![0; (24 << 10) + 1])).status(), 403);
}

#[test]
fn a_reply_to_a_query_has_few_objects() {
    let lab = Lab::new();
    let (mut north, node) = lab.north_with_message("query", &[]);
    let many: Vec<u64> = (100..400).collect();
    assert_eq!(north.call(Endpoint::PushMessages, &reply("query", 5, node, &many)).status(), 403);
}

#[test]
fn any_reply_has_at_most_the_objects_that_its_bytes_need_and_1024_more() {
    // Each object costs the ServerApp a request.
    let lab = Lab::with(Limits { max_reply: 50 << 20, ..Limits::default() });
    let (mut north, node) = lab.north_with_message("train", &[]);
    let before = lab.superlink.count();
    // The message is an object as well.
    let allowed: Vec<u64> = (100..100 + 1024 + 10 - 1).collect();
    let more = [&allowed[..], &[99]].concat();
    assert_eq!(north.call(Endpoint::PushMessages, &reply("train", 5, node, &more)).status(), 403);
    assert_eq!(lab.superlink.count(), before);
    assert_eq!(north.call(Endpoint::PushMessages, &reply("train", 5, node, &allowed)).status(), 200);
}

#[test]
fn any_reply_has_at_most_max_reply_bytes() {
    let lab = Lab::with(Limits { max_reply: 10 << 20, ..Limits::default() });
    let (mut north, node) = lab.north_with_message("train", &[]);
    assert_eq!(north.call(Endpoint::PushMessages, &reply("train", 5, node, &[8, 9, 10])).status(), 200);
    for id in [9, 10] {
        assert_eq!(north.call(Endpoint::PushObject, &object(node, id, vec![0; 5 << 20])).status(), 200);
    }
    assert_eq!(north.call(Endpoint::PushObject, &object(node, 8, vec![0; 1])).status(), 403);
}

#[test]
fn a_body_that_is_too_long_is_refused_by_its_content_length() {
    let lab = Lab::new();
    let (north, _) = lab.north_with_message("train", &[]);
    let before = lab.superlink.count();
    for call in Endpoint::ALL {
        let mut site = lab.north();
        let length = call.max_request() as usize + 1;
        site.write(north.head("POST", call.path(), length).as_bytes()).expect("it is sent");
        assert_eq!(site.read().expect("an answer").status(), 403, "{call:?}");
    }
    assert_eq!(lab.superlink.count(), before);
}

#[test]
fn the_head_of_a_request_is_bounded() {
    let lab = Lab::new();
    let many = (0..200).map(|i| format!("x-{i}: y\r\n")).collect::<String>();
    let long = format!("x: {}\r\n", "y".repeat(32 << 10));
    for lines in [many, long] {
        let mut north = lab.north();
        let head = north.head("POST", Endpoint::PullMessages.path(), 1).replace("cookie: a=b\r\n", &lines);
        let answer = north.write(head.as_bytes()).and_then(|()| north.read());
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status() == 431), "it is refused");
    }
}

#[test]
fn an_incomplete_request_and_an_idle_connection_end() {
    let lab = Lab::with(Limits { idle: Duration::from_millis(500), ..Limits::default() });
    for first in ["", "POST /v1/fleet/pull-messages HTTP/1.1\r\n"] {
        let mut north = lab.north();
        let start = Instant::now();
        north.write(first.as_bytes()).expect("it is sent");
        let _ = north.read();
        assert!(start.elapsed() < Duration::from_secs(5));
        assert!(start.elapsed() > Duration::from_millis(400));
    }
}

#[test]
#[ignore = "it takes half a minute: make slow"]
fn a_body_that_does_not_arrive_ends() {
    let lab = Lab::new();
    let mut north = lab.north();
    north.stream.get_ref().sock.set_read_timeout(Some(Duration::from_mins(1))).expect("a timeout");
    let start = Instant::now();
    let head = north.head("POST", Endpoint::PullMessages.path(), 100);
    north.write(format!("{head}x").as_bytes()).expect("it is sent");
    assert_eq!(north.read().expect("an answer").status(), 400);
    assert!(start.elapsed() >= effgan_gate::MAX_SILENCE && start.elapsed() < effgan_gate::MAX_SILENCE * 2);
}

#[test]
fn too_many_connections_of_one_site_are_answered_with_503() {
    let lab = Lab::with(Limits { connections_per_site: 3, ..Limits::default() });
    let mut sites: Vec<NodeConnection> = (0..3).map(|_| lab.north()).collect();
    let node = sites[0].activate();
    for site in &mut sites {
        site.pull(node);
    }
    let request = PullMessagesRequest { node: Some(Node { node_id: node }), message_ids: vec![] };
    let answer = lab.north().call(Endpoint::PullMessages, &request);
    assert_eq!((answer.status(), &*answer.headers["connection"]), (503, "close"));
    lab.south().activate();
    drop(sites);
    crate::support::wait_until("there is room again", || {
        lab.north().call(Endpoint::PullMessages, &request).status() == 200
    });
}

#[test]
fn too_many_requests_of_one_site_are_answered_with_503() {
    let lab = Lab::with(Limits { requests_per_second: 1.0, request_burst: 5.0, ..Limits::default() });
    let mut north = lab.north();
    let node = north.activate();
    let request = SendNodeHeartbeatRequest { node: Some(Node { node_id: node }), heartbeat_interval: 30.0 };
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(north.call(Endpoint::SendNodeHeartbeat, &request).status());
        if statuses.last() == Some(&503) {
            break;
        }
    }
    assert_eq!(statuses, [200, 200, 200, 200, 503]);
    lab.south().activate();
}
