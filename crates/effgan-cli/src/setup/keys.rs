//! A site's key: made at the site, known to the server by its public half.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, LineEnding, PrivateKey, PublicKey};

use super::flower::{CONNECTION, flwr};
use super::{OPEN, SECRET, kit, server, write};
use crate::failure::{Failure, Result};

/// Of a kit.
pub(super) const KEY: &str = "key";

/// Makes the key of the site whose `kit` it is, and answers with the public half, a line.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it is no kit or has a key.
pub fn join(kit: &Path) -> Result<String> {
    let name = kit::read(kit)?.name;
    let path = kit.join(KEY);
    if path.exists() {
        let line =
            format!("{} exists and is not overwritten; its public half is {}.pub", path.display(), path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    let make = || -> anyhow::Result<String> {
        // What Flower takes.
        let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 })?;
        key.set_comment(name.as_str());
        let public = key.public_key().to_openssh()?;
        write(&path, &key.to_openssh(LineEnding::LF)?, SECRET)?;
        write(&kit.join("key.pub"), &format!("{public}\n"), OPEN)?;
        Ok(public)
    };
    make().with_context(|| format!("making the key of {name}")).map_err(Failure::usage)
}

/// Registers a site's public `key` with the `SuperLink` of the server in `folder`, and answers with the site's name.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it is no such key or no site of this federation; what Flower says.
pub fn admit(key: &str, folder: &Path) -> Result<String> {
    let server = server::read(folder)?;
    let wrong =
        |why: String| Failure::usage(anyhow!("{why}; a site's key is what effgan federation join printed there"));
    let text = if Path::new(key).is_file() {
        fs::read_to_string(key).map_err(|error| wrong(format!("{key}: {error}")))?
    } else {
        key.to_owned()
    };
    let public =
        PublicKey::from_openssh(text.trim()).map_err(|error| wrong(format!("the key cannot be read: {error}")))?;
    if public.algorithm() != (Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 }) {
        return Err(wrong(format!(
            "the key is of the kind {}, and Flower takes ecdsa-sha2-nistp384",
            public.algorithm()
        )));
    }
    let name = public.comment().to_owned();
    if !server.sites.iter().any(|site| site.as_str() == name) {
        let sites: Vec<&str> = server.sites.iter().map(effgan_data::ClientName::as_str).collect();
        return Err(wrong(format!("the key is of {name:?}, and the sites are {}", sites.join(", "))));
    }
    let file = tempfile::Builder::new().suffix(".pub").tempfile().map_err(anyhow::Error::from)?;
    fs::write(file.path(), format!("{}\n", text.trim())).map_err(anyhow::Error::from)?;
    let file = file.path().display().to_string();
    flwr(folder, &["supernode", "register", &file, CONNECTION]).map_err(|failure| {
        let said = failure.line();
        let known = said.contains("already") || said.contains("in use");
        if known {
            Failure::usage(anyhow!("{name} is admitted already"))
        } else {
            failure.context(format!("admitting {name}"))
        }
    })?;
    Ok(name)
}
