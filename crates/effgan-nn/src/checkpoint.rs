//! Parameters in safetensors files, which are written atomically and checked when read.

use std::io::{self, Write};
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensors};

use crate::file::{For, write_by};
pub use crate::file::{read_file, write_file};
use crate::{Array, NnError, Params, Result};

/// Maximum number of bytes of a file of tensors, 4 GiB: twice the largest layer that a network may have.
pub const MAX_BYTES: u64 = 1 << 32;

/// Writes `params` to `path`, completely or not at all ([`write_file`]).
///
/// # Errors
/// [`NnError::Io`] naming the file.
pub fn save(path: &Path, params: &Params) -> Result<()> {
    write(path, For::Everybody, params, None)
}

/// Reads the f32 tensors of a safetensors file, which cannot contain code.
///
/// # Errors
/// [`NnError::Io`]; [`NnError::Format`] for anything but a complete safetensors file of f32 tensors;
/// [`NnError::NonFinite`].
pub fn load(path: &Path) -> Result<Params> {
    let bytes = read_file(path, MAX_BYTES).map_err(|source| NnError::Io { path: path.into(), source })?;
    let params = from_bytes(&bytes).map_err(|reason| NnError::Format { path: path.into(), reason })?;
    params.check_finite()?;
    Ok(params)
}

/// The bytes of a safetensors file; equal parameters give equal bytes.
pub fn to_bytes(params: &Params) -> Vec<u8> {
    to_bytes_with(params, None)
}

/// As [`to_bytes`], with one entry of metadata, a key and its text.
pub(crate) fn to_bytes_with(params: &Params, metadata: Option<(&str, String)>) -> Vec<u8> {
    let header = header(params, metadata);
    let mut bytes = Vec::with_capacity(header.len() + params.num_bytes() as usize);
    write_tensors(&mut bytes, &header, params).expect("writing to memory does not fail");
    bytes
}

/// Writes a file as [`to_bytes_with`] has it, without the bytes of the whole file in memory.
pub(crate) fn write(path: &Path, reader: For, params: &Params, metadata: Option<(&str, String)>) -> Result<()> {
    let header = header(params, metadata);
    let len = header.len() as u64 + params.num_bytes();
    let written = write_by(path, reader, len, |file| write_tensors(file, &header, params));
    written.map_err(|source| NnError::Io { path: path.into(), source })
}

/// The beginning of a safetensors file: names, shapes and places of the tensors, and their length.
fn header(params: &Params, metadata: Option<(&str, String)>) -> Vec<u8> {
    let mut end = 0;
    let info = |(name, array): (&String, &Array)| {
        let start = end;
        end += 4 * array.values().len();
        let (dtype, shape) = (Dtype::F32, array.shape.clone());
        (name.clone(), TensorInfo { dtype, shape, data_offsets: (start, end) })
    };
    let metadata = metadata.map(|(key, text)| [(key.to_owned(), text)].into());
    let metadata = Metadata::new(metadata, params.iter().map(info).collect());
    let mut json = serde_json::to_vec(&metadata.expect("an array has as many values as its shape says"))
        .expect("names, shapes and places are plain data");
    // The format pads the header to a multiple of eight bytes.
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes(), json.as_slice()].concat()
}

fn write_tensors(file: &mut dyn Write, header: &[u8], params: &Params) -> io::Result<()> {
    file.write_all(header)?;
    params.iter().try_for_each(|(_, array)| array.for_bytes(|bytes| file.write_all(bytes)))
}

/// The tensors in the bytes of a safetensors file.
///
/// # Errors
/// One line for anything but a complete safetensors file of f32 tensors.
pub fn from_bytes(bytes: &[u8]) -> std::result::Result<Params, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    file.iter().map(|(name, view)| Ok((name.to_owned(), array_of(name, &view)?))).collect()
}

pub(crate) fn array_of(name: &str, view: &TensorView) -> std::result::Result<Array, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("tensor `{name}` is {:?}, expected F32", view.dtype()));
    }
    let value = |four: &[u8]| f32::from_le_bytes(four.try_into().expect("chunks of four"));
    Ok(Array::new(view.shape(), view.data().chunks_exact(4).map(value).collect()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn params() -> Params {
        let tensors = [("a.weight", Array::new([2, 1], vec![1.0, -2.0])), ("b", Array::new([], vec![0.5]))];
        tensors.map(|(name, array)| (name.to_owned(), array)).into_iter().collect()
    }

    #[test]
    fn saved_params_are_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        save(&path, &params()).unwrap();
        assert_eq!(load(&path).unwrap(), params());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_file_has_the_bytes_that_the_safetensors_crate_writes() {
        // The second tensor is written in several pieces.
        let params = [("a.b", Array::new([], vec![-0.0])), ("a", Array::new([3, 5000], vec![1.5; 15_000]))];
        let params: Params = params.map(|(name, array)| (name.to_owned(), array)).into_iter().collect();
        let bytes = |array: &Array| array.values().iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let tensors: Vec<_> = params.iter().map(|(name, array)| (name, &array.shape, bytes(array))).collect();
        let views = || {
            let view = |shape: &[usize], bytes| TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
            tensors.iter().map(move |(name, shape, bytes)| (name, view(shape, bytes)))
        };
        assert_eq!(to_bytes(&params), safetensors::serialize(views(), None).unwrap());
        let metadata = Some([("effgan".to_owned(), "1 \"x\"".to_owned())].into());
        let theirs = safetensors::serialize(views(), metadata).unwrap();
        assert_eq!(to_bytes_with(&params, Some(("effgan", "1 \"x\"".into()))), theirs);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        save(&path, &params).unwrap();
        assert_eq!(fs::read(&path).unwrap(), to_bytes(&params));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = to_bytes(&params());
        for length in 0..bytes.len() {
            assert!(from_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
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
