//! Decoding one picture into bytes.
//!
//! The format is detected from the file's contents, not from its name. An orientation in EXIF is applied; 16 bits become 8 by
//! [`Levels`]; transparent pixels are blended with white; of several pictures in a file the first is read (of [`dicom`], one must be
//! the only one). Colours are not changed otherwise. A file may be hostile: its header is checked before memory is allocated, and pictures that are decoded at the same time
//! share the memory of [`Decoders`].

use super::{
    DEFLATE_RATIO,
    budget::{Decoders, resizing},
    dicom, jpeg_end, lfs_pointer,
    picture_formats::{FORMATS, JPEG_RATIO},
};
use image::{
    ColorType, DynamicImage, GrayImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits,
    metadata::Orientation,
};
use std::{
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read, Seek},
    path::Path,
};

/// Maximum number of pixels of one picture: more than any camera has, and 512 MiB in the widest mode.
const MAX_PIXELS: u64 = 1 << 26;
/// Largest file that is read. A JPEG decoder holds the whole file in memory.
const MAX_FILE: u64 = 1 << 28;
/// Largest file that is read at once and opened once, so that a small picture costs few calls of the system.
const SMALL_FILE: u64 = 1 << 18;

/// The formats that are read by the `image` crate.
const READ: [ImageFormat; 7] = [
    ImageFormat::Png,
    ImageFormat::Jpeg,
    ImageFormat::WebP,
    ImageFormat::Tiff,
    ImageFormat::Bmp,
    ImageFormat::Gif,
    ImageFormat::Pnm,
];

/// Names of pictures end in one of these, in upper or lower case.
const EXTENSIONS: [&str; 18] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "jif", "webp", "tif", "tiff", "bmp", "dib", "gif", "pnm", "pgm", "ppm", "pbm",
    "pam", "apng",
];

/// Names of DICOM files end in one of these, if at all. Such a file may be something other than a picture.
const DICOM_EXTENSIONS: [&str; 2] = ["dcm", "dicom"];

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Dicom,
    Image(ImageFormat),
}

/// Whether the file is a picture by its name or, where the name says nothing, by its first bytes.
pub(super) fn is_picture(path: &Path) -> bool {
    let extension = path.extension().map(OsStr::to_ascii_lowercase);
    let is_called = |names: &[&str]| extension.as_ref().is_some_and(|it| names.iter().any(|name| it == *name));
    is_called(&EXTENSIONS) || is_picture_inside(path).unwrap_or_else(|| is_called(&DICOM_EXTENSIONS))
}

/// Whether the file is a picture by its first bytes; `None` where they do not tell. Formats whose beginning has two letters, with
/// which a text may begin, are not looked for.
fn is_picture_inside(path: &Path) -> Option<bool> {
    // Opening a pipe would block until another process writes into it.
    let mut file = path.is_file().then(|| File::open(path).ok()).flatten()?;
    match format_of(&mut file).ok()? {
        Format::Dicom => Some(!dicom::holds_no_picture(&mut file)),
        Format::Image(ImageFormat::Bmp | ImageFormat::Pnm) => None,
        Format::Image(_) => Some(true),
    }
}

/// The values of 16 bits that become black and white; those between are scaled linearly, and those beyond are clipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Levels {
    pub(super) black: u16,
    pub(super) white: u16,
}

impl Default for Levels {
    fn default() -> Self {
        Self { black: 0, white: u16::MAX }
    }
}

impl Levels {
    /// 255 · (value − black) / (white − black), to the nearest byte.
    fn byte(self, value: u16) -> u8 {
        let (value, range) = (value.clamp(self.black, self.white) - self.black, u32::from(self.white - self.black));
        ((510 * u32::from(value) + range) / (2 * range)) as u8
    }
}

/// The pixel format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mode {
    /// Whether the image has colours; otherwise it is grey.
    pub colour: bool,
    /// Whether there is an alpha channel.
    pub alpha: bool,
    /// Whether channels have 16 bits.
    pub deep: bool,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.deep { "16-bit " } else { "" })?;
        f.write_str(if self.colour { "colour" } else { "grey" })?;
        f.write_str(if self.alpha { " with alpha" } else { "" })
    }
}

/// The header of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) mode: Mode,
}

impl Header {
    /// Channels, height and width of the decoded image.
    pub(super) fn shape(&self) -> [usize; 3] {
        [if self.mode.colour { 3 } else { 1 }, self.height, self.width]
    }

