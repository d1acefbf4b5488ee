//! Setting a federation up: the server's folder, a kit for each site, keys, who is admitted, and what is wrong with them.
//!
//! Certificates and keys are made here, so that nobody needs to know how; who may connect is the gate's list.

mod bundle;
mod certificates;
mod check;
mod flower;
mod host;
pub(crate) mod keys;
pub(crate) mod kit;
pub(crate) mod server;
mod sites;
mod wheel;

pub use self::bundle::BUNDLE_SHA256;
pub(crate) use self::check::{Side, check};
pub(crate) use self::flower::{Launch, launch};
pub(crate) use self::host::Host;
pub(crate) use self::keys::{Joined, join};
pub(crate) use self::server::{Plan, SUPERLINK_PORT, init, renew};
pub(crate) use self::sites::{Admitted, Listed, add, admit, kit_of, list, remove};

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;

/// Readable by all who get into the folder.
const OPEN: u32 = 0o644;
/// Runs.
const SCRIPT: u32 = 0o755;
/// For its owner alone.
const SECRET: u32 = 0o600;
/// A folder for its owner alone.
const PRIVATE: u32 = 0o700;

/// Of the server's folder and of a kit: by which Flower's processes of one machine know each other.
pub(crate) const SUPEREXEC_SECRET: &str = "superexec.secret";

/// Writes a new file with these rights.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let made = fs::File::options().write(true).create_new(true).mode(mode).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

/// Writes a file with these rights in the place of one that may be there.
fn write_over(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("writing {}", path.display()))
        }
        _ => write(path, text, mode),
    }
}

/// Makes a folder and those above it, for their owner alone.
fn private_folder(path: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(path);
    made.with_context(|| format!("making {}", path.display()))
}
