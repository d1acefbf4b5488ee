//! Whether the gate lets a site in, and nobody else.

use std::path::Path;

use effgan_gate::{CertificateTrouble, Destination, Place, Trouble, client_identity, fingerprint, probe};
use ssh_key::LineEnding;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::super::keys::new_key;
use super::super::kit::Kit;
use super::super::server::Server;
use super::{right, wrong};
use effgan_run::failure::{Failure, Result};

/// Seconds that clocks may differ: Flower takes no message that was signed long ago.
const CLOCK: i64 = 60;

/// Shakes hands with the server by the site's own key.
pub(super) fn admits(folder: &Path, kit: &Kit) -> Result<()> {
    let destination = Destination::of_kit(folder, &kit.server).map_err(unusable)?;
    let server = &kit.server;
    match probe(&destination).map_err(unusable)? {
        Ok(date) => {
            right("port", &format!("{server} answers"));
            right("certificate", &format!("{server} is who it says"));
            clock(date.as_deref())?;
            right("admitted", &format!("{server} knows this site's key"));
            Ok(())
        }
        Err(Trouble::NotAdmitted) => {
            let why = format!(
                "{server} does not know this site's key: it was never admitted, or was removed. Send {} to the server's operator, and \
                 read them its fingerprint: {}",
                folder.join("key.pub").display(),
                fingerprint(&destination.identity.public)
            );
            wrong("admitted", &why)
        }
        Err(trouble) => not_reached(server, &trouble),
    }
}

/// Checks that the gate runs, and turns away a key that was made for this and is on no list.
pub(super) fn refuses_strangers(folder: &Path, server: &Server) -> Result<()> {
    let address = format!("127.0.0.1:{}", server.port);
    let key = new_key("stranger").and_then(|key| Ok(key.to_openssh(LineEnding::LF)?))?;
    let identity = client_identity(&key).map_err(unusable)?;
    let server = Place::parse(&address).map_err(unusable)?;
    let destination = Destination { server, ca: folder.join("ca.crt"), identity, proxy: None };
    match probe(&destination).map_err(unusable)? {
        Err(Trouble::NotAdmitted) => {
            right("gate", &format!("{address} answers, and turns away a key that is not on the list"));
            Ok(())
        }
        Ok(_) => {
            wrong("gate", &format!("{address} lets in a key that nobody admitted; is it effgan federation serve?"))
        }
        Err(trouble) => not_reached(&address, &trouble),
    }
}

fn not_reached<T>(server: &str, trouble: &Trouble) -> Result<T> {
    let (what, why) = match trouble {
        Trouble::Certificate(CertificateTrouble::OtherAuthority) => (
            "certificate",
            "the server's certificate is not signed by this kit's ca.crt; ask for a new kit, or it is another server".into(),
        ),
        Trouble::Certificate(CertificateTrouble::OtherName) => {
            ("certificate", "the server's certificate is for another name than the kit calls it by".into())
        }
        Trouble::Certificate(CertificateTrouble::Expired) => (
            "certificate",
            "the server's certificate has expired (effgan federation renew at the server), or this machine's clock is wrong".into(),
        ),
        Trouble::Certificate(CertificateTrouble::NotYet) => {
            ("certificate", "the server's certificate is not valid yet: this machine's clock is wrong".into())
        }
        Trouble::Certificate(CertificateTrouble::Unusable) => ("certificate", "the server's certificate is not usable".into()),
        Trouble::NoTls => ("port", format!("{server} answers, and is no gate of effgan's; are host and port right?")),
        Trouble::NotAdmitted => ("admitted", format!("{server} does not know the key")),
        Trouble::Unreachable(why) => (
            "port",
            format!("{server} does not answer: {why}; is the name right, does the server run, and does a firewall let this machine call it?"),
        ),
    };
    wrong(what, &why)
}

fn clock(date: Option<&str>) -> Result<()> {
    let Some(theirs) = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) else {
        return wrong("clock", "the server does not say what time it is");
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

fn unusable(error: effgan_gate::GateError) -> Failure {
    Failure::usage(error)
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
