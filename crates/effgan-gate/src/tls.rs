//! The TLS 1.3 configurations of gate and forwarder, and the verifier that admits the keys of the list.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
};

use crate::client_identity::ClientIdentity;
use crate::error::GateError;
use crate::small_file;
use crate::watched_sites::WatchedSites;

/// Maximum number of bytes of a file with a certificate or a key.
const MAX_BYTES: u64 = 64 << 10;

/// Admits clients whose key is on the list; the rest of their certificate is ignored.
#[derive(Debug)]
struct ListedKeys {
    sites: Arc<WatchedSites>,
    provider: Arc<CryptoProvider>,
}

/// The `SubjectPublicKeyInfo` of a certificate.
pub(crate) fn spki(certificate: &CertificateDer) -> Option<Vec<u8>> {
    Some(ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info().to_vec())
}

impl ClientCertVerifier for ListedKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Accepts any certificate. Certificates are not secret: if the list were consulted before the client has proved that it owns the key, a
    /// stranger could learn which keys are on it.
    fn verify_client_cert(
        &self,
        certificate: &CertificateDer,
        _: &[CertificateDer],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        spki(certificate).ok_or(CertificateError::BadEncoding)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not supported".into()))
    }

    /// Refuses a wrong signature and a key that is not on the list with the same error.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let refused = || CertificateError::ApplicationVerificationFailure;
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls13_signature(message, certificate, signed, algorithms).map_err(|_| refused())?;
        let key = spki(certificate).ok_or_else(refused)?;
        let is_listed = self.sites.current().by_key(&key).is_some();
        is_listed.then_some(valid).ok_or_else(|| refused().into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP384_SHA384]
    }
}

/// The gate's configuration: `server.crt` and `server.key` of the server folder, and the list.
pub(crate) fn gate(folder: &Path, sites: Arc<WatchedSites>) -> Result<ServerConfig, GateError> {
    let verifier = Arc::new(ListedKeys { sites, provider: provider() });
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(|error| GateError::tls("TLS 1.3", &error))?.with_client_cert_verifier(verifier);
    let mut config = with_own_certificate(builder, &folder.join("server.crt"), &folder.join("server.key"))?;
    // No session is resumed: it would not prove its key again, and a removed site could come back through it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The forwarder's configuration as a server on 127.0.0.1.
pub(crate) fn loopback(certificate: &Path, key: &Path) -> Result<ServerConfig, GateError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(|error| GateError::tls("TLS 1.3", &error))?.with_no_client_auth();
    with_own_certificate(builder, certificate, key)
}

fn with_own_certificate(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ServerConfig, GateError> {
    let wrong = |path: &Path, what| GateError::Content { path: path.to_owned(), reason: format!("not a {what}") };
    let pem = small_file::read(key, MAX_BYTES)?;
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong(key, "private key"))?;
    let chain = certificates(certificate)?;
    builder.with_single_cert(chain, private).map_err(|error| GateError::tls(&certificate.display().to_string(), &error))
}

/// A client's configuration: trusts `ca` alone, and authenticates by `identity` if there is one.
pub(crate) fn client(ca: &Path, identity: Option<&ClientIdentity>) -> Result<ClientConfig, GateError> {
    let wrong = |error| GateError::tls(&ca.display().to_string(), &error);
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(wrong)?;
    }
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(|error| GateError::tls("TLS 1.3", &error))?.with_root_certificates(roots);
    let Some(ClientIdentity { certificate, key, .. }) = identity else { return Ok(builder.with_no_client_auth()) };
    let config = builder.with_client_auth_cert(vec![certificate.clone()], key.clone_key());
    config.map_err(|error| GateError::tls("the site's key", &error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, GateError> {
    let wrong = || GateError::Content { path: path.to_owned(), reason: "not a certificate".into() };
    let pem = small_file::read(path, MAX_BYTES)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(wrong)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
