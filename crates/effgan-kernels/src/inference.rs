//! Convolutions and poolings of a trained network, forward alone and with windows of any shape: what features of images
//! are computed with.
//!
//! The maps of a few images are one matrix with a row for each pixel, `[channels / 16, n · height · width, 16]`. A
//! convolution of 1 × 1 is then a product of matrices as they lie, any other one a product of its windows, written out
//! for some rows at a time (im2col, Chellapilla, Puri and Simard 2006), and branches are joined by writing next to each
//! other. Each row is computed alone, so that an image's values do not depend on its neighbours.

#![allow(clippy::extra_unused_type_parameters, reason = "plain loops, which need no vectors of their own")]

use super::buffer::Buffer;
use super::geometry::BLOCK;
use super::isa::{Isa, for_each_isa};
use super::product::{Blocks, BlocksMut, product};

/// Floats of the left factor of one product, roughly: half a megabyte, which stays in the second cache.
const CHUNK: usize = 1 << 17;
/// Rows of one product at least, so that weights are used often enough once they are here.
const LEAST_ROWS: usize = 56;

/// Feature maps of a few images.
#[derive(Debug)]
pub struct Maps {
    channels: usize,
    n: usize,
    height: usize,
    width: usize,
    values: Buffer,
}

/// Where a window lies: its height and width, its steps, and the border around the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: [usize; 2],
    /// Pixels from one window to the next, down and across.
    pub stride: usize,
    /// Pixels above and below, and left and right, that are outside of the map.
    pub padding: [usize; 2],
}

/// What a pooling says of the pixels of its window that are inside of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their largest value.
    Max,
    /// Their mean: PyTorch's `count_include_pad=False`.
    Average,
}

/// A convolution with bias, followed by `ReLU`.
#[derive(Clone, Debug)]
pub struct Convolution {
    window: Window,
    /// Blocks of channels that come in.
    blocks: usize,
    /// Blocks of the channels that go out, each a row for each number of a window: `[block, row, column, channel]`.
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Window {
    /// The window of `height` × `width` whose centre is each pixel of the map: as many come out as go in.
    pub const fn same(height: usize, width: usize) -> Self {
        Self { size: [height, width], stride: 1, padding: [height / 2, width / 2] }
    }

    /// A square window inside of the map.
    pub const fn inside(side: usize, stride: usize) -> Self {
        Self { size: [side, side], stride, padding: [0, 0] }
    }

    /// Height and width of what comes of a map.
    ///
    /// # Panics
    /// When the window is larger than the map with its border.
    pub fn of_map(&self, map: [usize; 2]) -> [usize; 2] {
        [0, 1].map(|i| (map[i] + 2 * self.padding[i] - self.size[i]) / self.stride + 1)
    }

    fn is_a_pixel(&self) -> bool {
        *self == Self::same(1, 1)
    }
}

impl Maps {
    /// Maps that hold anything; `channels` are whole blocks of 16.
    pub fn of(channels: usize, n: usize, [height, width]: [usize; 2]) -> Self {
        assert!(channels.is_multiple_of(BLOCK), "{channels} channels are no whole blocks");
        Self { channels, n, height, width, values: Buffer::of(channels * n * height * width) }
    }

