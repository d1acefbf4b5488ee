//! A node's connection to the gate or to a forwarder, and clients that should be refused.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use effgan_gate::Endpoint;
use effgan_gate::wire::{ActivateNodeRequest, Node, NodeId, PullMessagesRequest, PullMessagesResponse};
use prost::Message;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use ssh_key::PrivateKey;

use super::http::Http;
use super::{PATIENCE, identity};

/// A connection that authenticates with a key.
pub(crate) struct NodeConnection {
    pub stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    pub header: String,
    pub pem: Vec<u8>,
}

/// A client's TLS configuration.
pub(crate) fn client_config(
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

/// The TLS configuration of a client that presents the certificate of `shown` and signs with its `own` key.
pub(crate) fn impostor_config(ca: &Path, shown: &PrivateKey, own: &PrivateKey) -> ClientConfig {
    let mut config = client_config(ca, Some(own), &[&rustls::version::TLS13]);
    let (certificate, _) = self_signed(shown);
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&self_signed(own).1).expect("a key");
    let shows = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(vec![certificate], key));
    config.client_auth_cert_resolver = Arc::new(shows);
    config
}

/// A self-signed certificate, made without the code under test.
fn self_signed(key: &PrivateKey) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    use p384::pkcs8::EncodePrivateKey;
    let ssh_key::private::KeypairData::Ecdsa(pair) = key.key_data() else { panic!("an ECDSA key") };
    let secret = p384::SecretKey::from_slice(pair.private_key_bytes()).expect("a scalar");
    let der = PrivatePkcs8KeyDer::from(secret.to_pkcs8_der().expect("DER").as_bytes().to_vec());
    let pair = KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
    let certificate = CertificateParams::default().self_signed(&pair).expect("a certificate");
    (certificate.der().clone(), der.into())
}

pub(crate) fn tls(address: SocketAddr, config: ClientConfig) -> StreamOwned<ClientConnection, TcpStream> {
    let stream = TcpStream::connect(address).expect("a port");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    let server = ServerName::try_from("127.0.0.1").expect("an address");
    StreamOwned::new(ClientConnection::new(Arc::new(config), server).expect("a client"), stream)
}

impl NodeConnection {
    pub(crate) fn connect(address: SocketAddr, folder: &Path, key: &PrivateKey) -> Self {
        let config = client_config(&folder.join("ca.crt"), Some(key), &[&rustls::version::TLS13]);
        Self::over(tls(address, config), key)
    }

    /// Connects as a `SuperNode` does to its forwarder.
    pub(crate) fn through(forwarder: SocketAddr, kit: &Path, key: &PrivateKey) -> Self {
        let config = client_config(&kit.join("local.crt"), None, &[&rustls::version::TLS13]);
        Self::over(tls(forwarder, config), key)
    }

    pub(crate) fn over(stream: StreamOwned<ClientConnection, TcpStream>, key: &PrivateKey) -> Self {
        let identity = identity(key);
        Self { stream: BufReader::new(stream), header: identity.header().into(), pem: identity.pem().into() }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    pub(crate) fn read(&mut self) -> io::Result<Http> {
        Http::read(&mut self.stream)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// The head of a request.
    pub(crate) fn head(&self, method: &str, path: &str, length: usize) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/protobuf\r\nflwr-public-key: {}\r\nflwr-timestamp: now\r\nflwr-signature: it\r\ncookie: a=b\r\nx-forwarded-for: 10.0.0.1\r\ncontent-length: {length}\r\n\r\n",
            self.header
        )
    }

    pub(crate) fn try_post(&mut self, path: &str, body: &[u8]) -> io::Result<Http> {
        let head = self.head("POST", path, body.len());
        self.write(&[head.as_bytes(), body].concat())?;
        self.read()
    }

    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Http {
        self.try_post(path, body).expect("an answer")
    }

    pub(crate) fn call(&mut self, endpoint: Endpoint, request: &impl Message) -> Http {
        self.post(endpoint.path(), &request.encode_to_vec())
    }

    /// Activates the node, and returns its id.
    pub(crate) fn activate(&mut self) -> u64 {
        let request = ActivateNodeRequest { public_key: self.pem.clone(), heartbeat_interval: 30.0 };
        let answer = self.call(Endpoint::ActivateNode, &request);
        assert_eq!(answer.status(), 200, "it is activated");
        NodeId::decode(&answer.body[..]).expect("a number").node_id
    }

    pub(crate) fn pull(&mut self, node: u64) -> PullMessagesResponse {
        let answer = self.call(
            Endpoint::PullMessages,
            &PullMessagesRequest { node: Some(Node { node_id: node }), message_ids: vec![] },
        );
        assert_eq!(answer.status(), 200, "it pulls");
        PullMessagesResponse::decode(&answer.body[..]).expect("messages")
    }
}
