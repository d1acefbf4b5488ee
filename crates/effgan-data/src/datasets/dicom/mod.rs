//! Pictures of a DICOM file, which is what hospitals have (DICOM PS3.3, PS3.5 and PS3.10).
//!
//! One frame is read, uncompressed or compressed by run lengths or baseline JPEG. A grey picture becomes as bright as its file says
//! ([`grey`]), a coloured one red, green and blue. Nothing but the elements that describe the picture is looked at ([`elements`]), and
//! no text of theirs is in an error, since who wrote the file may have put a name there.

mod colour;
mod elements;
mod frame;
mod grey;
mod image_pixel;
mod lookup_table;
mod rle;
mod syntax;
mod tag;
mod values;

use super::{jpeg_end, picture_formats::JPEG_RATIO};
use elements::{Elements, PixelData};
use grey::Grey;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult};
use image_pixel::{ImagePixel, Photometric};
use std::{
    fs::File,
    io::{self, Cursor},
};
use syntax::{Compression, Encoding};
use values::Group;

/// Number of bytes before the first element: 128 that may be anything, and `DICM`.
pub(super) const SIGNATURE: usize = 132;

/// Whether a file that starts with these bytes is one of DICOM.
pub(super) fn is_dicom(start: &[u8]) -> bool {
    start.get(SIGNATURE - 4..SIGNATURE) == Some(b"DICM")
}

/// Whether a file that starts with these bytes is probably one of DICOM without what comes before its elements: the first is one of
/// group 8.
pub(super) fn is_headless(start: &[u8]) -> bool {
    matches!(start, [8, 0, _, 0, ..])
}

/// Whether a file of DICOM is whole and holds something other than a picture: a report, the directory of a disc.
pub(super) fn holds_no_picture(file: &mut File) -> bool {
    Elements::read(file).is_ok_and(|elements| elements.pixels.is_none())
}

/// Decodes the picture of a file. Its type is `L8` where the file says which values are black and white or stores at most 8 bits,
/// `L16` for all other grey pictures, whose whole range is scaled to 16 bits, and `Rgb8`.
pub(super) struct Decoder {
    pixel: ImagePixel,
    colours: Colours,
    source: Source,
}

/// What makes a picture of samples.
enum Colours {
    Grey(Grey),
    /// Red, green and blue of each word.
    Palette(Vec<[u8; 3]>),
    Rgb,
    Ybr,
}

/// Where samples come from.
enum Source {
    Plain { file: File, pixels: PixelData, encoding: Encoding },
    Rle { file: File, pixels: PixelData },
    Jpeg(Box<dyn ImageDecoder>),
}

impl Decoder {
    /// Reads and checks everything but the pixels.
    ///
    /// # Errors
    /// The reason why the picture is not read.
    pub(super) fn open(mut file: File) -> Result<Self, String> {
        let Elements { syntax, values, pixels } = Elements::read(&mut file)?;
        let pixels = pixels.ok_or("is a DICOM file without a picture")?;
        if pixels.tag != tag::PIXEL_DATA {
            return Err("has pixels that are floating-point numbers; convert them to integers of 16 bits".into());
        }
        let (compression, encoding) = (syntax.compression?, syntax.encoding);
        let values = Group { values: &values, sequence: None, encoding };
        let pixel = ImagePixel::of(values)?;
        let colours = Colours::of(values, &pixel, compression)?;
        let source = match compression {
            Compression::None => {
                frame::check_len(&file, &pixels, &pixel)?;
                Source::Plain { file, pixels, encoding }
            }
            Compression::Rle => Source::Rle { file, pixels },
            Compression::Jpeg => Source::Jpeg(jpeg(frame::fragments(&mut file, &pixels)?, &pixel)?),
        };
        Ok(Self { pixel, colours, source })
    }

    /// Maximum number of pixels that a file of `len` bytes can hold; `None` where it is known to hold them.
    pub(super) fn most_pixels(&self, len: u64) -> Option<u64> {
        let bytes_per_pixel = (self.pixel.samples() * self.pixel.bytes()) as u64;
        match self.source {
            Source::Plain { .. } => None,
            Source::Rle { .. } => Some(rle::RATIO * len / bytes_per_pixel),
            Source::Jpeg(_) => Some(JPEG_RATIO * len),
        }
    }

    /// Maximum number of bytes that decoding a file of `len` bytes needs beside the result: tables and samples, the fragments of
    /// compressed ones, and what a JPEG decoder holds.
    pub(super) fn decoding(&self, len: u64) -> u64 {
        let compressed = match self.source {
            Source::Plain { .. } => 0,
            Source::Rle { .. } => len,
            Source::Jpeg(_) => 2 * len + 9 * self.pixel.num_pixels() as u64,
        };
        (2 << 20) + self.pixel.num_bytes() + compressed
    }

