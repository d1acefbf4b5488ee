//! A convolution of stride 1 followed by a mean over 2 × 2 pixels, as one of stride 2 on a map of means.
//!
//! The mean and the convolution commute: the mean of four neighbouring windows is the window of the means of four
//! neighbouring pixels.

use super::sums::{load_line, store_line};
use crate::geometry::{Geometry, MapShape};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

/// The geometry of the convolution of stride 2, whose input is the map of means with its padding.
///
/// # Panics
/// When the stride of `g` is not 1.
pub(super) fn geometry(g: &Geometry) -> Geometry {
    assert_eq!(g.stride, 1, "the convolution before a mean has stride 1");
    let [height, width] = [g.input.height, g.input.width].map(|side| side + 2 * g.padding - 1);
    let output = MapShape { height: g.output.height / 2, width: g.output.width / 2, ..g.output };
    Geometry { input: MapShape { height, width, ..g.input }, output, stride: 2, padding: 0, kernel: g.kernel }
}

/// Writes the means of each 2 × 2 neighbouring pixels of the padded input map of `g`.
pub(super) fn of_map(isa: Isa, g: &Geometry, input: &[f32], means: &mut [f32]) {
    let planes = |map: &MapShape| map.pixels() * map.block();
    let of_planes = means.chunks_exact_mut(planes(&geometry(g).input)).zip(input.chunks_exact(planes(&g.input)));
    for (means, input) in of_planes {
        of_plane(isa, g, input, means);
    }
}

for_each_isa! {
    /// The means of one block of channels.
    fn of_plane = of_plane_on(g: &Geometry, input: &[f32], means: &mut [f32]);
}

/// Unsafe only because [`for_each_isa`] requires it.
#[inline(always)]
unsafe fn of_plane_on<L: Lanes>(g: &Geometry, input: &[f32], means: &mut [f32]) {
    let (map, padding, block) = (&g.input, g.padding, g.input.block());
    let width = map.width + 2 * padding - 1;
    for (y, means) in means.chunks_exact_mut(width * block).enumerate() {
        let rows = [y, y + 1].map(|y| {
            let y = y.wrapping_sub(padding);
            (y < map.height).then(|| &input[y * map.width * block..][..map.width * block])
        });
        for first in (0..block).step_by(L::N) {
            // SAFETY: the caller's promise on instructions.
            unsafe {
                let mut before = column::<L>(rows, map, 0_usize.wrapping_sub(padding), first);
                for x in 0..width {
                    let column = column::<L>(rows, map, (x + 1).wrapping_sub(padding), first);
                    store_line(before.add(column).scale(0.25), &mut means[x * block..][..block][first..]);
                    before = column;
                }
            }
        }
    }
}

/// The sum of both rows at column `x`, for the channels from `first` on; zero outside the map.
#[inline(always)]
unsafe fn column<L: Lanes>([upper, lower]: [Option<&[f32]>; 2], map: &MapShape, x: usize, first: usize) -> L {
    // SAFETY: the caller's promise on instructions.
    unsafe {
        let mut sum = L::splat(0.0);
        if x < map.width {
            let block = map.block();
            if let Some(row) = upper {
                sum = load_line(&row[x * block..][..block][first..]);
            }
            if let Some(row) = lower {
                sum = sum.add(load_line(&row[x * block..][..block][first..]));
            }
        }
        sum
    }
}
