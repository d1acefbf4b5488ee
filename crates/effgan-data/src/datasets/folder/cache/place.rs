//! Where cache files are, and who may read and write them.
//!
//! The folder has mode 0700 and belongs to the user of the process; its files have mode 0600. Neither a folder or file of somebody else nor
//! a link is ever used, so that nobody can plant pictures, or have them written elsewhere.

use nix::unistd::Uid;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// The folder of cache files in a cache folder, which may hold other things for more people.
const SUBFOLDER: &str = "decoded";
/// The end of the name of a file that is being written.
const PART: &str = ".part";
/// A file that is being written and has not grown for so long was left by a process that was killed.
const LEFT_AFTER: Duration = Duration::from_hours(1);

/// The folder of cache files in the cache folder `cache`.
pub(super) fn inside(cache: &Path) -> PathBuf {
    cache.join(SUBFOLDER)
}

/// Opens a cache file; `None` where there is none, or it is not the user's own.
pub(super) fn open(path: &Path) -> Option<File> {
    check_owner(path.parent()?).ok()?;
    // Opening a pipe would block until another process writes into it.
    let flags = nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && is_ours(&metadata)).then_some(file)
}

/// Replaces the file at `path` by what `content` writes, completely or not at all: it is written under a new, unpredictable name, synced and
/// renamed. The folder is created if it does not exist.
///
/// # Errors
/// One line of text; then nothing is left behind.
pub(super) fn write(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    prepare(folder)?;
    remove_leftovers(folder);
    let written = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        let mode = Permissions::from_mode(0o600);
        let mut beside = builder.prefix(".").suffix(PART).rand_bytes(12).permissions(mode).tempfile_in(folder)?;
        content(beside.as_file_mut())?;
        beside.as_file_mut().flush()?;
        beside.as_file().sync_all()?;
        beside.persist(path).map(drop).map_err(|error| error.error)
    };
    written().map_err(|error| error.to_string())
}

/// Creates the folder, or checks that it is the user's own and makes it private.
fn prepare(folder: &Path) -> Result<(), String> {
    let create = || -> io::Result<()> {
        fs::create_dir_all(folder.parent().unwrap_or(folder))?;
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    };
    create().map_err(|error| error.to_string())?;
    check_owner(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|error| error.to_string())
}

/// Checks that the path is a folder of this user and not a link to one.
fn check_owner(folder: &Path) -> Result<(), String> {
    let metadata = folder.symlink_metadata().map_err(|error| error.to_string())?;
    match (metadata.is_dir(), is_ours(&metadata)) {
        (false, _) => Err("it is a link or a file; remove it".into()),
        (true, false) => Err("it belongs to another user; set EFFGAN_DATA to a folder of your own".into()),
        (true, true) => Ok(()),
    }
}

fn is_ours(metadata: &fs::Metadata) -> bool {
    metadata.uid() == Uid::effective().as_raw()
}

/// Removes what processes that were killed have left half-written. Failures are ignored: a leftover file does no harm.
fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(PART));
    let is_left = |path: &PathBuf| {
        let modified = path.symlink_metadata().and_then(|metadata| metadata.modified()).ok();
        modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > LEFT_AFTER)
    };
    parts.map(|entry| entry.path()).filter(is_left).for_each(|path| drop(fs::remove_file(path)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn modes(path: &Path) -> [u32; 2] {
        [path.parent().unwrap(), path].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777)
    }

    fn write_text(path: &Path) -> Result<(), String> {
        write(path, |file| file.write_all(b"pictures"))
    }

    #[test]
    fn only_the_owner_can_enter_the_folder_and_read_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = inside(&dir.path().join("new")).join("a.pictures");
        assert!(open(&path).is_none());
        write_text(&path).unwrap();
        assert_eq!(modes(&path), [0o700, 0o600]);
        assert!(open(&path).is_some());
        // A folder that others could enter is made private again.
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
        write_text(&path).unwrap();
        assert_eq!(modes(&path), [0o700, 0o600]);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn links_are_neither_read_nor_written_through() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = inside(dir.path());
        symlink(elsewhere.path(), &folder).unwrap();
        fs::write(elsewhere.path().join("a.pictures"), "planted").unwrap();
        let path = folder.join("a.pictures");
        assert!(open(&path).is_none());
        assert_eq!(write_text(&path).unwrap_err(), "it is a link or a file; remove it");
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        symlink(elsewhere.path().join("a.pictures"), &path).unwrap();
        assert!(open(&path).is_none());
        write_text(&path).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.path().join("a.pictures")).unwrap(), "planted");
        assert!(!path.is_symlink() && open(&path).is_some());
    }

    #[test]
    fn a_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let folder = inside(dir.path());
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.pictures");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&path).is_none());
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        // Of all folders, the root of the file system is another user's, unless that is who runs the tests.
        let dir = tempfile::tempdir().unwrap();
        let others = if Uid::effective().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
            dir.path()
        } else {
            Path::new("/")
        };
        assert!(check_owner(others).unwrap_err().starts_with("it belongs to another user"));
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_writes_now_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let folder = inside(dir.path());
        fs::create_dir(&folder).unwrap();
        for (name, age) in [(".old.part", 2), (".new.part", 0), ("old.pictures", 2)] {
            let file = File::create(folder.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::now() - Duration::from_hours(age)).unwrap();
        }
        write_text(&folder.join("a.pictures")).unwrap();
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".new.part", "a.pictures", "old.pictures"]);
    }
}
