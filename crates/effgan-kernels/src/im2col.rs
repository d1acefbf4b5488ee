//! Convolutions of any geometry as matrix products: im2col (Chellapilla, Puri and Simard 2006) and the crate `gemm`.
//!
//! The fallback for what the other kernels do not take. The windows of an image are written out as its *cols*,
//! `[small.pixels, kernel² · big.channels]`, so that each direction is one product, the weights being a matrix
//! `[kernel² · big.channels, small.channels]`:
//!
//! - down: small = cols · weights;
//! - up: cols = small · weightsᵀ, added up where the windows overlap;
//! - the weights' gradient = colsᵀ · small.
//!
//! `gemm` picks its own instructions, so nothing here takes an [`Isa`](super::Isa). A thread keeps the cols of one to
//! eight images, as many as make some 512 rows.

use std::cell::RefCell;

use rayon::prelude::*;

use super::buffer::Buffer;
use super::geometry::{BLOCK, Geometry, MapShape};

/// Images that one product covers, at most.
const IMAGES: usize = 8;

/// Rows of the cols that one product covers, roughly: enough to use each weight often, few enough to stay near the
/// caches.
const ROWS: usize = 512;

/// Into how many pieces the images are cut for partial sums of a weight gradient, at most.
const PIECES: usize = 8;

/// Values of a gradient that are folded at a time: what stays in the first cache.
const FOLD: usize = 4096;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps between calls.
#[derive(Default)]
struct Scratch {
    cols: Vec<f32>,
    plain: Vec<f32>,
}

/// small = act(convolution of big + bias), where act(v) is v above zero and `slope` · v elsewhere; slope 1 is none.
///
/// `big` is `n` maps of `g.big`, `small` `n` maps of `g.small`, `bias` `[small.channels]`.
pub fn down(g: &Geometry, n: usize, big: &[f32], weights: &[f32], bias: Option<&[f32]>, slope: f32, small: &mut [f32]) {
    assert_lengths(g, n, big, weights, small);
    assert!(bias.is_none_or(|bias| bias.len() == g.small.channels), "one bias a channel of the small map");
    let images = chunk_images(g);
    let chunks = small.par_chunks_mut(images * g.small.len()).zip(big.par_chunks(images * g.big.len()));
    chunks.for_each(|(small, big)| {
        SCRATCH.with_borrow_mut(|scratch| down_chunk(g, big, weights, small, scratch));
        add_bias_and_activate(&g.small, bias, slope, small);
    });
}

/// big = transposed convolution of small + bias.
///
/// `small` is `n` maps of `g.small`, `big` `n` maps of `g.big`, `bias` `[big.channels]`.
pub fn up(g: &Geometry, n: usize, small: &[f32], weights: &[f32], bias: Option<&[f32]>, big: &mut [f32]) {
    assert_lengths(g, n, big, weights, small);
    assert!(bias.is_none_or(|bias| bias.len() == g.big.channels), "one bias a channel of the big map");
    let images = chunk_images(g);
    let chunks = big.par_chunks_mut(images * g.big.len()).zip(small.par_chunks(images * g.small.len()));
    chunks.for_each(|(big, small)| {
        SCRATCH.with_borrow_mut(|scratch| up_chunk(g, small, weights, big, scratch));
        add_bias_and_activate(&g.big, bias, 1.0, big);
    });
}

/// The weights' gradient, summed over the images, which overwrites `grad`.
///
/// `big` is `n` maps of `g.big` and `small` `n` maps of `g.small`: one the layer's inputs, the other the gradient of
/// its outputs. Takes memory of up to eight gradients.
pub fn weight_grad(g: &Geometry, n: usize, big: &[f32], small: &[f32], grad: &mut [f32]) {
    assert_lengths(g, n, big, grad, small);
    let images = n.div_ceil(PIECES).max(1);
    let mut partial_sums = Buffer::zeros(n.div_ceil(images) * g.num_weights());
    let pieces = big.par_chunks(images * g.big.len()).zip(small.par_chunks(images * g.small.len()));
    pieces.zip(partial_sums.par_chunks_mut(g.num_weights())).for_each(|((big, small), sum)| {
        SCRATCH.with_borrow_mut(|scratch| add_piece_grad(g, big, small, scratch, sum));
    });
    grad.par_chunks_mut(FOLD).enumerate().for_each(|(i, grad)| {
        grad.fill(0.0);
        for partial_sum in partial_sums.chunks_exact(g.num_weights()) {
            add_line(grad, &partial_sum[i * FOLD..][..grad.len()]);
        }
    });
}

