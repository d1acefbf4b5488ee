//! The elements of a DICOM file in their order (DICOM PS3.5, chapter 7, and PS3.10, chapter 7).
//!
//! The values that describe a picture are kept, and all others are skipped by their lengths, a patient's name among them. A file may be hostile: every length is compared with the file's own before memory is taken.

use super::{
    syntax::{Encoding, Syntax},
    tag::{self, Tag},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Read, Seek, SeekFrom},
};

/// Longest table that is read: 65,536 words.
const MAX_TABLE: u32 = 1 << 17;
/// Longest other value that is read: some hundred numbers.
const MAX_VALUE: u32 = 1 << 12;
/// Maximum number of sequences within each other; those that describe a picture are two deep.
const MAX_DEPTH: usize = 64;
/// Value representations whose lengths have two bytes; those of all others have four.
const SHORT: [[u8; 2]; 21] = [
    *b"AE", *b"AS", *b"AT", *b"CS", *b"DA", *b"DS", *b"DT", *b"FD", *b"FL", *b"IS", *b"LO", *b"LT", *b"PN", *b"SH",
    *b"SL", *b"SS", *b"ST", *b"TM", *b"UI", *b"UL", *b"US",
];

/// Why a file that ends early cannot be read.
pub(super) const TRUNCATED: &str = "is truncated";

/// What the elements of a file say about its picture.
pub(super) struct Elements {
    pub(super) syntax: Syntax,
    pub(super) values: Values,
    /// `None` for a file without a picture, such as a report.
    pub(super) pixels: Option<PixelData>,
}

/// The values that describe a picture, by the sequence that they are in, if any, and their tag.
pub(super) type Values = BTreeMap<(Option<Tag>, Tag), Value>;

/// A value as it is in the file.
pub(super) struct Value {
    pub(super) bytes: Vec<u8>,
    /// Value representation, where the encoding is explicit.
    pub(super) vr: Option<[u8; 2]>,
}

/// Where the pixels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelData {
    pub(super) tag: Tag,
    /// Position in the file.
    pub(super) start: u64,
    /// Number of bytes; `None` where the pixels are in fragments.
    pub(super) len: Option<u32>,
    /// Value representation, where the encoding is explicit.
    pub(super) vr: Option<[u8; 2]>,
}

impl Elements {
    /// Reads the elements before the pixels.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub(super) fn read(file: &mut File) -> Result<Self, String> {
        let mut reader = Reader::of(file)?;
        let syntax = Syntax::of(&reader.transfer_syntax_uid()?)?;
        let mut walk = Walk { reader, values: Values::new(), pixels: None };
        walk.data_set(Place::Top, syntax.encoding, None, 0)?;
        Ok(Self { syntax, values: walk.values, pixels: walk.pixels })
    }
}

/// Where a data set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The file itself.
    Top,
    /// The first item of a sequence that describes the picture.
    In(Tag),
    /// Any other item; nothing is read there.
    Elsewhere,
}

impl Place {
    /// Whether the value of an element here is read.
    fn wants(self, tag: Tag) -> bool {
        match self {
            Self::Top => tag::OF_PICTURE.contains(&tag),
            Self::In(tag::MODALITY_LUT_SEQUENCE | tag::VOI_LUT_SEQUENCE) => {
                matches!(tag, tag::LUT_DESCRIPTOR | tag::LUT_DATA)
            }
            Self::In(tag::PIXEL_VALUE_TRANSFORMATION_SEQUENCE) => {
                matches!(tag, tag::RESCALE_INTERCEPT | tag::RESCALE_SLOPE)
            }
            Self::In(tag::FRAME_VOI_LUT_SEQUENCE) => {
                matches!(tag, tag::WINDOW_CENTER | tag::WINDOW_WIDTH | tag::VOI_LUT_FUNCTION)
            }
            _ => false,
        }
    }

    /// The place of the first item of a sequence here.
    fn within(self, sequence: Tag) -> Self {
        use tag as t;
        let leads_on = match self {
            Self::Top => matches!(
                sequence,
                t::MODALITY_LUT_SEQUENCE
                    | t::VOI_LUT_SEQUENCE
                    | t::SHARED_FUNCTIONAL_GROUPS_SEQUENCE
                    | t::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE
            ),
            Self::In(t::SHARED_FUNCTIONAL_GROUPS_SEQUENCE | t::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE) => {
                matches!(sequence, t::PIXEL_VALUE_TRANSFORMATION_SEQUENCE | t::FRAME_VOI_LUT_SEQUENCE)
            }
            _ => false,
        };
        if leads_on { Self::In(sequence) } else { Self::Elsewhere }
    }
}

