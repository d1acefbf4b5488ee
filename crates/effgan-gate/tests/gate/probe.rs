//! The probe of `effgan federation check`: whether the gate would accept a site.

use std::net::TcpListener;

use effgan_gate::{CertificateProblem, ConnectError, ServerAddress, probe};

use crate::support::{Lab, make_certificates, name, new_key};

#[test]
fn a_probe_of_an_admitted_site_returns_the_servers_time() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let date =
        probe(&lab.destination(kit.path(), &lab.north)).expect("a kit").expect("it is admitted").expect("a date");
    assert!(date.ends_with("GMT"), "{date}");
    assert_eq!(lab.superlink.count(), 0, "nothing reaches Flower");
}

#[test]
fn a_probe_of_an_unknown_site_is_refused() {
    let lab = Lab::new();
    let stranger = new_key();
    let kit = lab.kit(&stranger);
    // Every time with the same error.
    for _ in 0..10 {
        assert_eq!(probe(&lab.destination(kit.path(), &stranger)).expect("a kit"), Err(ConnectError::NotAdmitted));
    }
    lab.edit(|sites| assert!(sites.admit(&name("west"), stranger.public_key()).expect("it is on the list")));
    assert!(probe(&lab.destination(kit.path(), &stranger)).expect("a kit").is_ok());
}

#[test]
fn a_probe_distinguishes_another_ca_from_another_name() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let mut destination = lab.destination(kit.path(), &lab.north);
    destination.server.host = "localhost".into();
    let result = probe(&destination).expect("a kit");
    assert_eq!(result, Err(ConnectError::Certificate(CertificateProblem::OtherName)));
    make_certificates(kit.path(), "127.0.0.1");
    let result = probe(&lab.destination(kit.path(), &lab.north)).expect("a kit");
    assert_eq!(result, Err(ConnectError::Certificate(CertificateProblem::OtherAuthority)));
}

#[test]
fn a_probe_distinguishes_a_port_without_tls_from_a_closed_one() {
    let lab = Lab::new();
    let kit = lab.kit(&lab.north);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut destination = lab.destination(kit.path(), &lab.north);
    destination.server.port = listener.local_addr().expect("an address").port();
    let answers = std::thread::spawn(move || {
        use std::io::Write;
        let (mut stream, _) = listener.accept().expect("a call");
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").expect("it is sent");
        let mut bytes = [0; 1024];
        let _ = std::io::Read::read(&mut stream, &mut bytes);
    });
    assert_eq!(probe(&destination).expect("a kit"), Err(ConnectError::NoTls));
    answers.join().expect("it answered");
    assert!(matches!(probe(&destination).expect("a kit"), Err(ConnectError::Unreachable(_))));
}

#[test]
fn a_server_address_is_a_host_and_a_port() {
    for (text, host, port) in
        [("fl.example:9000", "fl.example", 9000), ("10.0.0.1:1", "10.0.0.1", 1), ("[::1]:65535", "::1", 65535)]
    {
        let address = ServerAddress::parse(text).expect(text);
        assert_eq!((address.host.as_str(), address.port), (host, port));
        assert_eq!(address.to_string(), text);
    }
    for text in ["fl.example", "fl.example:0", "::1:8000", "...:80", "a b:80", ":80", "fl.example:65536", "x/y:80"] {
        assert!(ServerAddress::parse(text).is_err(), "{text}");
    }
}
