//! An image as one short vector without a network: its low-pass of 16 × 16 pixels.

use effgan_nn::parallel_map;

/// Largest side of a low-pass.
const SIDE: usize = 16;
/// Images that one worker takes at a time.
const CHUNK: usize = 64;

/// The low-passes of u8 `images` `[n, c, h, w]` of `shape` `[c, h, w]`, `[n, d]` in 0..1, with d = c h' w' of [`low_pass_size`].
///
/// Each of the 16 × 16 values of a channel is the mean of its part of the image, where pixels on the edge of a part count by their share
/// in it. A side below 16 is kept. The number of threads, `jobs`, changes no result.
///
/// # Panics
/// When the images are not whole ones.
pub fn low_pass(images: &[u8], shape: [usize; 3], jobs: usize) -> Vec<f32> {
    let [_, height, width] = shape;
    let image_len = shape.iter().product::<usize>();
    assert!(images.len().is_multiple_of(image_len), "there is a whole number of images");
    let (rows, columns) = (parts(height), parts(width));
    let chunks: Vec<&[u8]> = images.chunks(CHUNK * image_len).collect();
    let of_chunk = |i: usize| -> Vec<f32> {
        chunks[i].chunks_exact(height * width).flat_map(|channel| of_channel(channel, width, &rows, &columns)).collect()
    };
    parallel_map(chunks.len(), jobs, of_chunk).concat()
}

/// The size `[h', w']` of the low-pass of images of `shape` `[c, h, w]`: 16 × 16 from 16 × 16 pixels on.
pub fn low_pass_size([_, h, w]: [usize; 3]) -> [usize; 2] {
    [h, w].map(|side| side.min(SIDE))
}

/// A part of a row or column: its first pixel, and the shares of its pixels in their mean.
type Part = (usize, Vec<f64>);

/// Equal parts of `len` pixels.
fn parts(len: usize) -> Vec<Part> {
    let count = len.min(SIDE);
    let part = |i: usize| {
        // In units of 1 / count of a pixel.
        let (start, end) = (i * len, (i + 1) * len);
        let pixels = start / count..end.div_ceil(count);
        let share = |x: usize| (end.min((x + 1) * count) - start.max(x * count)) as f64 / len as f64;
        (pixels.start, pixels.map(share).collect())
    };
    (0..count).map(part).collect()
}

fn of_channel(channel: &[u8], width: usize, rows: &[Part], columns: &[Part]) -> Vec<f32> {
    let mut means = Vec::with_capacity(rows.len() * columns.len());
    for (top, down) in rows {
        // Of the rows of this part.
        let mut row = vec![0.0; width];
        for (pixels, share) in channel[top * width..].chunks_exact(width).zip(down) {
            row.iter_mut().zip(pixels).for_each(|(mean, &pixel)| *mean += share * f64::from(pixel));
        }
        let mean = |(left, across): &Part| across.iter().zip(&row[*left..]).map(|(share, x)| share * x).sum::<f64>();
        means.extend(columns.iter().map(|column| (mean(column) / 255.0) as f32));
    }
    means
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_low_pass_are_means_by_hand() {
        // Of 24 pixels, the first part has the first pixel and half of the second, the second part the other half and the third.
        let columns: Vec<u8> = (0..24).map(|x| if x % 3 == 1 { 153 } else { 0 }).collect();
        let found = low_pass(&columns.repeat(32), [1, 32, 24], 1);
        // (0 · 1 + 153 · ½) / 1.5 = 51, which is 0.2 of 255.
        assert_eq!(found, [0.2; 256]);
        let two_by_two: Vec<u8> = (0..32 * 32).map(|i| if i / 32 % 2 == 0 && i % 2 == 0 { 204 } else { 0 }).collect();
        assert_eq!(low_pass(&two_by_two, [1, 32, 32], 2), [0.2; 256]);
    }

    #[test]
    fn small_images_are_kept_and_each_channel_is_by_itself() {
        let images: Vec<u8> = (0..2 * 3 * 5 * 4).map(|i| i as u8).collect();
        let expected: Vec<f32> = images.iter().map(|&pixel| (f64::from(pixel) / 255.0) as f32).collect();
        assert_eq!((low_pass(&images, [3, 5, 4], 1), low_pass_size([3, 5, 4])), (expected, [5, 4]));
        let colours: Vec<u8> = [0, 51, 255].into_iter().flat_map(|colour| [colour; 400]).collect();
        let found = low_pass(&colours, [3, 20, 20], 1);
        let expected: Vec<f32> = [0.0, 0.2, 1.0].into_iter().flat_map(|colour| [colour; 256]).collect();
        assert_eq!((found.len(), low_pass_size([3, 20, 20])), (3 * 16 * 16, [16, 16]));
        // 1e-6: shares that are not exact in f64.
        assert!(found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-6));
    }
}
