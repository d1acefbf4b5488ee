//! One `NumPy` array: a header that is a Python dictionary, then the values. An own reader, because sizes must be checked before
//! memory is allocated.
//!
//! A file may be hostile: the header is searched, never evaluated, and no more is read than its shape promises.

use std::io::{self, Read};

/// Longest header that is read; that of an ordinary array has 118 bytes.
const MAX_HEADER: usize = 1 << 16;
/// Maximum number of dimensions that `NumPy` supports.
const MAX_DIMENSIONS: usize = 64;
/// Maximum number of characters of a type that a message shows.
const MAX_SHOWN: usize = 40;

/// Integers in the format of `NumPy`, in C order.
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

/// The type of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Bytes per value: 1, 2, 4 or 8.
    pub(super) size: usize,
    signed: bool,
    big_endian: bool,
}

impl Kind {
    /// `NumPy`'s `uint8`.
    pub(super) const U8: Self = Self { size: 1, signed: false, big_endian: false };

    /// Parses a type such as `'|u1'` or `'<i8'`.
    pub(super) fn parse(descr: &str) -> Option<Self> {
        let mut chars = descr.trim_matches(['\'', '"']).chars();
        let order = chars.next().filter(|order| "<>|=".contains(*order))?;
        let signed = match chars.next()? {
            'u' => false,
            'i' => true,
            _ => return None,
        };
        let size = chars.as_str().parse().ok().filter(|size| [1, 2, 4, 8].contains(size))?;
        Some(Self { size, signed, big_endian: order == '>' && size > 1 })
    }
}

/// The header of an array.
pub(super) struct Header {
    pub(super) shape: Vec<usize>,
    pub(super) kind: Kind,
    /// Bytes of all values.
    pub(super) num_bytes: u64,
    /// Bytes of the header itself.
    len: u64,
}

impl Header {
    /// Reads the header; an error is the reason without the file's name.
    pub(super) fn read(reader: &mut impl Read) -> Result<Self, String> {
        let (header, len) = read_header(reader)?;
        let descr = value(&header, "descr").ok_or("has a header without 'descr'")?;
        let kind = Kind::parse(descr)
            .ok_or_else(|| format!("holds values of type {descr:.MAX_SHOWN$}, expected integers (images are u8)"))?;
        if value(&header, "fortran_order") != Some("False") {
            return Err("is in Fortran order; save numpy.ascontiguousarray of it".into());
        }
        let shape = value(&header, "shape").and_then(parse_shape).ok_or("has a header without a 'shape'")?;
        let num_bytes = shape.iter().fold(kind.size as u64, |bytes, &size| bytes.saturating_mul(size as u64));
        Ok(Self { shape, kind, num_bytes, len })
    }

    /// Reads the values after the header, of a file that claims `len` bytes in all and cannot have more than `max_len`. Memory is
    /// allocated once it is known that the values can exist.
    pub(super) fn values(self, mut reader: impl Read, [len, max_len]: [u64; 2]) -> Result<Array, String> {
        let Self { shape, kind, num_bytes, .. } = self;
        let promised = self.len.saturating_add(num_bytes);
        if len != promised {
            return Err(format!("has {len} bytes, expected {promised} by its shape {shape:?}; get the file again"));
        }
        if promised > max_len {
            return Err(format!(
                "claims to hold {promised} bytes, more than the {max_len} that the file can hold; get the file again"
            ));
        }
        let mut bytes = Vec::with_capacity(num_bytes as usize);
        let read = reader.by_ref().take(num_bytes).read_to_end(&mut bytes);
        if read.map_err(|error| error.to_string())? as u64 != num_bytes {
            return Err(format!("is truncated: expected {num_bytes} bytes of values, got {}", bytes.len()));
        }
        check_end(reader)?;
        Ok(Array { shape, kind, bytes })
    }
}

impl Array {
    /// All values as bytes; an error is the first that is outside 0..=255.
    pub(super) fn as_bytes(&self) -> Result<Vec<u8>, i128> {
        let Kind { size, signed, big_endian } = self.kind;
        let value = |bytes: &[u8]| {
            let mut word = [0; 8];
            word[..size].copy_from_slice(bytes);
            if big_endian {
                word[..size].reverse();
            }
            let unsigned = u64::from_le_bytes(word);
            let shift = 64 - 8 * size as u32;
            if signed { i128::from((unsigned << shift).cast_signed() >> shift) } else { i128::from(unsigned) }
        };
        self.bytes.chunks_exact(size).map(value).map(|value| u8::try_from(value).map_err(|_| value)).collect()
    }
}

/// The text of the header, and the number of bytes before the values.
fn read_header(reader: &mut impl Read) -> Result<(String, u64), String> {
    let not_an_array = |error: io::Error| format!("is not a NumPy array: {error}");
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(not_an_array)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err("is not a NumPy array".into());
    }
    let mut len = [0; 4];
    let len_bytes = if start[6] == 1 { 2 } else { 4 };
    reader.read_exact(&mut len[..len_bytes]).map_err(not_an_array)?;
    let header_len = u32::from_le_bytes(len) as usize;
    if header_len > MAX_HEADER {
        return Err(format!("claims a header of {header_len} bytes, more than the {MAX_HEADER} that are read"));
    }
    let mut header = vec![0; header_len];
    reader.read_exact(&mut header).map_err(not_an_array)?;
    Ok((String::from_utf8_lossy(&header).into_owned(), (8 + len_bytes + header_len) as u64))
}

/// The text of one value of the header's dictionary: a tuple, or everything up to the next comma.
fn value<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    let rest = rest.trim_start();
    let end = if rest.starts_with('(') { rest.find(')')? + 1 } else { rest.find([',', '}'])? };
    Some(rest[..end].trim())
}

/// Parses a shape such as `(60000, 28, 28)` or `(3,)`, of at most [`MAX_DIMENSIONS`].
fn parse_shape(tuple: &str) -> Option<Vec<usize>> {
    let sizes = tuple.strip_prefix('(')?.strip_suffix(')')?.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes.map(|size| size.parse().ok()).collect::<Option<_>>()?;
    (shape.len() <= MAX_DIMENSIONS).then_some(shape)
}

/// Checks that nothing is left; for a zip entry, this also verifies the checksum.
fn check_end(mut reader: impl Read) -> Result<(), String> {
    match reader.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err("continues after its values; get the file again".into()),
        Err(error) => Err(error.to_string()),
    }
}
