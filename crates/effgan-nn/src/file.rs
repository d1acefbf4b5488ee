//! Writes files completely or not at all, and never through a symbolic link.
//!
//! A folder may come from a stranger, who may have put symbolic links where files will be written. So a file is written
//! under a new, unpredictable name (`O_EXCL`) and then renamed, which replaces a link instead of following it. Files
//! that grow are opened with `O_NOFOLLOW`, and [`check_no_links`] finds folders that are links.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::fault;

/// Who may read a file, within the limits of the umask.
#[derive(Clone, Copy)]
pub(crate) enum For {
    Everybody,
    Owner,
}

impl For {
    #[cfg(unix)]
    fn file_mode(self) -> u32 {
        if matches!(self, Self::Owner) { 0o600 } else { 0o666 }
    }
}

/// The bytes of a file of at most `max_bytes` bytes. A path to anything but a regular file is an error, so that a hostile
/// pipe or device neither blocks nor fills the memory.
///
/// # Errors
/// The system's error, or one line on what is wrong with the file.
pub fn read_file(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is not a file"));
    }
    let (file, mut bytes) = (File::open(path)?, Vec::new());
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("has more than {max_bytes} bytes, the maximum")));
    }
    Ok(bytes)
}

/// Writes `bytes` to `path`, completely or not at all, even if the program or the machine stops meanwhile: they are
/// written to a temporary file in the same folder, which is synced and renamed, and the folder is synced.
///
/// # Errors
/// The system's error. Then `path` is unchanged, and the temporary file is removed.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, For::Everybody, bytes.len() as u64, |file| file.write_all(bytes))
}

/// As [`write_file`], with mode 0600, so that only the owner can read the file.
///
/// # Errors
/// As [`write_file`].
pub fn write_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_by(path, For::Owner, bytes.len() as u64, |file| file.write_all(bytes))
}

/// Creates a folder and its missing parents with mode 0700, so that only the owner can enter them.
///
/// # Errors
/// The system's error.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file for appending, and creates it if it does not exist.
///
/// # Errors
/// The system's error, or one line when the file is a link.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(|error| if is_link(path) { link_error() } else { error })
}

/// Checks that neither the folder `name` in `folder` nor any folder inside it is a symbolic link, so that nothing is
/// written to its target.
///
/// # Errors
/// One line that names the first link.
pub fn check_no_links(folder: &Path, name: &str) -> io::Result<()> {
    let path = folder.join(name);
    if is_link(&path) {
        return Err(io::Error::other(format!("{} {}", path.display(), link_error())));
    }
    let entries = if path.is_dir() { names_in(&path) } else { Vec::new() };
    entries.iter().filter(|entry| path.join(entry).is_dir()).try_for_each(|entry| check_no_links(&path, entry))
}

/// Removes the temporary files that interrupted writes have left in `folder` and the folders inside it. Failures are
/// ignored: a leftover file does no harm.
pub fn remove_leftovers(folder: &Path) {
    for name in names_in(folder) {
        let path = folder.join(&name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => remove_leftovers(&path),
            Ok(metadata) if metadata.is_file() && name.starts_with('.') && name.ends_with(PART) => {
                let _ = fs::remove_file(path);
            }
            _ => {}
        }
    }
}

/// The names of the entries of `folder` that are UTF-8, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// The end of the name of a temporary file.
const PART: &str = ".part";

