//! What is wrong with the server's certificate, and whether Flower's `SuperLink` answers behind the gate.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use rustls::CertificateError;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::super::certificates;
use super::super::server::Server;
use super::{right, wrong};
use crate::failure::{Failure, Result};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks the certificate of the server in `folder` as a site would.
pub(super) fn certificate(folder: &Path, server: &Server) -> Result<()> {
    let text = |name: &str| read(&folder.join(name));
    let found = certificates::is_taken(&server.host, &text("server.crt")?, &text("ca.crt")?);
    match found? {
        None => {
            right("certificate", &format!("sites take it for {}", server.host));
            Ok(())
        }
        Some(rustls::Error::InvalidCertificate(error)) => wrong("certificate", &format!("{}: {error:?}", why(&error))),
        Some(error) => wrong("certificate", &format!("the server's certificate is not usable: {error}")),
    }
}

fn read(path: &Path) -> Result<String> {
    crate::config::read(path).map_err(|error| Failure::usage(anyhow!("certificate: {}: {error}", path.display())))
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
