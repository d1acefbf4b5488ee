//! A client without a listed key receives no byte of HTTP.

use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use effgan_gate::Limits;
use rustls::ClientConfig;
use ssh_key::PrivateKey;

use crate::support::{
    Lab, NodeConnection, PATIENCE, client_config, impostor_config, new_key, read_rest, tls, wait_until,
};

const ASK: &[u8] = b"GET /health HTTP/1.1\r\nhost: gate\r\n\r\n";

/// The error that a client with this key, or none, receives instead of a response.
fn refusal(lab: &Lab, key: Option<&PrivateKey>) -> String {
    refused(lab, client_config(&lab.folder.path().join("ca.crt"), key, &[&rustls::version::TLS13]))
}

fn refused(lab: &Lab, config: ClientConfig) -> String {
    let mut stream = tls(lab.gate.address, config);
    let written = stream.write_all(ASK).and_then(|()| stream.flush());
    let (bytes, error) = read_rest(&mut BufReader::new(stream));
    assert_eq!(bytes, b"", "no byte of HTTP");
    written.err().or(error).expect("it is refused").to_string()
}

#[test]
fn a_stranger_with_the_ca_and_no_key_gets_no_byte() {
    let lab = Lab::new();
    assert!(refusal(&lab, None).contains("CertificateRequired"));
    assert_eq!(lab.superlink.count(), 0);
}

#[test]
fn a_stranger_with_an_unlisted_key_gets_no_byte() {
    let lab = Lab::new();
    assert!(refusal(&lab, Some(&new_key())).contains("AccessDenied"));
    assert_eq!(lab.superlink.count(), 0);
    wait_until("it is logged", || lab.gate.log.count("refused 127.0.0.1") == 1);
}

#[test]
fn a_listed_certificate_without_its_private_key_gets_no_byte() {
    // A certificate is not secret: its owner presents it to any server. What counts is the signature.
    let lab = Lab::new();
    let ca = lab.folder.path().join("ca.crt");
    assert!(refused(&lab, impostor_config(&ca, &lab.north, &new_key())).contains("AccessDenied"));
}

#[test]
fn only_its_owner_learns_whether_a_key_is_listed() {
    let lab = Lab::new();
    let ca = lab.folder.path().join("ca.crt");
    let [listed, unlisted] =
        [&lab.north, &new_key()].map(|shown| refused(&lab, impostor_config(&ca, shown, &new_key())));
    assert_eq!(listed, unlisted);
    assert_eq!(listed, refusal(&lab, Some(&new_key())), "an unlisted key of one's own is refused alike");
}

#[test]
fn tls_1_2_is_refused_even_with_a_listed_key() {
    let lab = Lab::new();
    let config = client_config(&lab.folder.path().join("ca.crt"), Some(&lab.north), &[&rustls::version::TLS12]);
    let mut stream = tls(lab.gate.address, config);
    let error = stream.write_all(ASK).expect_err("the handshake fails");
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[test]
fn plain_http_gets_no_byte_of_http() {
    let lab = Lab::new();
    let mut stream = TcpStream::connect(lab.gate.address).expect("a port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(ASK).expect("bytes are sent");
    let (bytes, _) = read_rest(&mut stream);
    // A TLS alert (21) at most.
    assert!(bytes.is_empty() || bytes[0] == 21, "{bytes:?}");
    assert!(bytes.len() < 16);
}

#[test]
fn a_stalled_handshake_ends() {
    let lab = Lab::with(Limits { handshake: Duration::from_millis(300), ..Limits::default() });
    let start = Instant::now();
    for first in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(lab.gate.address).expect("a port");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.write_all(first).expect("bytes are sent");
        assert_eq!(read_rest(&mut stream).0, b"");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_thousand_idle_strangers_do_not_keep_a_site_out() {
    let lab = Lab::new();
    let strangers: Vec<_> = (0..1000).map(|_| TcpStream::connect(lab.gate.address).expect("a port")).collect();
    let start = Instant::now();
    lab.north().activate();
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(strangers);
}

#[test]
fn strangers_do_not_disconnect_a_site() {
    let lab = Lab::new();
    let mut north = lab.north();
    let node = north.activate();
    let strangers: Vec<_> = (0..300).map(|_| TcpStream::connect(lab.gate.address).expect("a port")).collect();
    north.pull(node);
    drop(strangers);
}

#[test]
fn no_session_is_resumed() {
    // A resumed session would not prove its key again.
    let lab = Lab::new();
    let config = client_config(&lab.folder.path().join("ca.crt"), Some(&lab.north), &[&rustls::version::TLS13]);
    for _ in 0..3 {
        let mut stream = tls(lab.gate.address, config.clone());
        stream.write_all(ASK).expect("it is admitted");
        stream.flush().expect("it is sent");
        let mut stream = BufReader::new(stream);
        crate::support::Http::read(&mut stream).expect("an answer").expect("an answer");
        assert_eq!(stream.get_ref().conn.handshake_kind(), Some(rustls::HandshakeKind::Full));
    }
}

#[test]
fn a_site_that_is_not_admitted_is_refused() {
    let lab = Lab::new();
    let west = new_key();
    assert!(refusal(&lab, Some(&west)).contains("AccessDenied"));
    lab.edit(|sites| {
        assert!(sites.admit(&crate::support::name("west"), west.public_key()).expect("it is on the list"));
    });
    NodeConnection::connect(lab.gate.address, lab.folder.path(), &west).activate();
}