    fn num_pixels(&self) -> u64 {
        self.width as u64 * self.height as u64
    }
}

/// What is known of a picture that was decoded, beside its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) header: Header,
    /// The least and the largest value of a picture with 16 bits.
    pub(super) range: Option<[u16; 2]>,
}

/// Reads the header of `path`; an error is the reason why it is not a picture.
pub(super) fn header(path: &Path, decoders: &Decoders) -> Result<Header, String> {
    open_within(path, file_len(path)?, decoders).map(|opened| opened.header)
}

/// Decodes `path` and returns the result of `take` with the pixels `[c, h, w]` and their shape, and what else is known of it; an error is
/// the reason why it cannot be decoded. `take` may resize the pixels to the shape `to`, for which memory is reserved.
pub(super) fn read<T>(
    path: &Path,
    to: [usize; 3],
    levels: Levels,
    decoders: &Decoders,
    take: impl FnOnce(Vec<u8>, [usize; 3]) -> T,
) -> Result<(T, Facts), String> {
    let len = file_len(path)?;
    let opened = open_within(path, len, decoders)?;
    let (header, decoding) = (opened.header, opened.decoding);
    // The decoder of a large file may hold all of it, which has to wait for the memory to decode it.
    let opened = (len <= SMALL_FILE).then_some(opened);
    let resizing = if header.shape() == to { 0 } else { header.num_pixels() * 3 + resizing(header.shape(), to) };
    decoders.with(decoding.max(resizing), || {
        let Opened { orientation, decoder, .. } = match opened {
            Some(opened) => opened,
            None => open(path)?.of(header, decoding)?,
        };
        let picture = DynamicImage::from_decoder(decoder).map_err(|error| one_line(&error))?;
        let range = range(&picture);
        let taken = take(planes(picture, orientation, header.shape(), levels), header.shape());
        Ok((taken, Facts { header, range }))
    })
}

/// Number of bytes of the file at `path`.
fn file_len(path: &Path) -> Result<u64, String> {
    // Opening a pipe would block until another process writes into it.
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if metadata.is_file() { Ok(metadata.len()) } else { Err("is not a file".into()) }
}

/// As [`open`], of a file of `len` bytes, once there is memory for them: a decoder may read the whole file first.
fn open_within(path: &Path, len: u64, decoders: &Decoders) -> Result<Opened, String> {
    decoders.with(len.min(MAX_FILE), || open(path))
}

/// The checked header of a file, and what decodes it.
struct Opened {
    header: Header,
    /// Maximum number of bytes of memory that decoding needs, including those for the file itself.
    decoding: u64,
    orientation: Orientation,
    decoder: Box<dyn ImageDecoder>,
}

impl Opened {
    /// The same, unless it is not what memory was reserved for.
    fn of(self, header: Header, decoding: u64) -> Result<Self, String> {
        if (self.header, self.decoding) == (header, decoding) {
            Ok(self)
        } else {
            Err("has changed while it was read".into())
        }
    }
}

/// Reads the header and checks it.
fn open(path: &Path) -> Result<Opened, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let len = file.metadata().map_err(|error| error.to_string())?.len();
    if len > MAX_FILE {
        return Err(format!("has {len} bytes, more than the {MAX_FILE} that are read"));
    }
    if len > SMALL_FILE {
        return match format_of(&mut file)? {
            Format::Dicom => open_dicom(file, len),
            Format::Image(format) => open_image(BufReader::new(file), len, format),
        };
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes).map_err(|error| one_line(&ImageError::IoError(error)))?;
    match format_of(&mut &bytes[..])? {
        Format::Dicom => open_dicom(file, len),
        Format::Image(format) => open_image(Cursor::new(bytes), len, format),
    }
}

fn open_dicom(file: File, len: u64) -> Result<Opened, String> {
    let decoder = dicom::Decoder::open(file)?;
    let (width, height) = decoder.dimensions();
    let num_pixels = check_size([width, height], len, decoder.most_pixels(len))?;
    let colour = decoder.color_type();
    let mode = mode(colour)?;
    let planes = num_pixels * u64::from(colour.bytes_per_pixel() + colour.channel_count());
    let decoding = decoder.decoding(len) + planes;
    let header = Header { width: width as usize, height: height as usize, mode };
    Ok(Opened { header, decoding, orientation: Orientation::NoTransforms, decoder: Box::new(decoder) })
}

