//! The loop that normalisations and sums over pixels share. It visits the pixels of one column after the other: as many
//! neighbouring channels as a vector has lanes.

use std::ops::Range;

use super::Sizes;
use crate::{BLOCK, isa::for_each_isa, lanes::Lanes};

/// Maximum number of pixels that are summed in f32; the sums of such runs are added in f64.
const RUN: usize = 256;

/// Up to [`RUN`] pixels of as many neighbouring channels as a vector has lanes.
#[derive(Clone, Copy)]
pub(crate) struct Column {
    /// Index of the first channel's value at the first pixel.
    at: usize,
    /// First channel.
    channel: usize,
    /// Number of pixels.
    pixels: usize,
    /// Distance of one pixel from the next.
    stride: usize,
}

impl Column {
    /// The channels of a column as wide as a vector `V`.
    #[inline(always)]
    fn channels<V: Lanes>(self) -> Range<usize> {
        self.channel..self.channel + V::N
    }

    /// Index of the values of pixel `p`.
    #[inline(always)]
    fn pixel(self, p: usize) -> usize {
        self.at + p * self.stride
    }
}

/// An operation on each column of a batch.
pub(crate) trait Visit {
    /// Whether the slices have the lengths of a batch of `sizes` and of its channels.
    fn fits(&self, sizes: &Sizes) -> bool;

    /// Processes `column`.
    ///
    /// # Safety
    /// The column is inside a batch that [`fits`](Self::fits), and the processor has the instructions of `V`.
    unsafe fn visit<V: Lanes>(&mut self, column: Column);
}

/// Calls `visitor` for each column of a batch, in order.
#[inline(always)]
unsafe fn walk<L: Lanes>(sizes: &Sizes, visitor: &mut impl Visit) {
    assert!(visitor.fits(sizes), "the slices hold a batch of {sizes:?}");
    // SAFETY: the slices hold the batch; the caller has the instructions.
    match sizes.block() {
        // A stride that is known at compile time.
        BLOCK => unsafe { walk_blocks::<L>(sizes, BLOCK, visitor) },
        block => unsafe { walk_blocks::<L>(sizes, block, visitor) },
    }
}

#[inline(always)]
unsafe fn walk_blocks<L: Lanes>(sizes: &Sizes, block: usize, visitor: &mut impl Visit) {
    let planes = sizes.channels / block;
    for plane in 0..sizes.n * planes {
        for first in (0..sizes.pixels).step_by(RUN) {
            let mut column = Column {
                at: (plane * sizes.pixels + first) * block,
                channel: plane % planes * block,
                pixels: RUN.min(sizes.pixels - first),
                stride: block,
            };
            let end = column.channel + block;
            // SAFETY: a column's channels end with the block and its pixels with the plane; a `Single` needs no special
            // instructions.
            while column.channel + L::N <= end {
                unsafe { visitor.visit::<L>(column) };
                (column.at, column.channel) = (column.at + L::N, column.channel + L::N);
            }
            while column.channel < end {
                unsafe { visitor.visit::<Single>(column) };
                (column.at, column.channel) = (column.at + 1, column.channel + 1);
            }
        }
    }
}

/// Adds Σ x per channel to `sum`.
pub(crate) struct Sum<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) sum: &'a mut [f64],
}

for_each_isa! {
    /// Visits a batch with [`Sum`].
    pub(crate) fn sum = walk(sizes: &Sizes, visitor: &mut Sum<'_>);
}

impl Visit for Sum<'_> {
    fn fits(&self, sizes: &Sizes) -> bool {
        self.x.len() == sizes.len() && self.sum.len() == sizes.channels
    }

    #[inline(always)]
    unsafe fn visit<V: Lanes>(&mut self, column: Column) {
        // SAFETY: the column lies inside `x`.
        let sum = unsafe {
            let mut sums = [V::splat(0.0); UNROLL];
            for p in 0..column.pixels / UNROLL {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = sum.add(load(self.x, column.pixel(UNROLL * p + i)));
                }
            }
            for p in column.pixels / UNROLL * UNROLL..column.pixels {
                sums[0] = sums[0].add(load(self.x, column.pixel(p)));
            }
            values(total(sums))
        };
        for (total, sum) in self.sum[column.channels::<V>()].iter_mut().zip(sum) {
            *total += f64::from(sum);
        }
    }
}

/// Adds Σ x and Σ x² per channel to `sum` and `squares`.
///
/// The values of a run are summed as differences from a value [near their mean](near_mean), so that f32 is precise
/// enough even where the mean is far from zero.
pub(super) struct Moments<'a> {
    pub(super) x: &'a [f32],
    pub(super) sum: &'a mut [f64],
    pub(super) squares: &'a mut [f64],
}