    /// Images `[n, c, height, width]` with c ≤ 16, filled up with channels of zero.
    ///
    /// # Panics
    /// When `images` are no whole number of images.
    pub fn of_images(images: &[f32], [c, height, width]: [usize; 3]) -> Self {
        let pixels = height * width;
        assert!(c <= BLOCK && images.len().is_multiple_of(c * pixels), "images of up to {BLOCK} channels are whole");
        let mut maps = Self::of(BLOCK, images.len() / (c * pixels), [height, width]);
        for (lines, image) in maps.values.chunks_exact_mut(pixels * BLOCK).zip(images.chunks_exact(c * pixels)) {
            for (pixel, line) in lines.chunks_exact_mut(BLOCK).enumerate() {
                line.fill(0.0);
                (0..c).for_each(|channel| line[channel] = image[channel * pixels + pixel]);
            }
        }
        maps
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// Number of images.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The mean of each channel over the pixels, `[n, channels]`, summed in f64.
    pub fn means(&self) -> Vec<f32> {
        let pixels = self.height * self.width;
        let mut means = vec![0.0; self.n * self.channels];
        for (i, lines) in self.values.chunks_exact(pixels * BLOCK).enumerate() {
            let (block, image) = (i / self.n, i % self.n);
            for (channel, mean) in means[image * self.channels + block * BLOCK..][..BLOCK].iter_mut().enumerate() {
                let sum: f64 = lines.iter().skip(channel).step_by(BLOCK).map(|&value| f64::from(value)).sum();
                *mean = (sum / pixels as f64) as f32;
            }
        }
        means
    }

    fn rows(&self) -> usize {
        self.n * self.height * self.width
    }

    /// The rows of the blocks from `channel` on.
    fn lines_from(&mut self, channel: usize) -> &mut [f32] {
        let rows = self.rows();
        &mut self.values[channel / BLOCK * rows * BLOCK..]
    }
}

impl Convolution {
    /// A convolution with PyTorch's `weight` `[out, in, height, width]` and `bias` `[out]`; `out` are whole blocks of 16,
    /// `in` is filled up to whole blocks.
    ///
    /// # Panics
    /// When the lengths do not fit.
    pub fn new(window: Window, inputs: usize, weight: &[f32], bias: Vec<f32>) -> Self {
        let (outputs, taps) = (bias.len(), window.size.iter().product::<usize>());
        assert!(outputs.is_multiple_of(BLOCK), "{outputs} channels are no whole blocks");
        assert_eq!(weight.len(), outputs * inputs * taps, "weights of {outputs} x {inputs} channels");
        let blocks = inputs.div_ceil(BLOCK);
        let depth = blocks * taps * BLOCK;
        let mut weights = vec![0.0; outputs * depth];
        for (i, &value) in weight.iter().enumerate() {
            let (output, input, tap) = (i / (inputs * taps), i / taps % inputs, i % taps);
            let row = (input / BLOCK * taps + tap) * BLOCK + input % BLOCK;
            weights[(output / BLOCK * depth + row) * BLOCK + output % BLOCK] = value;
        }
        Self { window, blocks, weights, bias }
    }