fn open_image(mut file: impl BufRead + Seek + 'static, len: u64, format: ImageFormat) -> Result<Opened, String> {
    if format == ImageFormat::Jpeg {
        jpeg_end::check(&mut file)?;
    }
    file.rewind().map_err(|error| error.to_string())?;
    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(|error| one_line(&error))?;
    let (width, height) = decoder.dimensions();
    let mode = mode(decoder.color_type())?;
    let num_pixels = check_size([width, height], len, most_pixels(format, mode, len))?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let (width, height) = if swaps_sides(orientation) { (height, width) } else { (width, height) };
    let decoding = decoding(format, decoder.color_type(), num_pixels, len);
    if format == ImageFormat::Tiff {
        // A strip may claim to be larger than the picture.
        limits.max_alloc = Some(decoding);
        decoder.set_limits(limits).map_err(|error| one_line(&error))?;
    }
    let header = Header { width: width as usize, height: height as usize, mode };
    Ok(Opened { header, decoding, orientation, decoder: Box::new(decoder) })
}

/// Number of pixels of a picture in a file of `len` bytes, which can hold `most` of them. The header of a small file cannot make the
/// program allocate much memory.
fn check_size([width, height]: [u32; 2], len: u64, most: Option<u64>) -> Result<u64, String> {
    let num_pixels = u64::from(width) * u64::from(height);
    if !(1..=MAX_PIXELS).contains(&num_pixels) {
        return Err(format!("claims to have {width} × {height} pixels, and must have from 1 to {MAX_PIXELS} in all"));
    }
    if most.is_some_and(|most| num_pixels > most) {
        return Err(format!("claims to have {width} × {height} pixels, more than its {len} bytes can hold"));
    }
    Ok(num_pixels)
}

/// Maximum number of bytes that decoding needs: the pixels in the file's format and their planes, which are rotated one by one. A JPEG decoder
/// also holds the whole file and, for a progressive one, up to four 16-bit coefficients per pixel of a slightly larger grid. Decoders other
/// than PNG's may hold the pixels twice, and parts of the file.
fn decoding(format: ImageFormat, colour: ColorType, num_pixels: u64, len: u64) -> u64 {
    let raw = num_pixels * u64::from(colour.bytes_per_pixel());
    let channels = num_pixels * u64::from(colour.channel_count());
    match format {
        ImageFormat::Jpeg => (1 << 20) + len + raw + 9 * num_pixels,
        ImageFormat::Png => (1 << 20) + raw + channels,
        _ => (1 << 20) + len + 2 * raw + channels,
    }
}

/// Maximum number of pixels that `len` bytes can hold: before compression, a pixel of a PNG file has at least 1 bit, or 16 bits where channels
/// are deep; PNM is not compressed. The others have no such bound.
fn most_pixels(format: ImageFormat, mode: Mode, len: u64) -> Option<u64> {
    match format {
        ImageFormat::Png if mode.deep => Some(DEFLATE_RATIO * len / 2),
        ImageFormat::Png => Some(DEFLATE_RATIO * len * 8),
        ImageFormat::Jpeg => Some(JPEG_RATIO * len),
        ImageFormat::Pnm => Some(8 * len),
        _ => None,
    }
}

/// One of [`FORMATS`], detected from the first bytes of the file.
fn format_of(file: &mut impl Read) -> Result<Format, String> {
    let mut start = Vec::new();
    file.take(dicom::SIGNATURE as u64).read_to_end(&mut start).map_err(|error| error.to_string())?;
    if let Some(reason) = lfs_pointer::reason(&start) {
        return Err(reason.into());
    }
    // A scanner of slides writes files that are both DICOM and TIFF.
    if dicom::is_dicom(&start) {
        return Ok(Format::Dicom);
    }
    match image::guess_format(&start) {
        Ok(format) if READ.contains(&format) => Ok(Format::Image(format)),
        _ if start.is_empty() => Err("is empty".into()),
        _ if dicom::is_headless(&start) => {
            Err("is DICOM without the letters DICM at byte 128; `dcmconv IN OUT` adds them".into())
        }
        _ => Err(format!("is not a picture of a format that is read ({FORMATS})")),
    }
}