for_each_isa! {
    /// Visits a batch with [`Moments`].
    pub(super) fn moments = walk(sizes: &Sizes, visitor: &mut Moments<'_>);
}

impl Visit for Moments<'_> {
    fn fits(&self, sizes: &Sizes) -> bool {
        self.x.len() == sizes.len() && self.sum.len() == sizes.channels && self.squares.len() == sizes.channels
    }

    #[inline(always)]
    unsafe fn visit<V: Lanes>(&mut self, column: Column) {
        // SAFETY: the column lies inside `x`.
        let (centre, sum, squares) = unsafe {
            let centre: V = near_mean(self.x, column);
            let (mut sums, mut squares) = ([V::splat(0.0); UNROLL], [V::splat(0.0); UNROLL]);
            for p in 0..column.pixels / UNROLL {
                for i in 0..UNROLL {
                    let off = load::<V>(self.x, column.pixel(UNROLL * p + i)).sub(centre);
                    sums[i] = sums[i].add(off);
                    squares[i] = off.mul_add(off, squares[i]);
                }
            }
            for p in column.pixels / UNROLL * UNROLL..column.pixels {
                let off = load::<V>(self.x, column.pixel(p)).sub(centre);
                sums[0] = sums[0].add(off);
                squares[0] = off.mul_add(off, squares[0]);
            }
            (values(centre), values(total(sums)), values(total(squares)))
        };
        let pixels = column.pixels as f64;
        for (i, c) in column.channels::<V>().enumerate() {
            let (centre, sum, squares) = (f64::from(centre[i]), f64::from(sum[i]), f64::from(squares[i]));
            self.sum[c] += sum + pixels * centre;
            self.squares[c] += squares + centre * (2.0 * sum + pixels * centre);
        }
    }
}

/// Writes act(x · `scale` + `shift`) per channel to `out`, where act multiplies values that are not above zero by
/// `slope`.
pub(super) struct Affine<'a> {
    pub(super) x: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
    pub(super) out: &'a mut [f32],
}

for_each_isa! {
    /// Visits a batch with [`Affine`].
    pub(super) fn affine = walk(sizes: &Sizes, visitor: &mut Affine<'_>);
}

impl Visit for Affine<'_> {
    fn fits(&self, sizes: &Sizes) -> bool {
        [self.x.len(), self.out.len()] == [sizes.len(); 2]
            && [self.scale.len(), self.shift.len()] == [sizes.channels; 2]
    }

    #[inline(always)]
    unsafe fn visit<V: Lanes>(&mut self, column: Column) {
        // SAFETY: the column lies inside `x` and `out`, its channels inside `scale` and `shift`.
        unsafe {
            let (scale, shift): (V, V) = (load(self.scale, column.channel), load(self.shift, column.channel));
            for p in 0..column.pixels {
                let at = column.pixel(p);
                load::<V>(self.x, at).mul_add(scale, shift).leaky(self.slope).store(self.out.as_mut_ptr().add(at));
            }
        }
    }
}

/// Adds Σ d and Σ d · x per channel to `sum` and `products`.
///
/// d is `grad`, the gradient of the output, taken back through the activation, whose input was x · `scale` + `shift`
/// per channel: computing it again takes less time than reading the output. As in [`Moments`], x is summed as
/// differences.
pub(super) struct GradSums<'a> {
    pub(super) x: &'a [f32],
    pub(super) grad: &'a [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
    pub(super) sum: &'a mut [f64],
    pub(super) products: &'a mut [f64],
}

for_each_isa! {
    /// Visits a batch with [`GradSums`].
    pub(super) fn grad_sums = walk(sizes: &Sizes, visitor: &mut GradSums<'_>);
}

impl Visit for GradSums<'_> {
    fn fits(&self, sizes: &Sizes) -> bool {
        [self.x.len(), self.grad.len()] == [sizes.len(); 2]
            && [self.scale.len(), self.shift.len(), self.sum.len(), self.products.len()] == [sizes.channels; 4]
    }

    #[inline(always)]
    unsafe fn visit<V: Lanes>(&mut self, column: Column) {
        // SAFETY: the column lies inside `x` and `grad`, its channels inside `scale` and `shift`.
        let (centre, sum, products) = unsafe {
            let centre: V = near_mean(self.x, column);
            let (scale, shift): (V, V) = (load(self.scale, column.channel), load(self.shift, column.channel));
            let (mut sum, mut products) = (V::splat(0.0), V::splat(0.0));
            for p in 0..column.pixels {
                let at = column.pixel(p);
                let x: V = load(self.x, at);
                let d = through_activation(x.mul_add(scale, shift), load(self.grad, at), self.slope);
                sum = sum.add(d);
                products = x.sub(centre).mul_add(d, products);
            }
            (values(centre), values(sum), values(products))
        };
        for (i, c) in column.channels::<V>().enumerate() {
            let sum = f64::from(sum[i]);
            self.sum[c] += sum;
            self.products[c] += f64::from(products[i]) + f64::from(centre[i]) * sum;
        }
    }
}

