//! Pictures as PNG: grids of samples, captioned comparisons, and the heat map of a partition.

mod animation;
mod captioned;
mod heat_map;
mod pen;

use std::io::Cursor;
use std::path::Path;

use anyhow::Context as _;
use effgan_nn::checkpoint::write_file;
use image::{ImageFormat, Rgb, RgbImage};

pub use animation::animation;
pub use captioned::captioned;
pub use heat_map::heat_map;

/// The background.
const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
/// The lines between the images of a grid.
const GUTTER: Rgb<u8> = Rgb([200, 204, 208]);

/// Draws u8 `images` `[n, c, h, w]` of `shape` `[c, h, w]` in rows of `columns`, each pixel `scale` pixels wide and high.
///
/// `c` is 1 (grey) or 3 (red, green, blue). A gutter of 1 pixel (2 from `scale` 3 on) separates the images; empty places in
/// the last row are white. A grid of no images is one white pixel.
///
/// # Panics
/// When `images` is not a whole number of images, or `c` is neither 1 nor 3.
pub fn grid(images: &[u8], shape: [usize; 3], columns: usize, scale: usize) -> RgbImage {
    let [c, h, w] = shape;
    let size = c * h * w;
    assert!(matches!(c, 1 | 3) && images.len().checked_rem(size) == Some(0), "images are whole, of 1 or 3 channels");
    let (n, scale) = (images.len() / size, scale.max(1));
    let columns = columns.clamp(1, n.max(1));
    let gutter = if scale < 3 { 1 } else { 2 };
    let side = |count: usize, pixels: usize| (count * (pixels * scale + gutter)).saturating_sub(gutter).max(1) as u32;
    let mut picture = RgbImage::from_pixel(side(columns.min(n), w), side(n.div_ceil(columns), h), WHITE);
    for (i, image) in images.chunks_exact(size).enumerate() {
        let (left, top) = ((i % columns) * (w * scale + gutter), (i / columns) * (h * scale + gutter));
        fill(&mut picture, [left, top, w * scale + gutter, h * scale + gutter], |_, _| GUTTER);
        fill(&mut picture, [left, top, w * scale, h * scale], |x, y| {
            let at = |channel: usize| image[(channel % c * h + y / scale) * w + x / scale];
            Rgb([at(0), at(1), at(2)])
        });
    }
    picture
}

/// The scale at which a person can see images of `shape` `[c, h, w]` in a grid: each side has at least 56 pixels, and a pixel at least two.
pub fn visible_scale([_, h, w]: [usize; 3]) -> usize {
    56_usize.div_ceil(h.min(w).max(1)).max(2)
}

/// Fills the part of the rectangle `[left, top, width, height]` that lies inside the picture; `colour` is called with `(x, y)` within
/// the rectangle.
fn fill(picture: &mut RgbImage, rectangle: [usize; 4], colour: impl Fn(usize, usize) -> Rgb<u8>) {
    let [left, top, width, height] = rectangle;
    let right = (left + width).min(picture.width() as usize);
    let bottom = (top + height).min(picture.height() as usize);
    for y in top..bottom {
        for x in left..right {
            picture.put_pixel(x as u32, y as u32, colour(x - left, y - top));
        }
    }
}

/// Writes a PNG file beside `path` and renames it, so that nobody sees half a picture.
///
/// # Errors
/// When it cannot be written.
pub fn save_png(path: &Path, picture: &RgbImage) -> anyhow::Result<()> {
    write_file(path, &to_png(picture)?).with_context(|| format!("writing {}", path.display()))
}

/// Encodes a picture as the bytes of a PNG file.
///
/// # Errors
/// When it cannot be encoded.
pub fn to_png(picture: &RgbImage) -> anyhow::Result<Vec<u8>> {
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png)?;
    Ok(png.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_of_a_grey_grid_by_hand() {
        // Three images of 1 × 2 pixels, two in a row, twice as large, 1 pixel between.
        let picture = grid(&[10, 20, 30, 40, 50, 60], [1, 1, 2], 2, 2);
        assert_eq!(picture.dimensions(), (9, 5));
        let at = |x, y| picture.get_pixel(x, y).0;
        assert_eq!([at(0, 0), at(1, 1), at(2, 0), at(3, 1)], [[10; 3], [10; 3], [20; 3], [20; 3]]);
        assert_eq!([at(5, 0), at(8, 1), at(0, 3), at(3, 4)], [[30; 3], [40; 3], [50; 3], [60; 3]]);
        assert_eq!([at(4, 0), at(0, 2)], [GUTTER.0; 2]);
        assert_eq!(at(8, 4), WHITE.0, "the last row has one image only");
    }

    #[test]
    fn the_three_channels_are_red_green_and_blue() {
        let picture = grid(&[1, 2, 3, 4, 5, 6], [3, 2, 1], 1, 1);
        assert_eq!(picture.dimensions(), (1, 2));
        assert_eq!([picture.get_pixel(0, 0).0, picture.get_pixel(0, 1).0], [[1, 3, 5], [2, 4, 6]]);
    }

    #[test]
    fn sizes_follow_columns_and_scale() {
        let sixty_four = vec![0; 64 * 28 * 28];
        assert_eq!(grid(&sixty_four, [1, 28, 28], 8, 1).dimensions(), (8 * 29 - 1, 8 * 29 - 1));
        assert_eq!(grid(&sixty_four, [1, 28, 28], 16, 3).dimensions(), (16 * 86 - 2, 4 * 86 - 2));
        assert_eq!(grid(&sixty_four[..784], [1, 28, 28], 10, 0).dimensions(), (28, 28));
        assert_eq!(grid(&[], [1, 28, 28], 8, 1).dimensions(), (1, 1));
    }

    #[test]
    fn small_images_are_enlarged_more() {
        let scales = [1, 8, 16, 28, 32, 64, 128].map(|side| visible_scale([3, side, side]));
        assert_eq!(scales, [56, 7, 4, 2, 2, 2, 2]);
        assert_eq!(visible_scale([1, 64, 14]), 4);
    }

    #[test]
    fn a_saved_picture_reads_back_and_leaves_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grid.png");
        let picture = grid(&[1, 2, 3, 4], [1, 2, 2], 1, 1);
        save_png(&path, &picture).unwrap();
        assert_eq!(image::open(&path).unwrap().to_rgb8(), picture);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_missing_is_named() {
        let error = save_png(Path::new("no-such-folder/a.png"), &RgbImage::new(1, 1)).unwrap_err();
        assert_eq!(error.to_string(), "writing no-such-folder/a.png");
    }
}
