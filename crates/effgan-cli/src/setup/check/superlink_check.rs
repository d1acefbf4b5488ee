//! Whether Flower's `SuperLink` answers behind the gate.

use std::path::Path;
use std::time::Duration;

use effgan_run::failure::Result;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::certificate_checks::read;
use super::{right, wrong};
use crate::setup::server_folder::ServerFolder;

/// How long the `SuperLink` may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks that the `SuperLink` answers this machine.
pub(super) fn answers(folder: &Path, server: &ServerFolder) -> Result<()> {
    let address = format!("127.0.0.1:{}", server.superlink_port);
    let pem = read(&folder.join("ca.crt"))?;
    let Ok(root) = Certificate::from_pem(pem.as_bytes()) else {
        return wrong("superlink", &format!("{} is not a certificate", folder.join("ca.crt").display()));
    };
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[root])).build();
    // Never through a proxy: it is this machine.
    let config = ureq::Agent::config_builder().tls_config(tls).proxy(None).timeout_global(Some(PATIENCE)).build();
    match ureq::Agent::new_with_config(config).get(format!("https://{address}/health")).call() {
        Ok(_) => {
            right("superlink", &format!("{address} answers on this machine"));
            Ok(())
        }
        Err(error) => wrong(
            "superlink",
            &format!("{address} does not answer: {error}; {} starts it", folder.join("start.sh").display()),
        ),
    }
}
