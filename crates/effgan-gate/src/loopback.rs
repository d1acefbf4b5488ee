//! The certificate with which a site's own processes authenticate each other on 127.0.0.1.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use crate::error::GateError;

/// Days for which the certificate is valid.
const LOOPBACK_DAYS: i64 = 3650;

/// Makes a certificate for 127.0.0.1 and its key, both PEM. It is root and leaf in one, which Python accepts even with `VERIFY_X509_STRICT`.
///
/// # Errors
/// [`GateError::Tls`] when no key can be made.
pub fn loopback_certificate() -> Result<(String, String), GateError> {
    let make = || -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "effgan loopback");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let now = OffsetDateTime::now_utc();
        (params.not_before, params.not_after) = (now - Duration::days(1), now + Duration::days(LOOPBACK_DAYS));
        Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
    };
    make().map_err(|error| GateError::tls("the certificate for 127.0.0.1", &error))
}
