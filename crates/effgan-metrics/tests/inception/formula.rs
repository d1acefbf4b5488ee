//! The weights of `fixtures/inception.py`, by the same formula.

use effgan_nn::networks::inception_tensors;
use effgan_nn::{Array, Params};

/// Whole numbers of 24 bits: splitmix64 (Steele et al. 2014) from the FNV-1a hash of the name.
pub(crate) fn numbers(name: &str) -> impl Iterator<Item = u64> {
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
