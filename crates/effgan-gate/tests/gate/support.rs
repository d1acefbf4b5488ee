//! A federation in a folder: keys, certificates, a gate that runs, a `SuperLink` that writes down what reaches it, and sites that call.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use effgan_data::ClientName;
use effgan_gate::decide::Identity;
use effgan_gate::wire::{
    ActivateNodeRequest, Empty, FlowerMessage, Metadata, Node, NodeId, ObjectTree, PullMessagesRequest,
    PullMessagesResponse, PushMessagesRequest, RegisterNodeRequest,
};
use effgan_gate::{
    Bundle, Destination, ForwardConfig, Forwarder, Gate, GateConfig, Limits, MAX_QUESTION, Place, SITES, Sites, call,
    client_identity, loopback_certificate,
};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn name(name: &str) -> ClientName {
    ClientName::new(name).expect("a name")
}

/// A site's key as `join` makes it.
pub fn new_key() -> PrivateKey {
    PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }).expect("a key")
}

pub fn openssh(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).expect("a key is written").to_string()
}

pub fn identity(key: &PrivateKey) -> Identity {
    Identity::new(name("north"), key.public_key(), 1 << 30)
}

/// The certificates of a server.
pub fn certificates(folder: &Path, host: &str) {
    let (ca_key, key) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = ca.self_signed(&ca_key).expect("a CA");
    let server = CertificateParams::new([host.to_owned()]).expect("a host");
    let server = server.signed_by(&key, &Issuer::new(ca, &ca_key)).expect("a certificate");
    for (name, text) in [("ca.crt", root.pem()), ("server.crt", server.pem()), ("server.key", key.serialize_pem())] {
        std::fs::write(folder.join(name), text).expect("a file");
    }
}

/// Waits for something to come true.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What a gate or a forwarder said.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Vec<String>>>);

impl Said {
    pub fn say(&self) -> effgan_gate::Say {
        let said = Arc::clone(&self.0);
        Arc::new(move |line: &str| said.lock().expect("lines").push(line.to_owned()))
    }

    pub fn count(&self, words: &str) -> usize {
        self.0.lock().expect("lines").iter().filter(|line| line.contains(words)).count()
    }

    pub fn all(&self) -> String {
        self.0.lock().expect("lines").join("\n")
    }
}

/// Something that runs in a thread until it is dropped.
pub struct Running {
    pub address: SocketAddr,
    pub said: Said,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    pub fn gate(config: GateConfig) -> Self {
        let said = Said::default();
        let gate = Gate::bind(config, said.say()).expect("a gate");
        let address = gate.address().expect("an address");
        Self::start(address, said, move |stop| gate.run(stop).expect("the gate ends well"))
    }

    pub fn forwarder(config: ForwardConfig) -> Self {
        let said = Said::default();
        let forwarder = Forwarder::bind(config, said.say()).expect("a forwarder");
        let address = forwarder.address().expect("an address");
        Self::start(address, said, move |stop| forwarder.run(stop).expect("the forwarder ends well"))
    }

    fn start(address: SocketAddr, said: Said, run: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || run(&flag)));
        Self { address, said, stop, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()), "it ended in a panic");
    }
}

/// A server's folder with two sites, `north` and `south`, both admitted, its `SuperLink` and its gate.
pub struct Lab {
    // The first to end: it writes into the folder.
    pub gate: Running,
    pub superlink: SuperLink,
    pub folder: tempfile::TempDir,
    pub north: PrivateKey,
    pub south: PrivateKey,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        certificates(folder.path(), "127.0.0.1");
        let (north, south) = (new_key(), new_key());
        let mut sites = Sites::default();
        for (site, key) in [("north", &north), ("south", &south)] {
            sites.add(name(site)).expect("a new name");
            sites.admit(&name(site), key.public_key()).expect("a new key");
        }
        sites.add(name("west")).expect("a new name");
        sites.write(&folder.path().join(SITES)).expect("a list");
        let superlink = SuperLink::start(folder.path(), 0);
        let gate = Running::gate(gate_config(folder.path(), superlink.port, limits));
        Self { gate, superlink, folder, north, south }
    }

    pub fn sites(&self) -> PathBuf {
        self.folder.path().join(SITES)
    }

    pub fn edit(&self, edit: impl FnOnce(&mut Sites)) {
        let mut sites = Sites::read(&self.sites()).expect("a list");
        edit(&mut sites);
        sites.write(&self.sites()).expect("it is written");
    }

    pub fn north(&self) -> Site {
        Site::connect(self.gate.address, self.folder.path(), &self.north)
    }

    pub fn south(&self) -> Site {
        Site::connect(self.gate.address, self.folder.path(), &self.south)
    }

    pub fn kit(&self, key: &PrivateKey) -> tempfile::TempDir {
        kit(self.folder.path(), key)
    }

    pub fn destination(&self, kit: &Path, key: &PrivateKey) -> Destination {
        destination(kit, key, self.gate.address.port())
    }

    pub fn forward(&self, kit: &Path, key: &PrivateKey) -> ForwardConfig {
        forward(kit, key, self.gate.address.port())
    }
}

