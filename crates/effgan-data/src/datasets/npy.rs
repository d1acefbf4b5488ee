//! One `NumPy` array: a header that is a Python dictionary, then the values. An own reader, because sizes must be checked before
//! memory is allocated.
//!
//! A file may be hostile: the header is searched, never evaluated, objects are never unpickled, and no more is read than the
//! shape promises.

use crate::DataError;
use std::{
    fmt,
    io::{self, Read},
};

/// Longest header that is read; that of an ordinary array has 118 bytes.
const MAX_HEADER: usize = 1 << 16;
/// Maximum number of dimensions that `NumPy` supports.
const MAX_DIMENSIONS: usize = 64;
/// Maximum number of characters of a type that a message shows.
const MAX_SHOWN: usize = 40;
/// Bytes of values that are in memory while they are converted; every size of a value divides it.
const CHUNK: usize = 1 << 16;

/// The type of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    numbers: Numbers,
    /// Bytes per value: 1, 2, 4 or 8.
    pub(super) size: usize,
    big_endian: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Bool,
    Unsigned,
    Signed,
    Float,
}

impl Kind {
    /// `NumPy`'s `uint8`.
    pub(super) const U8: Self = Self { numbers: Numbers::Unsigned, size: 1, big_endian: false };

    /// Parses a type such as `|u1` or `<f4`.
    pub(super) fn parse(descr: &str) -> Option<Self> {
        let mut chars = descr.chars();
        let order = chars.next().filter(|order| "<>|=".contains(*order))?;
        let (numbers, sizes) = match chars.next()? {
            'b' => (Numbers::Bool, &[1][..]),
            'u' => (Numbers::Unsigned, &[1, 2, 4, 8][..]),
            'i' => (Numbers::Signed, &[1, 2, 4, 8][..]),
            'f' => (Numbers::Float, &[2, 4, 8][..]),
            _ => return None,
        };
        let size = chars.as_str().parse().ok().filter(|size| sizes.contains(size))?;
        Some(Self { numbers, size, big_endian: order == '>' && size > 1 })
    }

    /// Whether the values are whole by their type.
    pub(super) fn is_whole(self) -> bool {
        self.numbers != Numbers::Float
    }

    /// The value of these `size` bytes; whole numbers beyond 2⁵³ are rounded.
    pub(super) fn value(self, bytes: &[u8]) -> f64 {
        let append = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        let bits = if self.big_endian { bytes.iter().fold(0, append) } else { bytes.iter().rev().fold(0, append) };
        let unused = 64 - 8 * self.size as u32;
        match (self.numbers, self.size) {
            (Numbers::Bool | Numbers::Unsigned, _) => bits as f64,
            (Numbers::Signed, _) => ((bits << unused).cast_signed() >> unused) as f64,
            (Numbers::Float, 2) => half(bits as u16),
            (Numbers::Float, 4) => f32::from_bits(bits as u32).into(),
            (Numbers::Float, _) => f64::from_bits(bits),
        }
    }
}

impl fmt::Display for Kind {
    /// The name in `NumPy`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.numbers {
            Numbers::Bool => return f.write_str("bool"),
            Numbers::Unsigned => "uint",
            Numbers::Signed => "int",
            Numbers::Float => "float",
        };
        write!(f, "{name}{}", 8 * self.size)
    }
}

/// The value of a number of IEEE 754's binary16.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    let size = match i32::from(bits >> 10 & 0x1f) {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    };
    sign * size
}

/// The header of an array.
#[derive(Debug, Clone)]
pub(super) struct Header {
    pub(super) shape: Vec<usize>,
    /// The type as the file writes it, such as `<f4`; of a long one the beginning.
    descr: String,
    fortran_order: bool,
    /// Bytes of the header itself.
    len: u64,
}

impl Header {
    /// Reads the header; an error is the reason without the file's name.
    fn read(reader: &mut impl Read) -> Result<Self, String> {
        let (header, len) = read_header(reader)?;
        let descr = value(&header, "descr").ok_or("has a header without 'descr'")?;
        let descr = descr.trim_matches(['\'', '"']).chars().take(MAX_SHOWN).collect();
        let fortran_order = value(&header, "fortran_order") != Some("False");
        let shape = value(&header, "shape").and_then(parse_shape).ok_or("has a header without a 'shape'")?;
        Ok(Self { shape, descr, fortran_order, len })
    }

