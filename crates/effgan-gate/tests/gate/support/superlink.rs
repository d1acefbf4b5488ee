//! A fake `SuperLink`: it accepts the keys that were registered, hands out the messages it was given, and records its requests.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use effgan_gate::Endpoint;
use effgan_gate::wire::{ActivateNodeRequest, NodeId, PullMessagesRequest, PullMessagesResponse, RegisterNodeRequest};
use prost::Message;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::http::Http;

/// A running `SuperLink`.
pub(crate) struct SuperLink {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<Http>>>,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<Vec<u8>, u64>,
    messages: BTreeMap<u64, VecDeque<PullMessagesResponse>>,
    responses: BTreeMap<String, Vec<u8>>,
    /// Whether its nodes count as connected.
    nodes_connected: bool,
}

impl SuperLink {
    pub(crate) fn start(folder: &Path, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("an option");
        let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).expect("a key");
        let chain = vec![CertificateDer::from_pem_slice(&read("server.crt")).expect("a certificate")];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("TLS");
        let config = Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).expect("a certificate"));
        let (seen, state, stop) = (Arc::default(), Arc::<Mutex<State>>::default(), Arc::new(AtomicBool::new(false)));
        let (kept, shared, flag) = (Arc::clone(&seen), Arc::clone(&state), Arc::clone(&stop));
        let accept = move || {
            while !flag.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let (config, kept, shared) = (Arc::clone(&config), Arc::clone(&kept), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, config, &kept, &shared));
            }
        };
        Self { port, seen, state, stop, thread: Some(std::thread::spawn(accept)) }
    }

    /// Queues a message for a node.
    pub(crate) fn queue(&self, node: u64, message: PullMessagesResponse) {
        self.state.lock().expect("state").messages.entry(node).or_default().push_back(message);
    }

    /// Makes it answer an endpoint with these bytes.
    pub(crate) fn set_response(&self, endpoint: Endpoint, bytes: Vec<u8>) {
        self.state.lock().expect("state").responses.insert(endpoint.path().into(), bytes);
    }

    /// Sets whether its nodes count as connected.
    pub(crate) fn set_nodes_connected(&self, connected: bool) {
        self.state.lock().expect("state").nodes_connected = connected;
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen.lock().expect("requests").iter().map(|http| http.path().to_owned()).collect()
    }

    pub(crate) fn last(&self) -> Http {
        self.seen.lock().expect("requests").last().cloned().expect("a request")
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().expect("requests").len()
    }
}

impl Drop for SuperLink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn serve(stream: TcpStream, config: Arc<ServerConfig>, seen: &Mutex<Vec<Http>>, state: &Mutex<State>) {
    stream.set_nonblocking(false).expect("an option");
    let connection = ServerConnection::new(config).expect("a server");
    let mut stream = BufReader::with_capacity(1 << 16, StreamOwned::new(connection, stream));
    while let Ok(Some(mut request)) = Http::read(&mut stream) {
        let (status, body) = state.lock().expect("state").respond(&request);
        if request.body.len() > 1 << 16 {
            // Some tests send gigabytes.
            request.body.truncate(1 << 16);
        }
        seen.lock().expect("requests").push(request);
        let head = format!(
            "HTTP/1.1 {status} It\r\ncontent-type: application/protobuf\r\nserver: superlink\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let written =
            stream.get_mut().write_all(&[head.as_bytes(), &body].concat()).and_then(|()| stream.get_mut().flush());
        if written.is_err() {
            return;
        }
    }
}

impl State {
    fn respond(&mut self, request: &Http) -> (u16, Vec<u8>) {
        if let Some(body) = self.responses.get(request.path()) {
            return (200, body.clone());
        }
        match request.path().rsplit('/').next().expect("a path") {
            "register-node" => {
                let key = RegisterNodeRequest::decode(&request.body[..]).expect("a key").public_key;
                let id = (1 << 63) + 11 * (self.nodes.len() as u64 + 1);
                if self.nodes.contains_key(&key) {
                    return (412, vec![]);
                }
                self.nodes.insert(key, id);
                (200, NodeId { node_id: id }.encode_to_vec())
            }
            "activate-node" => {
                let key = ActivateNodeRequest::decode(&request.body[..]).expect("a request").public_key;
                let id = self.nodes.get(&key).filter(|_| !self.nodes_connected);
                id.map_or((412, vec![]), |id| (200, NodeId { node_id: *id }.encode_to_vec()))
            }
            "pull-messages" => {
                let node =
                    PullMessagesRequest::decode(&request.body[..]).expect("a request").node.expect("a node").node_id;
                let next = self.messages.get_mut(&node).and_then(VecDeque::pop_front);
                (200, next.map(|next| next.encode_to_vec()).unwrap_or_default())
            }
            _ => (200, vec![]),
        }
    }
}
