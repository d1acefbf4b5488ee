//! The format of a cache file: a header, an index with a record of each picture, and the pixels of one picture after the other.
//!
//! The file is not believed: all sizes in it must add up to its own before memory is taken, and header, index and pixels have checksums,
//! which tell damage from what was written.

use super::{key::Key, stamp::Stamp};
use crate::datasets::picture::{Facts, Header, Mode};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read, Write},
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{Path, PathBuf},
};

const MAGIC: [u8; 8] = *b"effgan\0p";
/// Bytes of the header: magic, three sides, number of pictures, length and checksum of the index, and the header's own checksum.
const HEADER: usize = 8 + 3 * 4 + 8 + 8 + 4 + 4;
/// Bytes of the shortest record, without a path.
const RECORD: u64 = (4 + Stamp::LEN + 2 * 4 + 2 + 2 * 2 + 4) as u64;
/// Bytes of memory of the index and its records for each byte of the index, at most.
const MEMORY: u64 = 6;
/// Largest side of a picture that a file may claim: that of one with as many pixels as are read.
const MAX_SIDE: u32 = 1 << 26;

/// Why a file is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It is not what was written for these pictures.
    Damaged,
    /// Other versions of the decoders have written it.
    OtherVersion,
    /// There is no memory for its index.
    TooLarge,
}

/// A file whose index has been read.
pub(super) struct Stored {
    file: File,
    /// Channels, height and width of all images.
    pub(super) shape: [usize; 3],
    /// The records by path within the folder.
    pub(super) records: BTreeMap<PathBuf, Record>,
    /// Where the pixels begin.
    first: u64,
}

/// What is kept of a picture, beside its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub(super) stamp: Stamp,
    pub(super) facts: Facts,
    checksum: u32,
    /// Which of the images it is.
    place: u64,
}

/// A picture to be kept: its path within the folder, and its pixels.
pub(super) struct Picture<'a> {
    pub(super) path: &'a Path,
    pub(super) stamp: Stamp,
    pub(super) facts: Facts,
    pub(super) pixels: &'a [u8],
}

/// Reads the header and the index of a file, whose records may take the memory that `room` leaves beside all images of a shape.
pub(super) fn read(mut file: File, key: &Key, room: impl Fn([usize; 3]) -> u64) -> Result<Stored, Unusable> {
    let len = file.metadata().map_err(|_| Unusable::Damaged)?.len();
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(|_| Unusable::Damaged)?;
    let Sizes { shape, num, index_len, checksum } = Sizes::of(&header, len).ok_or(Unusable::Damaged)?;
    if index_len.saturating_mul(MEMORY) > room(shape) {
        return Err(Unusable::TooLarge);
    }
    let mut index = vec![0; index_len as usize];
    file.read_exact(&mut index).map_err(|_| Unusable::Damaged)?;
    if crc32c::crc32c(&index) != checksum {
        return Err(Unusable::Damaged);
    }
    let mut rest = Rest(&index);
    let (pictures, version) = rest.text().zip(rest.text()).ok_or(Unusable::Damaged)?;
    if pictures != key.pictures {
        return Err(Unusable::Damaged);
    }
    if version != key.version.as_bytes() {
        return Err(Unusable::OtherVersion);
    }
    let records = (0..num).map(|place| rest.record(place)).collect::<Option<BTreeMap<_, _>>>();
    let records = records.filter(|_| rest.0.is_empty()).ok_or(Unusable::Damaged)?;
    Ok(Stored { file, shape, records, first: HEADER as u64 + index_len })
}

impl Stored {
    /// Reads the pixels of a picture; `false` where they are not what was written.
    pub(super) fn read_pixels(&self, record: &Record, output: &mut [u8]) -> bool {
        let offset = self.first + record.place * output.len() as u64;
        self.file.read_exact_at(output, offset).is_ok() && crc32c::crc32c(output) == record.checksum
    }
}

