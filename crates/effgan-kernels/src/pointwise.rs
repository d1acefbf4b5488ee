//! Convolutions with a window of one pixel: a plain matrix product for each image, whose maps are matrices in blocks
//! already.

use super::buffer::Scratch;
use super::cost::{Cost, moved};
use super::geometry::{BLOCK, Geometry, Side};
use super::im2col::add_bias_and_activate;
use super::isa::Isa;
use super::layer::Then;
use super::parallel_for::{Shared, parallel_for};
use super::product::{Blocks, BlocksMut, product, product_of_transposed};

/// Maximum number of blocks of output channels whose weights' gradient one thread sums: the width of a register tile.
const STRIP: usize = 3;

/// Whether these kernels take this geometry.
fn fits(g: &Geometry) -> bool {
    let blocks = g.input.channels.is_multiple_of(BLOCK) && g.output.channels.is_multiple_of(BLOCK);
    (g.kernel, g.stride, g.padding) == (1, 1, 0) && blocks
}

/// Estimated nanoseconds of a forward and a backward pass of `n` images, if the kernels take the geometry.
pub(crate) fn cost(cost: Cost, g: &Geometry, n: usize) -> Option<f64> {
    let bytes = size_of::<f32>() * n * (g.input.len() + g.output.len());
    fits(g).then(|| 3.0 * (cost.product(n * g.multiply_adds(), 0.0) + moved(bytes, bytes)))
}

/// Writes the map of the other side, given the map `from`.
pub(crate) fn forward(isa: Isa, g: &Geometry, from: Side, maps: &[f32], weights: &[f32], then: Then, out: &mut [f32]) {
    let (read, written) = (g.map(from), g.map(from.other()));
    assert!(fits(g), "the window of {g:?} is not one pixel");
    assert_eq!(weights.len(), g.num_weights());
    assert!(then.bias.is_none_or(|bias| bias.len() == written.channels), "one bias per channel");
    assert_eq!((maps.len() % read.len(), out.len() % written.len()), (0, 0), "whole images");
    assert_eq!(maps.len() / read.len(), out.len() / written.len(), "images");
    let mut factors = Scratch::of(weights.len());
    match from {
        Side::Input => into_blocks(weights, g.output.channels, &mut factors),
        Side::Output => into_transposed_blocks(weights, g.output.channels, &mut factors),
    }
    let b = Blocks { values: &factors, stride: read.channels * BLOCK, count: written.channels / BLOCK };
    let (pixels, n) = (read.pixels(), out.len() / written.len());
    let out = Shared::new(out);
    parallel_for(n, |i| {
        // SAFETY: each image is written by one call.
        let out = unsafe { out.part(i * written.len(), written.len()) };
        let a = Blocks { values: &maps[i * read.len()..], stride: pixels * BLOCK, count: read.channels / BLOCK };
        product(isa, pixels, a, b, BlocksMut::new(out, pixels * BLOCK, b.count));
        add_bias_and_activate(written, then.bias, then.slope, out);
    });
}

/// Writes the gradient of the weights, summed over the images in order.
pub(crate) fn weight_grad(isa: Isa, g: &Geometry, input: &[f32], output: &[f32], grad: &mut [f32]) {
    let (inputs, pixels, blocks) = (g.input.channels, g.input.pixels(), g.output.channels / BLOCK);
    assert!(fits(g), "the window of {g:?} is not one pixel");
    assert_eq!(grad.len(), g.num_weights());
    assert_eq!((input.len() % g.input.len(), output.len() % g.output.len()), (0, 0), "whole images");
    assert_eq!(input.len() / g.input.len(), output.len() / g.output.len(), "images");
    let mut sums = Scratch::of(grad.len());
    sums.fill(0.0);
    let shared = Shared::new(&mut sums);
    parallel_for(blocks.div_ceil(STRIP), |strip| {
        let first = strip * STRIP;
        let count = STRIP.min(blocks - first);
        // SAFETY: each block is written by one call.
        let sums = unsafe { shared.part(first * inputs * BLOCK, count * inputs * BLOCK) };
        for (input, output) in input.chunks_exact(g.input.len()).zip(output.chunks_exact(g.output.len())) {
            let a = Blocks { values: input, stride: pixels * BLOCK, count: inputs / BLOCK };
            let b = Blocks { values: &output[first * pixels * BLOCK..], stride: pixels * BLOCK, count };
            product_of_transposed(isa, pixels, a, b, BlocksMut::new(sums, inputs * BLOCK, count), true);
        }
    });
    for (block, rows) in sums.chunks_exact(inputs * BLOCK).enumerate() {
        for (row, line) in rows.chunks_exact(BLOCK).enumerate() {
            grad[row * g.output.channels + block * BLOCK..][..BLOCK].copy_from_slice(line);
        }
    }
}

/// A matrix of `columns` columns, row-major, in blocks.
fn into_blocks(matrix: &[f32], columns: usize, blocks: &mut [f32]) {
    let rows = matrix.len() / columns;
    for (i, line) in blocks.chunks_exact_mut(BLOCK).enumerate() {
        line.copy_from_slice(&matrix[i % rows * columns + i / rows * BLOCK..][..BLOCK]);
    }
}

/// The transpose of a matrix of `columns` columns, row-major, in blocks.
fn into_transposed_blocks(matrix: &[f32], columns: usize, blocks: &mut [f32]) {
    for (i, line) in blocks.chunks_exact_mut(BLOCK).enumerate() {
        let (row, block) = (i % columns, i / columns);
        for (j, value) in line.iter_mut().enumerate() {
            *value = matrix[(block * BLOCK + j) * columns + row];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MapShape;
    use crate::naive::{self, assert_close_sums, noise};

    #[test]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let g = Geometry::of_conv(MapShape { channels: 32, height: 5, width: 3 }, 64, 1, 1, 0);
        let [input, output] = [5 * g.input.len(), 5 * g.output.len()].map(|len| noise(len, len as u64));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut grad = vec![f32::NAN; g.num_weights()];
                weight_grad(Isa::wanted().unwrap(), &g, &input, &output, &mut grad);
                grad
            })
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn all_results_match_plain_loops() {
        let map = MapShape { channels: 32, height: 3, width: 5 };
        let g = Geometry::of_conv(map, 64, 1, 1, 0);
        let [input, output, weights] =
            [3 * g.input.len(), 3 * g.output.len(), g.num_weights()].map(|len| noise(len, len as u64));
        let then = Then { bias: None, slope: 1.0 };
        for isa in Isa::available() {
            let (mut to_output, mut to_input) = (vec![f32::NAN; output.len()], vec![f32::NAN; input.len()]);
            let mut grad = vec![f32::NAN; weights.len()];
            forward(isa, &g, Side::Input, &input, &weights, then, &mut to_output);
            forward(isa, &g, Side::Output, &output, &weights, then, &mut to_input);
            weight_grad(isa, &g, &input, &output, &mut grad);
            // f32 sums of at most 64 products.
            assert_close_sums(isa.name(), &to_output, &naive::conv(&g, 3, &input, &weights), 2e-6);
            assert_close_sums(isa.name(), &to_input, &naive::conv_transpose(&g, 3, &output, &weights), 2e-6);
            assert_close_sums(isa.name(), &grad, &naive::weight_grad(&g, 3, &input, &output), 2e-6);
        }
    }
}