/// A kit of the site with this key, in a folder of its own.
pub fn kit(server: &Path, key: &PrivateKey) -> tempfile::TempDir {
    let kit = tempfile::tempdir().expect("a folder");
    std::fs::copy(server.join("ca.crt"), kit.path().join("ca.crt")).expect("a copy");
    let (certificate, local) = loopback_certificate().expect("a certificate");
    for (file, text) in [("key", openssh(key)), ("local.crt", certificate), ("local.key", local)] {
        std::fs::write(kit.path().join(file), text).expect("a file");
    }
    kit
}

/// The way of the site with this key to the gate.
pub fn destination(kit: &Path, key: &PrivateKey, port: u16) -> Destination {
    let server = Place { host: "127.0.0.1".into(), port };
    let identity = client_identity(&openssh(key)).expect("an identity");
    Destination { server, ca: kit.join("ca.crt"), identity, proxy: None }
}

pub fn forward(kit: &Path, key: &PrivateKey, port: u16) -> ForwardConfig {
    let bundle = Bundle::new(BUNDLE_SHA256).expect("a hash");
    let destination = destination(kit, key, port);
    ForwardConfig { kit: kit.to_owned(), port: 0, destination, bundle, max_question: MAX_QUESTION }
}

/// `printf bundle | sha256sum`
pub const BUNDLE: &[u8] = b"bundle";
pub const BUNDLE_SHA256: &str = "1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc";

pub fn gate_config(folder: &Path, superlink_port: u16, limits: Limits) -> GateConfig {
    let address = Some(std::net::Ipv4Addr::LOCALHOST.into());
    GateConfig { folder: folder.to_owned(), address, port: 0, superlink_port, limits }
}

/// A request or an answer.
#[derive(Clone, Debug, Default)]
pub struct Http {
    /// Its first line.
    pub line: String,
    /// By name in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Http {
    pub fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line")
    }

    pub fn path(&self) -> &str {
        self.line.split(' ').nth(1).expect("a request line")
    }

    /// `None` at the end of the stream.
    pub fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut http = Self::default();
        if stream.read_line(&mut http.line)? == 0 {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            http.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = http.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        http.body = vec![0; length];
        stream.read_exact(&mut http.body)?;
        Ok(Some(http))
    }
}

/// One connection of a site, or of whoever has this key.
pub struct Site {
    pub stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    pub header: String,
    pub pem: Vec<u8>,
}

/// A client's side of TLS.
pub fn caller(
    ca: &Path,
    key: Option<&PrivateKey>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(ca).expect("a CA");
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).expect("TLS");
    let builder = builder.with_root_certificates(roots);
    let Some(key) = key else { return builder.with_no_client_auth() };
    let (certificate, key) = self_signed(key);
    builder.with_client_auth_cert(vec![certificate], key).expect("a key")
}

/// One who shows the certificate of `shown`, and signs with a key of his own.
pub fn impostor(ca: &Path, shown: &PrivateKey, own: &PrivateKey) -> ClientConfig {
    let mut config = caller(ca, Some(own), &[&rustls::version::TLS13]);
    let (certificate, _) = self_signed(shown);
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&self_signed(own).1).expect("a key");
    let shows = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate], key));
    config.client_auth_cert_resolver = Arc::new(shows);
    config
}