/// Images of a chunk of work; follows from the geometry alone.
fn chunk_images(g: &Geometry) -> usize {
    (ROWS / g.small.pixels()).clamp(1, IMAGES)
}

fn assert_lengths(g: &Geometry, n: usize, big: &[f32], weights: &[f32], small: &[f32]) {
    assert_eq!(big.len(), n * g.big.len(), "{n} maps of {:?}", g.big);
    assert_eq!(small.len(), n * g.small.len(), "{n} maps of {:?}", g.small);
    assert_eq!(weights.len(), g.num_weights(), "the weights of {g:?}");
}

fn down_chunk(g: &Geometry, big: &[f32], weights: &[f32], small: &mut [f32], scratch: &mut Scratch) {
    let cols = cols_of(g, big, &mut scratch.cols);
    let weights = Matrix::new(weights, cols_width(g), g.small.channels);
    if is_plain(&g.small) {
        return matmul(cols, weights, small, false);
    }
    let plain = sized(&mut scratch.plain, small.len());
    matmul(cols, weights, plain, false);
    to_blocks(&g.small, plain, small);
}

fn up_chunk(g: &Geometry, small: &[f32], weights: &[f32], big: &mut [f32], scratch: &mut Scratch) {
    let small = plain_of(&g.small, small, &mut scratch.plain);
    let weights = Matrix::new(weights, cols_width(g), g.small.channels);
    let cols = sized(&mut scratch.cols, small.rows * cols_width(g));
    matmul(small, weights.transposed(), cols, false);
    big.fill(0.0);
    for (big, cols) in big.chunks_exact_mut(g.big.len()).zip(cols.chunks_exact(g.small.pixels() * cols_width(g))) {
        add_cols(g, cols, big);
    }
}

/// Adds the gradient of one piece's images, a chunk at a time.
fn add_piece_grad(g: &Geometry, big: &[f32], small: &[f32], scratch: &mut Scratch, grad: &mut [f32]) {
    let images = chunk_images(g);
    for (big, small) in big.chunks(images * g.big.len()).zip(small.chunks(images * g.small.len())) {
        let cols = cols_of(g, big, &mut scratch.cols);
        matmul(cols.transposed(), plain_of(&g.small, small, &mut scratch.plain), grad, true);
    }
}

/// Columns of the cols: `kernel² · big.channels`.
fn cols_width(g: &Geometry) -> usize {
    g.num_weights() / g.small.channels
}

/// The cols of the images in `big`, written to `buffer`: `[images · small.pixels, kernel² · big.channels]`.
///
/// Their rows are an odd number of cache lines apart. Were it 4096 bytes, say, all rows would share a few sets of the
/// caches, and a product that walks over rows would take two to three times as long.
pub(crate) fn cols_of<'a>(g: &Geometry, big: &[f32], buffer: &'a mut Vec<f32>) -> Matrix<'a> {
    let images = big.len() / g.big.len();
    let row_stride = (cols_width(g).div_ceil(BLOCK) | 1) * BLOCK;
    let cols = sized(buffer, images * g.small.pixels() * row_stride);
    for (cols, big) in cols.chunks_exact_mut(g.small.pixels() * row_stride).zip(big.chunks_exact(g.big.len())) {
        if is_plain(&g.big) {
            copy_runs(g, row_stride, big, cols);
            continue;
        }
        each_line(g, row_stride, |col, pixel| match pixel {
            Some(pixel) => copy_line(&mut cols[col..col + g.big.block()], &big[pixel..pixel + g.big.block()]),
            None => cols[col..col + g.big.block()].fill(0.0),
        });
    }
    Matrix::of_spaced_rows(cols, images * g.small.pixels(), cols_width(g), row_stride)
}

