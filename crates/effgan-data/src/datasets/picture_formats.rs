//! The formats of pictures.

/// The formats that are read, in messages.
pub(crate) const FORMATS: &str = "PNG, JPEG, WebP, TIFF, BMP, GIF, PNM, DICOM";

/// Maximum number of pixels of a JPEG file for each of its bytes: a bit stands for at most a block of 8 × 8.
pub(super) const JPEG_RATIO: u64 = 8 * 64;
