//! Reads the tensors of PyTorch's state dicts, `torch.save(model.state_dict(), path)`, without running any code.
//!
//! Such a file is a pickle, which is a program. The interpreter here supports only what a state dict needs; a call of any
//! other function is an error. Files have one of two formats, both defined in `torch/serialization.py`. Since PyTorch
//! 1.6, a file is a zip archive of `data.pkl` and each storage as `data/KEY`. Before, it consisted of pickles of a
//! magic number, a version, a description of the machine and the state dict, followed by the storages.

mod pickle;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use zip::{CompressionMethod, ZipArchive};

use crate::checkpoint::{self, MAX_BYTES};
use crate::{Array, NnError, Params, Result};
use pickle::{Kind, Reader, View};

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";
/// The first bytes of a pickle of protocol 2.
const PICKLE: &[u8] = b"\x80\x02";
/// The first pickle of a file in the older format.
const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
/// The second pickle of a file in the older format.
const VERSION: i128 = 1001;
/// The counter of batch norm, an integer that no forward pass needs and that is skipped.
const COUNTER: &str = "num_batches_tracked";

/// A result, or one line on what is wrong with the file.
type Parsed<T> = std::result::Result<T, String>;

/// The f32 tensors of a safetensors file or a PyTorch state dict, which are told apart by their first bytes. The
/// counters `num_batches_tracked` of batch norm are skipped.
///
/// # Errors
/// [`NnError::Io`]; [`NnError::Format`] or [`NnError::StateDict`] for anything but a whole file of f32 tensors;
/// [`NnError::NonFinite`].
pub fn read_weights(path: &Path) -> Result<Params> {
    let bytes = checkpoint::read_file(path, MAX_BYTES).map_err(|source| NnError::Io { path: path.into(), source })?;
    let params = if bytes.starts_with(ZIP) || bytes.starts_with(PICKLE) {
        from_bytes(&bytes).map_err(|reason| NnError::StateDict { path: path.into(), reason })?
    } else {
        from_safetensors(&bytes).map_err(|reason| NnError::Format { path: path.into(), reason })?
    };
    params.check_finite()?;
    Ok(params)
}

/// The f32 tensors in the bytes of a state dict.
///
/// # Errors
/// One line for anything but a whole state dict of f32 tensors.
pub fn from_bytes(bytes: &[u8]) -> Parsed<Params> {
    let (views, storages) = match bytes {
        _ if bytes.starts_with(ZIP) => of_zip(bytes)?,
        _ if bytes.starts_with(PICKLE) => of_pickles(bytes)?,
        _ => return Err("it does not begin as torch.save does".into()),
    };
    let mut left = bytes.len() as u64;
    let mut params = Params::new();
    for (name, view) in views.iter().filter(|(name, _)| !is_counter(name)) {
        let array = array_of(view, &storages, &mut left).map_err(|reason| format!("tensor `{name}` {reason}"))?;
        params.insert(name, array);
    }
    Ok(params)
}

fn from_safetensors(bytes: &[u8]) -> Parsed<Params> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let is_used = |name: &str, dtype| !(is_counter(name) && matches!(dtype, Dtype::I64 | Dtype::I32));
    file.iter()
        .filter(|(name, view)| is_used(name, view.dtype()))
        .map(|(name, view)| Ok((name.to_owned(), checkpoint::array_of(name, &view)?)))
        .collect()
}

fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
}

/// Tensors by name, as views of storages.
type Views = Vec<(String, View)>;
/// Bytes of the storages by key.
type Storages<'a> = BTreeMap<String, Cow<'a, [u8]>>;

fn of_zip(bytes: &[u8]) -> Parsed<(Views, Storages<'_>)> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let pickle = archive
        .file_names()
        .filter_map(std::result::Result::ok)
        .find_map(|name| name.strip_suffix("/data.pkl").map(str::to_owned));
    let folder = pickle.ok_or("it has no data.pkl")?;
    let order = member(&mut archive, &format!("{folder}/byteorder"), 16).unwrap_or_else(|_| b"little".into());
    if order != b"little" {
        return Err("its numbers are big-endian; save it on a little-endian machine".into());
    }
    let pickle = member(&mut archive, &format!("{folder}/data.pkl"), pickle::MAX_BYTES)?;
    let views = Reader::new(&pickle).tensors()?;
    let (mut storages, mut left) = (Storages::new(), bytes.len() as u64);
    for (_, View { storage, .. }) in views.iter().filter(|(name, _)| !is_counter(name)) {
        if !storages.contains_key(&storage.key) {
            let values = member(&mut archive, &format!("{folder}/data/{}", storage.key), left)?;
            // Members of an archive may overlap; their sum is still limited to the size of the file.
            left -= values.len() as u64;
            storages.insert(storage.key.clone(), values.into());
        }
    }
    Ok((views, storages))
}