/// Not by the code under test.
fn self_signed(key: &PrivateKey) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    use p384::pkcs8::EncodePrivateKey;
    let ssh_key::private::KeypairData::Ecdsa(pair) = key.key_data() else { panic!("an ECDSA key") };
    let secret = p384::SecretKey::from_slice(pair.private_key_bytes()).expect("a scalar");
    let der = PrivatePkcs8KeyDer::from(secret.to_pkcs8_der().expect("DER").as_bytes().to_vec());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    let certificate = CertificateParams::default().self_signed(&pair).expect("a certificate");
    (certificate.der().clone(), der.into())
}

pub fn tls(address: SocketAddr, config: ClientConfig) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(address).expect("a port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    let server = ServerName::try_from("127.0.0.1").expect("an address");
    StreamOwned::new(ClientConnection::new(Arc::new(config), server).expect("a client"), stream)
}

impl Site {
    pub fn connect(address: SocketAddr, folder: &Path, key: &PrivateKey) -> Self {
        let config = caller(&folder.join("ca.crt"), Some(key), &[&rustls::version::TLS13]);
        Self::over(tls(address, config), key)
    }

    /// As a `SuperNode` calls its forwarder.
    pub fn through(forwarder: SocketAddr, kit: &Path, key: &PrivateKey) -> Self {
        let config = caller(&kit.join("local.crt"), None, &[&rustls::version::TLS13]);
        Self::over(tls(forwarder, config), key)
    }

