//! Parameters in safetensors files, which are written atomically and checked when read.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::{TensorView, View};
use safetensors::{Dtype, SafeTensors};

pub use crate::file::{read_file, write_file};
use crate::{Array, NnError, Params, Result};

/// Most bytes of a file of tensors, 4 GiB: twice the largest layer that a network may have.
pub const MAX_BYTES: u64 = 1 << 32;

/// Writes `params` to `path`, completely or not at all ([`write_file`]).
///
/// # Errors
/// [`NnError::Io`] naming the file.
pub fn save(path: &Path, params: &Params) -> Result<()> {
    write_file(path, &to_bytes(params)).map_err(|source| NnError::Io { path: path.into(), source })
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
    let metadata = metadata.map(|(key, text)| [(key.to_owned(), text)].into());
    safetensors::serialize(params, metadata).expect("named f32 arrays always serialise")
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

/// The bytes of one tensor are made when they are written, so that those of a whole model exist only once.
impl View for &Array {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.values().iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        4 * self.values().len()
    }
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
