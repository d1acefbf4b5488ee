//! Sums of products of f32 with bounds of their errors: of all values of a map, and per channel.

use super::{ROUNDING, UNDERFLOW};
use crate::geometry::{BLOCK, MapShape};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;

/// Vectors that are summed side by side: fewer roundings in a row, and no waiting for the one before.
const UNROLL: usize = 4;

/// Lines of 16 values whose squares are summed in f32, the sums then in f64.
const LINES: usize = 256;

/// Added to the size of each value (2⁻⁷⁴): squares that underflow are off by up to 2⁻¹⁵⁰, and so are products with an
/// example's factor.
const FLOOR: f64 = 1.0 / (1_u128 << 74) as f64;

/// Norm of `values`, rounded up: [`FLOOR`] is added to the size of each.
pub(super) fn size(isa: Isa, values: &[f32]) -> f64 {
    let squares: f64 = values.chunks(LINES * BLOCK).map(|values| f64::from(squares(isa, values))).sum();
    size_of(squares, values.len(), LINES)
}

/// Norm of `len` values, rounded up, given the sum of their squares: of f32 sums with `in_a_row` roundings in a row,
/// and a few more at the ends.
fn size_of(squares: f64, len: usize, in_a_row: usize) -> f64 {
    squares.sqrt() * (1.0 + (in_a_row + 32) as f64 * ROUNDING) + (len as f64).sqrt() * FLOOR
}

for_each_isa! {
    /// Σ v².
    fn squares = squares_on(values: &[f32]) -> f32;
}

/// Unsafe only because [`for_each_isa`] requires it.
#[inline(always)]
unsafe fn squares_on<L: Lanes>(values: &[f32]) -> f32 {
    // SAFETY: each vector ends before the slice does.
    unsafe {
        let mut sums = [L::splat(0.0); UNROLL];
        let step = UNROLL * L::N;
        let whole = values.len() / step * step;
        for first in (0..whole).step_by(step) {
            for i in 0..UNROLL {
                let value = L::load(values.as_ptr().add(first + i * L::N));
                sums[i] = value.mul_add(value, sums[i]);
            }
        }
        let mut rest = 0.0;
        for i in whole..values.len() {
            rest += values[i] * values[i];
        }
        lanes(total(sums)).iter().sum::<f32>() + rest
    }
}

#[inline(always)]
fn total<L: Lanes>([a, b, c, d]: [L; UNROLL]) -> L {
    a.add(b).add(c.add(d))
}

/// The values of a vector, and zeros.
#[inline(always)]
pub(super) fn lanes<L: Lanes>(vector: L) -> [f32; BLOCK] {
    let mut values = [0.0; BLOCK];
    // SAFETY: a vector has at most 16 lanes.
    unsafe { vector.store(values.as_mut_ptr()) };
    values
}

/// Sums over the pixels of one example's map.
#[derive(Clone, Copy, Default)]
struct ChannelSums {
    /// Σ over channels of the squares of what is summed per channel.
    norm: f64,
    /// Σ of the squares of one factor and of the other.
    squares: [f64; 2],
}

/// The squared norm of sums per channel, rounded up, and the norm of the map.
pub(super) struct Bounded {
    pub(super) squared_norm: f64,
    pub(super) size: f64,
}

/// Of `grad`, which is the gradient of a bias of each channel once it is summed over the pixels.
pub(super) fn of_bias(isa: Isa, map: &MapShape, grad: &[f32]) -> Bounded {
    let sums = sums_of_bias(isa, map, grad);
    bounded(map, sums, 0.0)
}

/// Of grad · x̂ and of grad, which are the gradients of γ and β of a group norm once they are summed. With x̂ = (x −
/// mean) · `inv_std`; `mean` and `inv_std` are per group of neighbouring channels.
pub(super) fn of_group_norm(
    isa: Isa,
    map: &MapShape,
    grad: &[f32],
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
) -> Bounded {
    let sums = sums_of_norm(isa, map, grad, x, mean, inv_std);
    let largest = inv_std.iter().fold(0.0, |largest: f32, &inv_std| largest.max(inv_std));
    bounded(map, sums, f64::from(largest))
}

/// A sum over P pixels in four vectors has at most P / 4 roundings in a row, and a few more at the ends and for the
/// example's factor. It is off by that many times 2⁻²⁴ of the sum of the sizes of its terms, which is at most the
/// product of the norms of both factors; where there is no other factor, it is 1 for each pixel.
fn bounded(map: &MapShape, sums: ChannelSums, largest_factor: f64) -> Bounded {
    let pixels = map.pixels() as f64;
    let size_of = |squares| size_of(squares, map.len(), map.pixels() / UNROLL);
    let (size, factors) = (size_of(sums.squares[0]), size_of(sums.squares[1]));
    let factors = factors + largest_factor * (map.len() as f64).sqrt() * FLOOR;
    let relative = 1.01 * (pixels / 4.0 + 12.0) * ROUNDING;
    let underflow = (1.0 + largest_factor) * map.len() as f64 * UNDERFLOW;
    let error = relative * size * (factors + pixels.sqrt()) + underflow;
    Bounded { squared_norm: (sums.norm.sqrt() + error).powi(2), size }
}

for_each_isa! {
    fn sums_of_bias = sums_of_bias_on(map: &MapShape, grad: &[f32]) -> ChannelSums;
}

