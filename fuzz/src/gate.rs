//! A request at the gate.

use effgan_data::ClientName;
use effgan_gate::count::Announced;
use effgan_gate::decide::{AROUND, Identity, Note, Passed, Request, Verdict, is_tail};
use effgan_gate::wire::{
    ActivateNodeRequest, ConfirmMessageReceivedRequest, FlowerMessage, GetFabRequest, GetRunRequest, Metadata,
    Node as Its, NodeId, ObjectTree, PullMessagesRequest, PullMessagesResponse, PullObjectRequest, PushMessagesRequest,
    PushObjectHead, SendNodeHeartbeatRequest,
};
use effgan_gate::{Bundle, Call, decide, is_our_fab, is_our_run, node::Node, public_key};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use prost::Message;

/// Flower's number of the site's node.
const NODE: u64 = 5;
/// The site's key: `flwr-public-key: KEY` in a request stands for it.
const KEY: &str = include_str!("../../crates/effgan-gate/tests/fixtures/north.pub");
/// Most bytes of an answer.
const MAX_ANSWER: u64 = 1000;

/// Takes the bytes for a request, lines and a body, of a site that was asked to train (message 1, object 2) and announced an answer
/// (with object 4); then for messages that are counted, and for what a server answers.
pub fn check(bytes: &[u8]) {
    let site = Identity::new(ClientName::new("north").expect("a name"), &public_key(KEY).expect("a key"), MAX_ANSWER);
    if let Some((method, target, headers, body)) = request(bytes, &site) {
        let node = busy(&site);
        let request = Request { method: &method, target: &target, headers: &headers, body };
        match decide(&site, &node, &request) {
            Verdict::Pass(passed) => {
                assert_eq!((method.as_str(), target.as_str()), ("POST", passed.call.path()));
                assert_eq!(headers.get("flwr-public-key").map(HeaderValue::as_bytes), Some(site.header().as_bytes()));
                is_its_own(&site, &passed, body);
            }
            Verdict::Refuse(refused) => assert!([400, 401, 403, 404].contains(&refused.status.as_u16())),
        }
    }
    if let (Some(announced), Ok(request)) = (Announced::of(bytes), PushMessagesRequest::decode(bytes)) {
        let objects = request.message_object_trees.iter().flat_map(ObjectTree::ids).count();
        assert_eq!((announced.messages, announced.objects), (request.messages_list.len(), objects));
    }
    let bundle = Bundle::new(&"0".repeat(64)).expect("a hash");
    assert!(is_our_fab(bytes, &bundle).is_err(), "nobody has these bytes");
    let _ = is_our_run(bytes);
}

/// Whatever passes is of this node, to the server, and what Flower reads is what was checked.
fn is_its_own(site: &Identity, passed: &Passed, body: &[u8]) {
    let its = |node: Option<Its>| assert_eq!(node.map(|node| node.node_id), Some(NODE));
    let sent = &passed.body[..];
    match passed.call {
        Call::ActivateNode => assert_eq!(again::<ActivateNodeRequest>(sent).public_key, site.pem().as_bytes()),
        Call::DeactivateNode => assert_eq!(again::<NodeId>(sent).node_id, NODE),
        Call::SendNodeHeartbeat => its(again::<SendNodeHeartbeatRequest>(sent).node),
        Call::PullMessages => its(again::<PullMessagesRequest>(sent).node),
        Call::GetRun => its(again::<GetRunRequest>(sent).node),
        Call::GetFab => its(again::<GetFabRequest>(sent).node),
        Call::PullObject => {
            let request = again::<PullObjectRequest>(sent);
            its(request.node);
            assert!([id(1), id(2)].contains(&request.object_id), "the message itself or its object");
        }
        Call::ConfirmMessageReceived => {
            let request = again::<ConfirmMessageReceivedRequest>(sent);
            its(request.node);
            assert_eq!(request.message_object_id, id(1));
        }
        Call::PushMessages => {
            let request = again::<PushMessagesRequest>(sent);
            its(request.node);
            let about = request.messages_list[0].metadata.as_ref().expect("metadata");
            assert_eq!((request.messages_list.len(), about.src_node_id, about.dst_node_id), (1, NODE, 1));
            assert_eq!((&about.reply_to_message_id, about.message_type.as_str()), (&id(1), "train"));
            assert_eq!(about.message_id, request.messages_list[0].object_id(&request.message_object_trees[0].children));
        }
        Call::PushObject => {
            let Note::Object { content, tail, .. } = passed.note else { panic!("an object") };
            assert!(content > 0 && content <= MAX_ANSWER && tail <= AROUND && sent.len() <= AROUND);
            assert!(body.starts_with(sent), "the head is as it came");
            let end = sent.len() + content as usize;
            if body.len() == end + tail && is_tail(&body[end..]) {
                // As Flower reads it: of an entry that is there twice the last one counts.
                let whole = PushObjectHead::decode(body).expect("an object");
                its(whole.node);
                assert_eq!(whole.run_id, 7);
                assert!(answer().message_object_trees[0].ids().any(|announced| announced == whole.object_id));
            }
        }
    }
}

