//! The images of `fixtures/inception.py`, by the same formula.

use crate::formula::numbers;

const SHAPES: [[usize; 3]; 4] = [[1, 28, 28], [3, 32, 32], [3, 64, 48], [3, 300, 400]];
pub(crate) const NUM_IMAGES: usize = 12;

/// Image `i`, u8 `[c, h, w]`, and its shape.
pub(crate) fn image(i: usize) -> (Vec<u8>, [usize; 3]) {
    let shape = SHAPES[i % SHAPES.len()];
    let [c, h, w] = shape;
    let drawn: Vec<i64> = numbers(&format!("image {i}")).take(4).map(u64::cast_signed).collect();
    let (a, b, low, high) = (drawn[0] % 40 + 1, drawn[1] % 40 + 1, drawn[2] % 100, 156 + drawn[3] % 100);
    let noise: Vec<i64> = numbers(&format!("noise {i}")).take(c * h * w).map(u64::cast_signed).collect();
    let value = |at: usize| {
        let [channel, y, x] = [at / (h * w), at / w % h, at % w].map(usize::cast_signed).map(|place| place as i64);
        match (i + i / 4) % 4 {
            0 => ((a + 3 * channel) * x + b * y) % 256,
            1 => (x / (1 + a % 5) + y / (1 + (b + channel) % 5)) % 2 * 255,
            2 => noise[at] >> 16,
            _ => (((x - a).pow(2) + (y - b - channel).pow(2)) >> 1).min(255),
        }
    };
    ((0..c * h * w).map(|at| (low + value(at) * (high - low) / 255) as u8).collect(), shape)
}
