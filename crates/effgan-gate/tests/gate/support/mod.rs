//! A federation in a folder: keys, certificates, a running gate, a `SuperLink` that records what reaches it, and nodes that connect.

mod http;
mod lab;
mod messages;
mod node;
mod running;
mod superlink;

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use effgan_data::ClientName;
use effgan_gate::request_check::SiteIdentity;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

pub(crate) use self::http::Http;
pub(crate) use self::lab::{BUNDLE, BUNDLE_SHA256, Lab, forwarder_config, gate_config, make_kit};
pub(crate) use self::messages::{PushObject, message, object, object_id, reply, sealed};
pub(crate) use self::node::{NodeConnection, client_config, impostor_config, tls};
pub(crate) use self::running::Running;
pub(crate) use self::superlink::SuperLink;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn name(name: &str) -> ClientName {
    ClientName::new(name).expect("a name")
}

/// A site's key, as `effgan federation join` makes it.
pub(crate) fn new_key() -> PrivateKey {
    PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }).expect("a key")
}

pub(crate) fn openssh(key: &PrivateKey) -> String {
    key.to_openssh(LineEnding::LF).expect("a key is written").to_string()
}

pub(crate) fn identity(key: &PrivateKey) -> SiteIdentity {
    SiteIdentity::new(name("north"), key.public_key(), 1 << 30)
}

/// Writes the certificates of a CA and a server, and the server's key.
pub(crate) fn make_certificates(folder: &Path, host: &str) {
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

/// Waits until `is_true`.
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within 10 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads a stream to its end.
pub(crate) fn read_rest(stream: &mut impl Read) -> (Vec<u8>, Option<io::Error>) {
    let mut bytes = Vec::new();
    let error = stream.read_to_end(&mut bytes).err();
    (bytes, error)
}
