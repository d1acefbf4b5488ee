//! `effgan federation check`: whether all is right, or in one line what is not.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use effgan_data::{DatasetConfig, DatasetName};
use rustls::CertificateError;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::flower::{self, FLWR};
use super::keys::KEY;
use super::kit::{self, SITE};
use super::server::{self, address};
use crate::failure::{Failure, Result};
use crate::output::say;

/// Whose folder is checked.
#[derive(Debug)]
pub struct Side {
    /// A kit, or the server's folder.
    pub folder: PathBuf,
    /// For a site: where its images lie, and what they are.
    pub data: Option<(PathBuf, DatasetName)>,
}

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Seconds that clocks may differ: Flower takes no message that was signed long ago.
const CLOCK: i64 = 60;

/// Says of each thing that it is right, until one is not.
///
/// # Errors
/// The first thing that is wrong, with what to do.
pub fn check(side: &Side) -> Result<()> {
    let folder = &side.folder;
    let (server, version, is_kit) = if folder.join(SITE).is_file() {
        let kit = kit::read(folder)?;
        (kit.server, kit.effgan, true)
    } else {
        let server = server::read(folder)?;
        (address("127.0.0.1", server.port), server.effgan, false)
    };
    versions(&version)?;
    if is_kit {
        key(folder)?;
    }
    if let Some((data, name)) = &side.data {
        images(data, *name)?;
    }
    port(&server)?;
    let date = certificate(&server, &folder.join("ca.crt"))?;
    clock(date.as_deref())
}

fn versions(wanted: &str) -> Result<()> {
    let ours = env!("CARGO_PKG_VERSION");
    if ours != wanted {
        return wrong(
            "wheel",
            &format!("effgan here is {ours}, and the federation's is {wanted}; pip install effgan=={wanted}"),
        );
    }
    let flwr = flower::version()?;
    if !flower::is_tested(&flwr) {
        return wrong(
            "wheel",
            &format!("flwr here is {flwr}, which effgan was not tested with; pip install \"{FLWR}\""),
        );
    }
    right("wheel", &format!("effgan {ours}, flwr {flwr}"));
    Ok(())
}

fn key(kit: &Path) -> Result<()> {
    let path = kit.join(KEY);
    let Ok(about) = fs::metadata(&path) else {
        return wrong("key", &format!("there is none; effgan federation join {} makes it", kit.display()));
    };
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return wrong("key", &format!("others can read it (mode {mode:o}); chmod 600 {}", path.display()));
    }
    right("key", "readable by its owner alone");
    Ok(())
}

fn images(data: &Path, name: DatasetName) -> Result<()> {
    let config = DatasetConfig { dir: Some(data.into()), size: Some(32), channels: Some(3), ..DatasetConfig::of(name) };
    let dataset = config.load().map_err(|error| Failure::from(error).context("data"))?;
    let (train, test) = (dataset.train.len(), dataset.test.len());
    right("data", &format!("{} images of {} classes in {}", train + test, dataset.train.num_classes(), data.display()));
    Ok(())
}

fn port(server: &str) -> Result<()> {
    let places = match server.to_socket_addrs() {
        Ok(places) => places.collect::<Vec<_>>(),
        Err(error) => {
            return wrong("port", &format!("{server} has no address: {error}; is the name right, and DNS reachable?"));
        }
    };
    let mut last = None;
    for place in places {
        match TcpStream::connect_timeout(&place, PATIENCE) {
            Ok(_) => {
                right("port", &format!("{server} answers"));
                return Ok(());
            }
            Err(error) => last = Some(error),
        }
    }
    let what_to_do = match last.as_ref().map(std::io::Error::kind) {
        Some(ErrorKind::ConnectionRefused) => "start the server there",
        _ => "a firewall must let this machine call it",
    };
    let why = last.map_or_else(|| "no address".into(), |error| error.to_string());
    wrong("port", &format!("{server} does not answer: {why}; {what_to_do}"))
}

/// Calls the server by TLS and answers with the date that it says.
fn certificate(server: &str, ca: &Path) -> Result<Option<String>> {
    let pem = fs::read(ca).map_err(|error| Failure::usage(anyhow!("certificate: {}: {error}", ca.display())))?;
    let Ok(root) = Certificate::from_pem(&pem) else {
        return wrong("certificate", &format!("{} is no certificate", ca.display()));
    };
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
    let config = ureq::Agent::config_builder().tls_config(tls).timeout_global(Some(PATIENCE)).build();
    match ureq::Agent::new_with_config(config).get(format!("https://{server}/health")).call() {
        Ok(answer) => {
            right("certificate", &format!("{server} is who it says"));
            Ok(answer.headers().get("date").and_then(|date| date.to_str().ok()).map(str::to_owned))
        }
        Err(error) => wrong("certificate", &format!("{}: {error}", why(&error))),
    }
}

/// What rustls found, as it is to be understood here.
fn why(error: &ureq::Error) -> &'static str {
    let ureq::Error::Io(error) = error else { return "no TLS with the server" };
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "the server's certificate is not signed by this kit's ca.crt; ask for a new kit, or it is another server"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "the server's certificate is for another name than the kit calls it by"
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "the server's certificate has expired (effgan federation renew at the server), or this machine's clock is wrong"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "the server's certificate is not valid yet: this machine's clock is wrong"
            }
            _ => "the server's certificate is not usable",
        },
        _ => "no TLS with the server",
    }
}

fn clock(date: Option<&str>) -> Result<()> {
    let Some(theirs) = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) else {
        return wrong("clock", "the server does not say what time it is; is it Flower's SuperLink?");
    };
    let apart = (OffsetDateTime::now_utc() - theirs).whole_seconds();
    if apart.abs() > CLOCK {
        let how = if apart > 0 { "ahead of" } else { "behind" };
        return wrong(
            "clock",
            &format!(
                "this machine's is {} s {how} the server's, more than {CLOCK}; set it, by NTP at best",
                apart.abs()
            ),
        );
    }
    right("clock", &format!("within {CLOCK} s of the server's"));
    Ok(())
}

fn right(what: &str, said: &str) {
    say(format!("{what:<12} ok: {said}"));
}

fn wrong<T>(what: &str, why: &str) -> Result<T> {
    Err(Failure::from(anyhow!("{what}: {why}")))
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    #[test]
    fn clocks_may_differ_by_a_minute() {
        let said = |seconds: i64| {
            let date = (OffsetDateTime::now_utc() + Duration::seconds(seconds)).format(&Rfc2822).unwrap();
            clock(Some(&date)).err().map(|failure| failure.line())
        };
        assert_eq!((said(0), said(30), said(-30)), (None, None, None));
        let behind = said(600).unwrap();
        assert!(
            behind.starts_with("clock: this machine's is ") && behind.contains(" s behind the server's"),
            "{behind}"
        );
        assert!(said(-600).unwrap().contains(" s ahead of the server's, more than 60; set it"));
        assert!(clock(Some("Thu, 26 Nov 2026 16:33:54 GMT")).is_err() && clock(None).is_err());
    }
}
