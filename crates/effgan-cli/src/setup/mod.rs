//! Setting a federation up: the server's folder, a kit for each site, keys, and what is wrong with them.
//!
//! Certificates and keys are made here, so that nobody needs to know how; identity, TLS and the list of nodes are Flower's.

mod bundle;
mod certificates;
mod check;
mod flower;
mod keys;
mod kit;
mod server;

pub use self::bundle::BUNDLE_SHA256;
pub use self::check::{Side, check};
pub use self::flower::{Launch, launch};
pub use self::keys::{admit, join};
pub use self::server::{Plan, init, renew};

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// Readable by all.
const OPEN: u32 = 0o644;
/// Runs.
const SCRIPT: u32 = 0o755;
/// For its owner alone.
const SECRET: u32 = 0o600;

/// Writes a new file with these rights.
fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let made = fs::File::options().write(true).create_new(true).mode(mode).open(path);
    let written = made.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}