/// The way through the elements, and what was found on it.
struct Walk<'a> {
    reader: Reader<'a>,
    values: Values,
    pixels: Option<PixelData>,
}

impl Walk<'_> {
    /// Reads elements up to the position `end` or, without it, to a delimiter; those of the file itself to its end or to its pixels.
    fn data_set(&mut self, place: Place, encoding: Encoding, end: Option<u64>, depth: usize) -> Result<(), String> {
        let end = if place == Place::Top { Some(self.reader.len) } else { end };
        while end.is_none_or(|end| self.reader.position < end) {
            let element = self.reader.element(encoding)?;
            match element.tag {
                tag::ITEM_DELIMITATION if place != Place::Top => return Ok(()),
                tag::PIXEL_DATA | tag::FLOAT_PIXEL_DATA | tag::DOUBLE_FLOAT_PIXEL_DATA if place == Place::Top => {
                    let Element { tag, vr, len } = element;
                    self.pixels = Some(PixelData { tag, start: self.reader.position, len, vr });
                    return Ok(());
                }
                tag if tag >> 16 == tag::DELIMITERS => return Err(self.reader.damaged()),
                _ => self.element(&element, place, encoding, depth)?,
            }
        }
        self.reader.check_end(end)
    }

    /// Reads the value of an element if it is wanted, or skips it.
    fn element(&mut self, element: &Element, place: Place, encoding: Encoding, depth: usize) -> Result<(), String> {
        let &Element { tag, vr, len } = element;
        let within = place.within(tag);
        match len {
            Some(len) if place.wants(tag) => {
                let bytes = self.reader.value(len, if tag::TABLES.contains(&tag) { MAX_TABLE } else { MAX_VALUE })?;
                let sequence = if let Place::In(sequence) = place { Some(sequence) } else { None };
                self.values.entry((sequence, tag)).or_insert(Value { bytes, vr });
                Ok(())
            }
            Some(len) if within == Place::Elsewhere => self.reader.skip(len),
            // A sequence of unknown representation is always implicit.
            _ if vr == Some(*b"UN") => self.sequence(within, Encoding::IMPLICIT, len, depth + 1),
            _ => self.sequence(within, encoding, len, depth + 1),
        }
    }

    /// Reads the items of a sequence of `len` bytes or, without it, to a delimiter.
    fn sequence(&mut self, first: Place, encoding: Encoding, len: Option<u32>, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("has sequences within each other, more than {MAX_DEPTH} deep"));
        }
        let end = len.map(|len| self.reader.position + u64::from(len));
        let mut place = first;
        while end.is_none_or(|end| self.reader.position < end) {
            let item = self.reader.element(encoding)?;
            match (item.tag, item.len) {
                (tag::SEQUENCE_DELIMITATION, _) => return Ok(()),
                // Such an item may be a fragment of pixels, which are no elements.
                (tag::ITEM, Some(len)) if place == Place::Elsewhere => self.reader.skip(len)?,
                (tag::ITEM, len) => {
                    let end = len.map(|len| self.reader.position + u64::from(len));
                    self.data_set(place, encoding, end, depth)?;
                }
                _ => return Err(self.reader.damaged()),
            }
            place = Place::Elsewhere;
        }
        self.reader.check_end(end)
    }
}

/// The header of an element or item.
pub(super) struct Element {
    pub(super) tag: Tag,
    vr: Option<[u8; 2]>,
    /// Number of bytes of the value; `None` where a delimiter ends it.
    pub(super) len: Option<u32>,
}

/// Reads a file from front to back, and never beyond its end.
pub(super) struct Reader<'a> {
    file: BufReader<&'a mut File>,
    position: u64,
    len: u64,
}

impl<'a> Reader<'a> {
    /// A reader behind the first bytes of `file`.
    fn of(file: &'a mut File) -> Result<Self, String> {
        Self::at(file, super::SIGNATURE as u64)
    }

