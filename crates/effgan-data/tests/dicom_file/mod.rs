//! Writes small DICOM files, whole and damaged.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;

/// Explicit, little-endian.
const PLAIN: &str = "1.2.840.10008.1.2.1";
pub(crate) const RUN_LENGTHS: &str = "1.2.840.10008.1.2.5";
pub(crate) const BASELINE_JPEG: &str = "1.2.840.10008.1.2.4.50";

pub(crate) const FRAMES: u32 = 0x0028_0008;
pub(crate) const PHOTOMETRIC: u32 = 0x0028_0004;
pub(crate) const SAMPLES: u32 = 0x0028_0002;
pub(crate) const ROWS: u32 = 0x0028_0010;
pub(crate) const COLUMNS: u32 = 0x0028_0011;
pub(crate) const BITS: u32 = 0x0028_0100;
pub(crate) const BITS_STORED: u32 = 0x0028_0101;
pub(crate) const SIGNED: u32 = 0x0028_0103;
pub(crate) const CENTER: u32 = 0x0028_1050;
pub(crate) const WIDTH: u32 = 0x0028_1051;
pub(crate) const PIXELS: u32 = 0x7fe0_0010;

/// The elements of a file.
#[derive(Clone)]
pub(crate) struct DicomFile {
    syntax: &'static str,
    elements: BTreeMap<u32, (&'static str, Vec<u8>)>,
}

impl DicomFile {
    /// A grey picture of 8 bits.
    pub(crate) fn grey([width, height]: [u16; 2], pixels: &[u8]) -> Self {
        let patient = Self { syntax: PLAIN, elements: BTreeMap::new() }
            .with(0x0008_0080, "LO", b"Secret Hospital ")
            .with(0x0010_0010, "PN", b"Secret^Name ")
            .with(0x0010_0020, "LO", b"Secret-4711 ");
        let picture = patient.number(SAMPLES, 1).with(PHOTOMETRIC, "CS", b"MONOCHROME2 ").number(ROWS, height);
        let bits = picture.number(COLUMNS, width).number(BITS, 8).number(BITS_STORED, 8).number(SIGNED, 0);
        bits.with(PIXELS, "OB", pixels)
    }

    pub(crate) fn with(mut self, tag: u32, vr: &'static str, value: &[u8]) -> Self {
        self.elements.insert(tag, (vr, value.to_vec()));
        self
    }

    pub(crate) fn number(self, tag: u32, value: u16) -> Self {
        self.with(tag, "US", &value.to_le_bytes())
    }

    pub(crate) fn without(mut self, tag: u32) -> Self {
        self.elements.remove(&tag);
        self
    }

    /// Compresses the pixels by another syntax, of which they are a fragment.
    pub(crate) fn compressed(mut self, syntax: &'static str, fragment: &[u8]) -> Self {
        let table = [0xfe, 0xff, 0, 0xe0, 0, 0, 0, 0];
        let len = (fragment.len() as u32).to_le_bytes();
        let item = [&[0xfe, 0xff, 0, 0xe0], &len[..], fragment].concat();
        let end = [0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0];
        self.syntax = syntax;
        self.with(PIXELS, "", &[&table[..], &item, &end].concat())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let uid = element(0x0002_0010, "UI", self.syntax.as_bytes());
        let elements = self.elements.iter().flat_map(|(&tag, (vr, value))| element(tag, vr, value));
        [0; 128].into_iter().chain(*b"DICM").chain(uid).chain(elements).collect()
    }
}

/// An element as its bytes; one without a representation is of fragments.
pub(crate) fn element(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let tag = [(tag >> 16) as u16, tag as u16].map(u16::to_le_bytes).concat();
    let len = value.len() as u32;
    let header = match vr {
        "" => [&tag[..], b"OB\0\0", &[0xff; 4]].concat(),
        "OB" | "OW" | "SQ" | "UN" => [&tag[..], vr.as_bytes(), &[0; 2], &len.to_le_bytes()].concat(),
        _ => [&tag[..], vr.as_bytes(), &(len as u16).to_le_bytes()].concat(),
    };
    [&header[..], value].concat()
}