fn mode(colour: ColorType) -> Result<Mode, String> {
    let of = |colour, alpha, deep| Ok(Mode { colour, alpha, deep });
    match colour {
        ColorType::L8 => of(false, false, false),
        ColorType::La8 => of(false, true, false),
        ColorType::L16 => of(false, false, true),
        ColorType::La16 => of(false, true, true),
        ColorType::Rgb8 => of(true, false, false),
        ColorType::Rgba8 => of(true, true, false),
        ColorType::Rgb16 => of(true, false, true),
        ColorType::Rgba16 => of(true, true, true),
        other => Err(format!("has pixels of an unknown kind, {other:?}; convert it to PNG")),
    }
}

/// Whether the orientation swaps width and height.
fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation as O;
    matches!(orientation, O::Rotate90 | O::Rotate270 | O::Rotate90FlipH | O::Rotate270FlipH)
}

/// The planes of a picture, blended with white and oriented.
fn planes(picture: DynamicImage, orientation: Orientation, [c, h, w]: [usize; 3], levels: Levels) -> Vec<u8> {
    use DynamicImage as D;
    let (width, height) = (picture.width(), picture.height());
    let planes = match picture {
        D::ImageLuma8(pixels) => pixels.into_raw(),
        D::ImageLumaA8(pixels) => over_white(pixels.as_raw(), [1, 2], |value| value, |alpha| alpha),
        D::ImageRgb8(pixels) => over_white(pixels.as_raw(), [3, 3], |value| value, |alpha| alpha),
        D::ImageRgba8(pixels) => over_white(pixels.as_raw(), [3, 4], |value| value, |alpha| alpha),
        D::ImageLuma16(pixels) => deep(pixels.as_raw(), [1, 1], levels),
        D::ImageLumaA16(pixels) => deep(pixels.as_raw(), [1, 2], levels),
        D::ImageRgb16(pixels) => deep(pixels.as_raw(), [3, 3], levels),
        D::ImageRgba16(pixels) => deep(pixels.as_raw(), [3, 4], levels),
        _ => unreachable!("the mode of the header is one of these"),
    };
    assert!(planes.len() == c * h * w, "the decoder returns as many pixels as its header says");
    if orientation == Orientation::NoTransforms { planes } else { oriented(planes, [width, height], orientation) }
}

/// Applies the orientation to planes of `width` × `height` pixels.
fn oriented(mut planes: Vec<u8>, [width, height]: [u32; 2], orientation: Orientation) -> Vec<u8> {
    for plane in planes.chunks_exact_mut(width as usize * height as usize) {
        let pixels = GrayImage::from_raw(width, height, plane.to_vec()).expect("a plane of pixels");
        let mut picture = DynamicImage::ImageLuma8(pixels);
        picture.apply_orientation(orientation);
        plane.copy_from_slice(picture.as_bytes());
    }
    planes
}

/// As [`over_white`], of 16 bits.
fn deep(pixels: &[u16], counts: [usize; 2], levels: Levels) -> Vec<u8> {
    over_white(pixels, counts, |value| levels.byte(value), |alpha| Levels::default().byte(alpha))
}

/// The least and the largest value of a picture with 16 bits, alpha aside.
fn range(picture: &DynamicImage) -> Option<[u16; 2]> {
    use DynamicImage as D;
    let of = |pixels: &[u16], [colours, channels]: [usize; 2]| {
        let values = pixels.chunks_exact(channels).flat_map(|pixel| &pixel[..colours]);
        values.fold(None, |range, &value| {
            let [least, largest] = range.unwrap_or([value; 2]);
            Some([least.min(value), largest.max(value)])
        })
    };
    match picture {
        D::ImageLuma16(pixels) => of(pixels.as_raw(), [1, 1]),
        D::ImageLumaA16(pixels) => of(pixels.as_raw(), [1, 2]),
        D::ImageRgb16(pixels) => of(pixels.as_raw(), [3, 3]),
        D::ImageRgba16(pixels) => of(pixels.as_raw(), [3, 4]),
        _ => None,
    }
}

/// The planes of the first `colours` of the `channels` of each pixel, converted to bytes by `byte`. A further channel is alpha, which
/// `opacity` converts, and by which they are blended with white.
fn over_white<T: Copy>(
    pixels: &[T],
    [colours, channels]: [usize; 2],
    byte: impl Fn(T) -> u8,
    opacity: impl Fn(T) -> u8,
) -> Vec<u8> {
    let mut planes = Vec::with_capacity(pixels.len() / channels * colours);
    for colour in 0..colours {
        planes.extend(pixels.chunks_exact(channels).map(|pixel| {
            let value = byte(pixel[colour]);
            if channels > colours { blended(value, opacity(pixel[colours])) } else { value }
        }));
    }
    planes
}