    pub fn over(stream: StreamOwned<ClientConnection, TcpStream>, key: &PrivateKey) -> Self {
        let identity = identity(key);
        Self { stream: BufReader::new(stream), header: identity.header().into(), pem: identity.pem().into() }
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    pub fn read(&mut self) -> io::Result<Http> {
        Http::read(&mut self.stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The lines of a request before its body.
    pub fn head(&self, method: &str, path: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/protobuf\r\nflwr-public-key: {}\r\nflwr-timestamp: now\r\nflwr-signature: it\r\ncookie: a=b\r\nx-forwarded-for: 10.0.0.1\r\ncontent-length: {length}\r\n\r\n",
            self.header
        )
    }

    pub fn try_post(&mut self, path: &str, body: &[u8]) -> io::Result<Http> {
        let head = self.head("POST", path, body.len());
        self.write(&[head.as_bytes(), body].concat())?;
        self.read()
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> Http {
        self.try_post(path, body).expect("an answer")
    }

    pub fn call(&mut self, call: call::Call, request: &impl Message) -> Http {
        self.post(call.path(), &request.encode_to_vec())
    }

    /// Its number.
    pub fn activate(&mut self) -> u64 {
        let request = ActivateNodeRequest { public_key: self.pem.clone(), heartbeat_interval: 30.0 };
        let answer = self.call(call::Call::ActivateNode, &request);
        assert_eq!(answer.status(), 200, "it is activated");
        NodeId::decode(&answer.body[..]).expect("a number").node_id
    }

    pub fn pull(&mut self, node: u64) -> PullMessagesResponse {
        let answer = self.call(
            call::Call::PullMessages,
            &PullMessagesRequest { node: Some(Node { node_id: node }), message_ids: vec![] },
        );
        assert_eq!(answer.status(), 200, "it pulls");
        PullMessagesResponse::decode(&answer.body[..]).expect("messages")
    }
}

/// 64 hexadecimal digits.
pub fn object_id(number: u64) -> String {
    format!("{number:064x}")
}

/// A message of the server with this type, whose objects are `objects`.
pub fn question(message_type: &str, id: u64, node: u64, objects: &[u64]) -> PullMessagesResponse {
    let metadata = Metadata {
        run_id: 7,
        message_id: object_id(id),
        src_node_id: 1,
        dst_node_id: node,
        message_type: message_type.into(),
        ttl: 100.0,
        ..Metadata::default()
    };
    let message = FlowerMessage { metadata: Some(metadata), content: Some(Empty {}), error: None };
    PullMessagesResponse { messages_list: vec![message], message_object_trees: vec![tree(id, objects)] }
}

/// The answer to such a message.
pub fn answer(message_type: &str, to: u64, node: u64, objects: &[u64]) -> PushMessagesRequest {
    let metadata = Metadata {
        run_id: 7,
        src_node_id: node,
        dst_node_id: 1,
        reply_to_message_id: object_id(to),
        message_type: message_type.into(),
        ttl: 100.0,
        ..Metadata::default()
    };
    let message = FlowerMessage { metadata: Some(metadata), content: Some(Empty {}), error: None };
    sealed(PushMessagesRequest {
        node: Some(Node { node_id: node }),
        messages_list: vec![message],
        message_object_trees: vec![tree(0, objects)],
        clientapp_runtime_list: vec![1.5],
    })
}

/// The request with the id that its message has.
pub fn sealed(mut request: PushMessagesRequest) -> PushMessagesRequest {
    let (message, tree) = (&mut request.messages_list[0], &mut request.message_object_trees[0]);
    tree.object_id = message.object_id(&tree.children);
    message.metadata.as_mut().expect("metadata").message_id.clone_from(&tree.object_id);
    request
}

fn tree(root: u64, objects: &[u64]) -> ObjectTree {
    let leaf = |id: &u64| ObjectTree { object_id: object_id(*id), children: vec![] };
    ObjectTree { object_id: object_id(root), children: objects.iter().map(leaf).collect() }
}

/// A `PushObjectRequest` as Flower writes it.
#[derive(Clone, PartialEq, Message)]
pub struct PushObject {
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    #[prost(uint64, tag = "2")]
    pub run_id: u64,
    #[prost(string, tag = "3")]
    pub object_id: String,
    #[prost(bytes = "vec", tag = "4")]
    pub object_content: Vec<u8>,
    #[prost(string, tag = "5")]
    pub session_id: String,
}

pub fn object(node: u64, id: u64, content: Vec<u8>) -> PushObject {
    let session_id = "session".into();
    PushObject {
        node: Some(Node { node_id: node }),
        run_id: 7,
        object_id: object_id(id),
        object_content: content,
        session_id,
    }
}

/// A `SuperLink` of the tests' own: it knows keys that it was told, hands out messages that it was given, and keeps what reached it.
pub struct SuperLink {
    pub port: u16,
    pub seen: Arc<Mutex<Vec<Http>>>,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<Vec<u8>, u64>,
    questions: BTreeMap<u64, VecDeque<PullMessagesResponse>>,
    answers: BTreeMap<String, Vec<u8>>,
    /// Its nodes have not said goodbye.
    still_here: bool,
}

impl SuperLink {
    pub fn start(folder: &Path, port: u16) -> Self {
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

    /// Hands `message` to the node when it asks next.
    pub fn asks(&self, node: u64, message: PullMessagesResponse) {
        self.state.lock().expect("state").questions.entry(node).or_default().push_back(message);
    }

    /// Answers a call with these bytes.
    pub fn says(&self, call: call::Call, bytes: Vec<u8>) {
        self.state.lock().expect("state").answers.insert(call.path().into(), bytes);
    }

    /// From now on its nodes count as connected, or no longer.
    pub fn counts_nodes_as_here(&self, still: bool) {
        self.state.lock().expect("state").still_here = still;
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen.lock().expect("requests").iter().map(|http| http.path().to_owned()).collect()
    }

    pub fn last(&self) -> Http {
        self.seen.lock().expect("requests").last().cloned().expect("a request")
    }

    pub fn count(&self) -> usize {
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
        let (status, body) = state.lock().expect("state").answer(&request);
        if request.body.len() > 1 << 16 {
            // Gigabytes pass in some tests.
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
    fn answer(&mut self, request: &Http) -> (u16, Vec<u8>) {
        if let Some(body) = self.answers.get(request.path()) {
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
                let id = self.nodes.get(&key).filter(|_| !self.still_here);
                id.map_or((412, vec![]), |id| (200, NodeId { node_id: *id }.encode_to_vec()))
            }
            "pull-messages" => {
                let node =
                    PullMessagesRequest::decode(&request.body[..]).expect("a request").node.expect("a node").node_id;
                let next = self.questions.get_mut(&node).and_then(VecDeque::pop_front);
                (200, next.map(|next| next.encode_to_vec()).unwrap_or_default())
            }
            _ => (200, vec![]),
        }
    }
}

/// All that is left on a stream.
pub fn rest(stream: &mut impl Read) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).err();
    (bytes, error)
}