/// Turns `grad` into dx = `of_d` · d + `of_x` · x + `constant` per channel, with d as in [`GradSums`].
pub(super) struct GradApply<'a> {
    pub(super) x: &'a [f32],
    pub(super) grad: &'a mut [f32],
    pub(super) scale: &'a [f32],
    pub(super) shift: &'a [f32],
    pub(super) slope: f32,
    pub(super) of_d: &'a [f32],
    pub(super) of_x: &'a [f32],
    pub(super) constant: &'a [f32],
}

for_each_isa! {
    /// Visits a batch with [`GradApply`].
    pub(super) fn grad_apply = walk(sizes: &Sizes, visitor: &mut GradApply<'_>);
}

impl Visit for GradApply<'_> {
    fn fits(&self, sizes: &Sizes) -> bool {
        [self.x.len(), self.grad.len()] == [sizes.len(); 2]
            && [self.scale.len(), self.shift.len()] == [sizes.channels; 2]
            && [self.of_d.len(), self.of_x.len(), self.constant.len()] == [sizes.channels; 3]
    }

    #[inline(always)]
    unsafe fn visit<V: Lanes>(&mut self, column: Column) {
        // SAFETY: the column lies inside `x` and `grad`, its channels inside `scale`, `shift` and the coefficients.
        unsafe {
            let (scale, shift): (V, V) = (load(self.scale, column.channel), load(self.shift, column.channel));
            let (of_d, of_x): (V, V) = (load(self.of_d, column.channel), load(self.of_x, column.channel));
            let constant: V = load(self.constant, column.channel);
            for p in 0..column.pixels {
                let at = column.pixel(p);
                let x: V = load(self.x, at);
                let d = through_activation(x.mul_add(scale, shift), load(self.grad, at), self.slope);
                let dx = d.mul_add(of_d, x.mul_add(of_x, constant));
                dx.store(self.grad.as_mut_ptr().add(at));
            }
        }
    }
}

/// Number of independent sums of a loop. With a single one, each addition would wait for the one before it.
const UNROLL: usize = 4;

/// Loads the vector at `at`.
///
/// # Safety
/// The vector is inside `values`, and the processor has the instructions.
#[inline(always)]
unsafe fn load<V: Lanes>(values: &[f32], at: usize) -> V {
    debug_assert!(at + V::N <= values.len());
    // SAFETY: the caller guarantees it.
    unsafe { V::load(values.as_ptr().add(at)) }
}

/// The mean of four pixels spread over the column: a single one may be far from the others.
///
/// # Safety
/// The column is inside `x`, and the processor has the instructions.
#[inline(always)]
unsafe fn near_mean<V: Lanes>(x: &[f32], column: Column) -> V {
    let [a, b, c] = [column.pixels / 4, column.pixels / 2, column.pixels / 4 * 3];
    // SAFETY: the caller guarantees it.
    let pixels: [V; 4] =
        unsafe { [load(x, column.at), load(x, column.pixel(a)), load(x, column.pixel(b)), load(x, column.pixel(c))] };
    total(pixels).scale(0.25)
}

/// `grad` where the activation's `input` was above zero, `slope` · `grad` elsewhere.
#[inline(always)]
fn through_activation<V: Lanes>(input: V, grad: V, slope: f32) -> V {
    grad.where_positive(input, grad.scale(slope))
}

/// The sum of the vectors.
#[inline(always)]
fn total<V: Lanes>([a, b, c, d]: [V; UNROLL]) -> V {
    a.add(b).add(c.add(d))
}

/// The lanes of a vector, padded with zeros.
#[inline(always)]
fn values<V: Lanes>(vector: V) -> [f32; BLOCK] {
    let mut values = [0.0; BLOCK];
    // SAFETY: no vector is longer than a block.
    unsafe { vector.store(values.as_mut_ptr()) };
    values
}

/// A vector of one lane, for the channels that do not fill a vector.
#[derive(Clone, Copy)]
struct Single(f32);

// SAFETY (all blocks): the caller guarantees that the pointers are valid.
impl Lanes for Single {
    const N: usize = 1;
    const TILE_ROWS: usize = 1;
    const TILE_BLOCKS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self(value)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        Self(unsafe { from.read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        unsafe { to.write(self.0) }
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0)
    }

    /// Rounded twice: without the instruction, `f32::mul_add` calls the C library.
    #[inline(always)]
    fn mul_add(self, factor: Self, term: Self) -> Self {
        Self(self.0 * factor.0 + term.0)
    }

    #[inline(always)]
    fn where_positive(self, sign: Self, other: Self) -> Self {
        if sign.0 > 0.0 { self } else { other }
    }

    #[inline(always)]
    fn positive(self) -> u16 {
        u16::from(self.0 > 0.0)
    }

    #[inline(always)]
    fn where_set(self, bits: u16, other: Self) -> Self {
        if bits & 1 == 1 { self } else { other }
    }
}