/// value · α + 255 · (1 − α) with α = `alpha` / 255, to the nearest byte.
fn blended(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

/// Why a decoder gave up, in words that say what to do where it has none.
fn one_line(error: &ImageError) -> String {
    match error {
        ImageError::Limits(_) => "claims to be larger than a picture may be".into(),
        ImageError::IoError(reason) if reason.kind() == io::ErrorKind::UnexpectedEof => "is truncated".into(),
        ImageError::Unsupported(reason) => format!("{reason}; convert it to PNG").replace('\n', " "),
        _ => error.to_string().replace('\n', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::budget::Budget;
    use image::{
        GrayAlphaImage, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage,
        codecs::{jpeg::JpegEncoder, png::PngEncoder},
    };
    use std::{fs, path::PathBuf};
    use tempfile::TempDir;

    /// The result of reading a file with these bytes.
    fn read_bytes(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), String> {
        let dir = TempDir::new().unwrap();
        let path: PathBuf = dir.path().join("a.png");
        fs::write(&path, bytes).unwrap();
        let decoders = Budget::as_they_are().decoders();
        let ((pixels, shape), _) = read(&path, [0; 3], Levels::default(), &decoders, |pixels, shape| (pixels, shape))?;
        assert_eq!(header(&path, &decoders).unwrap().shape(), shape);
        Ok((shape, pixels))
    }

    fn saved(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        picture.into().write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    fn png(picture: impl Into<DynamicImage>) -> ([usize; 3], Vec<u8>) {
        read_bytes(&saved(picture, ImageFormat::Png)).unwrap()
    }

    #[test]
    fn colours_become_planes() {
        let picture = RgbImage::from_vec(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(png(picture), ([3, 1, 2], vec![1, 4, 2, 5, 3, 6]));
    }

    #[test]
    fn transparent_pixels_are_blended_with_white() {
        // 100 at α = 0, 255 and 102 = 0.4 · 255: 255; 100; 0.4 · 100 + 0.6 · 255 = 193.
        let grey = GrayAlphaImage::from_fn(3, 1, |x, _| LumaA([100, [0, 255, 102][x as usize]]));
        assert_eq!(png(grey), ([1, 1, 3], vec![255, 100, 193]));
        let red = RgbaImage::from_pixel(1, 1, Rgba([255, 0, 0, 102]));
        assert_eq!(png(red), ([3, 1, 1], vec![255, 153, 153]));
    }

    #[test]
    fn sixteen_bits_become_eight_by_rounding() {
        // v / 257, rounded: 0, 128 / 257, 129 / 257, 65535 / 257.
        let values = [0, 128, 129, 65535];
        let grey = ImageBuffer::from_fn(4, 1, |x, _| Luma([values[x as usize]]));
        assert_eq!(png(DynamicImage::ImageLuma16(grey)), ([1, 1, 4], vec![0, 0, 1, 255]));
        let rgb = ImageBuffer::from_pixel(1, 1, Rgb([257_u16, 514, 65535]));
        assert_eq!(png(DynamicImage::ImageRgb16(rgb)), ([3, 1, 1], vec![1, 2, 255]));
    }

    #[test]
    fn the_format_is_detected_from_the_contents() {
        // Here a JPEG file is called a.png.
        let (shape, pixels) = read_bytes(&saved(RgbImage::from_pixel(8, 8, Rgb([90; 3])), ImageFormat::Jpeg)).unwrap();
        assert_eq!(shape, [3, 8, 8]);
        // JPEG keeps a constant to within its coarsest step of the mean, about 2 at the default quality.
        assert!(pixels.iter().all(|&pixel| pixel.abs_diff(90) <= 2));
        let message = format!("is not a picture of a format that is read ({FORMATS})");
        assert_eq!(read_bytes(b"<html>404 not found</html>").unwrap_err(), message);
        assert_eq!(read_bytes(b"").unwrap_err(), "is empty");
    }

    #[test]
    fn the_orientation_in_exif_is_applied() {
        // EXIF with one entry: orientation 6, a rotation by 90 degrees clockwise.
        let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let (mut jpeg, mut png) = (Vec::new(), Vec::new());
        let wide = RgbImage::from_fn(16, 8, |x, _| Rgb([if x < 8 { 0 } else { 255 }; 3]));
        let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 100);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.encode_image(&wide).unwrap();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
        encoder.write_image(&wide, 16, 8, image::ExtendedColorType::Rgb8).unwrap();
        for file in [jpeg, png] {
            let (shape, pixels) = read_bytes(&file).unwrap();
            assert_eq!(shape, [3, 16, 8]);
            assert!(pixels[..64].iter().all(|&dark| dark < 3) && pixels[64..128].iter().all(|&light| light > 252));
        }
    }

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_count() {
        let noise = RgbImage::from_fn(40, 40, |x, y| Rgb([(x * 37) as u8, (y * 91) as u8, (x * y) as u8]));
        let (picture, thumbnail) =
            (saved(noise, ImageFormat::Jpeg), saved(RgbImage::from_pixel(8, 8, Rgb([90; 3])), ImageFormat::Jpeg));
        // The thumbnail is in an application segment after the start of the picture.
        let len = u16::try_from(thumbnail.len() + 2).unwrap().to_be_bytes();
        let whole = [&picture[..2], &[0xff, 0xe1], &len, &thumbnail, &picture[2..]].concat();
        assert_eq!(read_bytes(&whole).unwrap(), read_bytes(&picture).unwrap());
        assert_eq!(read_bytes(&whole[..whole.len() - picture.len() / 3]).unwrap_err(), "is truncated");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_a_file_does_not_block() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("a.png");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(header(&path, &Budget::as_they_are().decoders()).unwrap_err(), "is not a file");
    }

    #[test]
    fn a_truncated_file_is_an_error() {
        let noise = RgbImage::from_fn(40, 40, |x, y| Rgb([(x * 37) as u8, (y * 91) as u8, (x * y) as u8]));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let whole = saved(noise.clone(), format);
            for len in (0..whole.len() - 20).step_by(7) {
                assert!(read_bytes(&whole[..len]).is_err(), "{format:?} cut at {len} of {}", whole.len());
            }
        }
    }

    #[test]
    fn a_header_of_many_pixels_allocates_no_memory() {
        // A PNG of 60,000 × 60,000 pixels of 16 bit RGBA, 28 GB, by its header alone.
        let mut file = saved(RgbImage::new(1, 1), ImageFormat::Png);
        file[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
        file[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
        file[24..26].copy_from_slice(&[16, 6]);
        let sum = crc32(&file[12..29]);
        file[29..33].copy_from_slice(&sum.to_be_bytes());
        let reason = read_bytes(&file).unwrap_err();
        assert_eq!(reason, "claims to have 60000 × 60000 pixels, and must have from 1 to 67108864 in all");
    }

    #[test]
    fn a_small_file_that_claims_to_be_large_allocates_no_memory() {
        // 8000 × 8000 pixels are within the bound, and would be 64 MB and 512 MB.
        let mut jpeg = saved(GrayImage::new(8, 8), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|marker| marker == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x1f, 0x40, 0x1f, 0x40]);
        let mut png = saved(DynamicImage::ImageRgba16(ImageBuffer::new(1, 1)), ImageFormat::Png);
        png[16..20].copy_from_slice(&8000_u32.to_be_bytes());
        png[20..24].copy_from_slice(&8000_u32.to_be_bytes());
        let sum = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&sum.to_be_bytes());
        for file in [jpeg, png] {
            let expected = format!("claims to have 8000 × 8000 pixels, more than its {} bytes can hold", file.len());
            assert_eq!(read_bytes(&file).unwrap_err(), expected);
        }
    }

    #[test]
    fn the_most_compressible_pictures_are_accepted() {
        // A single colour compresses best, and no encoder's output may be refused.
        let white = GrayImage::from_pixel(4000, 4000, Luma([255]));
        assert_eq!(read_bytes(&saved(white.clone(), ImageFormat::Jpeg)).unwrap().0, [1, 4000, 4000]);
        assert_eq!(read_bytes(&saved(white, ImageFormat::Png)).unwrap().0, [1, 4000, 4000]);
        let deep = DynamicImage::ImageRgba16(ImageBuffer::new(1500, 1500));
        assert_eq!(png(deep).0, [3, 1500, 1500]);
    }

    /// The checksum of a PNG chunk, bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        let shift = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| shift(crc)))
    }
}
