//! Setting up a federation: the server's folder, a kit for each site, keys, the list of sites, and checks of all of these.
//!
//! Certificates and keys are made here, without any other tool. The gate's list decides which site may connect.

mod admission;
mod bundle;
mod certificates;
mod check;
mod flwr;
mod host;
mod launch;
mod new_federation;
mod server_folder;
mod site_keys;
mod site_kit;
mod wheel;

pub(crate) use self::admission::{Admitted, Listed, add, admit, default_kit, list, remove};
pub use self::bundle::BUNDLE_SHA256;
pub(crate) use self::check::{Target, check};
pub(crate) use self::host::Host;
pub(crate) use self::launch::{Launch, launch};
pub(crate) use self::new_federation::{Plan, init, renew};
pub(crate) use self::server_folder::{SUPERLINK_PORT, ServerFolder};
pub(crate) use self::site_keys::{Joined, join};
pub(crate) use self::site_kit::SiteKit;

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;

/// Mode of a file that every account with access to the folder may read.
const OPEN: u32 = 0o644;
/// Mode of a script.
const SCRIPT: u32 = 0o755;
/// Mode of a secret: its owner alone may read it.
const SECRET: u32 = 0o600;
/// Mode of a folder that its owner alone may enter.
const PRIVATE: u32 = 0o700;

/// File in the server's folder and in a kit: the secret by which Flower's processes on one machine authenticate each other.
pub(crate) const SUPEREXEC_SECRET: &str = "superexec.secret";

/// Writes a new file with these permissions.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let made = fs::File::options().write(true).create_new(true).mode(mode).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

/// Writes a file with these permissions, replacing one that may exist.
fn write_over(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("writing {}", path.display()))
        }
        _ => write(path, text, mode),
    }
}

/// Makes a folder and its parents, for their owner alone.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(path);
    made.with_context(|| format!("making {}", path.display()))
}
