//! The CA of a federation, and the certificate of its server.

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

/// For so long a certificate is good.
const DAYS: i64 = 730;

/// A key and its certificate, as PEM.
pub(super) struct Signed {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A CA of its own, and a certificate for `host` (a DNS name or an IP address) and for the machine itself.
pub(super) fn make(host: &str) -> Result<[Signed; 2]> {
    let mut ca = named("effgan federation CA", Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;

    let mut hosts = vec![host.to_owned()];
    hosts.extend(["localhost", "127.0.0.1"].map(str::to_owned).into_iter().filter(|local| local != host));
    let mut server = named(host, hosts)?;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.use_authority_key_identifier_extension = true;
    let server_key = KeyPair::generate()?;
    let certificate = server.signed_by(&server_key, &Issuer::from_params(&ca, &ca_key))?;
    Ok([
        Signed { certificate: ca_certificate.pem(), key: ca_key.serialize_pem() },
        Signed { certificate: certificate.pem(), key: server_key.serialize_pem() },
    ])
}

fn named(name: &str, hosts: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    // Clocks of sites are not all right to the minute.
    (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(DAYS));
    Ok(params)
}
