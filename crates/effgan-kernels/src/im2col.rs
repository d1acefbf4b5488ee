//! Convolutions of any geometry as matrix products: im2col (Chellapilla, Puri and Simard 2006).
//!
//! They take all shapes: those that no other kernel supports, and wide layers of few images, whose weights are not
//! worth transforming. The windows of an image are copied into a matrix, its *cols*,
//! `[output.pixels, kernel² · input.channels]`. With the weights as a matrix
//! `[kernel² · input.channels, output.channels]`, each kernel is one product:
//!
//! - convolution: output = cols · weights;
//! - transposed convolution: cols = output · weightsᵀ, summed where the windows overlap;
//! - gradient of the weights: colsᵀ · output.
//!
//! A product takes the cols of one to eight images, as many as have about 512 rows.

use rayon::prelude::*;

use super::buffer::{Buffer, Scratch};
use super::cost::{Cost, THIRD_LEVEL, moved};
use super::geometry::{BLOCK, Geometry, MapShape};
use super::isa::Isa;
use super::matrix::{Matrix, matmul};

/// Maximum number of images of one product.
const IMAGES: usize = 8;

/// Approximate number of rows of the cols of one product: enough to use each weight often, few enough to stay in the
/// caches.
const ROWS: usize = 512;

/// Maximum number of pieces that a batch is divided into for the partial sums of a weight gradient.
const PIECES: usize = 8;

/// Number of values of a gradient that are folded at a time, so that they stay in the L1 cache.
const FOLD: usize = 4096;

/// Estimated nanoseconds of a forward and a backward pass of `n` images. The cols are written and read three times, and
/// the product writes them in blocks again.
pub(crate) fn cost(cost: Cost, g: &Geometry, n: usize) -> f64 {
    let cols = size_of::<f32>() * n * g.output.pixels() * cols_width(g);
    3.0 * (1.4 * cost.product(n * g.multiply_adds(), 0.0) + moved(2 * cols, THIRD_LEVEL))
}

/// output = act(convolution of input + bias), with act(v) = v where v > 0 and `slope` · v elsewhere; a slope of 1 is no
/// activation.
///
/// `input` is `n` maps of `g.input`, `output` `n` maps of `g.output`, `bias` `[output.channels]`.
#[allow(clippy::too_many_arguments, reason = "a layer's input, output and parameters")]
pub fn conv(
    isa: Isa,
    g: &Geometry,
    n: usize,
    input: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    output: &mut [f32],
) {
    assert_lengths(g, n, input, weights, output);
    assert!(bias.is_none_or(|bias| bias.len() == g.output.channels), "one bias per channel of the output");
    let images = chunk_images(g);
    let chunks = output.par_chunks_mut(images * g.output.len()).zip(input.par_chunks(images * g.input.len()));
    chunks.for_each(|(output, input)| {
        conv_chunk(isa, g, input, weights, output);
        add_bias_and_activate(&g.output, bias, slope, output);
    });
}

/// input = transposed convolution of output + bias.
///
/// `output` is `n` maps of `g.output`, `input` `n` maps of `g.input`, `bias` `[input.channels]`.
pub fn conv_transpose(
    isa: Isa,
    g: &Geometry,
    n: usize,
    output: &[f32],
    weights: &[f32],
    bias: Option<&[f32]>,
    input: &mut [f32],
) {
    assert_lengths(g, n, input, weights, output);
    assert!(bias.is_none_or(|bias| bias.len() == g.input.channels), "one bias per channel of the input");
    let images = chunk_images(g);
    let chunks = input.par_chunks_mut(images * g.input.len()).zip(output.par_chunks(images * g.output.len()));
    chunks.for_each(|(input, output)| {
        conv_transpose_chunk(isa, g, output, weights, input);
        add_bias_and_activate(&g.input, bias, 1.0, input);
    });
}

/// Writes the gradient of the weights, summed over the images, to `grad`.
///
/// `input` is `n` maps of `g.input` and `output` `n` maps of `g.output`. One of them is the layer's input, the
/// other the gradient of its output. Needs memory for up to eight gradients.
pub fn weight_grad(isa: Isa, g: &Geometry, n: usize, input: &[f32], output: &[f32], grad: &mut [f32]) {
    assert_lengths(g, n, input, grad, output);
    let images = n.div_ceil(PIECES).max(1);
    let mut partial_sums = Buffer::zeros(n.div_ceil(images) * g.num_weights());
    let pieces = input.par_chunks(images * g.input.len()).zip(output.par_chunks(images * g.output.len()));
    pieces.zip(partial_sums.par_chunks_mut(g.num_weights())).for_each(|((input, output), sum)| {
        add_piece_grad(isa, g, input, output, sum);
    });
    grad.par_chunks_mut(FOLD).enumerate().for_each(|(i, grad)| {
        grad.fill(0.0);
        for partial_sum in partial_sums.chunks_exact(g.num_weights()) {
            add_line(grad, &partial_sum[i * FOLD..][..grad.len()]);
        }
    });
}

