//! The layouts of a tensor: PyTorch's in files and messages, and in memory that of the [kernels](effgan_kernels), or on a
//! GPU that of Burn's convolutions.

use crate::Array;
use effgan_kernels::MapShape;

/// How the tensors of modules are laid out in the memory of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As the kernels read them: maps in blocks of channels, windows as tap × input × output.
    Kernels,
    /// As Burn's convolutions on a GPU read them: all channels of a pixel side by side, windows as output × tap × input.
    #[cfg_attr(not(any(test, feature = "gpu")), expect(dead_code, reason = "without GPUs only tests have it"))]
    ChannelsLast,
}

impl Order {
    /// The axis of a [window](Layout::Window) that its taps are on.
    pub(crate) fn taps_axis(self) -> usize {
        match self {
            Self::Kernels => 0,
            Self::ChannelsLast => 1,
        }
    }

    /// The other two axes of a window.
    pub(crate) fn channel_axes(self) -> [usize; 2] {
        match self {
            Self::Kernels => [1, 2],
            Self::ChannelsLast => [0, 2],
        }
    }

    /// The place in memory of a value of a map.
    fn index(self, map: &MapShape, channel: usize, row: usize, column: usize) -> usize {
        match self {
            Self::Kernels => map.index(channel, row, column),
            Self::ChannelsLast => (row * map.width + column) * map.channels + channel,
        }
    }

    /// A [window](Layout::Window) with these values by tap, input and output.
    fn window(self, [taps, input, output]: [usize; 3], at: impl Fn([usize; 3]) -> f32) -> Array {
        match self {
            Self::Kernels => gather([taps, input, output], at),
            Self::ChannelsLast => gather([output, taps, input], |[o, tap, i]| at([tap, i, o])),
        }
    }

    /// Taps, inputs and outputs of a window of this shape in memory, and the places of its values.
    fn of_window(self, shape: &[usize]) -> ([usize; 3], impl Fn([usize; 3]) -> usize) {
        let [taps, input, output] = match self {
            Self::Kernels => [shape[0], shape[1], shape[2]],
            Self::ChannelsLast => [shape[1], shape[2], shape[0]],
        };
        let place = move |[tap, i, o]: [usize; 3]| match self {
            Self::Kernels => (tap * input + i) * output + o,
            Self::ChannelsLast => (o * taps + tap) * input + i,
        };
        ([taps, input, output], place)
    }
}

/// The kind of a tensor, which determines its layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The same layout everywhere.
    Plain,
    /// Weights of a convolution (OIHW) or of a transposed one (IOHW): `[output, input, k, k]` in files and
    /// `[k · k, input, output]` for kernels, `[output, k · k, input]` on a GPU, where input and output are those of the
    /// [geometry](effgan_kernels::Geometry).
    Window,
    /// Weights of a linear layer: `[out, in]` in files, `[in, out]` in memory. Where the input or the output is a
    /// feature map, its values are in the order channel, row, column in files and in that of maps in memory.
    Linear { inputs: Option<MapShape>, outputs: Option<MapShape> },
    /// One value for each value of a feature map, in the orders of [`Linear`](Self::Linear).
    Map(MapShape),
    /// One value for each tap and input channel of a [`Window`](Self::Window): `[input · k · k]` in files,
    /// `[k · k · input]` in memory.
    WindowColumn { taps: usize },
}

impl Layout {
    /// Converts `array` from the layout of files to that of a memory.
    pub(crate) fn to_memory(self, array: &Array, memory: Order) -> Array {
        let (shape, values) = (&array.shape, array.values());
        match self {
            Self::Plain => array.clone(),
            Self::Window => {
                let (output, input, taps) = (shape[0], shape[1], shape[2] * shape[3]);
                memory.window([taps, input, output], |[tap, i, o]| values[(o * input + i) * taps + tap])
            }
            Self::Linear { inputs, outputs } => {
                let (out, inp) = (shape[0], shape[1]);
                let (from_in, from_out) = (order(inputs, inp, memory), order(outputs, out, memory));
                gather([inp, out], |[i, o]| values[from_out[o] * inp + from_in[i]])
            }
            Self::Map(map) => {
                let from = order(Some(map), map.len(), memory);
                gather([map.len()], |[i]| values[from[i]])
            }
            Self::WindowColumn { taps } => transposed(array, shape[0] / taps, taps),
        }
    }

    /// Converts `array` from the layout of a memory to that of files.
    pub(crate) fn to_files(self, array: &Array, memory: Order) -> Array {
        let (shape, values) = (&array.shape, array.values());
        match self {
            Self::Plain => array.clone(),
            Self::Window => {
                let ([taps, input, output], place) = memory.of_window(shape);
                let side = taps.isqrt();
                gather([output, input, side, side], |[o, i, y, x]| values[place([y * side + x, i, o])])
            }
            Self::Linear { inputs, outputs } => {
                let (inp, out) = (shape[0], shape[1]);
                let (to_in, to_out) = (inverse(&order(inputs, inp, memory)), inverse(&order(outputs, out, memory)));
                gather([out, inp], |[o, i]| values[to_in[i] * out + to_out[o]])
            }
            Self::Map(map) => {
                let to = inverse(&order(Some(map), map.len(), memory));
                gather([map.len()], |[i]| values[to[i]])
            }
            Self::WindowColumn { taps } => transposed(array, taps, shape[0] / taps),
        }
    }