    /// The type of the values, where these are numbers.
    pub(super) fn numbers(&self) -> Option<Kind> {
        Kind::parse(&self.descr)
    }

    /// The type of the values in C order; an error is the reason why they are not read.
    pub(super) fn kind(&self) -> Result<Kind, String> {
        if self.fortran_order {
            return Err("is in Fortran order; save numpy.ascontiguousarray of it".into());
        }
        self.numbers().ok_or_else(|| match self.descr.trim_start_matches(['<', '>', '|', '=']).chars().next() {
            Some('O') => "holds Python objects, which are never unpickled, because that would run code; \
                          save an array of numbers, such as numpy.stack of images of one size"
                .into(),
            Some('U' | 'S') => "holds text, expected numbers; save the number of each class".into(),
            _ => format!("holds values of type '{}', expected numbers", self.descr),
        })
    }

    /// Where value `i` is.
    pub(super) fn position(&self, mut i: usize) -> Vec<usize> {
        let mut position = vec![0; self.shape.len()];
        for (place, size) in position.iter_mut().zip(&self.shape).rev() {
            (*place, i) = (i % size, i / size);
        }
        position
    }
}

impl fmt::Display for Header {
    /// Type and shape, such as `uint8 [60, 28, 28]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.numbers() {
            Some(kind) => write!(f, "{kind}")?,
            None if self.descr.ends_with('O') => f.write_str("object")?,
            None => write!(f, "'{}'", self.descr)?,
        }
        write!(f, " {:?}", self.shape)
    }
}

/// An array whose header is read; its values follow.
pub(super) struct OpenArray<'a> {
    /// Its name in messages.
    pub(super) file: String,
    pub(super) header: Header,
    reader: Box<dyn Read + 'a>,
    /// The bytes that the file claims to have, and the maximum that it can have.
    lens: [u64; 2],
}

impl<'a> OpenArray<'a> {
    /// Reads the header of the array `file`, which claims to have `len` bytes and cannot have more than `max_len`.
    pub(super) fn new(file: String, mut reader: impl Read + 'a, [len, max_len]: [u64; 2]) -> Result<Self, DataError> {
        match Header::read(&mut reader) {
            Ok(header) => Ok(Self { file, header, reader: Box::new(reader), lens: [len, max_len] }),
            Err(reason) => Err(DataError::Malformed { file, reason }),
        }
    }

    /// The error that the array is not as it should be.
    pub(super) fn malformed(&self, reason: String) -> DataError {
        DataError::Malformed { file: self.file.clone(), reason }
    }

    /// Checks that the file has as many bytes as its header promises, where these can be counted. A header that does not fit the file tells
    /// nothing about the images, so this comes before all that the header says.
    ///
    /// # Errors
    /// [`DataError::Malformed`] with both numbers.
    pub(super) fn check_size(&self) -> Result<(), DataError> {
        match self.header.numbers() {
            Some(kind) => self.num_bytes(kind).map(drop).map_err(|reason| self.malformed(reason)),
            None => Ok(()),
        }
    }

    /// All values of an array of `uint8`. Memory is allocated once it is known that the values can exist.
    pub(super) fn bytes(mut self) -> Result<Vec<u8>, DataError> {
        self.read_bytes().map_err(|reason| self.malformed(reason))
    }

    fn read_bytes(&mut self) -> Result<Vec<u8>, String> {
        let num_bytes = self.num_bytes(self.header.kind()?)?;
        let mut bytes = Vec::with_capacity(num_bytes as usize);
        let read = self.reader.by_ref().take(num_bytes).read_to_end(&mut bytes);
        if read.map_err(|error| error.to_string())? as u64 != num_bytes {
            return Err(truncated(num_bytes, bytes.len() as u64));
        }
        self.check_end()?;
        Ok(bytes)
    }

    /// Calls `each` with every value, in order, with its place among all; few of the values are in memory at a time. It is given
    /// their number first.
    pub(super) fn values<T>(
        mut self,
        start: impl FnOnce(usize) -> T,
        each: impl FnMut(&mut T, usize, f64) -> Result<(), String>,
    ) -> Result<T, DataError> {
        self.read_values(start, each).map_err(|reason| self.malformed(reason))
    }

