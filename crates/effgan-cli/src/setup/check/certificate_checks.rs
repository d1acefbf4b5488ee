//! The server's certificate, and the one between a site's own processes.

use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_run::failure::{Failure, Result};
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;

use super::{right, wrong};
use crate::setup::certificates;
use crate::setup::host::Host;
use crate::setup::server_folder::ServerFolder;
use crate::setup::site_keys::LOCAL;

/// Checks the certificate of the server in `folder` as a site would.
pub(super) fn of_server(folder: &Path, server: &ServerFolder) -> Result<()> {
    let of = |name: &str| Ok::<_, Failure>(certificates::parsed(name, &read(&folder.join(name))?)?);
    let (own, ca) = (of("server.crt")?, of("ca.crt")?);
    if let Some(error) = certificates::date_error(&ca) {
        let why = "ca.crt, which all sites have, is not valid today; if this machine's clock is right, a new federation is needed";
        return wrong("certificate", &format!("{why} (effgan federation init): {error:?}"));
    }
    match certificates::verify(&server.host, &own, ca)? {
        None => {}
        Some(rustls::Error::InvalidCertificate(error)) => {
            return wrong("certificate", &format!("{}: {error:?}", why(&error)));
        }
        Some(error) => return wrong("certificate", &format!("the server's certificate is not usable: {error}")),
    }
    if !belongs_to_key(&folder.join("server.key"), own)? {
        let why = "server.key is not the key of server.crt; effgan federation renew makes a certificate for it";
        return wrong("certificate", why);
    }
    right("certificate", &format!("valid for {}", server.host));
    Ok(())
}

/// Checks the certificate between the processes of the site whose kit is `folder`.
pub(super) fn of_loopback(folder: &Path) -> Result<()> {
    let [path, key] = LOCAL.map(|name| folder.join(name));
    let host: Host = "127.0.0.1".parse().expect("an address");
    let certificate = certificates::parsed(LOCAL[0], &read(&path)?);
    let found = certificate.map_err(|error| error.to_string()).and_then(|certificate| {
        let verified = certificates::verify(&host, &certificate, certificate.clone());
        match verified.map_err(|error| error.to_string())? {
            Some(error) => Err(error.to_string()),
            None => Ok(certificate),
        }
    });
    let reason = match found.map(|certificate| belongs_to_key(&key, certificate)) {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => format!("{} is not its key", key.display()),
        Ok(Err(failure)) => failure.line(),
        Err(reason) => reason,
    };
    let todo = "move it, local.key, key and key.pub away, run effgan federation join, then replace the new key and key.pub by the old ones";
    wrong("certificate", &format!("{} cannot be used between this site's processes ({reason}); {todo}", path.display()))
}

/// Whether the file `key` holds the key of the certificate.
fn belongs_to_key(key: &Path, certificate: CertificateDer<'static>) -> Result<bool> {
    let found = certificates::belongs_to_key(certificate, &read(key)?);
    Ok(found.with_context(|| format!("certificate: {}", key.display()))?)
}

/// The text of a file of the folder.
pub(super) fn read(path: &Path) -> Result<String> {
    effgan_run::config::read(path).map_err(|error| Failure::usage(anyhow!("certificate: {}: {error}", path.display())))
}

/// rustls's error in words for the server operator.
fn why(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not signed by the ca.crt that sites have"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name than the one in the kits"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired (effgan federation renew at the server), or this machine's clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: this machine's clock is wrong"
        }
        _ => "the server's certificate is not usable",
    }
}
