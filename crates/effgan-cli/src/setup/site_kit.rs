//! The kit that a site is sent: the server's address and CA, start.sh, and a policy. It holds no key; the site makes its own.

use std::path::Path;

use anyhow::Context;
use effgan_data::ClientName;
use effgan_fl::policy::Policy;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::POLICY;
use serde::{Deserialize, Serialize};

use super::wheel::{Checked, REQUIREMENTS, Wheel};
use super::{OPEN, SCRIPT, private_folder, write};

/// `site.toml` of a kit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SiteKit {
    /// Name of the site.
    pub(crate) name: ClientName,
    /// `host:port` of the gate.
    pub(crate) server: String,
    /// Version of effgan that server and sites must have.
    pub(crate) effgan: String,
    /// The wheel in the kit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wheel: Option<Wheel>,
}

/// File in a kit.
pub(super) const SITE: &str = "site.toml";

pub(super) fn make(kit: &SiteKit, folder: &Path, ca: &str, wheel: Option<&Checked>) -> anyhow::Result<()> {
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

impl SiteKit {
    /// Reads `site.toml` in `folder`.
    ///
    /// # Errors
    /// [`Kind::Usage`](effgan_run::Kind::Usage) when it is not a kit.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(SITE);
        let read = || -> anyhow::Result<Self> { Ok(toml::from_str(&effgan_run::config::read(&path)?)?) };
        let what = || format!("{} is not a site kit made by `effgan federation init`", folder.display());
        read().with_context(what).map_err(Failure::usage)
    }

    /// The step of README.txt that installs effgan.
    // Never by a name that pip would look up in an index: the owner of that name there could run code at every site.
    pub(super) fn install(&self) -> String {
        match &self.wheel {
            Some(wheel) => format!(
                "venv/bin/pip install --require-hashes -r {REQUIREMENTS}\n   \
                 installs {} from this folder (SHA-256 {}) and its dependencies, and accepts no other file",
                wheel.file, wheel.sha256
            ),
            None => format!(
                "venv/bin/pip install ./effgan-{}-….whl \"flwr==1.41.0\"\n   \
                 The wheel is not in this folder: the server operator sends you the file and tells you its SHA-256 by telephone\n   \
                 (sha256sum effgan-*.whl). There is no effgan on PyPI: never install it by its name alone",
                self.effgan
            ),
        }
    }
}
