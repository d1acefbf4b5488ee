//! What is wrong with certificates, and whether Flower's `SuperLink` answers behind the gate.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustls::CertificateError;
use rustls::pki_types::CertificateDer;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::super::certificates;
use super::super::host::Host;
use super::super::keys::LOCAL;
use super::super::server::Server;
use super::{right, wrong};
use effgan_run::failure::{Failure, Result};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the certificate of the server in `folder` as a site would.
pub(super) fn certificate(folder: &Path, server: &Server) -> Result<()> {
    let of = |name: &str| Ok::<_, Failure>(certificates::parsed(name, &read(&folder.join(name))?)?);
    let (own, ca) = (of("server.crt")?, of("ca.crt")?);
    if let Some(error) = certificates::is_out_of_date(&ca) {
        let why = "ca.crt, which all sites have, is not valid today; if this machine's clock is right, it takes a new federation";
        return wrong("certificate", &format!("{why} (effgan federation init): {error:?}"));
    }
    match certificates::is_taken(&server.host, &own, ca)? {
        None => {}
        Some(rustls::Error::InvalidCertificate(error)) => {
            return wrong("certificate", &format!("{}: {error:?}", why(&error)));
        }
        Some(error) => return wrong("certificate", &format!("the server's certificate is not usable: {error}")),
    }
    if !is_of_key(&folder.join("server.key"), own)? {
        let why = "server.key is not the key of server.crt; effgan federation renew makes a certificate for it";
        return wrong("certificate", why);
    }
    right("certificate", &format!("sites take it for {}", server.host));
    Ok(())
}

/// Checks what the processes of the site whose kit is `folder` know each other by.
pub(super) fn loopback(folder: &Path) -> Result<()> {
    let [path, key] = LOCAL.map(|name| folder.join(name));
    let host: Host = "127.0.0.1".parse().expect("an address");
    let certificate = certificates::parsed(LOCAL[0], &read(&path)?);
    let found = certificate.map_err(|error| error.to_string()).and_then(|certificate| {
        let taken = certificates::is_taken(&host, &certificate, certificate.clone());
        match taken.map_err(|error| error.to_string())? {
            Some(error) => Err(error.to_string()),
            None => Ok(certificate),
        }
    });
    let said = match found.map(|certificate| is_of_key(&key, certificate)) {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => format!("{} is not its key", key.display()),
        Ok(Err(failure)) => failure.line(),
        Err(said) => said,
    };
    let todo = "move it, local.key, key and key.pub away, run effgan federation join, and put key and key.pub back in the place of the new ones";
    wrong("certificate", &format!("{} is not usable between this site's processes ({said}); {todo}", path.display()))
}

/// Whether the file `key` holds the key of the certificate.
fn is_of_key(key: &Path, certificate: CertificateDer<'static>) -> Result<bool> {
    let found = certificates::is_of_key(certificate, &read(key)?);
    Ok(found.with_context(|| format!("certificate: {}", key.display()))?)
}

fn read(path: &Path) -> Result<String> {
    effgan_run::config::read(path).map_err(|error| Failure::usage(anyhow!("certificate: {}: {error}", path.display())))
}

/// What rustls found, as it is to be understood here.
fn why(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the server's certificate is not signed by the ca.crt that sites have"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another name than the kits call it by"
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

/// Checks that the `SuperLink` answers to this machine.
pub(super) fn superlink(folder: &Path, server: &Server) -> Result<()> {
    let address = format!("127.0.0.1:{}", server.superlink_port);
    let pem = read(&folder.join("ca.crt"))?;
    let Ok(root) = Certificate::from_pem(pem.as_bytes()) else {
        return wrong("superlink", &format!("{} is no certificate", folder.join("ca.crt").display()));
    };
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
    // No proxy is asked for this machine itself.
    let config = ureq::Agent::config_builder().tls_config(tls).proxy(None).timeout_global(Some(PATIENCE)).build();
    match ureq::Agent::new_with_config(config).get(format!("https://{address}/health")).call() {
        Ok(_) => {
            right("superlink", &format!("{address} answers, to this machine alone"));
            Ok(())
        }
        Err(error) => wrong(
            "superlink",
            &format!("{address} does not answer: {error}; {} starts it", folder.join("start.sh").display()),
        ),
    }
}