/// The cols of an image whose map is plain: a window's row lies there in one run, of which the padding cuts off the ends.
fn copy_runs(g: &Geometry, row_stride: usize, big: &[f32], cols: &mut [f32]) {
    let MapShape { channels, height, width } = g.big;
    for (row, (sy, sx)) in each_pixel(g.small.height, g.small.width).enumerate() {
        let x = sx * g.stride;
        let first = g.padding.saturating_sub(x).min(g.kernel);
        let end = (width + g.padding).saturating_sub(x).clamp(first, g.kernel);
        let runs = cols[row * row_stride..].chunks_exact_mut(g.kernel * channels).take(g.kernel);
        for (y, run) in (sy * g.stride..).zip(runs) {
            match y.checked_sub(g.padding).filter(|&y| y < height && first < end) {
                Some(y) => {
                    let from = (y * width + x + first - g.padding) * channels;
                    let inside = first * channels..end * channels;
                    run[..inside.start].fill(0.0);
                    run[inside.end..].fill(0.0);
                    run[inside.clone()].copy_from_slice(&big[from..from + inside.len()]);
                }
                None => run.fill(0.0),
            }
        }
    }
}

/// Adds one image's cols, whose rows follow each other, to its map.
fn add_cols(g: &Geometry, cols: &[f32], big: &mut [f32]) {
    each_line(g, cols_width(g), |col, pixel| {
        if let Some(pixel) = pixel {
            add_line(&mut big[pixel..pixel + g.big.block()], &cols[col..col + g.big.block()]);
        }
    });
}

/// Visits each block of channels that a window covers, as where it starts in an image's cols and where in its big map:
/// none in the padding.
#[inline]
fn each_line(g: &Geometry, row_stride: usize, mut visit: impl FnMut(usize, Option<usize>)) {
    let inside = |at: usize, side: usize| at.checked_sub(g.padding).filter(|&at| at < side);
    let block = g.big.block();
    for (row, (sy, sx)) in each_pixel(g.small.height, g.small.width).enumerate() {
        let mut col = row * row_stride;
        for (ky, kx) in each_pixel(g.kernel, g.kernel) {
            let y = inside(sy * g.stride + ky, g.big.height);
            let x = inside(sx * g.stride + kx, g.big.width);
            let pixel = y.zip(x).map(|(y, x)| g.big.index(0, y, x));
            for first in (0..g.big.len()).step_by(g.big.pixels() * block) {
                visit(col, pixel.map(|pixel| first + pixel));
                col += block;
            }
        }
    }
}

fn each_pixel(height: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
}

/// A copy whose usual length the compiler knows: a call of `memcpy` for each 16 floats would take longer than the copy.
#[inline]
fn copy_line(to: &mut [f32], from: &[f32]) {
    if let (Ok(to), Ok(from)) = (<&mut [f32; BLOCK]>::try_from(&mut *to), <&[f32; BLOCK]>::try_from(from)) {
        *to = *from;
    } else {
        to.copy_from_slice(from);
    }
}

