//! Who else can read what is secret, and whether there is room.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use super::{right, wrong};
use effgan_run::failure::Result;

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
    Ok(())
}

/// Checks that the account that asks may use what lies in `folder`: the folder itself and those that are `written`, read and write, and the files
/// that are `read`. Those that are not there are passed over.
pub(super) fn usable(folder: &Path, read: &[&str], written: &[&str]) -> Result<()> {
    let both = AccessFlags::R_OK | AccessFlags::W_OK;
    let of = |names: &[&str], rights| names.iter().map(|name| (folder.join(name), rights)).collect::<Vec<_>>();
    for (path, rights) in [vec![(folder.to_owned(), both)], of(written, both), of(read, AccessFlags::R_OK)].concat() {
        let rights = if path.is_dir() { rights | AccessFlags::X_OK } else { rights };
        if let Err(error @ (Errno::EACCES | Errno::EPERM | Errno::EROFS)) = access(&path, rights) {
            let what = if rights.contains(AccessFlags::W_OK) { "read and write" } else { "read" };
            let why = format!("this account may not {what} {} ({})", path.display(), error.desc());
            return wrong("files", &format!("{why}; check as the account that runs start.sh, and give the file to it"));
        }
    }
    Ok(())
}

/// Checks that the secret `path`, by which Flower's processes of this machine know each other, is there.
pub(super) fn secret(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() > 0) {
        return Ok(());
    }
    let todo =
        format!("put it back, or make one: (umask 077; openssl rand -hex 32 > {}), and start again", path.display());
    wrong("files", &format!("{} is missing or empty; {todo}", path.display()))
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
