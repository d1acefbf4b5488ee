//! `effgan federation join`: makes a site's key and its other secrets, at the site and nowhere else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use effgan_gate::{fingerprint, loopback_certificate, public_key};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::hold_out::{SECRET as HOLD_OUT_SECRET, new_secret};
use effgan_run::protocol::ledger::LEDGER;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey};

use super::{OPEN, PRIVATE, SECRET, SUPEREXEC_SECRET, SiteKit, write};

/// File in a kit: the site's private key. The public key is `key.pub`.
pub(crate) const KEY: &str = "key";

/// Files in a kit: a certificate for 127.0.0.1 and its key, for TLS between the site's own processes.
pub(crate) const LOCAL: [&str; 2] = ["local.crt", "local.key"];

/// The result of `join`.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The public key: one line in OpenSSH's format.
    pub key: String,
    /// Its fingerprint, which the site reads to the server operator by telephone.
    pub fingerprint: String,
}

/// Makes the key of the site whose kit is at `kit`, and those of its other secrets that do not exist yet.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is not a kit, or has a key already.
pub(crate) fn join(kit: &Path) -> Result<Joined> {
    let name = SiteKit::read(kit)?.name;
    let path = kit.join(KEY);
    if path.exists() {
        let line = format!(
            "{0} exists and is not overwritten; its public key is {0}.pub. To make a new one, move both away first",
            path.display()
        );
        return Err(Failure::usage(anyhow!(line)));
    }
    let make = || -> anyhow::Result<Joined> {
        fs::set_permissions(kit, fs::Permissions::from_mode(PRIVATE))?;
        make_local(kit)?;
        let key = new_key(name.as_str())?;
        let public = key.public_key().to_openssh()?;
        let fingerprint = fingerprint(&public_key(&public)?);
        // The key is written last: until it exists, join can be run again.
        super::write_over(&kit.join("key.pub"), &format!("{public}\n"), OPEN)?;
        write(&path, &key.to_openssh(LineEnding::LF)?, SECRET)?;
        Ok(Joined { key: public, fingerprint })
    };
    make().with_context(|| format!("making the key of {name}")).map_err(Failure::usage)
}

/// Makes what the site's own processes need: their certificate, their secrets and the folder for their state.
fn make_local(kit: &Path) -> anyhow::Result<()> {
    let [certificate, key] = LOCAL.map(|name| kit.join(name));
    if !(certificate.exists() && key.exists()) {
        let (pem, key_pem) = loopback_certificate()?;
        super::write_over(&certificate, &pem, OPEN)?;
        super::write_over(&key, &key_pem, SECRET)?;
    }
    if !kit.join(HOLD_OUT_SECRET).exists() && kit.join(LEDGER).exists() {
        bail!(
            "{HOLD_OUT_SECRET} is gone, which decides which images are held out: put it back; a new one would train on images held out before"
        );
    }
    for secret in [SUPEREXEC_SECRET, HOLD_OUT_SECRET].map(|name| kit.join(name)) {
        if !secret.exists() {
            write(&secret, &new_secret(), SECRET)?;
        }
    }
    super::private_folder(&kit.join("state"))
}

/// A new key of the kind that Flower accepts, with `name` as its comment.
pub(super) fn new_key(name: &str) -> anyhow::Result<PrivateKey> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 })?;
    key.set_comment(name);
    Ok(key)
}
