//! Sealed files: tensors that the program stores for itself, with a JSON header and a checksum of both.
//!
//! A sealed file is a safetensors file with one entry of metadata, `<format> <checksum> <header>`: the version of this
//! format, the SHA-256 of the header and the tensors' [model hash](Params::hash), and the header as JSON. The checksum
//! detects files that are torn or edited, but not an edit that also corrects the checksum.

use std::path::Path;

use safetensors::SafeTensors;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::{MAX_BYTES, from_bytes, write};
use crate::file::{For, read_file};
use crate::params::sha256;
use crate::{NnError, Params, Result};

/// Version of the format; readers refuse any other.
const FORMAT: &str = "1";
const KEY: &str = "effgan";

/// Writes `params` with the header `head`, completely or not at all.
///
/// # Errors
/// [`NnError::Io`] naming the file.
///
/// # Panics
/// When `head` cannot be written as JSON.
pub fn save(path: &Path, head: &impl Serialize, params: &Params) -> Result<()> {
    let head = serde_json::to_string(head).expect("a header is plain data");
    write(path, For::Owner, params, Some((KEY, format!("{FORMAT} {} {head}", checksum(&head, params)))))
}

/// Reads what [`save`] wrote.
///
/// # Errors
/// [`NnError::Io`]; [`NnError::Sealed`] for a file that is torn, edited, of another format or not a sealed file.
pub fn load<H: DeserializeOwned>(path: &Path) -> Result<(H, Params)> {
    let bytes = read_file(path, MAX_BYTES).map_err(|source| NnError::Io { path: path.into(), source })?;
    open(&bytes).map_err(|reason| NnError::Sealed { path: path.into(), reason })
}

/// Whether these are the bytes of a file that [`save`] wrote, torn or not; other safetensors files are told apart by it.
pub fn is_sealed(bytes: &[u8]) -> bool {
    let metadata = SafeTensors::read_metadata(bytes).ok();
    metadata.is_some_and(|(_, metadata)| metadata.metadata().as_ref().is_some_and(|entries| entries.contains_key(KEY)))
}

/// As [`load`], from the bytes of a file.
///
/// # Errors
/// One line that continues the file's name.
pub fn open<H: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<(H, Params), String> {
    let torn = |what: String| format!("is torn: {what}");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| torn(error.to_string()))?;
    let text = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY)).ok_or("is not a sealed file")?;
    let mut parts = text.splitn(3, ' ');
    let mut part = || parts.next().ok_or("is not a sealed file");
    let (format, sum, head) = (part()?, part()?, part()?);
    if format != FORMAT {
        return Err(format!("is of format {format:.8}, expected {FORMAT}"));
    }
    let params = from_bytes(bytes).map_err(torn)?;
    if checksum(head, &params) != sum {
        return Err("is torn or was edited: its checksum is wrong".into());
    }
    params.check_finite().map_err(|error| format!("is unusable: {error}"))?;
    let head =
        serde_json::from_str(head).map_err(|error| format!("has a header that this version cannot read: {error}"))?;
    Ok((head, params))
}

fn checksum(head: &str, params: &Params) -> String {
    sha256(format!("{head}\n{}", params.hash()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;
    use crate::checkpoint::to_bytes_with;

    fn params() -> Params {
        [("w".to_owned(), Array::new([2], vec![1.0, -2.5]))].into_iter().collect()
    }

    /// The bytes of a sealed file.
    fn sealed(params: &Params) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        save(&path, &(7, 0.1 + 0.2, "north"), params).unwrap();
        std::fs::read(path).unwrap()
    }

    type Head = (u32, f64, String);

    #[test]
    fn header_and_tensors_are_read_back_to_the_bit() {
        let (head, tensors) = open::<Head>(&sealed(&params())).unwrap();
        assert_eq!((head, tensors), ((7, 0.1 + 0.2, "north".to_owned()), params()));
    }

    #[test]
    fn every_truncation_and_every_flipped_bit_is_refused() {
        let bytes = sealed(&params());
        for length in 0..bytes.len() {
            assert!(open::<Head>(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        for bit in 0..8 * bytes.len() {
            let mut edited = bytes.clone();
            edited[bit / 8] ^= 1 << (bit % 8);
            assert!(open::<Head>(&edited).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_format_and_a_plain_file_are_told_apart() {
        let error = |bytes: &[u8]| open::<Head>(bytes).unwrap_err();
        let newer = to_bytes_with(&params(), Some((KEY, "2 abc {}".into())));
        assert_eq!(error(&newer), "is of format 2, expected 1");
        let plain = to_bytes_with(&params(), None);
        assert_eq!(error(&plain), "is not a sealed file");
        assert_eq!([&newer, &sealed(&params()), &plain].map(|bytes| is_sealed(bytes)), [true, true, false]);
        let infinite = [("w".to_owned(), Array::new([1], vec![f32::INFINITY]))].into_iter().collect();
        assert_eq!(error(&sealed(&infinite)), "is unusable: tensor `w` has a non-finite value at index 0");
    }
}
