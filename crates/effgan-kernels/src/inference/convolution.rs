//! Convolution with windows of any shape, bias and ReLU.

#![allow(clippy::extra_unused_type_parameters, reason = "plain loops, which need no vectors of their own")]

use super::{Maps, Window, line};
use crate::buffer::Buffer;
use crate::cost::{Cost, moved};
use crate::geometry::{BLOCK, Geometry, MapShape, Side};
use crate::isa::{Isa, for_each_isa};
use crate::layer::Then;
use crate::precision::Precision;
use crate::product::{Blocks, BlocksMut, product};
use crate::winograd::Winograd;

/// Floats of the left factor of one product, roughly: half a megabyte, which stays in the L2 cache.
const CHUNK: usize = 1 << 17;
/// Minimum number of rows of one product, so that weights are used often once they are in the cache.
const MIN_ROWS: usize = 56;

/// A convolution with bias, followed by `ReLU`.
#[derive(Clone, Debug)]
pub struct Convolution {
    window: Window,
    /// Blocks of input channels.
    blocks: usize,
    /// A matrix in blocks of output channels, with a row for each value of a window, in the order
    /// `[block, row, column, channel]`.
    weights: Vec<f32>,
    /// The same as `[window, input, output]`, for [Winograd's form](crate::winograd), if there is one for the window.
    taps: Option<Vec<f32>>,
    bias: Vec<f32>,
}

impl Convolution {
    /// A convolution with PyTorch's `weight` `[out, in, height, width]` and `bias` `[out]`. Input channels are padded
    /// to whole blocks of 16.
    ///
    /// # Panics
    /// When `out` is not a multiple of 16, or `weight` has another length.
    pub fn new(window: Window, inputs: usize, weight: &[f32], bias: Vec<f32>) -> Self {
        let (outputs, taps) = (bias.len(), window.size.iter().product::<usize>());
        assert!(outputs.is_multiple_of(BLOCK), "{outputs} channels are not whole blocks of {BLOCK}");
        assert_eq!(weight.len(), outputs * inputs * taps, "weights of {outputs} x {inputs} channels");
        let blocks = inputs.div_ceil(BLOCK);
        let depth = blocks * taps * BLOCK;
        let mut weights = vec![0.0; outputs * depth];
        let has_form = matches!(window, Window { size: [3, 3], stride: 1, padding: [0, 0] | [1, 1] });
        let mut in_taps = has_form.then(|| vec![0.0; depth * outputs]);
        for (i, &value) in weight.iter().enumerate() {
            let (output, input, tap) = (i / (inputs * taps), i / taps % inputs, i % taps);
            let row = (input / BLOCK * taps + tap) * BLOCK + input % BLOCK;
            weights[(output / BLOCK * depth + row) * BLOCK + output % BLOCK] = value;
            if let Some(in_taps) = &mut in_taps {
                in_taps[(tap * blocks * BLOCK + input) * outputs + output] = value;
            }
        }
        Self { window, blocks, weights, taps: in_taps, bias }
    }

    /// Its window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Writes ReLU(convolution of `from` + bias) to the channels of `to` from `channel` on.
    ///
    /// # Panics
    /// When `from` has another number of channels than the weights, or `to` another size than the output.
    pub fn run(&self, isa: Isa, from: &Maps, to: &mut Maps, channel: usize) {
        assert_eq!(from.channels, self.blocks * BLOCK, "the channels of the weights");
        assert_eq!((to.n, to.size()), (from.n, self.window.of_map(from.size())), "images and size of the output");
        let form = self.taps.as_ref().and_then(|taps| Some((taps, self.winograd(isa, from)?)));
        if let Some((taps, layer)) = form {
            let spacings = [from.spacing(), to.spacing()];
            let then = Then { bias: Some(&self.bias), slope: 0.0 };
            layer.forward_spaced(Side::Input, &from.values, taps, then, to.lines_from(channel), spacings);
            return;
        }
        let (rows, size) = (to.rows(), to.size());
        let depth = self.blocks * self.window.size.iter().product::<usize>() * BLOCK;
        let weights = Blocks { values: &self.weights, stride: depth * BLOCK, count: self.outputs() / BLOCK };
        let max_rows = (CHUNK / depth).max(MIN_ROWS);
        let out = to.lines_from(channel);
        // The same length for most layers, since a thread keeps memory by length.
        let mut windows = Buffer::of(if self.window.is_a_pixel() { 0 } else { CHUNK.max(MIN_ROWS * depth) });
        for first in (0..rows).step_by(max_rows) {
            let n = max_rows.min(rows - first);
            let out = &mut out[first * BLOCK..];
            let into = BlocksMut::new(out, rows * BLOCK, weights.count);
            if self.window.is_a_pixel() {
                let left = Blocks { values: &from.values[first * BLOCK..], stride: rows * BLOCK, count: self.blocks };
                product(isa, n, left, weights, into);
            } else {
                let windows = &mut windows[..n * depth];
                write_windows(from, self.window, size, first, windows);
                let left = Blocks { values: windows, stride: n * BLOCK, count: depth / BLOCK };
                product(isa, n, left, weights, into);
            }
            for (block, bias) in self.bias.chunks_exact(BLOCK).enumerate() {
                add_bias_and_rectify(isa, &mut out[block * rows * BLOCK..][..n * BLOCK], bias);
            }
        }
    }
}