    /// A reader at a position of `file`.
    pub(super) fn at(file: &'a mut File, position: u64) -> Result<Self, String> {
        let len = file.metadata().map_err(|error| error.to_string())?.len();
        file.seek(SeekFrom::Start(position)).map_err(|error| error.to_string())?;
        Ok(Self { file: BufReader::new(file), position, len })
    }

    /// The transfer syntax, of the elements of group 2, which are always explicit. Leaves the reader behind them.
    fn transfer_syntax_uid(&mut self) -> Result<String, String> {
        let mut uid = None;
        while self.group_is_next(2)? {
            let element = self.element(Encoding::EXPLICIT)?;
            let len = element.len.ok_or_else(|| self.damaged())?;
            if element.tag == tag::TRANSFER_SYNTAX_UID {
                uid = Some(self.value(len, MAX_VALUE)?);
            } else {
                self.skip(len)?;
            }
        }
        let uid = uid.ok_or("names no transfer syntax; `dcmconv IN OUT` adds one")?;
        Ok(String::from_utf8_lossy(&uid).trim_end_matches(['\0', ' ']).to_owned())
    }

    /// Whether the next element is one of `group`.
    fn group_is_next(&mut self, group: u16) -> Result<bool, String> {
        if self.left() < 2 {
            return Ok(false);
        }
        let next = u16::from_le_bytes(self.array()?);
        self.position -= 2;
        self.file.seek_relative(-2).map_err(|error| error.to_string())?;
        Ok(next == group)
    }

    /// Reads the header of an element.
    pub(super) fn element(&mut self, encoding: Encoding) -> Result<Element, String> {
        let [group, number] = [self.array()?, self.array()?].map(|half| Tag::from(encoding.u16(half)));
        let tag = group << 16 | number;
        let is_item = group == tag::DELIMITERS;
        let vr: Option<[u8; 2]> = if encoding.is_explicit && !is_item { Some(self.array()?) } else { None };
        let len = match vr {
            Some(vr) if SHORT.contains(&vr) => u32::from(encoding.u16(self.array()?)),
            Some(vr) if !vr.iter().all(u8::is_ascii_uppercase) => return Err(self.damaged()),
            Some(_) => {
                self.skip(2)?;
                encoding.u32(self.array()?)
            }
            None => encoding.u32(self.array()?),
        };
        Ok(Element { tag, vr, len: Some(len).filter(|&len| len != u32::MAX) })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `len` bytes, of a value that has at most `most`.
    fn value(&mut self, len: u32, most: u32) -> Result<Vec<u8>, String> {
        if len > most {
            return Err(format!("describes its picture in a value of {len} bytes, which may have at most {most}"));
        }
        let mut bytes = vec![0; len as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the next bytes.
    pub(super) fn fill(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        self.advance(bytes.len() as u64)?;
        self.file.read_exact(bytes).map_err(|error| error.to_string())
    }

    /// Reads the next `len` bytes to the end of `bytes`.
    pub(super) fn append(&mut self, len: u32, bytes: &mut Vec<u8>) -> Result<(), String> {
        if u64::from(len) > self.left() {
            return Err(TRUNCATED.into());
        }
        let start = bytes.len();
        bytes.resize(start + len as usize, 0);
        self.fill(&mut bytes[start..])
    }

    /// Number of bytes of the rest of the file.
    pub(super) fn left(&self) -> u64 {
        self.len.saturating_sub(self.position)
    }

    pub(super) fn skip(&mut self, len: u32) -> Result<(), String> {
        self.advance(len.into())?;
        self.file.seek_relative(len.into()).map_err(|error| error.to_string())
    }

    /// Counts `len` bytes, which must be in the file.
    fn advance(&mut self, len: u64) -> Result<(), String> {
        self.position += len;
        if self.position > self.len { Err(TRUNCATED.into()) } else { Ok(()) }
    }

    /// Checks that what ends at `end` was read exactly.
    fn check_end(&self, end: Option<u64>) -> Result<(), String> {
        if end.is_none_or(|end| self.position == end) { Ok(()) } else { Err(self.damaged()) }
    }

    pub(super) fn damaged(&self) -> String {
        format!("is damaged before byte {}", self.position)
    }
}
