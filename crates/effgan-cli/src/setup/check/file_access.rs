//! Permissions of a folder's files, and free disk space.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use effgan_run::failure::Result;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{right, wrong};

/// Checks that only their owner may use `folder` and its `secrets`. Files that do not exist are skipped.
pub(super) fn private(folder: &Path, secrets: &[&str]) -> Result<()> {
    let paths = std::iter::once(folder.to_owned()).chain(secrets.iter().map(|name| folder.join(name)));
    for path in paths {
        let Ok(about) = fs::metadata(&path) else { continue };
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let (what, wanted) = if about.is_dir() { ("list", 700) } else { ("read", 600) };
            let why = format!("other accounts can {what} {0} (mode {mode:o}); chmod {wanted} {0}", path.display());
            return wrong("files", &why);
        }
    }
    Ok(())
}

/// Checks that this account can use the files of `folder`: read and write the folder itself and those that are `written`, and read those that
/// are `read`. Files that do not exist are skipped.
pub(super) fn usable(folder: &Path, read: &[&str], written: &[&str]) -> Result<()> {
    let both = AccessFlags::R_OK | AccessFlags::W_OK;
    let of = |names: &[&str], rights| names.iter().map(|name| (folder.join(name), rights)).collect::<Vec<_>>();
    for (path, rights) in [vec![(folder.to_owned(), both)], of(written, both), of(read, AccessFlags::R_OK)].concat() {
        let rights = if path.is_dir() { rights | AccessFlags::X_OK } else { rights };
        if let Err(error @ (Errno::EACCES | Errno::EPERM | Errno::EROFS)) = access(&path, rights) {
            let what = if rights.contains(AccessFlags::W_OK) { "read and write" } else { "read" };
            let why = format!("this account cannot {what} {} ({})", path.display(), error.desc());
            return wrong(
                "files",
                &format!("{why}; run the check as the account that runs start.sh, and give that account the file"),
            );
        }
    }
    Ok(())
}

/// Checks that the secret at `path`, by which Flower's processes on this machine authenticate each other, exists.
pub(super) fn secret(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() > 0) {
        return Ok(());
    }
    let todo =
        format!("put it back, or make one: (umask 077; openssl rand -hex 32 > {}), then restart", path.display());
    wrong("files", &format!("{} is missing or empty; {todo}", path.display()))
}

/// Checks that the disk of `folder` has `need` bytes free.
pub(super) fn room(folder: &Path, need: u64) -> Result<()> {
    let about = statvfs(folder).with_context(|| format!("disk: {}", folder.display()))?;
    let free = about.blocks_available().saturating_mul(about.fragment_size());
    let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
    if free < need {
        let why = format!(
            "{} MB are free on the disk of {}, and a run may need {} MB",
            megabytes(free),
            folder.display(),
            megabytes(need)
        );
        return wrong("disk", &format!("{why}; free some, for example with effgan federation prune"));
    }
    right("disk", &format!("{} MB free; a run needs at most {} MB", megabytes(free), megabytes(need)));
    Ok(())
}