fn again<M: Message + Default>(sent: &[u8]) -> M {
    let read = M::decode(sent).expect("what goes on can be read");
    assert_eq!(read.encode_to_vec(), sent, "and has one meaning");
    read
}

/// A node in the middle of its work.
fn busy(site: &Identity) -> Node {
    let mut node = Node::default();
    node.activated(NODE);
    let told = Metadata {
        run_id: 7,
        message_id: id(1),
        src_node_id: 1,
        dst_node_id: NODE,
        message_type: "train".into(),
        ..Metadata::default()
    };
    let told = FlowerMessage { metadata: Some(told), content: None, error: None };
    node.pulled(&PullMessagesResponse { messages_list: vec![told], message_object_trees: vec![tree(id(1), 2)] });
    let body = answer().encode_to_vec();
    let mut headers = HeaderMap::new();
    headers.insert("flwr-public-key", HeaderValue::from_str(site.header()).expect("base64"));
    headers.insert(CONTENT_LENGTH, body.len().into());
    let request = Request { method: "POST", target: Call::PushMessages.path(), headers: &headers, body: &body };
    let Verdict::Pass(Passed { note: Note::Answer(push), .. }) = decide(site, &node, &request) else {
        panic!("an honest answer passes")
    };
    node.begins(push);
    node
}

/// The node's answer to message 1, with object 4.
fn answer() -> PushMessagesRequest {
    let message_type = "train".into();
    let about = Metadata {
        run_id: 7,
        src_node_id: NODE,
        dst_node_id: 1,
        reply_to_message_id: id(1),
        message_type,
        ..Metadata::default()
    };
    let mut message = FlowerMessage { metadata: Some(about), content: None, error: None };
    let mut tree = tree(String::new(), 4);
    tree.object_id = message.object_id(&tree.children);
    message.metadata.as_mut().expect("metadata").message_id.clone_from(&tree.object_id);
    PushMessagesRequest {
        node: Some(Its { node_id: NODE }),
        messages_list: vec![message],
        message_object_trees: vec![tree],
        clientapp_runtime_list: vec![],
    }
}

fn tree(object_id: String, leaf: u8) -> ObjectTree {
    ObjectTree { object_id, children: vec![ObjectTree { object_id: id(leaf), children: vec![] }] }
}

fn id(number: u8) -> String {
    format!("{number:064x}")
}

type Parts<'a> = (String, String, HeaderMap, &'a [u8]);

/// The first line, the headers and the body; the body's length is said where no header says one.
fn request<'a>(bytes: &'a [u8], site: &Identity) -> Option<Parts<'a>> {
    let end = bytes.windows(2).position(|two| two == b"\n\n")?;
    let mut lines = str::from_utf8(&bytes[..end]).ok()?.lines();
    let (method, target) = lines.next()?.split_once(' ')?;
    let body = &bytes[end + 2..];
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        let value = if value == "KEY" { site.header() } else { value };
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?);
    }
    if !headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, body.len().into());
    }
    Some((method.into(), target.into(), headers, body))
}
