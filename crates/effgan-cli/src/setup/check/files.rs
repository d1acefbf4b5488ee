//! Who else can read what is secret, and whether there is room.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use nix::sys::statvfs::statvfs;

use super::{right, wrong};
use crate::failure::Result;

/// Checks that `folder` and its `secrets` are their owner's alone; those that are not there are passed over.
pub(super) fn private(folder: &Path, secrets: &[&str]) -> Result<()> {
    let paths = std::iter::once(folder.to_owned()).chain(secrets.iter().map(|name| folder.join(name)));
    for path in paths {
        let Ok(about) = fs::metadata(&path) else { continue };
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let (what, wanted) = if about.is_dir() { ("look into", 700) } else { ("read", 600) };
            let why = format!("other accounts may {what} {0} (mode {mode:o}); chmod {wanted} {0}", path.display());
            return wrong("files", &why);
        }
    }
    right("files", "for their owner alone");
    Ok(())
}

/// Checks that `folder` has room for `need` bytes.
pub(super) fn room(folder: &Path, need: u64) -> Result<()> {
    let about = statvfs(folder).with_context(|| format!("disk: {}", folder.display()))?;
    let free = about.blocks_available().saturating_mul(about.fragment_size());
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    if free < need {
        let why = format!(
            "{} MB are free where {} lies, and a run may need {}",
            megabytes(free),
            folder.display(),
            megabytes(need)
        );
        return wrong("disk", &format!("{why}; make room, or see effgan federation prune"));
    }
    right("disk", &format!("{} MB are free, and a run needs {} at most", megabytes(free), megabytes(need)));
    Ok(())
}