/// Number of images of a chunk of work. It follows from the geometry alone, so that bits do not depend on the number of
/// threads.
fn chunk_images(g: &Geometry) -> usize {
    (ROWS / g.output.pixels()).clamp(1, IMAGES)
}

fn assert_lengths(g: &Geometry, n: usize, input: &[f32], weights: &[f32], output: &[f32]) {
    assert_eq!(input.len(), n * g.input.len(), "{n} maps of {:?}", g.input);
    assert_eq!(output.len(), n * g.output.len(), "{n} maps of {:?}", g.output);
    assert_eq!(weights.len(), g.num_weights(), "the weights of {g:?}");
}

fn conv_chunk(isa: Isa, g: &Geometry, input: &[f32], weights: &[f32], output: &mut [f32]) {
    let mut cols = Scratch::of(cols_len(g, input.len() / g.input.len()));
    let cols = cols_of(g, input, &mut cols);
    let weights = Matrix::new(weights, cols_width(g), g.output.channels);
    if is_plain(&g.output) {
        return matmul(isa, cols, weights, output, false);
    }
    let mut plain = Scratch::of(output.len());
    matmul(isa, cols, weights, &mut plain, false);
    to_blocks(&g.output, &plain, output);
}

fn conv_transpose_chunk(isa: Isa, g: &Geometry, output: &[f32], weights: &[f32], input: &mut [f32]) {
    let mut plain = Scratch::of(plain_len(&g.output, output));
    let output = plain_of(&g.output, output, &mut plain);
    let weights = Matrix::new(weights, cols_width(g), g.output.channels);
    let mut cols = Scratch::of(output.rows() * cols_width(g));
    matmul(isa, output, weights.transposed(), &mut cols, false);
    input.fill(0.0);
    for (input, cols) in input.chunks_exact_mut(g.input.len()).zip(cols.chunks_exact(g.output.pixels() * cols_width(g)))
    {
        add_cols(g, cols, input);
    }
}

/// Adds the gradient of the images of one piece to `grad`, one chunk after the other.
fn add_piece_grad(isa: Isa, g: &Geometry, input: &[f32], output: &[f32], grad: &mut [f32]) {
    let images = chunk_images(g);
    for (input, output) in input.chunks(images * g.input.len()).zip(output.chunks(images * g.output.len())) {
        let mut cols = Scratch::of(cols_len(g, input.len() / g.input.len()));
        let mut plain = Scratch::of(plain_len(&g.output, output));
        let cols = cols_of(g, input, &mut cols);
        matmul(isa, cols.transposed(), plain_of(&g.output, output, &mut plain), grad, true);
    }
}

/// Number of columns of the cols: `kernel² · input.channels`.
fn cols_width(g: &Geometry) -> usize {
    g.num_weights() / g.output.channels
}

/// Distance between rows of the cols: an odd number of cache lines. If it were, say, 4096 bytes, all rows would share a few
/// sets of the caches, and a product that reads down the rows would take two to three times as long.
fn row_stride(g: &Geometry) -> usize {
    (cols_width(g).div_ceil(BLOCK) | 1) * BLOCK
}

/// Length of the cols of `images` images.
pub(crate) fn cols_len(g: &Geometry, images: usize) -> usize {
    images * g.output.pixels() * row_stride(g)
}

/// The cols of the images in `input`, written to `cols`: `[images · output.pixels, kernel² · input.channels]`.
pub(crate) fn cols_of<'a>(g: &Geometry, input: &[f32], cols: &'a mut [f32]) -> Matrix<'a> {
    let (images, row_stride) = (input.len() / g.input.len(), row_stride(g));
    assert_eq!(cols.len(), cols_len(g, images));
    for (cols, input) in cols.chunks_exact_mut(g.output.pixels() * row_stride).zip(input.chunks_exact(g.input.len())) {
        if is_plain(&g.input) {
            copy_runs(g, row_stride, input, cols);
            continue;
        }
        each_line(g, row_stride, |col, pixel| match pixel {
            Some(pixel) => copy_line(&mut cols[col..col + g.input.block()], &input[pixel..pixel + g.input.block()]),
            None => cols[col..col + g.input.block()].fill(0.0),
        });
    }
    Matrix::of_spaced_rows(cols, images * g.output.pixels(), cols_width(g), row_stride)
}

