//! What a site is handed: how to reach the server, and how to know it. No key: that is made at the site.

use std::fs;
use std::path::Path;

use anyhow::Context;
use effgan_data::ClientName;
use serde::{Deserialize, Serialize};

use super::{OPEN, SCRIPT, write};
use crate::failure::{Failure, Result};

/// `site.toml` of a kit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kit {
    /// Of the site.
    pub(super) name: ClientName,
    /// `host:port`
    pub(super) server: String,
    /// Version of effgan that all are to have.
    pub(super) effgan: String,
}

pub(super) const SITE: &str = "site.toml";

pub(super) fn make(kit: &Kit, folder: &Path, ca: &str) -> anyhow::Result<()> {
    let fill = |text: &str| text.replace("{name}", kit.name.as_str()).replace("{server}", &kit.server);
    fs::create_dir_all(folder)?;
    write(&folder.join("ca.crt"), ca, OPEN)?;
    write(&folder.join(SITE), &toml::to_string(kit)?, OPEN)?;
    write(&folder.join("start.sh"), &fill(include_str!("site.sh")), SCRIPT)?;
    write(&folder.join("README.txt"), &fill(include_str!("kit.txt")), OPEN)
}

/// What is known of the kit in `folder`.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it is none.
pub(super) fn read(folder: &Path) -> Result<Kit> {
    let path = folder.join(SITE);
    let read = || -> anyhow::Result<Kit> { Ok(toml::from_str(&crate::config::read(&path)?)?) };
    read().with_context(|| format!("{} is no kit of a federation", folder.display())).map_err(Failure::usage)
}