    /// The samples of all pixels, and whether each colour has a plane of its own.
    fn samples(source: Source, pixel: &ImagePixel) -> ImageResult<(Vec<u8>, bool)> {
        let or_reason = |samples: Result<Vec<u8>, String>| samples.map_err(reason);
        match source {
            Source::Plain { mut file, pixels, encoding } => {
                Ok((or_reason(frame::read(&mut file, &pixels, pixel, encoding))?, pixel.is_planar))
            }
            Source::Rle { mut file, pixels } => {
                let frame = or_reason(frame::fragments(&mut file, &pixels))?;
                Ok((or_reason(rle::unpack(&frame, pixel.num_pixels(), pixel.samples(), pixel.bytes()))?, true))
            }
            Source::Jpeg(decoder) => {
                let mut samples = vec![0; pixel.num_bytes() as usize];
                decoder.read_image_boxed(&mut samples)?;
                Ok((samples, false))
            }
        }
    }
}

impl Colours {
    fn of(values: Group<'_>, pixel: &ImagePixel, compression: Compression) -> Result<Self, String> {
        let unread = |name: &str| Err(format!("has colours as {name}, which is not read; convert them to RGB"));
        match (pixel.photometric, compression) {
            (Photometric::Monochrome { .. }, _) => Grey::of(values, pixel).map(Self::Grey),
            (Photometric::Palette, _) => colour::palette(values, pixel).map(Self::Palette),
            // The decoder makes red, green and blue of luma and differences.
            (Photometric::YbrFull | Photometric::YbrFull422, Compression::Jpeg) => Ok(Self::Rgb),
            (Photometric::Rgb, Compression::Jpeg) => unread("RGB within JPEG"),
            (Photometric::YbrFull422, _) => unread("YBR_FULL_422"),
            (Photometric::Rgb, _) => Ok(Self::Rgb),
            (Photometric::YbrFull, _) => Ok(Self::Ybr),
        }
    }
}

/// A decoder of a JPEG picture within a file.
fn jpeg(bytes: Vec<u8>, pixel: &ImagePixel) -> Result<Box<dyn ImageDecoder>, String> {
    let mut bytes = Cursor::new(bytes);
    jpeg_end::check(&mut bytes)?;
    bytes.set_position(0);
    let decoder =
        ImageReader::with_format(bytes, ImageFormat::Jpeg).into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    let samples = usize::from(decoder.color_type().channel_count());
    let expected = (pixel.columns.into(), pixel.rows.into(), pixel.samples());
    if (width, height, samples) == expected && pixel.bytes() == 1 {
        return Ok(Box::new(decoder));
    }
    let (columns, rows, expected) = expected;
    Err(format!(
        "holds a JPEG picture of {width} × {height} pixels and {samples} colours, and describes one of {columns} × {rows} and {expected}"
    ))
}

impl ImageDecoder for Decoder {
    fn dimensions(&self) -> (u32, u32) {
        (self.pixel.columns.into(), self.pixel.rows.into())
    }

    fn color_type(&self) -> ColorType {
        match &self.colours {
            Colours::Grey(grey) if grey.is_deep(&self.pixel) => ColorType::L16,
            Colours::Grey(_) => ColorType::L8,
            _ => ColorType::Rgb8,
        }
    }

    fn read_image(self, output: &mut [u8]) -> ImageResult<()> {
        let Self { pixel, colours, source } = self;
        let (samples, is_planar) = Self::samples(source, &pixel)?;
        let words = samples
            .chunks_exact(pixel.bytes())
            .map(|word| word.iter().rev().fold(0, |high, &low| high << 8 | usize::from(low)));
        match colours {
            Colours::Grey(grey) if grey.is_deep(&pixel) => {
                let table = grey.table(&pixel, u16::MAX);
                let output = output.as_chunks_mut().0;
                output.iter_mut().zip(words).for_each(|(grey, word)| *grey = table[word].to_ne_bytes());
            }
            Colours::Grey(grey) => {
                let table = grey.table(&pixel, u8::MAX.into());
                output.iter_mut().zip(words).for_each(|(grey, word)| *grey = table[word] as u8);
            }
            Colours::Palette(table) => {
                output.as_chunks_mut().0.iter_mut().zip(words).for_each(|(rgb, word)| *rgb = table[word]);
            }
            Colours::Rgb => colour::interleave(&samples, is_planar, output),
            Colours::Ybr => {
                colour::interleave(&samples, is_planar, output);
                output.as_chunks_mut().0.iter_mut().for_each(|ybr| *ybr = colour::rgb(*ybr));
            }
        }
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, output: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(output)
    }
}

/// A reason as an error whose text it is.
fn reason(reason: String) -> ImageError {
    ImageError::IoError(io::Error::other(reason))
}