/// Writes the cols of an image whose map [is plain](is_plain): there a row of a window is one run of floats, except for
/// what lies in the padding.
fn copy_runs(g: &Geometry, row_stride: usize, input: &[f32], cols: &mut [f32]) {
    let MapShape { channels, height, width } = g.input;
    for (row, (sy, sx)) in each_pixel(g.output.height, g.output.width).enumerate() {
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
                    run[inside.clone()].copy_from_slice(&input[from..from + inside.len()]);
                }
                None => run.fill(0.0),
            }
        }
    }
}

/// Adds the cols of one image, whose rows are contiguous, to its map.
fn add_cols(g: &Geometry, cols: &[f32], input: &mut [f32]) {
    each_line(g, cols_width(g), |col, pixel| {
        if let Some(pixel) = pixel {
            add_line(&mut input[pixel..pixel + g.input.block()], &cols[col..col + g.input.block()]);
        }
    });
}

/// Calls `visit` for each block of channels under each tap of each window, with the index of its first value in the
/// image's cols and in its input map; the latter is `None` in the padding.
#[inline]
fn each_line(g: &Geometry, row_stride: usize, mut visit: impl FnMut(usize, Option<usize>)) {
    let inside = |at: usize, side: usize| at.checked_sub(g.padding).filter(|&at| at < side);
    let block = g.input.block();
    for (row, (sy, sx)) in each_pixel(g.output.height, g.output.width).enumerate() {
        let mut col = row * row_stride;
        for (ky, kx) in each_pixel(g.kernel, g.kernel) {
            let y = inside(sy * g.stride + ky, g.input.height);
            let x = inside(sx * g.stride + kx, g.input.width);
            let pixel = y.zip(x).map(|(y, x)| g.input.index(0, y, x));
            for first in (0..g.input.len()).step_by(g.input.pixels() * block) {
                visit(col, pixel.map(|pixel| first + pixel));
                col += block;
            }
        }
    }
}

fn each_pixel(height: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
}

/// Copies with a length known at compile time in the usual case: calling `memcpy` for 16 floats takes longer than the
/// copy.
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

pub(crate) fn add_bias_and_activate(map: &MapShape, bias: Option<&[f32]>, slope: f32, values: &mut [f32]) {
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

/// Whether the layout of the map is `[pixels, channels]`, all channels in one block.
fn is_plain(map: &MapShape) -> bool {
    map.block() == map.channels
}

/// Length of the memory that [`plain_of`] needs for these maps.
pub(crate) fn plain_len(map: &MapShape, blocked: &[f32]) -> usize {
    if is_plain(map) { 0 } else { blocked.len() }
}

/// Maps as `[n · pixels, channels]`: as they are where they [are plain](is_plain), else copied to `plain`.
pub(crate) fn plain_of<'a>(map: &MapShape, blocked: &'a [f32], plain: &'a mut [f32]) -> Matrix<'a> {
    let (rows, columns) = (blocked.len() / map.channels, map.channels);
    if is_plain(map) {
        return Matrix::new(blocked, rows, columns);
    }
    for (plain, blocked) in plain.chunks_exact_mut(map.len()).zip(blocked.chunks_exact(map.len())) {
        each_block_line(map, |blocked_at, plain_at| {
            copy_line(&mut plain[plain_at..plain_at + BLOCK], &blocked[blocked_at..blocked_at + BLOCK]);
        });
    }
    Matrix::new(plain, rows, columns)
}

/// The inverse of [`plain_of`], for a map that is not plain.
fn to_blocks(map: &MapShape, plain: &[f32], blocked: &mut [f32]) {
    for (blocked, plain) in blocked.chunks_exact_mut(map.len()).zip(plain.chunks_exact(map.len())) {
        each_block_line(map, |blocked_at, plain_at| {
            copy_line(&mut blocked[blocked_at..blocked_at + BLOCK], &plain[plain_at..plain_at + BLOCK]);
        });
    }
}

/// Calls `visit` for each block of channels of each pixel, with the index of its first value in a blocked map and in a
/// plain one.
#[inline]
fn each_block_line(map: &MapShape, mut visit: impl FnMut(usize, usize)) {
    for pixel in 0..map.pixels() {
        for block in 0..map.channels / BLOCK {
            visit((block * map.pixels() + pixel) * BLOCK, pixel * map.channels + block * BLOCK);
        }
    }
}

#[cfg(test)]
mod tests;