    fn read_values<T>(
        &mut self,
        start: impl FnOnce(usize) -> T,
        mut each: impl FnMut(&mut T, usize, f64) -> Result<(), String>,
    ) -> Result<T, String> {
        let kind = self.header.kind()?;
        let num_bytes = self.num_bytes(kind)?;
        let mut made = start(num_bytes as usize / kind.size);
        let mut chunk = vec![0; CHUNK];
        let mut done = 0;
        while done < num_bytes {
            let chunk = &mut chunk[..CHUNK.min((num_bytes - done) as usize)];
            self.reader.read_exact(chunk).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => truncated(num_bytes, done),
                _ => error.to_string(),
            })?;
            for (i, bytes) in chunk.chunks_exact(kind.size).enumerate() {
                each(&mut made, done as usize / kind.size + i, kind.value(bytes))?;
            }
            done += chunk.len() as u64;
        }
        self.check_end()?;
        Ok(made)
    }

    /// Bytes of all values of this `kind`, which the file may hold.
    fn num_bytes(&self, kind: Kind) -> Result<u64, String> {
        let (Header { shape, len: header_len, .. }, [len, max_len]) = (&self.header, self.lens);
        let num_bytes = num_values(shape).and_then(|num| num.checked_mul(kind.size as u64));
        let promised = num_bytes.and_then(|num_bytes| Some((num_bytes, header_len.checked_add(num_bytes)?)));
        let expected = promised.map_or_else(|| format!("more than {}", u64::MAX), |(_, promised)| promised.to_string());
        let Some((num_bytes, promised)) = promised.filter(|(_, promised)| len == *promised) else {
            return Err(format!("has {len} bytes, expected {expected} by its shape {shape:?}; get the file again"));
        };
        if promised > max_len {
            return Err(format!(
                "claims to hold {promised} bytes, more than the {max_len} that the file can hold; get the file again"
            ));
        }
        Ok(num_bytes)
    }

    /// Checks that nothing is left; for a zip entry, this also verifies the checksum.
    fn check_end(&mut self) -> Result<(), String> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err("continues after its values; get the file again".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The number of values of an array of this shape; `None` where it is 2⁶⁴ or more.
fn num_values(shape: &[usize]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_u64, |num, &size| num.checked_mul(size as u64))
}

fn truncated(expected: u64, got: u64) -> String {
    format!("is truncated: expected {expected} bytes of values, got {got}")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_ieee_754() {
        // By NumPy: np.array([…], np.uint16).view(np.float16).astype(float).
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_953_125),
            (0x0001, 5.960_464_477_539_063e-8),
            (0x03ff, 6.097_555_160_522_461e-5),
            (0x0400, 6.103_515_625e-5),
            (0x7bff, 65504.0),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert!(half(bits).total_cmp(&value).is_eq(), "{bits:#x}: {} and not {value}", half(bits));
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn values_of_every_type_are_read_in_either_order() {
        let value = |descr, bytes: &[u8]| Kind::parse(descr).unwrap().value(bytes);
        assert_eq!(value("|b1", &[1]), 1.0);
        assert_eq!(value("|i1", &[0xff]), -1.0);
        assert_eq!((value("<u2", &[1, 2]), value(">u2", &[1, 2])), (513.0, 258.0));
        assert_eq!((value("<i4", &[0xfe, 0xff, 0xff, 0xff]), value(">i8", &[0xff; 8])), (-2.0, -1.0));
        assert_eq!((value("<f4", &0.5_f32.to_le_bytes()), value(">f4", &0.5_f32.to_be_bytes())), (0.5, 0.5));
        assert_eq!((value("<f8", &0.1_f64.to_le_bytes()), value(">f2", &[0x3c, 0])), (0.1, 1.0));
        for not_read in ["|O", "<U3", "|S4", "<f16", "<c8", "<M8[s]", "|b2", "<i3", "u1", "", "<"] {
            assert_eq!(Kind::parse(not_read), None, "{not_read}");
        }
    }

    #[test]
    fn a_position_is_an_index_of_the_array() {
        let header = Header { shape: vec![4, 2, 3], descr: "<f4".into(), fortran_order: false, len: 0 };
        // By NumPy: np.unravel_index(17, (4, 2, 3)).
        assert_eq!((header.position(17), header.to_string().as_str()), (vec![2, 1, 2], "float32 [4, 2, 3]"));
    }
}
