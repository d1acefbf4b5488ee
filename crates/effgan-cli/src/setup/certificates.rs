//! The CA of a federation and the certificate of its server: made, renewed, verified.

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys};
use time::{Duration, OffsetDateTime};

use super::host::Host;

/// Days for which the server's certificate is valid.
const SERVER_DAYS: i64 = 730;
/// Days for which the CA's certificate, which every kit holds, is valid.
const CA_DAYS: i64 = 3650;

/// A key and its certificate, as PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Makes a CA, and a certificate that it signs for `host` and for the machine's own loopback.
pub(super) fn make(host: &Host) -> Result<[Signed; 2]> {
    let [ca_key, server_key] = [KeyPair::generate()?, KeyPair::generate()?];
    let ca = Signed { certificate: ca()?.self_signed(&ca_key)?.pem(), key: ca_key.serialize_pem() };
    let key = server_key.serialize_pem();
    Ok([ca, Signed { certificate: sign(host, &server_key, &ca_key)?.pem(), key }])
}

/// Signs a new certificate for the key `server` by the same CA; all are PEM.
///
/// # Errors
/// When a file is not a key or a certificate, naming it, or `ca.key` does not belong to `ca.crt`.
pub(super) fn renew(host: &Host, server: &str, ca: &Signed) -> Result<String> {
    let key = |pem: &str, name| KeyPair::from_pem(pem).with_context(|| format!("{name} is not a key"));
    let (server_key, ca_key) = (key(server, "server.key")?, key(&ca.key, "ca.key")?);
    let root = parsed("ca.crt", &ca.certificate)?;
    let certificate = sign(host, &server_key, &ca_key)?;
    verify_chain(certificate.der(), root).map_err(|error| anyhow!("ca.key is not the key of ca.crt ({error})"))?;
    Ok(certificate.pem())
}

/// Parses a certificate; `name` is its file.
///
/// # Errors
/// When the text is not a certificate.
pub(super) fn parsed(name: &str, pem: &str) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok().with_context(|| format!("{name} is not a certificate"))
}

/// Verifies `certificate` as a caller of `host` that trusts `root` would. Returns what is wrong, `None` when it is valid.
///
/// # Errors
/// When no certificate can be issued for the host.
pub(super) fn verify(host: &Host, certificate: &CertificateDer, root: CertificateDer) -> Result<Option<rustls::Error>> {
    let name = ServerName::try_from(host.to_string()).context("server.toml")?;
    let named = |()| verify_server_name(&ParsedCertificate::try_from(certificate)?, &name);
    Ok(verify_chain(certificate, root).and_then(named).err())
}

/// Whether `key`, as PEM, is the private key of the certificate.
///
/// # Errors
/// When the text is not a key that TLS can use.
pub(super) fn belongs_to_key(certificate: CertificateDer<'static>, key: &str) -> Result<bool> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok().context("is not a key")?;
    match CertifiedKey::from_der(vec![certificate], key, &ring::default_provider()) {
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Ok(false),
        found => found.map(|_| true).context("is not a key for TLS"),
    }
}

/// What is wrong with the dates of a CA's certificate, if anything. A handshake ignores them, but Flower's processes check them.
pub(super) fn date_error(ca: &CertificateDer) -> Option<CertificateError> {
    // rustls checks the dates first: a CA in force fails later, for not being a server's certificate.
    match verify_chain(ca, ca.clone()) {
        Err(rustls::Error::InvalidCertificate(
            error @ (CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }),
        )) => Some(error),
        _ => None,
    }
}

/// Verifies that `root` has signed `certificate` and that both are in force.
fn verify_chain(certificate: &CertificateDer, root: CertificateDer) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let certificate = ParsedCertificate::try_from(certificate)?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], UnixTime::now(), algorithms)
}

fn ca() -> Result<CertificateParams> {
    let mut ca = named("CA", Vec::new(), CA_DAYS)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(ca)
}

fn sign(host: &Host, server_key: &KeyPair, ca_key: &KeyPair) -> Result<rcgen::Certificate> {
    let host = host.to_string();
    let local = ["localhost", "127.0.0.1"].map(str::to_owned).into_iter().filter(|local| *local != host);
    let hosts = std::iter::once(host.clone()).chain(local).collect();
    // Any caller sees the certificate, so its names do not tell what runs here. The host is in the subject alternative names only: a common
    // name has at most 64 characters.
    let mut server = named("server", hosts, SERVER_DAYS)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    Ok(server.signed_by(server_key, &Issuer::new(ca()?, ca_key))?)
}

fn named(name: &str, hosts: Vec<String>, days: i64) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    // A day back: not every site's clock is right.
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(days));
    Ok(params)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

    use super::*;

    /// A TLS handshake in memory: whether a client that trusts the CA accepts the server's certificate for `host`.
    fn shake_hands(host: &Host, [ca, server]: &[Signed; 2]) -> Result<(), rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(server.key.as_bytes()).unwrap();
        let server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(vec![der(&server.certificate)], key)?;
        let mut roots = RootCertStore::empty();
        roots.add(der(&ca.certificate))?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_string()).unwrap();
        let (mut client, mut server) =
            (ClientConnection::new(client.into(), name)?, ServerConnection::new(server.into())?);
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets()?;
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn a_certificate_reveals_no_more_than_host_and_dates() {
        let [ca, server] = make(&"fl.hospital.example".parse().unwrap()).unwrap();
        for signed in [ca, server] {
            let der = CertificateDer::from_pem_slice(signed.certificate.as_bytes()).unwrap();
            let text = String::from_utf8_lossy(&der).to_lowercase();
            assert!(["effgan", "federat", "flower"].iter().all(|word| !text.contains(word)), "{text}");
        }
    }

    #[test]
    fn a_certificate_belongs_to_its_own_key_and_no_other() {
        let [ca, server] = make(&"fl.hospital.example".parse().unwrap()).unwrap();
        let certificate = parsed("server.crt", &server.certificate).unwrap();
        assert!(belongs_to_key(certificate.clone(), &server.key).unwrap());
        assert!(!belongs_to_key(certificate.clone(), &ca.key).unwrap());
        assert!(belongs_to_key(certificate, &server.certificate).is_err());
    }

    #[test]
    fn a_ca_is_refused_before_its_first_day_and_after_its_last() {
        let self_signed = |[from, to]: [i64; 2]| {
            let (mut params, now) = (ca().unwrap(), OffsetDateTime::now_utc());
            (params.not_before, params.not_after) = (now + Duration::days(from), now + Duration::days(to));
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        assert!(date_error(&self_signed([-1, 1])).is_none());
        let error = |days| format!("{:?}", date_error(&self_signed(days)).unwrap());
        assert!(error([-9, -1]).starts_with("Expired"));
        assert!(error([1, 9]).starts_with("NotValidYet"));
    }

    #[test]
    fn a_site_accepts_the_certificate_of_any_kind_of_host_and_of_no_other_host() {
        let longest = [&["x".repeat(63), "x".repeat(63), "x".repeat(63)].join("."), "example"].join(".");
        let other: Host = "another.example".parse().unwrap();
        for host in
            ["fl.hospital.example", "server", "localhost", &longest, "10.0.0.25", "127.0.0.1", "2001:db8::1", "::1"]
        {
            let host: Host = host.parse().unwrap();
            let signed = make(&host).unwrap();
            shake_hands(&host, &signed).unwrap();
            assert!(shake_hands(&other, &signed).is_err(), "{host}");
            // Flower's processes on the server call it by this address.
            shake_hands(&"127.0.0.1".parse().unwrap(), &signed).unwrap();
        }
    }
}