/// Writes a file of `pictures` of one shape.
pub(super) fn write(file: &mut File, key: &Key, shape: [usize; 3], pictures: &[Picture<'_>]) -> io::Result<()> {
    let mut index = Vec::new();
    for text in [&key.pictures[..], key.version.as_bytes()] {
        index.extend((text.len() as u32).to_le_bytes());
        index.extend(text);
    }
    for picture in pictures {
        push_record(&mut index, picture);
    }
    let mut header = MAGIC.to_vec();
    header.extend(shape.iter().flat_map(|&side| (side as u32).to_le_bytes()));
    header.extend((pictures.len() as u64).to_le_bytes());
    header.extend((index.len() as u64).to_le_bytes());
    header.extend(crc32c::crc32c(&index).to_le_bytes());
    header.extend(crc32c::crc32c(&header).to_le_bytes());
    file.write_all(&header)?;
    file.write_all(&index)?;
    drop(index);
    let mut file = io::BufWriter::with_capacity(1 << 20, file);
    pictures.iter().try_for_each(|picture| file.write_all(picture.pixels))?;
    file.flush()
}

fn push_record(index: &mut Vec<u8>, picture: &Picture<'_>) {
    let Picture { path, stamp, facts: Facts { header, range }, pixels } = picture;
    let Mode { colour, alpha, deep } = header.mode;
    let path = path.as_os_str().as_bytes();
    index.extend((path.len() as u32).to_le_bytes());
    index.extend(path);
    index.extend(stamp.to_bytes());
    index.extend([header.width, header.height].iter().flat_map(|&side| (side as u32).to_le_bytes()));
    index.push(u8::from(colour) | u8::from(alpha) << 1 | u8::from(deep) << 2);
    index.push(u8::from(range.is_some()));
    index.extend(range.unwrap_or_default().iter().flat_map(|value| value.to_le_bytes()));
    index.extend(crc32c::crc32c(pixels).to_le_bytes());
}

/// The sizes in a header.
struct Sizes {
    shape: [usize; 3],
    num: u64,
    index_len: u64,
    checksum: u32,
}

impl Sizes {
    /// Those of a file of `len` bytes; `None` where they are not those of such a file.
    fn of(header: &[u8; HEADER], len: u64) -> Option<Self> {
        let mut rest = Rest(header);
        let is_ours = rest.take::<8>()? == MAGIC;
        let shape = [rest.u32()?, rest.u32()?, rest.u32()?];
        let (num, index_len, checksum) = (rest.u64()?, rest.u64()?, rest.u32()?);
        let is_whole = rest.u32()? == crc32c::crc32c(&header[..HEADER - 4]);
        let image_len = shape.iter().try_fold(1, |len: u64, &side| len.checked_mul(side.into()));
        let image_len = image_len.filter(|&len| len > 0)?;
        let expected = num.checked_mul(image_len)?.checked_add(index_len)?.checked_add(HEADER as u64)?;
        let fits = num.checked_mul(RECORD)? <= index_len && expected == len;
        (is_ours && is_whole && fits).then_some(Self {
            shape: shape.map(|side| side as usize),
            num,
            index_len,
            checksum,
        })
    }
}

/// The bytes that have not been read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// Bytes with their number before them.
    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(text)
    }

    /// The record of image `place`, with its path.
    fn record(&mut self, place: u64) -> Option<(PathBuf, Record)> {
        let path = PathBuf::from(OsStr::from_bytes(self.text()?));
        let stamp = Stamp::from_bytes(self.take()?);
        let [width, height] = [self.u32()?, self.u32()?];
        let [mode, has_range] = self.take()?;
        let range = [self.take().map(u16::from_le_bytes)?, self.take().map(u16::from_le_bytes)?];
        let checksum = self.u32()?;
        let is_one = (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height) && mode < 8 && has_range < 2;
        let mode = Mode { colour: mode & 1 > 0, alpha: mode & 2 > 0, deep: mode & 4 > 0 };
        let header = Header { width: width as usize, height: height as usize, mode };
        let facts = Facts { header, range: (has_range == 1).then_some(range) };
        is_one.then_some((path, Record { stamp, facts, checksum, place }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn key() -> Key {
        Key { pictures: b"these".to_vec(), version: "this".into() }
    }

    /// A header with the right checksum.
    fn header(shape: [u32; 3], num: u64, index_len: u64) -> Vec<u8> {
        let sides = shape.map(u32::to_le_bytes).concat();
        let mut header = [&MAGIC[..], &sides, &num.to_le_bytes(), &index_len.to_le_bytes(), &[0; 4]].concat();
        header.extend(crc32c::crc32c(&header).to_le_bytes());
        header
    }

    #[test]
    fn a_file_that_claims_more_than_there_is_takes_no_memory() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a");
        let tib = 1_u64 << 40;
        for (shape, num, index_len, len) in [
            ([3, 4, 4], u64::MAX, 1, 1000),
            ([u32::MAX; 3], 1, 100, 1000),
            ([0, 4, 4], 1, 1000 - HEADER as u64, 1000),
            ([3, 4, 4], 0, tib, 1000),
            // More pictures than the index can have records.
            ([1, 1, 1], tib - HEADER as u64, 0, tib),
        ] {
            fs::write(&path, header(shape, num, index_len)).unwrap();
            File::options().write(true).open(&path).unwrap().set_len(len).unwrap();
            assert_eq!(
                read(File::open(&path).unwrap(), &key(), |_| u64::MAX).err(),
                Some(Unusable::Damaged),
                "{shape:?}"
            );
        }
        // A file with holes has the length that its header says.
        fs::write(&path, header([3, 4, 4], 0, tib)).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(tib + HEADER as u64).unwrap();
        assert_eq!(read(File::open(&path).unwrap(), &key(), |_| 8 << 30).err(), Some(Unusable::TooLarge));
    }

    #[test]
    fn a_file_of_another_version_is_not_read_and_not_called_damaged() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a");
        write(&mut File::create(&path).unwrap(), &key(), [1, 1, 1], &[]).unwrap();
        let result = |key: Key| read(File::open(&path).unwrap(), &key, |_| 1 << 20).map(|stored| stored.records.len());
        assert_eq!(result(key()), Ok(0));
        assert_eq!(result(Key { version: "another".into(), ..key() }), Err(Unusable::OtherVersion));
        assert_eq!(result(Key { pictures: b"others".to_vec(), ..key() }), Err(Unusable::Damaged));
    }
}
