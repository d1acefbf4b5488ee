//! Files that are whole or not there, and are written nowhere else than where they are named.
//!
//! A folder may come from a stranger, who can have put links where files are going to be. What is written is a new file of
//! a name that nobody can guess (`O_EXCL`), which then takes the place of whatever has the name, a link too; files that
//! grow are opened without following one (`O_NOFOLLOW`); and [`check_no_links`] looks for folders that are links.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::fault;

/// Who may read what is written, as far as the process' umask lets anybody.
#[derive(Clone, Copy)]
enum For {
    Everybody,
    Owner,
}

impl For {
    #[cfg(unix)]
    fn file_mode(self) -> u32 {
        if matches!(self, Self::Owner) { 0o600 } else { 0o666 }
    }
}

/// The bytes of a file of at most `most` bytes, which may be somebody else's: a pipe is not waited for, and nothing without an end is read.
///
/// # Errors
/// What the system says, or what is wrong with the file.
pub fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let (file, mut bytes) = (File::open(path)?, Vec::new());
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("has more than the {most} bytes that are read")));
    }
    Ok(bytes)
}

/// Writes `bytes` to `path`: whole, or not at all, whatever ends the program or the machine meanwhile. They are written
/// beside it and synced, renamed, and the folder is synced.
///
/// # Errors
/// What the system says; then `path` is as it was, and nothing lies beside it.
pub fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, For::Everybody)
}

/// As [`write_file`], for the owner's eyes alone: the file has mode 0600.
///
/// # Errors
/// As [`write_file`].
pub fn write_private_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, For::Owner)
}

/// Makes a folder, and the folders that lead there, for the owner alone: those that are made have mode 0700.
///
/// # Errors
/// What the system says.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file that grows, and makes it where there is none.
///
/// # Errors
/// What the system says; that it is a link.
pub fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(|error| if is_link(path) { link_error() } else { error })
}

/// Checks that neither the folder `name` in `folder` nor a folder inside it is a link, so that nothing is written to where it leads.
///
/// # Errors
/// One line that names the first that is.
pub fn check_no_links(folder: &Path, name: &str) -> io::Result<()> {
    let path = folder.join(name);
    if is_link(&path) {
        return Err(io::Error::other(format!("{} {}", path.display(), link_error())));
    }
    let entries = if path.is_dir() { names_in(&path) } else { Vec::new() };
    entries.iter().filter(|entry| path.join(entry).is_dir()).try_for_each(|entry| check_no_links(&path, entry))
}

/// Removes what an end in the middle of a write has left in `folder` and the folders inside it; that there is none, or that one stays,
/// hurts nobody.
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

/// Names of what lies in `folder`, where they are text, sorted.
fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// What names of files that are being written end in.
const PART: &str = ".part";

fn link_error() -> io::Error {
    io::Error::other("is a link, and nothing is written to where one leads; put a file or folder of its own there")
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn write(path: &Path, bytes: &[u8], reader: For) -> io::Result<()> {
    let beside = begin(path, reader)?;
    // A full disk gets its room back when this fails: what is not persisted is removed.
    write_beside(beside.as_file(), bytes, path)?;
    beside.persist(path).map_err(|error| error.error)?;
    fault::point("renamed", path);
    sync_folder(path)
}

/// A new file in the folder of `path`, whose name begins like its own.
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

fn write_beside(mut file: &File, bytes: &[u8], path: &Path) -> io::Result<()> {
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    file.write_all(first)?;
    fault::point("half", path);
    file.write_all(rest)?;
    file.sync_all()?;
    fault::point("beside", path);
    Ok(())
}

/// Makes the name of a new or renamed file last.
fn sync_folder(path: &Path) -> io::Result<()> {
    // Elsewhere folders cannot be opened, and a rename lasts by itself.
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
        // A folder is in the way of the rename.
        let path = folder.path().join("m");
        fs::create_dir(&path).unwrap();
        assert!(write_file(&path, b"x").is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_read_to_its_bound_and_a_device_or_pipe_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m");
        fs::write(&path, [0; 9]).unwrap();
        assert_eq!(read_file(&path, 9).unwrap(), [0; 9]);
        assert_eq!(read_file(&path, 8).unwrap_err().to_string(), "has more than the 8 bytes that are read");
        assert_eq!(read_file(folder.path(), 8).unwrap_err().to_string(), "is no file");
        let zeros = Path::new("/dev/zero");
        assert!(!zeros.exists() || read_file(zeros, 8).unwrap_err().to_string() == "is no file");
    }

    #[test]
    fn what_a_kill_left_is_removed_and_nothing_else() {
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
        // The name itself, and the names that a temporary file once had.
        for name in ["a.csv", "a.csv.part", "events", "samples"] {
            symlink(&precious, folder.path().join(name)).unwrap();
        }
        let path = folder.path().join("a.csv");
        write_private_file(&path, b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), is_link(&path)), (b"new".to_vec(), false));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = open_to_append(&folder.path().join("events")).unwrap_err().to_string();
        assert!(error.starts_with("is a link, and nothing is written to where one leads"), "{error}");
        let inside = folder.path().join("model");
        fs::create_dir(&inside).unwrap();
        symlink(elsewhere.path(), inside.join("members")).unwrap();
        for (name, link) in [("samples", "/samples is a link"), ("model", "/model/members is a link")] {
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
