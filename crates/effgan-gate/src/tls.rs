//! TLS 1.3 as both sides speak it: who is let in, and what went wrong in words.

use std::error::Error;
use std::io;
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
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme,
};

use crate::error::GateError;
use crate::file;
use crate::identity::ClientIdentity;
use crate::sites::Watched;

/// Most bytes of a certificate or a key in a file.
const MOST: u64 = 64 << 10;

/// Lets in who has a key of the list, whatever else the certificate says.
#[derive(Debug)]
struct Listed {
    sites: Arc<Watched>,
    provider: Arc<CryptoProvider>,
}

/// The `SubjectPublicKeyInfo` of a certificate.
pub(crate) fn spki(certificate: &CertificateDer) -> Option<Vec<u8>> {
    Some(ParsedCertificate::try_from(certificate).ok()?.subject_public_key_info().to_vec())
}

impl ClientCertVerifier for Listed {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    /// Whoever shows a certificate may go on. Certificates are no secret: the list is asked when he has proved that its key is his, or a
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
        Err(rustls::Error::General("TLS 1.2 is not spoken here".into()))
    }

    /// A signature that is wrong and a key that is not on the list are the same refusal.
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

/// The gate's side: `server.crt` and `server.key` of the server's folder, and the list.
pub(crate) fn gate(folder: &Path, sites: Arc<Watched>) -> Result<ServerConfig, GateError> {
    let verifier = Arc::new(Listed { sites, provider: provider() });
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(|error| GateError::tls("TLS 1.3", &error))?.with_client_cert_verifier(verifier);
    let mut config = own(builder, &folder.join("server.crt"), &folder.join("server.key"))?;
    // A session that is resumed would not show its key again, and a site that was removed would come in by it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The forwarder's side on 127.0.0.1.
pub(crate) fn loopback(certificate: &Path, key: &Path) -> Result<ServerConfig, GateError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13]);
    let builder = builder.map_err(|error| GateError::tls("TLS 1.3", &error))?.with_no_client_auth();
    own(builder, certificate, key)
}

fn own(
    builder: rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ServerConfig, GateError> {
    let wrong = |path: &Path, what| GateError::Content { path: path.to_owned(), reason: format!("it is no {what}") };
    let pem = file::read(key, MOST)?;
    let private = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong(key, "private key"))?;
    let chain = certificates(certificate)?;
    builder.with_single_cert(chain, private).map_err(|error| GateError::tls(&certificate.display().to_string(), &error))
}

/// One who calls: trusts `ca` alone, and says who it is where it has an `identity`.
pub(crate) fn caller(ca: &Path, identity: Option<&ClientIdentity>) -> Result<ClientConfig, GateError> {
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
    let wrong = || GateError::Content { path: path.to_owned(), reason: "it is no certificate".into() };
    let pem = file::read(path, MOST)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(wrong)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Why a call did not come through.
#[derive(Clone, Debug, PartialEq)]
pub enum Trouble {
    /// The gate does not know this site's key.
    NotAdmitted,
    /// The server's certificate is not one to trust.
    Certificate(CertificateTrouble),
    /// Somebody answers, and speaks no TLS 1.3.
    NoTls,
    /// Nobody answers, or no proxy lets the call through; in the system's words.
    Unreachable(String),
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateTrouble {
    /// It has ended, or a clock is wrong.
    Expired,
    /// It is not good yet, or a clock is wrong.
    NotYet,
    /// It was signed by another than the kit's `ca.crt`.
    OtherAuthority,
    /// It is for another name than the one that was called.
    OtherName,
    /// Anything else.
    Unusable,
}

impl Trouble {
    /// What `error`, or whatever is behind it, means.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        match tls_error(error) {
            Some(rustls::Error::AlertReceived(AlertDescription::AccessDenied)) => Self::NotAdmitted,
            Some(rustls::Error::InvalidCertificate(error)) => Self::Certificate(CertificateTrouble::of(error)),
            Some(
                rustls::Error::InvalidMessage(_)
                | rustls::Error::PeerIncompatible(_)
                | rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
            ) => Self::NoTls,
            _ => Self::Unreachable(innermost(error)),
        }
    }
}

impl CertificateTrouble {
    fn of(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYet,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::OtherAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
            _ => Self::Unusable,
        }
    }
}

fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and what is behind it, also inside of an [`io::Error`].
pub(crate) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| behind(*error))
}

fn behind<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>() {
        Some(outer) => outer.get_ref().map(|inner| inner as &(dyn Error + 'static)),
        None => error.source(),
    }
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
