//! What a site is handed: how to reach the server, how to know it, and what it may ask. No key: that is made at the site.

use std::path::Path;

use anyhow::Context;
use effgan_data::ClientName;
use effgan_fl::policy::Policy;
use serde::{Deserialize, Serialize};

use super::wheel::{Checked, REQUIREMENTS, Wheel};
use super::{OPEN, SCRIPT, private_folder, write};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::POLICY;

/// `site.toml` of a kit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kit {
    /// Of the site.
    pub(crate) name: ClientName,
    /// `host:port`
    pub(crate) server: String,
    /// Version of effgan that all are to have.
    pub(crate) effgan: String,
    /// Which the kit brings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wheel: Option<Wheel>,
}

pub(super) const SITE: &str = "site.toml";

pub(super) fn make(kit: &Kit, folder: &Path, ca: &str, wheel: Option<&Checked>) -> anyhow::Result<()> {
    let fill = |text: &str| {
        let text = text.replace("{name}", kit.name.as_str()).replace("{server}", &kit.server);
        text.replace("{install}", &kit.install()).replace("{effgan}", &kit.effgan)
    };
    private_folder(folder)?;
    write(&folder.join("ca.crt"), ca, OPEN)?;
    write(&folder.join(SITE), &toml::to_string(kit)?, OPEN)?;
    write(&folder.join("start.sh"), &fill(include_str!("site.sh")), SCRIPT)?;
    write(&folder.join("README.txt"), &fill(include_str!("kit.txt")), OPEN)?;
    write(&folder.join(POLICY), Policy::text(), OPEN)?;
    let page = include_str!("../../../../docs/what-leaves-your-site.md");
    write(&folder.join("what-leaves-your-site.md"), page, OPEN)?;
    wheel.map_or(Ok(()), |wheel| wheel.write(folder))
}

/// What is known of the kit in `folder`.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is none.
pub(crate) fn read(folder: &Path) -> Result<Kit> {
    let path = folder.join(SITE);
    let read = || -> anyhow::Result<Kit> { Ok(toml::from_str(&effgan_run::config::read(&path)?)?) };
    read().with_context(|| format!("{} is no kit of a federation", folder.display())).map_err(Failure::usage)
}

impl Kit {
    /// How effgan gets onto the site's machine. No name that pip would look up by itself: whoever had it in the index would own every site.
    pub(super) fn install(&self) -> String {
        match &self.wheel {
            Some(wheel) => format!(
                "venv/bin/pip install --require-hashes -r {REQUIREMENTS}\n   \
                 installs {} of this folder (SHA-256 {}) and what it needs, and takes no other file",
                wheel.file, wheel.sha256
            ),
            None => format!(
                "venv/bin/pip install ./effgan-{}-….whl \"flwr==1.41.0\"\n   \
                 The wheel is not in this folder: the server's operator sends the file, and tells you its SHA-256 by telephone\n   \
                 (sha256sum effgan-*.whl). There is no effgan on PyPI: never install it by its name alone",
                self.effgan
            ),
        }
    }
}