for_each_isa! {
    fn sums_of_norm = sums_of_norm_on(
        map: &MapShape, grad: &[f32], x: &[f32], mean: &[f32], inv_std: &[f32],
    ) -> ChannelSums;
}

/// Unsafe only because [`for_each_isa`] requires it.
#[inline(always)]
unsafe fn sums_of_bias_on<L: Lanes>(map: &MapShape, grad: &[f32]) -> ChannelSums {
    let (block, plane) = (map.block(), map.pixels() * map.block());
    let mut total = ChannelSums::default();
    for grad in grad.chunks_exact(plane) {
        for first in (0..block).step_by(L::N) {
            let column = Column { block, first, mean: [0.0; BLOCK] };
            // SAFETY: the caller's promise on instructions.
            let sums = unsafe { column.sums::<L>(grad, None) };
            for c in 0..L::N {
                total.norm += f64::from(sums.of_grad[c]).powi(2);
                total.squares[0] += f64::from(sums.squares[0][c]);
            }
        }
    }
    total
}

/// Unsafe only because [`for_each_isa`] requires it.
#[inline(always)]
unsafe fn sums_of_norm_on<L: Lanes>(
    map: &MapShape,
    grad: &[f32],
    x: &[f32],
    mean: &[f32],
    inv_std: &[f32],
) -> ChannelSums {
    let (block, plane, of_group) = (map.block(), map.pixels() * map.block(), map.channels / mean.len());
    let mut total = ChannelSums::default();
    for (i, (grad, x)) in grad.chunks_exact(plane).zip(x.chunks_exact(plane)).enumerate() {
        for first in (0..block).step_by(L::N) {
            let (mut column, mut scale) = (Column { block, first, mean: [0.0; BLOCK] }, [0.0; BLOCK]);
            for c in 0..L::N.min(block - first) {
                let group = (i * block + first + c) / of_group;
                (column.mean[c], scale[c]) = (mean[group], f64::from(inv_std[group]));
            }
            // SAFETY: the caller's promise on instructions.
            let sums = unsafe { column.sums::<L>(grad, Some(x)) };
            for c in 0..L::N {
                let gamma = f64::from(sums.of_products[c]) * scale[c];
                total.norm += gamma * gamma + f64::from(sums.of_grad[c]).powi(2);
                total.squares[0] += f64::from(sums.squares[0][c]);
                total.squares[1] += f64::from(sums.squares[1][c]) * scale[c] * scale[c];
            }
        }
    }
    total
}

/// As many channels of a block of `block` as a vector has lanes, from `first` on, and their means.
struct Column {
    block: usize,
    first: usize,
    mean: [f32; BLOCK],
}

/// Sums over the pixels, per channel. Those beyond the last channel are zero.
struct Sums {
    of_grad: [f32; BLOCK],
    /// Of grad · (x − mean).
    of_products: [f32; BLOCK],
    /// Of grad² and (x − mean)².
    squares: [[f32; BLOCK]; 2],
}

impl Column {
    /// The values of a pixel, from the first of these channels on.
    #[inline(always)]
    fn of_pixel<'a>(&self, plane: &'a [f32], pixel: usize) -> &'a [f32] {
        &plane[pixel * self.block..][..self.block][self.first..]
    }

    #[inline(always)]
    unsafe fn sums<L: Lanes>(&self, grad: &[f32], x: Option<&[f32]>) -> Sums {
        // SAFETY: the caller's promise on instructions.
        unsafe {
            let zero = [L::splat(0.0); UNROLL];
            let (mut of_grad, mut of_products, mut of_grad_squares, mut of_x_squares) = (zero, zero, zero, zero);
            let mean = L::load(self.mean.as_ptr());
            let pixels = grad.len() / self.block;
            for pixel in (0..pixels).step_by(UNROLL) {
                for i in 0..UNROLL {
                    if pixel + i < pixels {
                        let d: L = load_line(self.of_pixel(grad, pixel + i));
                        of_grad[i] = of_grad[i].add(d);
                        of_grad_squares[i] = d.mul_add(d, of_grad_squares[i]);
                        if let Some(x) = x {
                            let x = load_line::<L>(self.of_pixel(x, pixel + i)).sub(mean);
                            of_products[i] = d.mul_add(x, of_products[i]);
                            of_x_squares[i] = x.mul_add(x, of_x_squares[i]);
                        }
                    }
                }
            }
            let squares = [lanes(total(of_grad_squares)), lanes(total(of_x_squares))];
            Sums { of_grad: lanes(total(of_grad)), of_products: lanes(total(of_products)), squares }
        }
    }
}

/// A vector of the first values of a line, and of zeros where there are fewer.
#[inline(always)]
pub(super) unsafe fn load_line<L: Lanes>(values: &[f32]) -> L {
    // SAFETY: there are N values, in the slice or in the array.
    unsafe {
        if values.len() >= L::N {
            return L::load(values.as_ptr());
        }
        let mut line = [0.0; BLOCK];
        line[..values.len()].copy_from_slice(values);
        L::load(line.as_ptr())
    }
}

/// Writes as many values of a vector as the line has.
#[inline(always)]
pub(super) fn store_line<L: Lanes>(vector: L, line: &mut [f32]) {
    if line.len() >= L::N {
        // SAFETY: the line holds the vector.
        unsafe { vector.store(line.as_mut_ptr()) };
    } else {
        let len = line.len();
        line.copy_from_slice(&lanes(vector)[..len]);
    }
}