#[inline]
fn add_line(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

fn add_bias_and_activate(map: &MapShape, bias: Option<&[f32]>, slope: f32, values: &mut [f32]) {
    let (block, blocks) = (map.block(), map.channels / map.block());
    if let Some(bias) = bias {
        for (i, values) in values.chunks_exact_mut(map.pixels() * block).enumerate() {
            let bias = &bias[i % blocks * block..][..block];
            values.chunks_exact_mut(block).for_each(|line| add_line(line, bias));
        }
    }
    if slope != 1.0 {
        for value in values {
            *value = if *value > 0.0 { *value } else { slope * *value };
        }
    }
}

/// Whether the map's layout is `[pixels, channels]`.
fn is_plain(map: &MapShape) -> bool {
    map.block() == map.channels
}

/// `[n · pixels, channels]` of `n` maps: as they are where one block holds all channels, else copied to `buffer`.
pub(crate) fn plain_of<'a>(map: &MapShape, blocked: &'a [f32], buffer: &'a mut Vec<f32>) -> Matrix<'a> {
    let (rows, columns) = (blocked.len() / map.channels, map.channels);
    if is_plain(map) {
        return Matrix::new(blocked, rows, columns);
    }
    let plain = sized(buffer, blocked.len());
    for (plain, blocked) in plain.chunks_exact_mut(map.len()).zip(blocked.chunks_exact(map.len())) {
        each_block_line(map, |blocked_at, plain_at| {
            copy_line(&mut plain[plain_at..plain_at + BLOCK], &blocked[blocked_at..blocked_at + BLOCK]);
        });
    }
    Matrix::new(plain, rows, columns)
}

/// The way back from [`plain_of`].
fn to_blocks(map: &MapShape, plain: &[f32], blocked: &mut [f32]) {
    for (blocked, plain) in blocked.chunks_exact_mut(map.len()).zip(plain.chunks_exact(map.len())) {
        each_block_line(map, |blocked_at, plain_at| {
            copy_line(&mut blocked[blocked_at..blocked_at + BLOCK], &plain[plain_at..plain_at + BLOCK]);
        });
    }
}

/// Visits each block of each pixel as where it starts in a map in blocks of [`BLOCK`] and where in a plain one.
#[inline]
fn each_block_line(map: &MapShape, mut visit: impl FnMut(usize, usize)) {
    for pixel in 0..map.pixels() {
        for block in 0..map.channels / BLOCK {
            visit((block * map.pixels() + pixel) * BLOCK, pixel * map.channels + block * BLOCK);
        }
    }
}

/// The first `len` values of a buffer that only grows; what they hold is of no meaning.
pub(crate) fn sized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    &mut buffer[..len]
}