fn link_error() -> io::Error {
    io::Error::other("is a symbolic link, which is never written through; replace it by a file or folder")
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

/// As [`write_file`], with the `len` bytes that `content` writes.
///
/// # Errors
/// As [`write_file`].
pub(crate) fn write_by(
    path: &Path,
    reader: For,
    len: u64,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let beside = begin(path, reader)?;
    // Dropping the temporary file removes it, so that a failed write to a full disk frees its space.
    content(&mut InTwoHalves { file: beside.as_file(), path, left: len.div_ceil(2) })?;
    beside.as_file().sync_all()?;
    fault::point("beside", path);
    beside.persist(path).map_err(|error| error.error)?;
    fault::point("renamed", path);
    sync_folder(path)
}

/// Creates a temporary file in the folder of `path`. Its name starts with a dot and the name of `path`.
fn begin(path: &Path, reader: For) -> io::Result<tempfile::NamedTempFile> {
    let name = path.file_name().unwrap_or_default();
    let mut prefix = OsStr::new(".").to_owned();
    prefix.push(name);
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(PART).rand_bytes(12);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(reader.file_mode()));
    builder.tempfile_in(folder_of(path))
}

/// A file that is written in two halves, between which a test can end the program.
struct InTwoHalves<'a> {
    file: &'a File,
    path: &'a Path,
    /// Bytes left up to the middle; 0 after it.
    left: u64,
}

impl Write for InTwoHalves<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return self.file.write(bytes);
        }
        let written = self.file.write(&bytes[..bytes.len().min(self.left as usize)])?;
        self.left -= written as u64;
        if self.left == 0 {
            fault::point("half", self.path);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Syncs the folder of `path`, so that the name of a new or renamed file is on disk.
fn sync_folder(path: &Path) -> io::Result<()> {
    // Other systems cannot open folders, and sync renames by themselves.
    if cfg!(unix) { File::open(folder_of(path))?.sync_all() } else { Ok(()) }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_written_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        // The rename fails, since the path is a folder.
        let path = folder.path().join("m");
        fs::create_dir(&path).unwrap();
        assert!(write_file(&path, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_a_device_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        fs::write(&path, [0; 9]).unwrap();
        assert_eq!(read_file(&path, 9).unwrap(), [0; 9]);
        assert_eq!(read_file(&path, 8).unwrap_err().to_string(), "has more than 8 bytes, the maximum");
        assert_eq!(read_file(folder.path(), 8).unwrap_err().to_string(), "is not a file");
        let zeros = Path::new("/dev/zero");
        assert!(!zeros.exists() || read_file(zeros, 8).unwrap_err().to_string() == "is not a file");
    }

    #[test]
    fn leftovers_of_a_kill_are_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        for name in [".a.csv.0123456789ab.part", "a.part", ".hidden", "a.csv", "deep/.a.csv.0123456789ab.part"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_leftovers(folder.path());
        assert_eq!(names_in(folder.path()), [".hidden", "a.csv", "a.part", "deep"]);
        assert!(names_in(&folder.path().join("deep")).is_empty());
        remove_leftovers(Path::new("no-such-folder"));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_replaced_and_never_written_through() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let precious = elsewhere.path().join("bashrc");
        fs::write(&precious, b"precious").unwrap();
        // The name itself, the name of its temporary file in earlier versions, and two other files.
        for name in ["a.csv", "a.csv.part", "events", "samples"] {
            symlink(&precious, folder.path().join(name)).unwrap();
        }
        let path = folder.path().join("a.csv");
        write_private_file(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), is_link(&path)), (b"new".to_vec(), false));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = open_to_append(&folder.path().join("events")).unwrap_err().to_string();
        assert!(error.starts_with("is a symbolic link, which is never written through"), "{error}");
        let inside = folder.path().join("model");
        fs::create_dir(&inside).unwrap();
        symlink(elsewhere.path(), inside.join("members")).unwrap();
        for (name, link) in [("samples", "/samples is a symbolic link"), ("model", "/model/members is a symbolic link")]
        {
            let error = check_no_links(folder.path(), name).unwrap_err().to_string();
            assert!(error.contains(link), "{error}");
        }
        check_no_links(folder.path(), "none").unwrap();
        assert_eq!(fs::read(&precious).unwrap(), b"precious");
        let private = folder.path().join("deep/er");
        make_private_folder(&private).unwrap();
        for made in [&private, private.parent().unwrap()] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }
}
