//! Max and average pooling.

#![allow(clippy::extra_unused_type_parameters, reason = "plain loops, which need no vectors of their own")]

use super::{Maps, Window, line};
use crate::geometry::BLOCK;
use crate::isa::{Isa, for_each_isa};

/// What a pooling computes of the pixels in its window; padding does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their largest value.
    Max,
    /// Their mean: PyTorch's `count_include_pad=False`.
    Average,
}

/// Pools `from` with `window` into the channels of `to` from `channel` on.
///
/// # Panics
/// When `to` has another number of images, or another size than the output.
pub fn pool(isa: Isa, pooling: Pooling, window: Window, from: &Maps, to: &mut Maps, channel: usize) {
    assert_eq!((to.n, to.size()), (from.n, window.of_map(from.size())), "images and size of the output");
    let (size, map, len) = (to.size(), from.size(), to.rows() * BLOCK);
    let out = &mut to.lines_from(channel)[..len * from.channels / BLOCK];
    let planes = from.values.chunks_exact(from.height * from.width * BLOCK);
    for (out, plane) in out.chunks_exact_mut(size[0] * size[1] * BLOCK).zip(planes) {
        pool_plane(isa, pooling, window, plane, map, out, size);
    }
}

for_each_isa! {
    fn pool_plane = pool_plane_on(
        pooling: Pooling, window: Window, plane: &[f32], map: [usize; 2], out: &mut [f32], size: [usize; 2],
    );
}

#[inline(always)]
unsafe fn pool_plane_on<L>(
    pooling: Pooling,
    window: Window,
    plane: &[f32],
    [height, width]: [usize; 2],
    out: &mut [f32],
    [_, out_width]: [usize; 2],
) {
    for (i, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let ys = inside(window, 0, i / out_width, height);
        let xs = inside(window, 1, i % out_width, width);
        let count = (ys.len() * xs.len()) as f32;
        let mut all = [if pooling == Pooling::Max { f32::NEG_INFINITY } else { 0.0 }; BLOCK];
        for y in ys {
            for x in xs.clone() {
                let line = line(plane, y * width + x);
                for i in 0..BLOCK {
                    all[i] = if pooling == Pooling::Max { all[i].max(line[i]) } else { all[i] + line[i] };
                }
            }
        }
        for i in 0..BLOCK {
            out[i] = if pooling == Pooling::Max { all[i] } else { all[i] / count };
        }
    }
}

/// The pixels of window `at` along `axis` that are inside a map with `side` pixels along it.
#[inline(always)]
fn inside(window: Window, axis: usize, at: usize, side: usize) -> std::ops::Range<usize> {
    let first = at * window.stride;
    let end = (first + window.size[axis]).saturating_sub(window.padding[axis]).min(side);
    first.saturating_sub(window.padding[axis])..end
}