/// A matrix in a slice, or the transpose of one.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row after row.
    pub(crate) fn new(values: &'a [f32], rows: usize, columns: usize) -> Self {
        Self::of_spaced_rows(values, rows, columns, columns)
    }

    /// The first `columns` columns of `[rows, row_stride]`.
    fn of_spaced_rows(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert_eq!(Some(values.len()), rows.checked_mul(row_stride), "{rows} rows of {row_stride} values");
        assert!(columns <= row_stride, "{columns} columns of {row_stride} values");
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The same values, with rows for columns.
    pub(crate) fn transposed(self) -> Self {
        let Self { values, rows, columns, row_stride, column_stride } = self;
        Self { values, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// product = left · right, `[left.rows, right.columns]` row after row, or with `add` that added to what is there.
pub(crate) fn matmul(left: Matrix, right: Matrix, product: &mut [f32], add: bool) {
    assert_eq!(left.columns, right.rows, "the columns of the left factor meet the rows of the right");
    assert_eq!(Some(product.len()), left.rows.checked_mul(right.columns), "rows of the left, columns of the right");
    // SAFETY: a `Matrix` is made by `Matrix::of_spaced_rows`, which asserts that its rows lie within its slice, or by
    // swapping the two strides of one, so that all its values lie there; the assertion above says the same of
    // `product`. `product` is borrowed mutably, so that no factor overlaps it.
    unsafe {
        gemm::gemm::<f32>(
            left.rows,
            right.columns,
            left.columns,
            product.as_mut_ptr(),
            1,
            right.columns.cast_signed(),
            add,
            left.values.as_ptr(),
            left.column_stride.cast_signed(),
            left.row_stride.cast_signed(),
            right.values.as_ptr(),
            right.column_stride.cast_signed(),
            right.row_stride.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::reference::{self, assert_close, noise};
    use super::*;

    /// f32 sums of up to 5 · 5 · 40 products, or 10 · 144 in a gradient, in any order, against the largest of them.
    const TOLERANCE: f64 = 1e-5;

    fn channels() -> impl Strategy<Value = usize> {
        prop_oneof![1..=40_usize, Just(16), Just(32), Just(48)]
    }

    /// Any geometry with sides from the smallest that fits up to 12.
    fn geometries() -> impl Strategy<Value = Geometry> {
        (channels(), channels(), 3..=5_usize, 1..=2_usize, 0..=2_usize).prop_flat_map(
            |(channels, small_channels, kernel, stride, padding)| {
                let sides = kernel.saturating_sub(2 * padding).max(1)..=12_usize;
                (sides.clone(), sides).prop_map(move |(height, width)| {
                    Geometry::of_conv(MapShape { channels, height, width }, small_channels, kernel, stride, padding)
                })
            },
        )
    }

    struct Numbers {
        big: Vec<f32>,
        small: Vec<f32>,
        weights: Vec<f32>,
    }

    fn numbers(g: &Geometry, n: usize) -> Numbers {
        Numbers {
            big: noise(n * g.big.len(), 1),
            small: noise(n * g.small.len(), 2),
            weights: noise(g.num_weights(), 3),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn all_directions_are_the_plain_loops(g in geometries(), n in 1..=10_usize) {
            let Numbers { big, small, weights } = numbers(&g, n);
            let mut ours = noise(small.len(), 4);
            down(&g, n, &big, &weights, None, 1.0, &mut ours);
            assert_close("down", &ours, &reference::down(&g, n, &big, &weights), TOLERANCE);
            let mut ours = noise(big.len(), 5);
            up(&g, n, &small, &weights, None, &mut ours);
            assert_close("up", &ours, &reference::up(&g, n, &small, &weights), TOLERANCE);
            let mut ours = noise(weights.len(), 6);
            weight_grad(&g, n, &big, &small, &mut ours);
            assert_close("weight_grad", &ours, &reference::weight_grad(&g, n, &big, &small), TOLERANCE);
        }

        #[test]
        fn bias_is_added_before_the_activation(g in geometries()) {
            let Numbers { big, small, weights } = numbers(&g, 2);
            let (small_bias, big_bias) = (noise(g.small.channels, 7), noise(g.big.channels, 8));
            let mut exact = reference::down(&g, 2, &big, &weights);
            add_by_index(&g.small, &small_bias, &mut exact);
            exact.iter_mut().filter(|value| **value < 0.0).for_each(|value| *value *= 0.25);
            let mut ours = noise(small.len(), 4);
            down(&g, 2, &big, &weights, Some(&small_bias), 0.25, &mut ours);
            assert_close("down", &ours, &exact, TOLERANCE);

            let mut exact = reference::up(&g, 2, &small, &weights);
            add_by_index(&g.big, &big_bias, &mut exact);
            let mut ours = noise(big.len(), 5);
            up(&g, 2, &small, &weights, Some(&big_bias), &mut ours);
            assert_close("up", &ours, &exact, TOLERANCE);
        }
    }

    fn add_by_index(map: &MapShape, bias: &[f32], values: &mut [f64]) {
        for values in values.chunks_exact_mut(map.len()) {
            for (c, &bias) in bias.iter().enumerate() {
                for (y, x) in each_pixel(map.height, map.width) {
                    values[map.index(c, y, x)] += f64::from(bias);
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let g = Geometry::of_conv(MapShape { channels: 32, height: 9, width: 7 }, 48, 4, 2, 1);
        let n = 37;
        let Numbers { big, small, weights } = numbers(&g, n);
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut out = (small.clone(), big.clone(), weights.clone());
                down(&g, n, &big, &weights, None, 0.2, &mut out.0);
                up(&g, n, &small, &weights, None, &mut out.1);
                weight_grad(&g, n, &big, &small, &mut out.2);
                out
            })
        };
        let one = all(1);
        assert_eq!(one, all(2));
        assert_eq!(one, all(3));
    }

    #[test]
    fn no_images_give_a_gradient_of_zero() {
        let g = Geometry::of_conv(MapShape { channels: 3, height: 4, width: 4 }, 2, 3, 1, 1);
        let mut grad = noise(g.num_weights(), 1);
        weight_grad(&g, 0, &[], &[], &mut grad);
        assert!(grad.iter().all(|&value| value == 0.0));
    }
}
