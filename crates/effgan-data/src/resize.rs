//! Resizing images and converting their channels, for `dataset.size` and `dataset.channels`.
//!
//! In this order: grey becomes three equal channels, and colour becomes luma (ITU-R BT.601, with Pillow's integer weights); the
//! square in the middle is cropped; it is resized with a triangle filter that widens when images shrink, which Pillow calls
//! bilinear and PyTorch `interpolate(mode="bilinear", antialias=True)`.

use crate::parallel::in_parallel_into;
use image::{GrayImage, imageops, imageops::FilterType::Triangle};
use std::borrow::Cow;

/// Converts u8 images `[n, c, h, w]` from shape `from` to shape `to`; unchanged when the shapes are equal.
///
/// There are 1 or 3 channels. When the sizes differ, `to` must be square.
///
/// # Panics
/// When `pixels` is not a whole number of images, or a shape is not as described.
pub fn fit(pixels: &[u8], from: [usize; 3], to: [usize; 3]) -> Cow<'_, [u8]> {
    if from == to {
        return pixels.into();
    }
    let image_len = from.iter().product::<usize>();
    assert!(image_len > 0 && pixels.len().is_multiple_of(image_len), "there is a whole number of images");
    let images: Vec<_> = pixels.chunks_exact(image_len).map(|image| (image, from)).collect();
    fit_each(&images, to).into()
}

/// Converts each image `[c, h, w]` from its own shape to the shape `to`: u8 `[n, c, h, w]`.
pub(crate) fn fit_each(images: &[(&[u8], [usize; 3])], to: [usize; 3]) -> Vec<u8> {
    let mut fitted = vec![0; images.len() * to.iter().product::<usize>()];
    in_parallel_into(images, &mut fitted, |(image, from), output| {
        output.copy_from_slice(&fit_image(image, *from, to));
    });
    fitted
}

/// Converts one image `[c, h, w]` from shape `from` to shape `to`.
pub(crate) fn fit_image(image: &[u8], from: [usize; 3], to: [usize; 3]) -> Vec<u8> {
    let ([c, h, w], [to_c, to_h, to_w]) = (from, to);
    let planes: Cow<[u8]> = match (c, to_c) {
        (1, 3) => image.repeat(3).into(),
        (3, 1) => luma(image).into(),
        _ => image.into(),
    };
    assert!(matches!(to_c, 1 | 3) && planes.len() == to_c * h * w, "images have 1 or 3 channels");
    if (h, w) == (to_h, to_w) {
        return planes.into_owned();
    }
    assert!(to_h == to_w, "a new size is a square");
    planes.chunks_exact(h * w).flat_map(|plane| resize_plane(plane, [h, w], to_h)).collect()
}

/// 0.299 R + 0.587 G + 0.114 B of planes `[3, h, w]`, in 16-bit fixed point like Pillow.
fn luma(planes: &[u8]) -> Vec<u8> {
    let (red, rest) = planes.split_at(planes.len() / 3);
    let (green, blue) = rest.split_at(rest.len() / 2);
    let weigh = |((&r, &g), &b): ((&u8, &u8), &u8)| {
        (19595 * u32::from(r) + 38470 * u32::from(g) + 7471 * u32::from(b) + 0x8000) >> 16
    };
    red.iter().zip(green).zip(blue).map(|pixel| weigh(pixel) as u8).collect()
}

/// Crops the square in the middle of one channel `[h, w]` and resizes it to `side` pixels per side. An odd pixel is cut at the
/// right or bottom.
fn resize_plane(plane: &[u8], [h, w]: [usize; 2], side: usize) -> Vec<u8> {
    let square = h.min(w);
    let (top, left) = ((h - square) / 2, (w - square) / 2);
    let rows = plane.chunks_exact(w).skip(top).take(square);
    let pixels: Vec<u8> = rows.flat_map(|row| &row[left..left + square]).copied().collect();
    let square = GrayImage::from_raw(square as u32, square as u32, pixels).expect("a square of pixels");
    imageops::resize(&square, side as u32, side as u32, Triangle).into_raw()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::iter::repeat_n;

    #[test]
    fn grey_becomes_three_equal_channels_and_back() {
        let grey = [0, 7, 200, 255];
        let rgb = fit(&grey, [1, 2, 2], [3, 2, 2]);
        assert_eq!(*rgb, [grey, grey, grey].concat());
        assert_eq!(*fit(&rgb, [3, 2, 2], [1, 2, 2]), grey);
    }

    #[test]
    fn luma_matches_pillow() {
        // Image.fromarray(x, "RGB").convert("L") of red, green, blue, white and (10, 200, 30): 0.299 R + 0.587 G +
        // 0.114 B.
        let planes = [[255, 0, 0, 255, 10], [0, 255, 0, 255, 200], [0, 0, 255, 255, 30]].concat();
        assert_eq!(luma(&planes), [76, 150, 29, 255, 124]);
    }

    #[test]
    fn a_constant_image_stays_constant_at_any_size() {
        for side in [1, 3, 28, 64, 65] {
            assert_eq!(fit_image(&[77; 28 * 20], [1, 28, 20], [1, side, side]), vec![77; side * side]);
        }
    }

    #[test]
    fn only_the_middle_square_is_used() {
        // Two columns of 0, two of 9, three of 0: a square of two in the middle of the width.
        let row = [0, 0, 9, 9, 0, 0, 0];
        assert_eq!(fit_image(&row.repeat(2), [1, 2, 7], [1, 4, 4]), [9; 16]);
        let column: Vec<u8> = row.iter().flat_map(|&pixel| repeat_n(pixel, 2)).collect();
        assert_eq!(fit_image(&column, [1, 7, 2], [1, 4, 4]), [9; 16]);
    }

    #[test]
    fn resizing_matches_pytorch() {
        // tests/fixtures/resize.py writes these by side: a 6 × 6 image of (37 i) mod 256, made smaller and larger.
        let by_pytorch: BTreeMap<usize, Vec<f32>> =
            serde_json::from_str(include_str!("../tests/fixtures/resize.json")).unwrap();
        let image: Vec<u8> = (0..36).map(|i| (37 * i % 256) as u8).collect();
        assert_eq!(by_pytorch.len(), 2);
        for (side, expected) in by_pytorch {
            let ours = fit_image(&image, [1, 6, 6], [1, side, side]);
            assert_eq!(ours.len(), expected.len());
            for (ours, expected) in ours.iter().zip(expected) {
                // Half a step of rounding to u8, and f32 sums in another order.
                assert!((f32::from(*ours) - expected).abs() < 0.501, "{ours} is not {expected}");
            }
        }
    }
}
