//! The weights and images of `fixtures/inception.py`, by the same formula.

use effgan_nn::networks::inception_tensors;
use effgan_nn::{Array, Params};

const SHAPES: [[usize; 3]; 4] = [[1, 28, 28], [3, 32, 32], [3, 64, 48], [3, 300, 400]];
pub(crate) const NUM_IMAGES: usize = 12;

/// Whole numbers of 24 bits: splitmix64 (Steele et al. 2014) from the FNV-1a hash of the name.
fn numbers(name: &str) -> impl Iterator<Item = u64> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (1_u64..).map(move |i| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 40
    })
}

fn tensor(name: &str, shape: &[usize]) -> Array {
    let (centre, reach) = match name {
        _ if name.ends_with("conv.weight") => (0.0, (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt()),
        _ if name.ends_with("bn.weight") || name.ends_with("bn.running_var") => (1.0, 0.25),
        _ if name.starts_with("Mixed_7c") && name.ends_with("bn.bias") => (1.0, 0.125),
        _ => (0.0, 0.125),
    };
    let unit = |number: u64| number as f64 / f64::from(1 << 23) - 1.0;
    let values = numbers(name).map(|number| (centre + reach * unit(number)) as f32);
    Array::new(shape, values.take(shape.iter().product()).collect())
}

pub(crate) fn weights() -> Params {
    inception_tensors().iter().map(|spec| (spec.name.clone(), tensor(&spec.name, &spec.shape))).collect()
}

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
