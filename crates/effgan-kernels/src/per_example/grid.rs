//! Maps as the rows of matrices, such that each tap of a window is a shift of rows.
//!
//! On a *grid* of some width, pixel (y, x) of the output map is row y · width + x. The input map with its padding is
//! divided into *phases*, those pixels whose rows and columns have the same remainders by the stride; a pixel that is
//! at (y, x) among those of its phase is row y · width + x of the phase's matrix. Tap (stride · j + phase, …) of the
//! window of the output's row r is then row r + j · width + … of the phase, for each r: products between rows need no
//! copy of the windows, which would be kernel² / stride² times as large as the map. Rows that are no pixel are zero.

use crate::geometry::{BLOCK, Geometry};

/// The grid of a geometry.
pub(super) struct Grid<'a> {
    pub(super) g: &'a Geometry,
    /// Rows on the grid between neighbouring lines of pixels.
    pub(super) width: usize,
    /// Number of pixels of a phase that a window meets along an axis, at most.
    pub(super) reach: usize,
    /// The first row of the phases' matrices on the grid: none before it has a pixel.
    pub(super) first: usize,
    /// Rows of a phase's matrix.
    pub(super) input_rows: usize,
    /// Rows of the output's matrix.
    pub(super) output_rows: usize,
}

/// One tap of the window.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    pub(super) phase: usize,
    /// Rows on the grid from a pixel of the output to the tap's.
    pub(super) shift: usize,
}

impl<'a> Grid<'a> {
    pub(super) fn new(g: &'a Geometry) -> Self {
        let reach = g.kernel.div_ceil(g.stride);
        let width = g.output.width + reach - 1 - shared_columns(g, reach);
        let mut grid = Self { g, width, reach, first: usize::MAX, input_rows: 0, output_rows: 0 };
        grid.output_rows = (g.output.height - 1) * width + g.output.width;
        let (mut first, mut end) = (usize::MAX, 0);
        grid.each_input(|_, row, _| (first, end) = (first.min(row), end.max(row + 1)));
        // A map that no window meets has no pixel.
        (grid.first, grid.input_rows) = (first.min(end), end - first.min(end));
        grid
    }

    /// Number of phases.
    pub(super) fn phases(&self) -> usize {
        self.g.stride * self.g.stride
    }

    /// Columns of all phases' matrices, and those of the output's.
    pub(super) fn depths(&self) -> [usize; 2] {
        [self.phases() * self.g.input.channels, self.g.output.channels]
    }

    /// The taps of the window.
    pub(super) fn taps(&self) -> impl Iterator<Item = Tap> + use<> {
        let (kernel, stride, width) = (self.g.kernel, self.g.stride, self.width);
        (0..kernel)
            .flat_map(move |y| (0..kernel).map(move |x| (y, x)))
            .map(move |(y, x)| Tap { phase: y % stride * stride + x % stride, shift: y / stride * width + x / stride })
    }

    /// Calls `visit` for each pixel of the input map that a window meets, with its phase, its row on the grid and its
    /// index in the map.
    #[inline]
    fn each_input(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Geometry { input, output, stride, padding, .. } = *self.g;
        let beyond = self.reach - 1;
        for y in 0..input.height {
            let (phase_y, grid_y) = ((y + padding) % stride, (y + padding) / stride);
            let (mut phase_x, mut grid_x) = (padding % stride, padding / stride);
            for x in 0..input.width {
                if grid_y < output.height + beyond && grid_x < output.width + beyond {
                    visit(phase_y * stride + phase_x, grid_y * self.width + grid_x, y * input.width + x);
                }
                phase_x += 1;
                if phase_x == stride {
                    (phase_x, grid_x) = (0, grid_x + 1);
                }
            }
        }
    }

    #[inline]
    fn each_output(&self, mut visit: impl FnMut(usize, usize)) {
        for y in 0..self.g.output.height {
            for x in 0..self.g.output.width {
                visit(y * self.width + x, y * self.g.output.width + x);
            }
        }
    }

    /// Writes the phases' matrices, `[phases, channels / 16, rows, 16]`.
    pub(super) fn write_input(&self, map: &[f32], matrices: &mut [f32]) {
        let (pixels, blocks) = (self.g.input.pixels(), self.g.input.channels / BLOCK);
        matrices.fill(0.0);
        for (block, map) in map.chunks_exact(pixels * BLOCK).enumerate() {
            self.each_input(|phase, row, pixel| {
                let to = ((phase * blocks + block) * self.input_rows + row - self.first) * BLOCK;
                copy_line(&map[pixel * BLOCK..], &mut matrices[to..]);
            });
        }
    }

    /// Writes the output's matrix, `[channels / 16, rows, 16]`.
    pub(super) fn write_output(&self, map: &[f32], matrix: &mut [f32]) {
        matrix.fill(0.0);
        let planes = map.chunks_exact(self.g.output.pixels() * BLOCK);
        for (plane, matrix) in planes.zip(matrix.chunks_exact_mut(self.output_rows * BLOCK)) {
            self.each_output(|row, pixel| {
                copy_line(&plane[pixel * BLOCK..], &mut matrix[row * BLOCK..]);
            });
        }
    }

    /// Writes the transpose of the phases' matrices side by side, `[rows / 16, phases · channels, 16]`.
    pub(super) fn write_transposed_input(&self, map: &[f32], matrix: &mut [f32]) {
        let (pixels, channels, [depth, _]) = (self.g.input.pixels(), self.g.input.channels, self.depths());
        matrix.fill(0.0);
        for (block, map) in map.chunks_exact(pixels * BLOCK).enumerate() {
            self.each_input(|phase, row, pixel| {
                scatter(&map[pixel * BLOCK..], row - self.first, depth, phase * channels + block * BLOCK, matrix);
            });
        }
    }

    /// Writes the transpose of the output's matrix, `[rows / 16, channels, 16]`.
    pub(super) fn write_transposed_output(&self, map: &[f32], matrix: &mut [f32]) {
        let (pixels, channels) = (self.g.output.pixels(), self.g.output.channels);
        matrix.fill(0.0);
        for (block, map) in map.chunks_exact(pixels * BLOCK).enumerate() {
            self.each_output(|row, pixel| {
                scatter(&map[pixel * BLOCK..], row, channels, block * BLOCK, matrix);
            });
        }
    }
}

/// Number of columns of padding at the end of a line that can be those at the start of the next one.
fn shared_columns(g: &Geometry, reach: usize) -> usize {
    let columns = g.output.width + reach - 1;
    let in_padding = |phase: usize| {
        let before = g.padding.saturating_sub(phase).div_ceil(g.stride);
        let inside = (g.padding + g.input.width).saturating_sub(phase).div_ceil(g.stride);
        before.min(columns.saturating_sub(inside))
    };
    (0..g.stride).map(in_padding).min().unwrap_or(0)
}

/// Copies the 16 values of a line.
#[inline]
pub(super) fn copy_line(from: &[f32], to: &mut [f32]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<BLOCK>(), to.first_chunk_mut::<BLOCK>()) {
        *to = *from;
    }
}

/// Writes the 16 values of a line to column `row` of a transposed matrix, from its row `first` of `depth` on.
#[inline]
fn scatter(line: &[f32], row: usize, depth: usize, first: usize, matrix: &mut [f32]) {
    let column = &mut matrix[(row / BLOCK * depth + first) * BLOCK..][..BLOCK * BLOCK];
    let (line, at) = (&line[..BLOCK], row % BLOCK);
    for i in 0..BLOCK {
        column[i * BLOCK + at] = line[i];
    }
}
