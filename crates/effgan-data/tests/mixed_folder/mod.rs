//! A realistic folder: 1,000 small images of mixed sizes and modes in three classes, three of them broken.

use image::{DynamicImage, GrayImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use std::{fs, path::Path};

/// Paths of the broken images, sorted.
pub(crate) const BROKEN: [&str; 3] = ["cats/0020.png", "dogs/0405.jpg", "frogs/0908.png"];

/// Fills `dir` with the images.
pub(crate) fn make(dir: &Path) {
    for i in 0..1000 {
        let class = ["cats", "dogs", "frogs"][i / 334];
        fs::create_dir_all(dir.join(class)).unwrap();
        let (picture, format) = picture(i);
        let extension = if format == ImageFormat::Png { "png" } else { "jpg" };
        picture.save_with_format(dir.join(format!("{class}/{i:04}.{extension}")), format).unwrap();
    }
    // An empty file, a truncated file, and a file in another format.
    fs::write(dir.join(BROKEN[0]), b"").unwrap();
    let whole = fs::read(dir.join(BROKEN[1])).unwrap();
    fs::write(dir.join(BROKEN[1]), &whole[..whole.len() / 2]).unwrap();
    fs::write(dir.join(BROKEN[2]), b"<html>404 not found</html>").unwrap();
    fs::write(dir.join("cats/Thumbs.db"), b"what other programs leave behind").unwrap();
}

/// Image `i`: sides of 8 to 20 pixels; grey, RGB, RGBA, 16 bit grey, or JPEG.
fn picture(i: usize) -> (DynamicImage, ImageFormat) {
    let (w, h) = (8 + (i % 13) as u32, 8 + (i % 7) as u32);
    let shade = (i % 251) as u8;
    let picture = match i / 3 % 5 {
        0 => RgbImage::from_pixel(w, h, Rgb([shade, 255 - shade, 40])).into(),
        1 => RgbaImage::from_pixel(w, h, Rgba([shade, 0, 0, 128])).into(),
        2 => DynamicImage::ImageLuma16(image::ImageBuffer::from_pixel(w, h, image::Luma([257 * u16::from(shade)]))),
        _ => GrayImage::from_pixel(w, h, image::Luma([shade])).into(),
    };
    (picture, if (i / 3).is_multiple_of(5) { ImageFormat::Jpeg } else { ImageFormat::Png })
}