    /// The shape in a memory of a tensor that has `shape` in files.
    fn shape_in(self, memory: Order, shape: &[usize]) -> Vec<usize> {
        match (self, memory) {
            (Self::Window, Order::Kernels) => vec![shape[2] * shape[3], shape[1], shape[0]],
            (Self::Window, Order::ChannelsLast) => vec![shape[0], shape[2] * shape[3], shape[1]],
            (Self::Linear { .. }, _) => vec![shape[1], shape[0]],
            _ => shape.to_vec(),
        }
    }

    /// The values of a tensor that has `shape` in files, moved from one memory to another.
    pub(crate) fn moved(self, values: Vec<f32>, shape: &[usize], from: Order, to: Order) -> Vec<f32> {
        if from == to {
            return values;
        }
        let array = Array::new(self.shape_in(from, shape), values);
        self.to_memory(&self.to_files(&array, from), to).into_values()
    }
}

/// The values of a row-major matrix of `rows` and `columns`, in column-major order.
fn transposed(array: &Array, rows: usize, columns: usize) -> Array {
    let values = array.values();
    gather([rows * columns], |[i]| values[(i % rows) * columns + i / rows])
}

/// The index in files of each index in `memory`, for `len` values; the identity without a map.
fn order(map: Option<MapShape>, len: usize, memory: Order) -> Vec<usize> {
    let Some(map) = map else { return (0..len).collect() };
    let mut order = vec![0; len];
    for (c, pixel) in (0..map.channels).flat_map(|c| (0..map.pixels()).map(move |pixel| (c, pixel))) {
        order[memory.index(&map, c, pixel / map.width, pixel % map.width)] = c * map.pixels() + pixel;
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

    const MEMORIES: [Order; 2] = [Order::Kernels, Order::ChannelsLast];

    fn numbered<const D: usize>(shape: [usize; D]) -> Array {
        let len: usize = shape.iter().product();
        Array::new(shape, (0..len).map(|i| i as f32).collect())
    }

    #[test]
    fn converting_to_a_memory_and_back_or_to_another_changes_nothing() {
        for (channels, memory) in [3, 32].into_iter().flat_map(|channels| MEMORIES.map(|memory| (channels, memory))) {
            let map = MapShape { channels, height: 2, width: 3 };
            for (layout, array) in [
                (Layout::Plain, numbered([5])),
                (Layout::Window, numbered([4, 3, 5, 5])),
                (Layout::Linear { inputs: None, outputs: Some(map) }, numbered([map.len(), 7])),
                (Layout::Linear { inputs: Some(map), outputs: None }, numbered([2, map.len()])),
                (Layout::Map(map), numbered([map.len()])),
                (Layout::WindowColumn { taps: 9 }, numbered([36])),
            ] {
                let there = layout.to_memory(&array, memory);
                assert_eq!(layout.to_files(&there, memory), array);
                assert_eq!(there.shape, layout.shape_in(memory, &array.shape));
                for other in MEMORIES {
                    let moved = layout.moved(there.values().to_vec(), &array.shape, memory, other);
                    assert_eq!(moved, layout.to_memory(&array, other).values());
                }
            }
        }
    }

    #[test]
    fn a_window_is_converted_from_output_input_tap_to_tap_input_output() {
        let kernels = Layout::Window.to_memory(&numbered([2, 3, 2, 2]), Order::Kernels);
        assert_eq!(kernels.shape, [4, 3, 2]);
        // Tap 1 (row 0, column 1), input channel 2, output channel 1; in the file it is at (1 · 3 + 2) · 4 + 1.
        assert_eq!(kernels.values()[(3 + 2) * 2 + 1], 21.0);
        let last = Layout::Window.to_memory(&numbered([2, 3, 2, 2]), Order::ChannelsLast);
        assert_eq!((last.shape.as_slice(), last.values()[(4 + 1) * 3 + 2]), ([2, 4, 3].as_slice(), 21.0));
    }

    #[test]
    fn a_window_column_is_converted_as_the_window_is() {
        // Both have the taps 0..9 of the first input channel before the taps 9..18 of the second.
        let (window, column) = (numbered([1, 2, 3, 3]), numbered([18]));
        let of_column = Layout::WindowColumn { taps: 9 }.to_memory(&column, Order::Kernels);
        assert_eq!(Layout::Window.to_memory(&window, Order::Kernels).values(), of_column.values());
    }

    #[test]
    fn a_map_is_converted_from_channel_pixel_to_blocks() {
        let map = MapShape { channels: 32, height: 1, width: 2 };
        // Channel 17 at pixel 1: the second block, second pixel, second channel.
        assert_eq!(Layout::Map(map).to_memory(&numbered([64]), Order::Kernels).values()[32 + 16 + 1], 35.0);
        // On a GPU: the second pixel, channel 17.
        assert_eq!(Layout::Map(map).to_memory(&numbered([64]), Order::ChannelsLast).values()[32 + 17], 35.0);
    }
}
