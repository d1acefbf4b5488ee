//! Parameters in safetensors files, written beside and renamed, checked when read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::{Array, NnError, Params, Result, fault};

/// Most bytes of a file of tensors that is read, 4 GiB: twice the largest layer that a network may have.
pub const MOST_BYTES: u64 = 1 << 32;

/// Writes `params` to `path`: first beside it, then synced and renamed, so that a reader never sees half a file.
///
/// # Errors
/// [`NnError::Io`] naming the file.
pub fn save(path: &Path, params: &Params) -> Result<()> {
    write_file(path, &to_bytes(params)).map_err(|source| NnError::Io { path: path.into(), source })
}

/// Reads the f32 tensors of a safetensors file; nothing in such a file can run code.
///
/// # Errors
/// [`NnError::Io`], [`NnError::Format`] for anything but a whole safetensors file of f32 tensors,
/// [`NnError::NonFinite`].
pub fn load(path: &Path) -> Result<Params> {
    let bytes = read_file(path, MOST_BYTES).map_err(|source| NnError::Io { path: path.into(), source })?;
    let params = from_bytes(&bytes).map_err(|reason| NnError::Format { path: path.into(), reason })?;
    params.check_finite()?;
    Ok(params)
}

/// The bytes of a safetensors file; equal parameters give equal bytes.
pub fn to_bytes(params: &Params) -> Vec<u8> {
    to_bytes_with(params, None)
}

/// As [`to_bytes`], with one entry of metadata: its key and its text.
pub(crate) fn to_bytes_with(params: &Params, metadata: Option<(&str, String)>) -> Vec<u8> {
    let raw: Vec<(&String, &Array, Vec<u8>)> =
        params.iter().map(|(name, array)| (name, array, little_endian(&array.values))).collect();
    let views = raw.iter().map(|(name, array, bytes)| {
        let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes);
        (name.as_str(), view.expect("an array has as many values as its shape says"))
    });
    let metadata = metadata.map(|(key, text)| [(key.to_owned(), text)].into());
    safetensors::serialize(views, metadata).expect("named f32 arrays always serialise")
}

/// The tensors in the bytes of a safetensors file, or what is wrong with them.
///
/// # Errors
/// One line for anything but a whole safetensors file of f32 tensors.
pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Params, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    file.iter().map(|(name, view)| Ok((name.to_owned(), array_of(name, &view)?))).collect()
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
    let beside = beside(path);
    let written = write_beside(&beside, bytes, path).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // A full disk is to get its room back. The first error is the one to tell.
        let _ = fs::remove_file(&beside);
        return written;
    }
    fault::point("renamed", path);
    sync_folder(path)
}

fn write_beside(beside: &Path, bytes: &[u8], path: &Path) -> io::Result<()> {
    let mut file = File::create(beside)?;
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Elsewhere folders cannot be opened, and a rename lasts by itself.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

pub(crate) fn array_of(name: &str, view: &TensorView) -> std::result::Result<Array, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("tensor `{name}` is {:?}, expected F32", view.dtype()));
    }
    let value = |four: &[u8]| f32::from_le_bytes(four.try_into().expect("chunks of four"));
    Ok(Array::new(view.shape(), view.data().chunks_exact(4).map(value).collect()))
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params() -> Params {
        let tensors = [("a.weight", Array::new([2, 1], vec![1.0, -2.0])), ("b", Array::new([], vec![0.5]))];
        tensors.map(|(name, array)| (name.to_owned(), array)).into_iter().collect()
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        save(&path, &params()).unwrap();
        assert_eq!(load(&path).unwrap(), params());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

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
    fn every_truncation_is_an_error() {
        let bytes = to_bytes(&params());
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
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
        assert!(!zeros.exists() || load(zeros).unwrap_err().to_string() == "/dev/zero: is no file");
    }

    #[test]
    fn a_non_finite_tensor_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        let mut params = params();
        params.insert("c", Array::new([1], vec![f32::INFINITY]));
        save(&path, &params).unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("`c` has a non-finite value"));
    }
}
