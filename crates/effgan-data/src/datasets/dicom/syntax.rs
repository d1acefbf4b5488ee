//! Transfer syntaxes: how the elements of a file are written, and how its pixels are compressed (DICOM PS3.5, chapter 10).

/// How numbers and lengths are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Encoding {
    /// Whether each element names its value representation.
    pub(super) is_explicit: bool,
    pub(super) is_big_endian: bool,
}

impl Encoding {
    pub(super) const IMPLICIT: Self = Self { is_explicit: false, is_big_endian: false };
    pub(super) const EXPLICIT: Self = Self { is_explicit: true, is_big_endian: false };
    const BIG_ENDIAN: Self = Self { is_explicit: true, is_big_endian: true };

    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.is_big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.is_big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }
}

/// How pixels are compressed, of the ways that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    /// Run lengths, as of `PackBits`.
    Rle,
    /// Baseline JPEG.
    Jpeg,
}

/// A transfer syntax.
#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) encoding: Encoding,
    /// An error is the reason why the pixels are not read.
    pub(super) compression: Result<Compression, String>,
}

impl Syntax {
    /// The syntax that a UID stands for. The elements of one that is not known, such as a private one, are taken to be explicit, as
    /// those of all compressed pictures are.
    ///
    /// # Errors
    /// The reason why not even the elements are read.
    pub(super) fn of(uid: &str) -> Result<Self, String> {
        let read = |encoding, compression| Ok(Self { encoding, compression: Ok(compression) });
        match uid.strip_prefix("1.2.840.10008.1.2").unwrap_or("unknown") {
            "" => read(Encoding::IMPLICIT, Compression::None),
            ".1" => read(Encoding::EXPLICIT, Compression::None),
            ".2" => read(Encoding::BIG_ENDIAN, Compression::None),
            ".5" => read(Encoding::EXPLICIT, Compression::Rle),
            ".4.50" => read(Encoding::EXPLICIT, Compression::Jpeg),
            ".1.99" => Err(unread("deflate", "`dcmconv +te IN OUT` decompresses it")),
            other => Ok(Self { encoding: Encoding::EXPLICIT, compression: Err(compressed_otherwise(other)) }),
        }
    }
}

/// Why pixels of a syntax are not read, by the end of its UID.
fn compressed_otherwise(end: &str) -> String {
    match end {
        ".4.51" | ".4.57" | ".4.70" => unread("JPEG without loss or of 12 bits", "`dcmdjpeg IN OUT` decompresses it"),
        ".4.80" | ".4.81" => unread("JPEG-LS", "`dcmdjpls IN OUT` decompresses it"),
        ".4.90" | ".4.91" | ".4.92" | ".4.93" => unread("JPEG 2000", "`gdcmconv --raw IN OUT` decompresses it"),
        ".4.110" | ".4.111" | ".4.112" => unread("JPEG XL", "decompress it"),
        ".4.201" | ".4.202" | ".4.203" => unread("HTJ2K", "decompress it"),
        _ if end.starts_with(".4.10") => unread("MPEG", "save the frames of the film as files of their own"),
        // The UID is not named: who wrote the file may have put anything there.
        _ => unread("another transfer syntax than those of the standard", "decompress it"),
    }
}

fn unread(name: &str, advice: &str) -> String {
    format!("is compressed by {name}, which is not read; {advice}")
}
