//! The forwarder's connection to the server: refused, lost, through a proxy.

use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;

use effgan_gate::wire::{Node, PullMessagesRequest};
use effgan_gate::{Endpoint, Proxy, loopback_certificate};

use crate::support::{Http, Lab, NodeConnection, Running, name, new_key};

#[test]
fn a_site_may_be_started_before_it_is_admitted() {
    let lab = Lab::new();
    let west = new_key();
    let kit = lab.kit(&west);
    let forwarder = Running::forwarder(lab.forwarder_config(kit.path(), &west));
    let mut node = NodeConnection::through(forwarder.address, kit.path(), &west);
    let request = PullMessagesRequest { node: Some(Node { node_id: 1 }), message_ids: vec![] };
    for _ in 0..3 {
        assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 503);
    }
    let line = "the server does not accept this site's key";
    assert_eq!(forwarder.log.count(line), 1, "once: {}", forwarder.log.all());
    assert_eq!(forwarder.log.count(&effgan_gate::fingerprint(west.public_key())), 1);
    lab.edit(|sites| assert!(sites.admit(&name("west"), west.public_key()).expect("it is on the list")));
    node.activate();
    assert_eq!(forwarder.log.count("connected to 127.0.0.1"), 1);
}

#[test]
fn a_removed_site_receives_401_through_its_forwarder() {
    let lab = Lab::new();
    let (_kit, forwarder, mut node) = lab.north_through_forwarder();
    let id = node.activate();
    lab.edit(|sites| sites.remove(&name("north")).expect("it is there"));
    let request = PullMessagesRequest { node: Some(Node { node_id: id }), message_ids: vec![] };
    assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 401);
    assert_eq!(forwarder.log.count("no longer accepts this site's key"), 1);
    assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 503, "its next handshake fails");
}

#[test]
fn without_a_gate_the_node_retries() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let mut config = lab.forwarder_config(kit.path(), &lab.north);
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    config.destination.server.port = free;
    let forwarder = Running::forwarder(config);
    let mut node = NodeConnection::through(forwarder.address, kit.path(), &lab.north);
    let request = PullMessagesRequest { node: Some(Node { node_id: 1 }), message_ids: vec![] };
    assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 503);
    assert_eq!(forwarder.log.count("cannot connect to"), 1);
}

#[test]
fn a_server_with_another_ca_than_the_kits_is_refused() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    crate::support::make_certificates(kit.path(), "127.0.0.1");
    let forwarder = Running::forwarder(lab.forwarder_config(kit.path(), &lab.north));
    let mut node = NodeConnection::through(forwarder.address, kit.path(), &lab.north);
    let request = PullMessagesRequest { node: Some(Node { node_id: 1 }), message_ids: vec![] };
    assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 503);
    assert_eq!(forwarder.log.count("not signed by this kit's ca.crt"), 1, "{}", forwarder.log.all());
}

/// A proxy that accepts one login and sends each request to the receiver.
fn proxy(wanted: &'static str) -> (u16, mpsc::Receiver<Http>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a call");
            let request = Http::read(&mut BufReader::new(stream.try_clone().expect("a stream")))
                .expect("lines")
                .expect("a request");
            let is_known = request.headers.get("proxy-authorization").map(String::as_str) == Some(wanted);
            let place = request.path().to_owned();
            // The test may be over.
            let _ = sender.send(request);
            if !is_known {
                let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(refusal).expect("it is sent");
                continue;
            }
            let mut server = std::net::TcpStream::connect(place).expect("the server");
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("it is sent");
            let (mut back, mut there) = (server.try_clone().expect("a stream"), stream.try_clone().expect("a stream"));
            std::thread::spawn(move || std::io::copy(&mut back, &mut there));
            std::thread::spawn(move || std::io::copy(&mut stream, &mut server));
        }
    });
    (port, receiver)
}

#[test]
fn a_site_behind_a_proxy_connects_through_it() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    // printf 'site:p@ss' | base64
    let (port, asked) = proxy("Basic c2l0ZTpwQHNz");
    let mut config = lab.forwarder_config(kit.path(), &lab.north);
    config.destination.proxy = Some(Proxy::parse(&format!("http://site:p%40ss@127.0.0.1:{port}")).expect("a proxy"));
    let forwarder = Running::forwarder(config);
    NodeConnection::through(forwarder.address, kit.path(), &lab.north).activate();
    let request = asked.recv().expect("a request");
    assert_eq!(request.line, format!("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", lab.gate.address.port()));
}

#[test]
fn a_refusing_proxy_is_named_in_the_log() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let (port, _asked) = proxy("Basic c2l0ZTpwQHNz");
    let mut config = lab.forwarder_config(kit.path(), &lab.north);
    config.destination.proxy = Some(Proxy::parse(&format!("http://127.0.0.1:{port}")).expect("a proxy"));
    let forwarder = Running::forwarder(config);
    let mut node = NodeConnection::through(forwarder.address, kit.path(), &lab.north);
    let request = PullMessagesRequest { node: Some(Node { node_id: 1 }), message_ids: vec![] };
    assert_eq!(node.call(Endpoint::PullMessages, &request).status(), 503);
    assert_eq!(forwarder.log.count(&format!("the proxy 127.0.0.1:{port} answers 407")), 1, "{}", forwarder.log.all());
}

#[test]
fn python_accepts_the_loopback_certificate_even_when_strict() {
    let Ok(python) = std::env::var("PYTHON").or_else(|_| which("python3")) else { return };
    let (certificate, key) = loopback_certificate().expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [("local.crt", certificate), ("local.key", key)] {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let script = "\
import socket, ssl, threading
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain('local.crt', 'local.key')
for strict in (0, ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_STRICT | getattr(ssl, 'VERIFY_X509_PARTIAL_CHAIN', 0)):
    listener = socket.create_server(('127.0.0.1', 0))
    def answer():
        stream, _ = listener.accept()
        server.wrap_socket(stream, server_side=True).sendall(b'hello')
    threading.Thread(target=answer, daemon=True).start()
    context = ssl.create_default_context(cafile='local.crt')
    context.verify_flags |= strict
    stream = context.wrap_socket(socket.create_connection(listener.getsockname()), server_hostname='127.0.0.1')
    assert stream.recv(5) == b'hello'
print('accepted')
";
    let mut child = Command::new(python)
        .current_dir(folder.path())
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    child.stdin.take().expect("it was piped").write_all(script.as_bytes()).expect("it is sent");
    let mut output = String::new();
    child.stdout.take().expect("it was piped").read_to_string(&mut output).expect("text");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(output, "accepted\n");
}

/// The path of a program.
fn which(program: &str) -> Result<String, std::env::VarError> {
    let path = std::env::var("PATH")?;
    let found =
        path.split(':').map(|folder| format!("{folder}/{program}")).find(|file| std::path::Path::new(file).exists());
    found.ok_or(std::env::VarError::NotPresent)
}