    /// Where its windows lie.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Number of channels that go out.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// ReLU(convolution of `from` + bias), written to the channels of `to` from `channel` on.
    ///
    /// # Panics
    /// When `from` has other channels than the weights, or `to` has another size than comes out.
    pub fn run(&self, isa: Isa, from: &Maps, to: &mut Maps, channel: usize) {
        assert_eq!(from.channels, self.blocks * BLOCK, "as many channels as the weights have");
        assert_eq!((to.n, to.size()), (from.n, self.window.of_map(from.size())), "the size that comes out");
        let (rows, size) = (to.rows(), to.size());
        let depth = self.blocks * self.window.size.iter().product::<usize>() * BLOCK;
        let weights = Blocks { values: &self.weights, stride: depth * BLOCK, count: self.outputs() / BLOCK };
        let most = (CHUNK / depth).max(LEAST_ROWS);
        let out = to.lines_from(channel);
        // Of few lengths, as a thread keeps memory by length.
        let mut windows = Buffer::of(if self.window.is_a_pixel() { 0 } else { CHUNK.max(LEAST_ROWS * depth) });
        for first in (0..rows).step_by(most) {
            let n = most.min(rows - first);
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

/// Pools `from` with `window` into the channels of `to` from `channel` on.
///
/// # Panics
/// When `to` has another size than comes out.
pub fn pool(isa: Isa, pooling: Pooling, window: Window, from: &Maps, to: &mut Maps, channel: usize) {
    assert_eq!((to.n, to.size()), (from.n, window.of_map(from.size())), "the size that comes out");
    let (size, map, len) = (to.size(), from.size(), to.rows() * BLOCK);
    let out = &mut to.lines_from(channel)[..len * from.channels / BLOCK];
    let planes = from.values.chunks_exact(from.height * from.width * BLOCK);
    for (out, plane) in out.chunks_exact_mut(size[0] * size[1] * BLOCK).zip(planes) {
        pool_plane(isa, pooling, window, plane, map, out, size);
    }
}

/// The windows of output pixels from `first` on, as a matrix in blocks: a block for each block of channels and pixel of
/// the window.
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

/// Pixels of `line`, which has a border of `padding`, from `first` on in steps of `stride`.
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
            line[i] = (line[i] + bias[i]).max(0.0);
        }
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

/// The places of a window, at `at` in direction `axis`, that are inside of a map with `side` pixels there.
#[inline(always)]
fn inside(window: Window, axis: usize, at: usize, side: usize) -> std::ops::Range<usize> {
    let first = at * window.stride;
    let end = (first + window.size[axis]).saturating_sub(window.padding[axis]).min(side);
    first.saturating_sub(window.padding[axis])..end
}

#[inline(always)]
fn line(plane: &[f32], pixel: usize) -> &[f32; BLOCK] {
    plane[pixel * BLOCK..][..BLOCK].try_into().expect("a line has as many values as a block")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reference::{assert_close, noise};

    /// Images `[n, c, height, width]` as plain numbers, and a window that fits them.
    fn shapes() -> impl Strategy<Value = (usize, [usize; 3], Window)> {
        let window = (1..=7_usize, 1..=7_usize, 1..=2_usize).prop_flat_map(|(height, width, stride)| {
            (0..=height / 2, 0..=width / 2).prop_map(move |(y, x)| Window {
                size: [height, width],
                stride,
                padding: [y, x],
            })
        });
        (1..=3_usize, prop_oneof![Just(3_usize), Just(16), Just(48)], 0..=12_usize, 0..=12_usize, window)
            .prop_map(|(n, c, height, width, window)| (n, [c, height + window.size[0], width + window.size[1]], window))
    }

    /// Visits each output pixel of an image with the pixels of its window that are inside: `(output, tap, input)`.
    fn each_tap([_, height, width]: [usize; 3], window: Window, mut visit: impl FnMut(usize, usize, usize)) {
        let [out_height, out_width] = window.of_map([height, width]);
        for (out, tap) in
            (0..out_height * out_width).flat_map(|out| (0..window.size[0] * window.size[1]).map(move |tap| (out, tap)))
        {
            let y = (out / out_width * window.stride + tap / window.size[1]).checked_sub(window.padding[0]);
            let x = (out % out_width * window.stride + tap % window.size[1]).checked_sub(window.padding[1]);
            if let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
                visit(out, tap, y * width + x);
            }
        }
    }

    /// `[n, channels, pixels]` of maps.
    fn plain(maps: &Maps) -> Vec<f32> {
        let (pixels, rows) = (maps.height * maps.width, maps.rows());
        let value = |image: usize, channel: usize, pixel: usize| {
            maps.values[(channel / BLOCK * rows + image * pixels + pixel) * BLOCK + channel % BLOCK]
        };
        let each =
            |image| (0..maps.channels).flat_map(move |channel| (0..pixels).map(move |pixel| (image, channel, pixel)));
        (0..maps.n).flat_map(each).map(|(image, channel, pixel)| value(image, channel, pixel)).collect()
    }

    /// Maps of the images; more than a block of channels come of three parts.
    fn maps_of(images: &[f32], n: usize, [c, height, width]: [usize; 3]) -> Maps {
        if c <= BLOCK {
            return Maps::of_images(images, [c, height, width]);
        }
        let mut maps = Maps::of(c, n, [height, width]);
        let (pixels, rows) = (height * width, n * height * width);
        for (i, &value) in images.iter().enumerate() {
            let (image, channel, pixel) = (i / (c * pixels), i / pixels % c, i % pixels);
            maps.values[(channel / BLOCK * rows + image * pixels + pixel) * BLOCK + channel % BLOCK] = value;
        }
        maps
    }

    /// Pixels that come out of an image.
    fn pixels_after([_, height, width]: [usize; 3], window: Window) -> usize {
        window.of_map([height, width]).iter().product()
    }

    /// `ReLU` of the convolution of `images` `[n, c, pixels]`, as `[n, outputs, pixels]`.
    fn convolved(images: &[f32], shape: [usize; 3], window: Window, weight: &[f32], bias: &[f32]) -> Vec<f64> {
        let (c, pixels, taps) = (shape[0], shape[1] * shape[2], window.size[0] * window.size[1]);
        let mut all = Vec::new();
        for image in images.chunks(c * pixels) {
            for (weight, &bias) in weight.chunks(c * taps).zip(bias) {
                let mut sums = vec![f64::from(bias); pixels_after(shape, window)];
                for (plane, weight) in image.chunks(pixels).zip(weight.chunks(taps)) {
                    each_tap(shape, window, |out, tap, pixel| {
                        sums[out] += f64::from(plane[pixel]) * f64::from(weight[tap]);
                    });
                }
                all.extend(sums.iter().map(|sum| sum.max(0.0)));
            }
        }
        all
    }

    /// The largest value and the mean of each window.
    fn pooled(images: &[f32], shape: [usize; 3], window: Window) -> [Vec<f64>; 2] {
        let mut all = [Vec::new(), Vec::new()];
        for plane in images.chunks_exact(shape[1] * shape[2]) {
            let mut windows = vec![Vec::new(); pixels_after(shape, window)];
            each_tap(shape, window, |out, _, pixel| windows[out].push(f64::from(plane[pixel])));
            all[0].extend(windows.iter().map(|values| values.iter().copied().fold(f64::MIN, f64::max)));
            all[1].extend(windows.iter().map(|values| values.iter().sum::<f64>() / values.len() as f64));
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_convolution_is_the_plain_loops((n, shape, window) in shapes(), seed in 0_u64..99) {
            let (c, taps, pixels) = (shape[0], window.size[0] * window.size[1], pixels_after(shape, window));
            let images = noise(n * shape.iter().product::<usize>(), seed);
            let (weight, bias) = (noise(32 * c * taps, seed + 1), noise(32, seed + 2));
            let exact = convolved(&images, shape, window, &weight, &bias);
            let maps = maps_of(&images, n, shape);
            for isa in Isa::available() {
                let mut out = Maps::of(16 + 32, n, window.of_map(maps.size()));
                out.values.fill(7.0);
                Convolution::new(window, c, &weight, bias.clone()).run(isa, &maps, &mut out, 16);
                for (ours, exact) in plain(&out).chunks(48 * pixels).zip(exact.chunks(32 * pixels)) {
                    let (others, ours) = ours.split_at(16 * pixels);
                    prop_assert!(others.iter().all(|&value| value == 7.0), "other channels stay");
                    // f32 sums of at most 49 · 48 products, in any order.
                    assert_close(isa.name(), ours, exact, 1e-5);
                }
            }
        }

        #[test]
        fn poolings_are_the_plain_loops((n, shape, window) in shapes(), seed in 0_u64..99) {
            let images = noise(n * BLOCK * shape[1] * shape[2], seed);
            let shape = [BLOCK, shape[1], shape[2]];
            let [largest, means] = pooled(&images, shape, window);
            let maps = maps_of(&images, n, shape);
            for isa in Isa::available() {
                let mut out = Maps::of(BLOCK, n, window.of_map(maps.size()));
                pool(isa, Pooling::Max, window, &maps, &mut out, 0);
                assert_close(isa.name(), &plain(&out), &largest, 0.0);
                pool(isa, Pooling::Average, window, &maps, &mut out, 0);
                // f32 sums of at most 49 values.
                assert_close(isa.name(), &plain(&out), &means, 1e-6);
            }
        }
    }

    #[test]
    fn an_image_does_not_depend_on_its_neighbours() {
        let (shape, window) = ([16, 9, 11], Window::same(1, 7));
        let convolution = Convolution::new(window, 16, &noise(16 * 16 * 7, 1), noise(16, 2));
        let images = noise(3 * 16 * 9 * 11, 3);
        let run = |images: &[f32]| {
            let maps = maps_of(images, images.len() / (16 * 9 * 11), shape);
            let mut out = Maps::of(16, maps.n, maps.size());
            convolution.run(Isa::in_use(), &maps, &mut out, 0);
            plain(&out)
        };
        let alone: Vec<f32> = images.chunks(16 * 9 * 11).flat_map(run).collect();
        assert_eq!(run(&images), alone);
    }

    #[test]
    fn means_of_two_images_by_hand() {
        // Two pixels of two channels: (1, 3) and (5, 6), then (0, 0) and (2, 4).
        let maps = Maps::of_images(&[1.0, 3.0, 5.0, 6.0, 0.0, 0.0, 2.0, 4.0], [2, 1, 2]);
        let means = maps.means();
        assert_eq!([&means[..3], &means[16..19]], [[2.0, 5.5, 0.0], [0.0, 3.0, 0.0]]);
    }
}
