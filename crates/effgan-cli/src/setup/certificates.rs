//! The CA of a federation, and the certificate of its server.

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use time::{Duration, OffsetDateTime};

/// For so long the server's certificate is good, and the CA's, which all sites hold.
const SERVER_DAYS: i64 = 730;
const CA_DAYS: i64 = 3650;

/// A key and its certificate, as PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A CA of its own, and a certificate for `host` (a DNS name or an IP address) and for the machine itself.
pub(super) fn make(host: &str) -> Result<[Signed; 2]> {
    let [ca_key, server_key] = [KeyPair::generate()?, KeyPair::generate()?];
    let ca = Signed { certificate: ca()?.self_signed(&ca_key)?.pem(), key: ca_key.serialize_pem() };
    let key = server_key.serialize_pem();
    Ok([ca, Signed { certificate: sign(host, &server_key, &ca_key)?.pem(), key }])
}

/// A new certificate for the `server`'s key, by the same CA. All are PEM.
///
/// # Errors
/// A file that is no key or no certificate, by its name; a CA whose certificate does not stand for what its key signs.
pub(super) fn renew(host: &str, server: &str, ca: &Signed) -> Result<String> {
    let key = |pem: &str, name| KeyPair::from_pem(pem).with_context(|| format!("{name} is no key"));
    let (server_key, ca_key) = (key(server, "server.key")?, key(&ca.key, "ca.key")?);
    let root = CertificateDer::from_pem_slice(ca.certificate.as_bytes()).ok().context("ca.crt is no certificate")?;
    let certificate = sign(host, &server_key, &ca_key)?;
    is_trusted(certificate.der(), root).map_err(|error| anyhow!("ca.key is not the key of ca.crt ({error})"))?;
    Ok(certificate.pem())
}

/// Whether a site that holds `root` takes the `certificate`.
fn is_trusted(certificate: &CertificateDer, root: CertificateDer) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(root)?;
    let certificate = ParsedCertificate::try_from(certificate)?;
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&certificate, &roots, &[], UnixTime::now(), algorithms)
}

fn ca() -> Result<CertificateParams> {
    let mut ca = named("effgan federation CA", Vec::new(), CA_DAYS)?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(ca)
}

fn sign(host: &str, server_key: &KeyPair, ca_key: &KeyPair) -> Result<rcgen::Certificate> {
    let mut hosts = vec![host.to_owned()];
    hosts.extend(["localhost", "127.0.0.1"].map(str::to_owned).into_iter().filter(|local| local != host));
    let mut server = named(host, hosts, SERVER_DAYS)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    Ok(server.signed_by(server_key, &Issuer::new(ca()?, ca_key))?)
}

fn named(name: &str, hosts: Vec<String>, days: i64) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    // Clocks of sites are not all right to the minute.
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(days));
    Ok(params)
}
