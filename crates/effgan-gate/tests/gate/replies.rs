//! What a site may reply, and to which messages.

use effgan_gate::Endpoint;
use effgan_gate::entry_count::EntryCounts;
use effgan_gate::wire::{ConfirmMessageReceivedRequest, Error, Node, PullObjectRequest, PushMessagesRequest};
use prost::Message;

use crate::support::{Lab, NodeConnection, object, object_id, reply, sealed};

/// North with message 5 to train on, whose object is 6, and south's node.
fn with_message(lab: &Lab) -> (NodeConnection, u64, u64) {
    let south = lab.south().activate();
    let (north, node) = lab.north_with_message("train", &[6]);
    (north, node, south)
}

fn push(site: &mut NodeConnection, request: &PushMessagesRequest) -> u16 {
    site.call(Endpoint::PushMessages, request).status()
}

#[test]
fn a_reply_passes_with_its_objects() {
    let lab = Lab::new();
    let (mut north, node, _) = with_message(&lab);
    let request = reply("train", 5, node, &[9, 10]);
    assert_eq!(push(&mut north, &request), 200);
    assert_eq!(lab.superlink.last().body, request.encode_to_vec());
    for (id, size) in [(9, 100), (10, 5 << 20)] {
        let object = object(node, id, vec![3; size]);
        assert_eq!(north.call(Endpoint::PushObject, &object).status(), 200);
        let seen = lab.superlink.last();
        assert_eq!(seen.headers["content-length"], object.encode_to_vec().len().to_string());
        assert!(object.encode_to_vec().starts_with(&seen.body));
    }
}

#[test]
fn a_message_in_the_servers_name_to_another_site_is_refused() {
    // Flower itself checks only the node id of the request.
    let lab = Lab::new();
    let (mut north, node, south) = with_message(&lab);
    let before = lab.superlink.count();
    let honest = reply("train", 5, node, &[9]);
    let with = |change: &dyn Fn(&mut effgan_gate::wire::Metadata)| {
        let mut request = honest.clone();
        change(request.messages_list[0].metadata.as_mut().expect("metadata"));
        sealed(request)
    };
    let forged = with(&|about| (about.src_node_id, about.dst_node_id) = (1, south));
    assert_eq!(push(&mut north, &forged), 403);
    for forged in [
        with(&|about| about.src_node_id = 1),
        with(&|about| about.src_node_id = south),
        with(&|about| about.dst_node_id = south),
        with(&|about| about.dst_node_id = node),
        with(&|about| about.reply_to_message_id.clear()),
        with(&|about| about.reply_to_message_id = object_id(77)),
        with(&|about| about.run_id = 8),
        with(&|about| about.message_type = "query".into()),
    ] {
        assert_eq!(push(&mut north, &forged), 403);
    }
    let mut twice = honest.clone();
    twice.messages_list.push(forged.messages_list[0].clone());
    assert_eq!(push(&mut north, &twice), 400);
    assert_eq!(push(&mut north, &PushMessagesRequest { messages_list: vec![], ..honest.clone() }), 400);
    assert_eq!(push(&mut lab.north(), &PushMessagesRequest { node: Some(Node { node_id: south }), ..honest }), 401);
    assert_eq!(lab.superlink.count(), before, "nothing of it reached Flower");
}

#[test]
fn a_message_whose_object_says_something_else_is_refused() {
    // The ServerApp reads the object, whose id is its hash; the gate reads the metadata beside it.
    let lab = Lab::new();
    let (mut north, node, south) = with_message(&lab);
    let honest = reply("train", 5, node, &[9]);
    let mut forged = honest.clone();
    forged.messages_list[0].metadata.as_mut().expect("metadata").src_node_id = south;
    let hidden = sealed(forged);
    let mut request = honest.clone();
    request.message_object_trees.clone_from(&hidden.message_object_trees);
    assert_eq!(push(&mut north, &request), 403);
    let its = &hidden.message_object_trees[0].object_id;
    request.messages_list[0].metadata.as_mut().expect("metadata").message_id.clone_from(its);
    assert_eq!(push(&mut north, &request), 403);
    assert_eq!(push(&mut north, &honest), 200);
}