impl Convolution {
    /// Winograd's form of the convolution of `from`, where it costs less than that of the windows. The choice is made
    /// for a single image, so that the values of an image do not depend on the number of images.
    fn winograd(&self, isa: Isa, from: &Maps) -> Option<Winograd> {
        let map = MapShape { channels: from.channels, height: from.height, width: from.width };
        let g = Geometry::of_conv(map, self.outputs(), self.window.size[0], self.window.stride, self.window.padding[0]);
        let of = |n| Winograd::new(isa, Precision::F32, &g, n);
        let cost = Cost::new(isa, Precision::F32);
        let windows = size_of::<f32>() * g.output.pixels() * self.weights.len() / self.outputs();
        // As the costs of layers, that of three passes: the windows are written and read in the caches.
        let windows = 3.0 * (cost.product(g.multiply_adds(), 0.0) + moved(2 * windows, size_of::<f32>() * CHUNK));
        of(1).filter(|layer| layer.cost() < windows).and_then(|_| of(from.n))
    }
}

/// Writes the windows of the output pixels from `first` on as a matrix in blocks, with a block for each block of
/// channels and each pixel of the window.
fn write_windows(from: &Maps, window: Window, [out_height, out_width]: [usize; 2], first: usize, windows: &mut [f32]) {
    let [height, width] = window.size;
    let taps = height * width;
    let blocks = from.channels / BLOCK * taps;
    let rows = windows.len() / (blocks * BLOCK);
    for (i, lines) in windows.chunks_exact_mut(rows * BLOCK).enumerate() {
        let (block, ky, kx) = (i / taps, i % taps / width, i % width);
        let mut row = first;
        while row < first + rows {
            let (image, y, x) = (row / (out_height * out_width), row / out_width % out_height, row % out_width);
            let run = (out_width - x).min(first + rows - row);
            let lines = &mut lines[(row - first) * BLOCK..][..run * BLOCK];
            row += run;
            match (y * window.stride + ky).checked_sub(window.padding[0]).filter(|&y| y < from.height) {
                Some(y) => {
                    let line = ((block * from.n + image) * from.height + y) * from.width;
                    let line = &from.values[line * BLOCK..][..from.width * BLOCK];
                    copy_run(line, x * window.stride + kx, window.padding[1], window.stride, lines);
                }
                None => lines.fill(0.0),
            }
        }
    }
}

/// Copies every `stride`-th pixel of `line`, which has `padding` zeros on either side, from pixel `first` on.
fn copy_run(line: &[f32], first: usize, padding: usize, stride: usize, to: &mut [f32]) {
    let run = to.len() / BLOCK;
    let left = padding.saturating_sub(first).div_ceil(stride).min(run);
    let end = (line.len() / BLOCK + padding).saturating_sub(first).div_ceil(stride).clamp(left, run);
    to[..left * BLOCK].fill(0.0);
    to[end * BLOCK..].fill(0.0);
    if left == end {
        return;
    }
    let to = &mut to[left * BLOCK..end * BLOCK];
    let line = &line[(first + left * stride - padding) * BLOCK..];
    if stride == 1 {
        to.copy_from_slice(&line[..to.len()]);
        return;
    }
    for (to, from) in to.chunks_exact_mut(BLOCK).zip(line.chunks(stride * BLOCK)) {
        to.copy_from_slice(&from[..BLOCK]);
    }
}

for_each_isa! {
    fn add_bias_and_rectify = add_bias_and_rectify_on(lines: &mut [f32], bias: &[f32]);
}

#[inline(always)]
unsafe fn add_bias_and_rectify_on<L>(lines: &mut [f32], bias: &[f32]) {
    let bias = line(bias, 0);
    for line in lines.as_chunks_mut::<BLOCK>().0 {
        for i in 0..BLOCK {
            // Not `max`, which would turn NaN into 0 and hide broken weights.
            let value = line[i] + bias[i];
            line[i] = if value < 0.0 { 0.0 } else { value };
        }
    }
}
