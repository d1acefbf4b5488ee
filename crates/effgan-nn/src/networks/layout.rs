//! The two layouts of a tensor in memory: PyTorch's in files and messages, that of the [kernels](effgan_kernels) in
//! modules.

use crate::Array;
use effgan_kernels::MapShape;

/// The kind of a tensor, which determines both of its layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The same layout in both.
    Plain,
    /// Weights of a convolution (OIHW) or of a transposed one (IOHW): `[output, input, k, k]` in files and
    /// `[k · k, input, output]` in kernels, where input and output are those of the [geometry](effgan_kernels::Geometry).
    Window,
    /// Weights of a linear layer: `[out, in]` in files, `[in, out]` in kernels. Where the input or the output is a
    /// feature map, its values are in the order channel, row, column in files and in blocks of channels in kernels.
    Linear { inputs: Option<MapShape>, outputs: Option<MapShape> },
    /// One value for each value of a feature map, in the two orders of [`Linear`](Self::Linear).
    Map(MapShape),
    /// One value for each tap and input channel of a [`Window`](Self::Window): `[input · k · k]` in files,
    /// `[k · k · input]` in kernels.
    WindowColumn { taps: usize },
}

impl Layout {
    /// Converts `array` from the layout of files to that of the kernels.
    pub(crate) fn to_kernels(self, array: &Array) -> Array {
        let (shape, values) = (&array.shape, array.values());
        match self {
            Self::Plain => array.clone(),
            Self::Window => {
                let (output, input, taps) = (shape[0], shape[1], shape[2] * shape[3]);
                gather([taps, input, output], |[tap, b, s]| values[(s * input + b) * taps + tap])
            }
            Self::Linear { inputs, outputs } => {
                let (out, inp) = (shape[0], shape[1]);
                let (from_in, from_out) = (order(inputs, inp), order(outputs, out));
                gather([inp, out], |[i, o]| values[from_out[o] * inp + from_in[i]])
            }
            Self::Map(map) => {
                let from = order(Some(map), map.len());
                gather([map.len()], |[i]| values[from[i]])
            }
            Self::WindowColumn { taps } => transposed(array, shape[0] / taps, taps),
        }
    }

    /// Converts `array` from the layout of the kernels to that of files.
    pub(crate) fn to_files(self, array: &Array) -> Array {
        let (shape, values) = (&array.shape, array.values());
        match self {
            Self::Plain => array.clone(),
            Self::Window => {
                let (taps, input, output) = (shape[0], shape[1], shape[2]);
                let side = taps.isqrt();
                gather([output, input, side, side], |[s, b, y, x]| values[((y * side + x) * input + b) * output + s])
            }
            Self::Linear { inputs, outputs } => {
                let (inp, out) = (shape[0], shape[1]);
                let (to_in, to_out) = (inverse(&order(inputs, inp)), inverse(&order(outputs, out)));
                gather([out, inp], |[o, i]| values[to_in[i] * out + to_out[o]])
            }
            Self::Map(map) => {
                let to = inverse(&order(Some(map), map.len()));
                gather([map.len()], |[i]| values[to[i]])
            }
            Self::WindowColumn { taps } => transposed(array, taps, shape[0] / taps),
        }
    }
}

/// The values of a row-major matrix of `rows` and `columns`, in column-major order.
fn transposed(array: &Array, rows: usize, columns: usize) -> Array {
    let values = array.values();
    gather([rows * columns], |[i]| values[(i % rows) * columns + i / rows])
}

/// The index in files of each index in kernels, for `len` values; the identity without a map.
fn order(map: Option<MapShape>, len: usize) -> Vec<usize> {
    let Some(map) = map else { return (0..len).collect() };
    let mut order = vec![0; len];
    for (c, pixel) in (0..map.channels).flat_map(|c| (0..map.pixels()).map(move |pixel| (c, pixel))) {
        order[map.index(c, pixel / map.width, pixel % map.width)] = c * map.pixels() + pixel;
    }
    order
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    for (here, &there) in order.iter().enumerate() {
        inverse[there] = here;
    }
    inverse
}

/// The array of `shape` whose value at each index is `at(index)`.
fn gather<const D: usize>(shape: [usize; D], at: impl Fn([usize; D]) -> f32) -> Array {
    let mut index = [0; D];
    let mut values = Vec::with_capacity(shape.iter().product());
    for _ in 0..shape.iter().product() {
        values.push(at(index));
        for axis in (0..D).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Array::new(shape, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered<const D: usize>(shape: [usize; D]) -> Array {
        let len: usize = shape.iter().product();
        Array::new(shape, (0..len).map(|i| i as f32).collect())
    }

    #[test]
    fn converting_to_kernels_and_back_changes_nothing() {
        for channels in [3, 32] {
            let map = MapShape { channels, height: 2, width: 3 };
            for (layout, array) in [
                (Layout::Plain, numbered([5])),
                (Layout::Window, numbered([4, 3, 5, 5])),
                (Layout::Linear { inputs: None, outputs: Some(map) }, numbered([map.len(), 7])),
                (Layout::Linear { inputs: Some(map), outputs: None }, numbered([2, map.len()])),
                (Layout::Map(map), numbered([map.len()])),
                (Layout::WindowColumn { taps: 9 }, numbered([36])),
            ] {
                assert_eq!(layout.to_files(&layout.to_kernels(&array)), array);
            }
        }
    }

    #[test]
    fn a_window_is_converted_from_output_input_tap_to_tap_input_output() {
        let kernels = Layout::Window.to_kernels(&numbered([2, 3, 2, 2]));
        assert_eq!(kernels.shape, [4, 3, 2]);
        // Tap 1 (row 0, column 1), input channel 2, output channel 1; in the file it is at (1 · 3 + 2) · 4 + 1.
        assert_eq!(kernels.values()[(3 + 2) * 2 + 1], 21.0);
    }

    #[test]
    fn a_window_column_is_converted_as_the_window_is() {
        // Both have the taps 0..9 of the first input channel before the taps 9..18 of the second.
        let (window, column) = (numbered([1, 2, 3, 3]), numbered([18]));
        let of_column = Layout::WindowColumn { taps: 9 }.to_kernels(&column);
        assert_eq!(Layout::Window.to_kernels(&window).values(), of_column.values());
    }

    #[test]
    fn a_map_is_converted_from_channel_pixel_to_blocks() {
        let map = MapShape { channels: 32, height: 1, width: 2 };
        // Channel 17 at pixel 1: the second block, second pixel, second channel.
        assert_eq!(Layout::Map(map).to_kernels(&numbered([64])).values()[32 + 16 + 1], 35.0);
    }
}
