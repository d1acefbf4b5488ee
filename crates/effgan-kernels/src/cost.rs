//! A model of what arithmetic and memory cost, by which the form of a convolution and the division of its work are
//! chosen.
//!
//! It is a function of shapes, batch size, instruction set and precision alone: all machines with the same instructions
//! choose alike, so that a federation computes what a simulation does. The constants were fitted to measurements on one
//! core of an AMD EPYC (Zen 5); only their ratios matter. Whoever changes what is chosen changes the bits of a run: see
//! [`ARITHMETIC_VERSION`].

use crate::isa::Isa;
use crate::precision::Precision;

/// Version of everything that determines the bits of a training step, such as the forms of convolutions and how they
/// are chosen. Runs that were begun with another version are refused.
pub const ARITHMETIC_VERSION: u32 = 3;

/// Bytes that stay in the second-level cache of a core: a little more than it holds, since the products of one map are
/// read while those of the other are written.
const SECOND_LEVEL: usize = 1200 << 10;
/// Bytes that stay in a core's share of the third-level cache.
pub(crate) const THIRD_LEVEL: usize = 16 << 20;

/// What the arithmetic of one core costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Nanoseconds per multiply-add in matrix products.
    multiply_add: f64,
}

impl Cost {
    pub(crate) fn new(isa: Isa, precision: Precision) -> Self {
        Self::of_lanes(isa.lanes(), precision)
    }

    /// The cost with vectors of `lanes` values.
    pub(crate) fn of_lanes(lanes: usize, precision: Precision) -> Self {
        // Two multiply-adds of a lane per cycle and about four cycles per nanosecond, of which a product reaches nine
        // tenths.
        let of_lane = 1.0 / (8.0 * 0.9);
        let bf16 = if precision == Precision::Bf16 { 2.0 } else { 1.0 };
        Self { multiply_add: of_lane / (lanes as f64 * bf16) }
    }

    /// Nanoseconds for the multiply-adds of a matrix product, during which memory is read for `streams` nanoseconds:
    /// the longer of both, since processors read ahead, and a part of what is read, since they do not always foresee
    /// it.
    pub(crate) fn product(self, multiply_adds: usize, streams: f64) -> f64 {
        (multiply_adds as f64 * self.multiply_add).max(streams) + 0.15 * streams
    }
}

/// Nanoseconds for moving `bytes` bytes to or from a working set of `resident` bytes.
pub(crate) fn moved(bytes: usize, resident: usize) -> f64 {
    // Between the two levels, more and more of the working set is found in the farther one, or is somebody else's.
    let levels = [(SECOND_LEVEL, 0.03), (3 << 20, 0.045), (8 << 20, 0.06), (THIRD_LEVEL, 0.11), (usize::MAX, 0.13)];
    bytes as f64 * of_byte(resident, &levels)
}

/// Nanoseconds for reading or writing `bytes` bytes of a working set of `resident` bytes in order.
pub(crate) fn in_order(bytes: usize, resident: usize) -> f64 {
    bytes as f64 * of_byte(resident, &[(SECOND_LEVEL, 0.0), (THIRD_LEVEL / 2, 0.02), (usize::MAX, 0.045)])
}

/// Nanoseconds for reading the rows of a working set of `resident` bytes again and again, `bytes` bytes in all: tiles
/// of rows are scattered, and memory is slow to find them.
pub(crate) fn read_again(bytes: usize, resident: usize) -> f64 {
    bytes as f64 * of_byte(resident, &[(SECOND_LEVEL, 0.0), (THIRD_LEVEL, 0.05), (usize::MAX, 0.13)])
}

/// Nanoseconds per byte at the first of `levels` that holds `resident` bytes.
fn of_byte(resident: usize, levels: &[(usize, f64)]) -> f64 {
    levels.iter().find(|(size, _)| resident <= *size).expect("the last level holds everything").1
}