#[test]
fn the_id_of_a_message_is_flowers() {
    let [replied, failed] = [&include_bytes!("../fixtures/reply.bin")[..], include_bytes!("../fixtures/failure.bin")];
    for bytes in [replied, failed] {
        let request = PushMessagesRequest::decode(bytes).expect("what flwr 1.41 wrote");
        assert_eq!(request.encode_to_vec(), bytes, "no field is left out");
        let announced = EntryCounts::of(bytes).expect("what flwr 1.41 wrote");
        assert!(announced.is_one_message(), "{announced:?}");
        assert_eq!(announced.objects, request.message_object_trees[0].ids().count());
        let id = request.messages_list[0].object_id(&request.message_object_trees[0].children);
        assert_eq!(id, request.messages_list[0].metadata.as_ref().expect("metadata").message_id);
    }
}

#[test]
fn a_reply_to_another_sites_message_is_refused() {
    let lab = Lab::new();
    let (_, _, south) = with_message(&lab);
    let mut site = lab.south();
    assert_eq!(push(&mut site, &reply("train", 5, south, &[9])), 403);
}

#[test]
fn an_object_that_no_reply_announced_is_refused() {
    let lab = Lab::new();
    let (mut north, node, _) = with_message(&lab);
    let before = lab.superlink.count();
    assert_eq!(north.call(Endpoint::PushObject, &object(node, 9, vec![1])).status(), 403, "no reply was announced");
    assert_eq!(push(&mut north, &reply("train", 5, node, &[9])), 200);
    assert_eq!(north.call(Endpoint::PushObject, &object(node, 10, vec![1])).status(), 403);
    let of_another_run = crate::support::PushObject { run_id: 8, ..object(node, 9, vec![1]) };
    assert_eq!(north.call(Endpoint::PushObject, &of_another_run).status(), 403);
    assert_eq!(lab.superlink.count(), before + 1);
}

#[test]
fn an_object_that_is_not_as_flower_writes_it_is_refused() {
    let lab = Lab::new();
    let (mut north, node, _) = with_message(&lab);
    assert_eq!(push(&mut north, &reply("train", 5, node, &[9])), 200);
    let before = lab.superlink.count();
    let honest = object(node, 9, vec![1; 40]).encode_to_vec();
    // A second id after the content: Flower takes the last one of a repeated field.
    let late = [&honest[..], b"\x1a\x01a"].concat();
    let early = [&b"\x1a\x01a"[..], &honest].concat();
    let without = object(node, 9, vec![]).encode_to_vec();
    for body in [late, early, without] {
        let mut site = lab.north();
        let status = site.try_post(Endpoint::PushObject.path(), &body).map(|answer| answer.status());
        assert!(matches!(status, Ok(400) | Err(_)), "{status:?}");
    }
    assert_eq!(lab.superlink.count(), before);
}

#[test]
fn a_node_pulls_and_confirms_only_its_own_messages() {
    let lab = Lab::new();
    let (mut north, node, south) = with_message(&lab);
    let pull = |node: u64, id: u64| PullObjectRequest {
        node: Some(Node { node_id: node }),
        run_id: 7,
        object_id: object_id(id),
    };
    let confirm = |node: u64, id: u64| ConfirmMessageReceivedRequest {
        node: Some(Node { node_id: node }),
        run_id: 7,
        message_object_id: object_id(id),
    };
    let mut site = lab.south();
    assert_eq!(site.call(Endpoint::PullObject, &pull(south, 6)).status(), 403);
    assert_eq!(site.call(Endpoint::ConfirmMessageReceived, &confirm(south, 5)).status(), 403);
    assert_eq!(north.call(Endpoint::PullObject, &pull(node, 7)).status(), 403);
    assert_eq!(north.call(Endpoint::PullObject, &pull(node, 6)).status(), 200);
    assert_eq!(north.call(Endpoint::ConfirmMessageReceived, &confirm(node, 5)).status(), 200);
}

#[test]
fn a_reply_with_an_error_passes() {
    let lab = Lab::new();
    let (mut north, node, _) = with_message(&lab);
    let mut request = reply("train", 5, node, &[]);
    request.messages_list[0].content = None;
    request.messages_list[0].error = Some(Error { code: 2, reason: String::new() });
    let request = sealed(request);
    assert_eq!(push(&mut north, &request), 200);
    assert_eq!(lab.superlink.last().body, request.encode_to_vec());
}
