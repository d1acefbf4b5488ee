//! A call to the gate: whether it accepts this site's key, or refuses an unknown one.

use std::path::Path;

use effgan_gate::{ConnectError, Destination, ServerAddress, client_identity, fingerprint, probe};
use effgan_run::failure::{Failure, Result};
use ssh_key::LineEnding;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::{right, wrong};
use crate::setup::server_folder::ServerFolder;
use crate::setup::site_keys::new_key;
use crate::setup::site_kit::SiteKit;

/// Seconds by which two clocks may differ: Flower rejects messages that were signed too long ago.
const MAX_CLOCK_DIFFERENCE: i64 = 60;

/// Calls the server with the site's key.
pub(super) fn accepts_site(folder: &Path, kit: &SiteKit) -> Result<()> {
    let destination = Destination::of_kit(folder, &kit.server).map_err(unusable)?;
    let server = &kit.server;
    match probe(&destination).map_err(unusable)? {
        Ok(date) => {
            right("port", &format!("{server} answers"));
            right("certificate", &format!("{server}'s certificate verified"));
            clock(date.as_deref())?;
            right("admitted", &format!("{server} accepts this site's key"));
            Ok(())
        }
        Err(ConnectError::NotAdmitted) => {
            let why = format!(
                "{server} does not accept this site's key: it was never admitted, or was removed. Send {} to the server operator and \
                 read them its fingerprint: {}",
                folder.join("key.pub").display(),
                fingerprint(&destination.identity.public)
            );
            wrong("admitted", &why)
        }
        Err(error) => unreachable(server, &error),
    }
}

/// Checks that the gate runs and refuses a key that was made just now and is on no list.
pub(super) fn refuses_unknown_keys(folder: &Path, server: &ServerFolder) -> Result<()> {
    let address = format!("127.0.0.1:{}", server.port);
    let key = new_key("stranger").and_then(|key| Ok(key.to_openssh(LineEnding::LF)?))?;
    let identity = client_identity(&key).map_err(unusable)?;
    let server = ServerAddress::parse(&address).map_err(unusable)?;
    let destination = Destination { server, ca: folder.join("ca.crt"), identity, proxy: None };
    match probe(&destination).map_err(unusable)? {
        Err(ConnectError::NotAdmitted) => {
            right("gate", &format!("{address} answers, and refuses a key that is not on the list"));
            Ok(())
        }
        Ok(_) => wrong(
            "gate",
            &format!("{address} accepts a key that was never admitted; is effgan federation serve what listens there?"),
        ),
        Err(error) => unreachable(&address, &error),
    }
}

fn unreachable<T>(server: &str, error: &ConnectError) -> Result<T> {
    let (check, why) = match error {
        ConnectError::Certificate(problem) => ("certificate", problem.message().to_owned()),
        ConnectError::NoTls => {
            ("port", format!("{server} answers, but not as effgan's gate; are host and port right?"))
        }
        ConnectError::NotAdmitted => ("admitted", format!("{server} does not accept the key")),
        ConnectError::Unreachable(why) => {
            let questions = "is the name right, is the server running, and does the firewall let this machine call it?";
            ("port", format!("{server} does not answer: {why}; {questions}"))
        }
    };
    wrong(check, &why)
}

/// Checks this machine's clock against the date of the server's response.
fn clock(date: Option<&str>) -> Result<()> {
    let Some(theirs) = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) else {
        return wrong("clock", "the server does not tell its time");
    };
    let apart = (OffsetDateTime::now_utc() - theirs).whole_seconds();
    if apart.abs() > MAX_CLOCK_DIFFERENCE {
        let how = if apart > 0 { "ahead of" } else { "behind" };
        return wrong(
            "clock",
            &format!(
                "this machine's clock is {} s {how} the server's, more than {MAX_CLOCK_DIFFERENCE} s; set it, preferably by NTP",
                apart.abs()
            ),
        );
    }
    right("clock", &format!("within {MAX_CLOCK_DIFFERENCE} s of the server's"));
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
        let error = |seconds: i64| {
            let date = (OffsetDateTime::now_utc() + Duration::seconds(seconds)).format(&Rfc2822).unwrap();
            clock(Some(&date)).err().map(|failure| failure.line())
        };
        assert_eq!((error(0), error(30), error(-30)), (None, None, None));
        let behind = error(600).unwrap();
        assert!(
            behind.starts_with("clock: this machine's clock is ") && behind.contains(" s behind the server's"),
            "{behind}"
        );
        assert!(error(-600).unwrap().contains(" s ahead of the server's, more than 60 s; set it"));
        assert!(clock(Some("Thu, 26 Nov 2026 16:33:54 GMT")).is_err() && clock(None).is_err());
    }
}
