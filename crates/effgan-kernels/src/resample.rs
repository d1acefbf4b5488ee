//! Means over 2 × 2 pixels, and their opposite: every pixel repeated 2 × 2 times.

#![allow(clippy::extra_unused_type_parameters, reason = "plain loops, which need no vectors of their own")]

use rayon::prelude::*;

use super::buffer;
use super::geometry::MapShape;
use super::isa::{Isa, for_each_isa};

/// The sums over 2 × 2 pixels, times `factor`, of a batch of maps of shape `map`, whose sides are even.
///
/// # Panics
/// When `x` is not a whole number of maps, or a side is odd.
pub fn sum_pixels(isa: Isa, map: &MapShape, x: &[f32], factor: f32) -> Vec<f32> {
    let row = map.width * map.block();
    assert!(x.len().is_multiple_of(map.len()) && map.height.is_multiple_of(2) && map.width.is_multiple_of(2));
    let mut out = buffer::take(x.len() / 4);
    let rows = out.par_chunks_exact_mut(row / 2).zip(x.par_chunks_exact(2 * row));
    rows.with_min_len(MIN_ROWS).for_each(|(out, x)| sum_rows(isa, map.block(), x, factor, out));
    out
}

/// Every pixel of a batch of maps of shape `map` repeated 2 × 2 times, times `factor`.
///
/// # Panics
/// When `x` is not a whole number of maps.
pub fn repeat_pixels(isa: Isa, map: &MapShape, x: &[f32], factor: f32) -> Vec<f32> {
    let mut out = buffer::take(4 * x.len());
    each_row(map, x, &mut out, |x, out| repeat_row(isa, map.block(), x, factor, out));
    out
}

/// Adds every pixel of a batch of maps of shape `map` to 2 × 2 pixels of `to`.
///
/// # Panics
/// When `x` is not a whole number of maps, or `to` has not four times its length.
pub fn add_repeated_pixels(isa: Isa, map: &MapShape, x: &[f32], to: &mut [f32]) {
    each_row(map, x, to, |x, to| add_row(isa, map.block(), x, to));
}

/// Minimum number of rows that a thread takes at a time.
const MIN_ROWS: usize = 64;

fn each_row(map: &MapShape, x: &[f32], to: &mut [f32], work: impl Fn(&[f32], &mut [f32]) + Sync + Send) {
    let row = map.width * map.block();
    assert!(x.len().is_multiple_of(map.len()) && to.len() == 4 * x.len(), "2 × 2 pixels for one");
    let rows = to.par_chunks_exact_mut(4 * row).zip(x.par_chunks_exact(row));
    rows.with_min_len(MIN_ROWS).for_each(|(to, x)| work(x, to));
}

for_each_isa! { fn sum_rows = sum_rows_on(block: usize, x: &[f32], factor: f32, out: &mut [f32]); }
for_each_isa! { fn repeat_row = repeat_row_on(block: usize, x: &[f32], factor: f32, out: &mut [f32]); }
for_each_isa! { fn add_row = add_row_on(block: usize, x: &[f32], to: &mut [f32]); }

#[inline(always)]
unsafe fn sum_rows_on<L>(block: usize, x: &[f32], factor: f32, out: &mut [f32]) {
    let (above, below) = x.split_at(x.len() / 2);
    let pairs = above.chunks_exact(2 * block).zip(below.chunks_exact(2 * block));
    for (out, (above, below)) in out.chunks_exact_mut(block).zip(pairs) {
        for i in 0..block {
            out[i] = factor * ((above[i] + above[block + i]) + (below[i] + below[block + i]));
        }
    }
}

#[inline(always)]
unsafe fn repeat_row_on<L>(block: usize, x: &[f32], factor: f32, out: &mut [f32]) {
    let (above, below) = out.split_at_mut(2 * x.len());
    for (x, to) in x.chunks_exact(block).zip(above.chunks_exact_mut(2 * block)) {
        for i in 0..block {
            let value = factor * x[i];
            to[i] = value;
            to[block + i] = value;
        }
    }
    below.copy_from_slice(above);
}

#[inline(always)]
unsafe fn add_row_on<L>(block: usize, x: &[f32], to: &mut [f32]) {
    for to in to.chunks_exact_mut(2 * x.len()) {
        for (x, to) in x.chunks_exact(block).zip(to.chunks_exact_mut(2 * block)) {
            for i in 0..block {
                to[i] += x[i];
                to[block + i] += x[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::naive::noise;

    fn map(channels: usize, height: usize, width: usize) -> MapShape {
        MapShape { channels, height, width }
    }

    #[test]
    fn a_pixel_is_the_sum_of_the_four_in_its_place() {
        for (channels, isa) in Isa::available().into_iter().flat_map(|isa| [(3, isa), (32, isa)]) {
            let (big, small) = (map(channels, 4, 6), map(channels, 2, 3));
            let x = noise(2 * big.len(), 1);
            let sums = sum_pixels(isa, &big, &x, 0.25);
            for (image, c, y, column) in indices(channels) {
                let at = |dy, dx| x[image * big.len() + big.index(c, 2 * y + dy, 2 * column + dx)];
                let mean = 0.25 * ((at(0, 0) + at(0, 1)) + (at(1, 0) + at(1, 1)));
                assert_eq!(sums[image * small.len() + small.index(c, y, column)], mean);
            }
        }
    }

    #[test]
    fn each_pixel_is_repeated_four_times() {
        for (channels, isa) in Isa::available().into_iter().flat_map(|isa| [(3, isa), (32, isa)]) {
            let (big, small) = (map(channels, 4, 6), map(channels, 2, 3));
            let (x, start) = (noise(2 * small.len(), 1), noise(2 * big.len(), 2));
            let (repeated, mut added) = (repeat_pixels(isa, &small, &x, 2.0), start.clone());
            add_repeated_pixels(isa, &small, &x, &mut added);
            for (image, c, y, column) in indices(channels) {
                let value = x[image * small.len() + small.index(c, y, column)];
                for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                    let at = image * big.len() + big.index(c, 2 * y + dy, 2 * column + dx);
                    assert_eq!((repeated[at], added[at]), (2.0 * value, start[at] + value));
                }
            }
        }
    }

    /// Image, channel, row and column of the pixels of two maps of 2 × 3.
    fn indices(channels: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..2).flat_map(move |i| {
            (0..channels).flat_map(move |c| (0..2).flat_map(move |y| (0..3).map(move |x| (i, c, y, x))))
        })
    }
}
