//! The gate's check of requests, the entry counts, and the forwarder's checks of responses.

use effgan_data::ClientName;
use effgan_gate::entry_count::EntryCounts;
use effgan_gate::request_check::node_state::NodeState;
use effgan_gate::request_check::{
    Accepted, Effect, MAX_AROUND_CONTENT, Request, SiteIdentity, Verdict, is_object_tail,
};
use effgan_gate::wire::{
    ActivateNodeRequest, ConfirmMessageReceivedRequest, FlowerMessage, GetFabRequest, GetRunRequest, Metadata,
    Node as WireNode, NodeId, ObjectTree, PullMessagesRequest, PullMessagesResponse, PullObjectRequest,
    PushMessagesRequest, PushObjectHead, SendNodeHeartbeatRequest,
};
use effgan_gate::{Bundle, Endpoint, check_fab, check_request, check_run, public_key};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use prost::Message;

/// Flower's id of the site's node.
const NODE: u64 = 5;
/// The site's key: `flwr-public-key: KEY` in a request stands for it.
const KEY: &str = include_str!("../../crates/effgan-gate/tests/fixtures/north.pub");
/// Maximum number of bytes of a reply.
const MAX_REPLY: u64 = 1000;

/// Takes the bytes for a request (head and body) of a site that has pulled message 1 (with object 2) and announced a reply (with object 4);
/// then for a message whose entries are counted, and for a server's response.
pub fn check(bytes: &[u8]) {
    let site =
        SiteIdentity::new(ClientName::new("north").expect("a name"), &public_key(KEY).expect("a key"), MAX_REPLY);
    if let Some((method, target, headers, body)) = request(bytes, &site) {
        let node = busy(&site);
        let request = Request { method: &method, target: &target, headers: &headers, body };
        match check_request(&site, &node, &request) {
            Verdict::Accept(accepted) => {
                assert_eq!((method.as_str(), target.as_str()), ("POST", accepted.endpoint.path()));
                assert_eq!(headers.get("flwr-public-key").map(HeaderValue::as_bytes), Some(site.header().as_bytes()));
                is_its_own(&site, &accepted, body);
            }
            Verdict::Refuse(refusal) => assert!([400, 401, 403, 404].contains(&refusal.status.as_u16())),
        }
    }
    if let (Some(counts), Ok(request)) = (EntryCounts::of(bytes), PushMessagesRequest::decode(bytes)) {
        let objects = request.message_object_trees.iter().flat_map(ObjectTree::ids).count();
        assert_eq!((counts.messages, counts.objects), (request.messages_list.len(), objects));
    }
    let bundle = Bundle::new(&"0".repeat(64)).expect("a hash");
    assert!(check_fab(bytes, &bundle).is_err(), "no bytes have this hash");
    let _ = check_run(bytes);
}

/// Checks that an accepted request is from this node, to the server, and that Flower reads what was checked.
fn is_its_own(site: &SiteIdentity, accepted: &Accepted, body: &[u8]) {
    let its = |node: Option<WireNode>| assert_eq!(node.map(|node| node.node_id), Some(NODE));
    let sent = &accepted.body[..];
    match accepted.endpoint {
        Endpoint::ActivateNode => assert_eq!(again::<ActivateNodeRequest>(sent).public_key, site.pem().as_bytes()),
        Endpoint::DeactivateNode => assert_eq!(again::<NodeId>(sent).node_id, NODE),
        Endpoint::SendNodeHeartbeat => its(again::<SendNodeHeartbeatRequest>(sent).node),
        Endpoint::PullMessages => its(again::<PullMessagesRequest>(sent).node),
        Endpoint::GetRun => its(again::<GetRunRequest>(sent).node),
        Endpoint::GetFab => its(again::<GetFabRequest>(sent).node),
        Endpoint::PullObject => {
            let request = again::<PullObjectRequest>(sent);
            its(request.node);
            assert!([id(1), id(2)].contains(&request.object_id), "the message itself or its object");
        }
        Endpoint::ConfirmMessageReceived => {
            let request = again::<ConfirmMessageReceivedRequest>(sent);
            its(request.node);
            assert_eq!(request.message_object_id, id(1));
        }
        Endpoint::PushMessages => {
            let request = again::<PushMessagesRequest>(sent);
            its(request.node);
            let about = request.messages_list[0].metadata.as_ref().expect("metadata");
            assert_eq!((request.messages_list.len(), about.src_node_id, about.dst_node_id), (1, NODE, 1));
            assert_eq!((&about.reply_to_message_id, about.message_type.as_str()), (&id(1), "train"));
            assert_eq!(about.message_id, request.messages_list[0].object_id(&request.message_object_trees[0].children));
        }
        Endpoint::PushObject => {
            let Effect::Object { content, tail, .. } = accepted.effect else { panic!("an object") };
            assert!(
                content > 0 && content <= MAX_REPLY && tail <= MAX_AROUND_CONTENT && sent.len() <= MAX_AROUND_CONTENT
            );
            assert!(body.starts_with(sent), "the head is as it came");
            let end = sent.len() + content as usize;
            if body.len() == end + tail && is_object_tail(&body[end..]) {
                // As Flower reads it: of a repeated field the last one counts.
                let whole = PushObjectHead::decode(body).expect("an object");
                its(whole.node);
                assert_eq!(whole.run_id, 7);
                assert!(reply().message_object_trees[0].ids().any(|announced| announced == whole.object_id));
            }
        }
    }
}

fn again<M: Message + Default>(sent: &[u8]) -> M {
    let read = M::decode(sent).expect("what is passed on can be read");
    assert_eq!(read.encode_to_vec(), sent, "and has one meaning");
    read
}

/// A node that has announced a reply.
fn busy(site: &SiteIdentity) -> NodeState {
    let mut node = NodeState::default();
    node.activate(NODE);
    let told = Metadata {
        run_id: 7,
        message_id: id(1),
        src_node_id: 1,
        dst_node_id: NODE,
        message_type: "train".into(),
        ..Metadata::default()
    };
    let told = FlowerMessage { metadata: Some(told), content: None, error: None };
    node.pull(&PullMessagesResponse { messages_list: vec![told], message_object_trees: vec![tree(id(1), 2)] });
    let body = reply().encode_to_vec();
    let mut headers = HeaderMap::new();
    headers.insert("flwr-public-key", HeaderValue::from_str(site.header()).expect("base64"));
    headers.insert(CONTENT_LENGTH, body.len().into());
    let request = Request { method: "POST", target: Endpoint::PushMessages.path(), headers: &headers, body: &body };
    let Verdict::Accept(Accepted { effect: Effect::Reply(reply), .. }) = check_request(site, &node, &request) else {
        panic!("an honest reply passes")
    };
    node.announce(reply);
    node
}

/// The node's reply to message 1, with object 4.
fn reply() -> PushMessagesRequest {
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
        node: Some(WireNode { node_id: NODE }),
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

/// The first line, the headers and the body; a content-length is added where no header has one.
fn request<'a>(bytes: &'a [u8], site: &SiteIdentity) -> Option<Parts<'a>> {
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
