//! Laplacian pyramids (Burt and Adelson 1983, IEEE Trans. Commun. 31, 532–540) with the 5 × 5 binomial filter, as the sliced Wasserstein
//! distance of Karras et al. 2018 takes them. Borders are mirrored at the outermost pixel, which is not repeated.

/// No level has a side below this.
const LEAST_SIDE: usize = 14;

/// Sizes `[h, w]` of the levels of images of `size`, finest first: each side is half of the one before, rounded up, as long as both are
/// at least 14. Smaller images have one level, themselves.
pub(crate) fn sizes(size: [usize; 2]) -> Vec<[usize; 2]> {
    let halved = |[h, w]: &[usize; 2]| Some([h.div_ceil(2), w.div_ceil(2)]).filter(|[h, w]| *h.min(w) >= LEAST_SIDE);
    std::iter::successors(Some(size), halved).collect()
}

/// The pyramid of one channel `[h, w]` of an image, one `[h, w]` per level: each level less what the next one, enlarged, has of it, and
/// the coarsest as it is.
pub(crate) fn pyramid(channel: &[u8], size: [usize; 2]) -> Vec<Vec<f32>> {
    let sizes = sizes(size);
    let mut finer = Plane { width: size[1], pixels: channel.iter().map(|&pixel| f32::from(pixel)).collect() };
    let mut levels = Vec::with_capacity(sizes.len());
    for size in sizes.windows(2) {
        let coarser = finer.resized(size[1], halve);
        let enlarged = coarser.resized(size[0], double);
        levels.push(finer.pixels.iter().zip(enlarged.pixels).map(|(fine, coarse)| fine - coarse).collect());
        finer = coarser;
    }
    levels.push(finer.pixels);
    levels
}

struct Plane {
    width: usize,
    pixels: Vec<f32>,
}

impl Plane {
    /// Resized to `[h, w]` by `filter`, which makes a row from another: first the rows, then the columns.
    fn resized(&self, [height, width]: [usize; 2], filter: fn(&[f32], &mut [f32])) -> Self {
        self.with_rows(width, filter).transposed().with_rows(height, filter).transposed()
    }

    fn with_rows(&self, width: usize, filter: fn(&[f32], &mut [f32])) -> Self {
        let mut pixels = vec![0.0; self.pixels.len() / self.width * width];
        for (row, filtered) in self.pixels.chunks_exact(self.width).zip(pixels.chunks_exact_mut(width)) {
            filter(row, filtered);
        }
        Self { width, pixels }
    }

    fn transposed(&self) -> Self {
        let height = self.pixels.len() / self.width;
        let mut pixels = vec![0.0; self.pixels.len()];
        for (y, row) in self.pixels.chunks_exact(self.width).enumerate() {
            row.iter().enumerate().for_each(|(x, &pixel)| pixels[x * height + y] = pixel);
        }
        Self { width: height, pixels }
    }
}

/// Every second value of the row, smoothed with (1, 4, 6, 4, 1) / 16.
fn halve(row: &[f32], halved: &mut [f32]) {
    for (i, value) in halved.iter_mut().enumerate() {
        let at = |offset: isize| row[mirrored(2 * i, offset, row.len())];
        *value = (at(-2) + at(2) + 4.0 * (at(-1) + at(1)) + 6.0 * at(0)) / 16.0;
    }
}

/// The row with a zero after each value, smoothed with (1, 4, 6, 4, 1) / 8.
fn double(row: &[f32], doubled: &mut [f32]) {
    let len = doubled.len();
    for (i, value) in doubled.iter_mut().enumerate() {
        let at = |offset: isize| row[mirrored(i, offset, len) / 2];
        *value = if i % 2 == 0 { (at(-2) + at(2) + 6.0 * at(0)) / 8.0 } else { f32::midpoint(at(-1), at(1)) };
    }
}

/// The place `offset` from `i` in a row of `len`, mirrored where it is outside.
fn mirrored(i: usize, offset: isize, len: usize) -> usize {
    let (place, last) = (i.wrapping_add_signed(offset), len - 1);
    if offset < 0 && place > i {
        place.wrapping_neg()
    } else if place > last {
        2 * last - place
    } else {
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_halve_while_both_sides_are_at_least_14() {
        for (size, expected) in [
            ([28, 28], vec![[28, 28], [14, 14]]),
            ([64, 64], vec![[64, 64], [32, 32], [16, 16]]),
            ([27, 55], vec![[27, 55], [14, 28]]),
            ([26, 64], vec![[26, 64]]),
            ([9, 9], vec![[9, 9]]),
        ] {
            assert_eq!(sizes(size), expected);
        }
    }

    #[test]
    fn an_image_is_the_sum_of_its_levels_and_an_even_one_has_no_details() {
        for size in [[28, 28], [29, 31], [64, 57]] {
            let image: Vec<u8> = (0..size[0] * size[1]).map(|i| (i * i % 251) as u8).collect();
            let (levels, sizes) = (pyramid(&image, size), sizes(size));
            let coarsest = Plane { width: sizes[sizes.len() - 1][1], pixels: levels[levels.len() - 1].clone() };
            let sum = sizes.iter().zip(&levels).rev().skip(1).fold(coarsest, |coarser, (size, level)| {
                let enlarged = coarser.resized(*size, double);
                Plane { width: size[1], pixels: enlarged.pixels.iter().zip(level).map(|(a, b)| a + b).collect() }
            });
            // 1e-4 of values up to 255: f32 rounding.
            assert!(
                sum.pixels.iter().zip(&image).all(|(sum, &pixel)| (sum - f32::from(pixel)).abs() < 1e-4),
                "{size:?}"
            );
            let levels = pyramid(&vec![200; image.len()], size);
            let (coarsest, details) = levels.split_last().unwrap();
            assert!(details.concat().iter().all(|&detail| detail == 0.0) && coarsest.iter().all(|&x| x == 200.0));
        }
    }

    #[test]
    fn rows_are_halved_and_doubled_by_hand() {
        let (mut halved, mut doubled) = ([0.0; 3], [0.0; 5]);
        halve(&[16.0, 0.0, 32.0, 0.0, 0.0], &mut halved);
        // The row is 32 0 | 16 0 32 0 0 | 0 32.
        assert_eq!(halved, [(32.0 + 6.0 * 16.0 + 32.0) / 16.0, (16.0 + 6.0 * 32.0) / 16.0, (32.0 + 32.0) / 16.0]);
        double(&[8.0, 0.0, 16.0], &mut doubled);
        assert_eq!(doubled, [6.0, 4.0, 3.0, 8.0, 12.0]);
    }
}