/// The bytes of an uncompressed member of the archive, at most `max_bytes`.
fn member(archive: &mut ZipArchive<Cursor<&[u8]>>, name: &str, max_bytes: u64) -> Parsed<Vec<u8>> {
    let entry = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
    if entry.compression() != CompressionMethod::Stored {
        return Err(format!("{name} is compressed, unlike members that torch.save writes"));
    }
    if entry.size() > max_bytes {
        return Err(format!("{name} has {} bytes, more than the {max_bytes} that are read", entry.size()));
    }
    let (size, mut bytes) = (entry.size(), Vec::new());
    entry.take(max_bytes).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    if bytes.len() as u64 == size { Ok(bytes) } else { Err(format!("{name} ends early")) }
}

fn of_pickles(bytes: &[u8]) -> Parsed<(Views, Storages<'_>)> {
    let mut reader = Reader::new(bytes);
    if reader.number()? != MAGIC || reader.number()? != VERSION {
        return Err("it does not begin as torch.save does".into());
    }
    if !reader.is_little_endian()? {
        return Err("its numbers are big-endian; save it on a little-endian machine".into());
    }
    let views = reader.tensors()?;
    let kinds: BTreeMap<&str, Kind> =
        views.iter().map(|(_, view)| (view.storage.key.as_str(), view.storage.kind)).collect();
    let keys = reader.texts()?;
    let (mut rest, mut storages) = (reader.rest(), Storages::new());
    for key in keys {
        let kind = kinds.get(key.as_str()).ok_or_else(|| format!("no tensor uses storage {}", shortened(&key)))?;
        let (len, behind) = rest.split_first_chunk::<8>().ok_or("it ends before its last storage")?;
        let len = u64::from_le_bytes(*len).checked_mul(kind.size()).and_then(|len| usize::try_from(len).ok());
        let (values, behind) =
            len.and_then(|len| behind.split_at_checked(len)).ok_or("it ends before its last storage")?;
        storages.insert(key, values.into());
        rest = behind;
    }
    Ok((views, storages))
}

/// The values of `view`, at most `left` bytes, which is then reduced: tensors may share a storage, and their sum is
/// limited to the size of the file.
fn array_of(view: &View, storages: &Storages, left: &mut u64) -> Parsed<Array> {
    let View { storage, offset, shape, strides } = view;
    if storage.kind != Kind::Float {
        return Err(format!("is of a {}, expected FloatStorage; save it after .float()", storage.kind.name()));
    }
    let bytes = storages.get(&storage.key).ok_or_else(|| format!("has no storage {}", shortened(&storage.key)))?;
    if storage.len.checked_mul(4) != Some(bytes.len() as u64) {
        return Err(format!("is of a storage of {} bytes, expected {} numbers", bytes.len(), storage.len));
    }
    let outside = || format!("of shape {shape:?} and strides {strides:?} does not lie in its {} numbers", storage.len);
    let count = shape.iter().try_fold(1_u64, |count, &size| count.checked_mul(size)).ok_or_else(outside)?;
    if count == 0 {
        return Ok(Array::new(sizes(shape), Vec::new()));
    }
    let last = shape
        .iter()
        .zip(strides)
        .try_fold(*offset, |at, (&size, &stride)| at.checked_add((size - 1).checked_mul(stride)?));
    if last.is_none_or(|last| last >= storage.len) {
        return Err(outside());
    }
    *left = count.checked_mul(4).and_then(|len| left.checked_sub(len)).ok_or("and others share too many numbers")?;
    let numbers = &bytes.as_chunks::<4>().0[*offset as usize..];
    let values = if is_row_major(shape, strides) {
        numbers[..count as usize].iter().map(|&four| f32::from_le_bytes(four)).collect()
    } else {
        places(shape, strides).map(|at| f32::from_le_bytes(numbers[at as usize])).collect()
    };
    Ok(Array::new(sizes(shape), values))
}

/// Whether the numbers are contiguous, in row-major order.
fn is_row_major(shape: &[u64], strides: &[u64]) -> bool {
    let mut apart = 1;
    shape.iter().zip(strides).rev().all(|(&size, &stride)| {
        let fits = size == 1 || stride == apart;
        apart *= size;
        fits
    })
}

fn sizes(shape: &[u64]) -> Vec<usize> {
    shape.iter().map(|&size| size as usize).collect()
}

/// The index of each value of a tensor relative to its first one, in row-major order.
fn places(shape: &[u64], strides: &[u64]) -> impl Iterator<Item = u64> {
    let count: u64 = shape.iter().product();
    (0..count).map(move |mut i| {
        let steps = shape.iter().zip(strides).rev().map(|(&size, &stride)| {
            let step = i % size * stride;
            i /= size;
            step
        });
        steps.sum()
    })
}

/// A name from a file, quoted and shortened for a message.
fn shortened(text: &str) -> String {
    format!("{:?}", text.chars().take(40).collect::<String>())
}
