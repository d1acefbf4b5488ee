//! The numbers of `tests/fixtures/formula.py`, to the bit: first tensors, images and latent vectors.

use crate::networks::{Network, TensorSpec};
use crate::{Array, Params};

/// `n` whole numbers of 24 bits: splitmix64 (Steele et al. 2014) from the FNV-1a hash of the name.
pub(super) fn numbers(name: &str, n: usize) -> Vec<u64> {
    let seed = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |seed, byte| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let number = |i: u64| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 40
    };
    (1..=n as u64).map(number).collect()
}

/// Numbers within `reach` of `centre`.
fn uniform(name: &str, shape: &[usize], centre: f64, reach: f64) -> Array {
    let value = |number| (centre + reach * (number as f64 / f64::from(1 << 23) - 1.0)) as f32;
    Array::new(shape, numbers(name, shape.iter().product()).into_iter().map(value).collect())
}

fn initial_tensor(drawn_as: &str, TensorSpec { name, shape, .. }: &TensorSpec) -> Array {
    let name = format!("{drawn_as}.{name}");
    let (centre, reach) = match name.rsplit('.').next().unwrap() {
        "running_mean" => (0.0, 0.0),
        "running_var" => (1.0, 0.0),
        "bias" => (0.0, 0.2),
        "weight_u" | "weight_v" => (0.0, 1.0),
        _ if shape.len() == 1 => (1.0, 0.4),
        _ => (0.0, (6.0 / shape[1..].iter().product::<usize>() as f64).sqrt()),
    };
    uniform(&name, shape, centre, reach)
}

/// The first tensors of both networks.
pub(super) fn initial(drawn_as: &str, network: &Network) -> Params {
    let of = |tensors: Vec<TensorSpec>, which: &str| -> Params {
        let drawn_as = format!("{drawn_as} {which}");
        let tensors = tensors.iter().map(|spec| (spec.name.clone(), initial_tensor(&drawn_as, spec)));
        tensors.collect::<Params>().named_under(which)
    };
    of(network.generator_tensors(), "generator").merged_with(of(network.discriminator_tensors(), "discriminator"))
}

/// `real`, `z` and `labels` of a step on `n` images.
pub(super) fn inputs(drawn_as: &str, n: usize, network: &Network) -> Params {
    let mut inputs = Params::new();
    inputs.insert("real", images(&format!("{drawn_as}.real"), n, network.image_shape));
    inputs.insert("z", uniform(&format!("{drawn_as}.z"), &[n, network.latent_dim()], 0.0, 3.0_f64.sqrt()));
    if let Some(classes) = network.num_classes {
        inputs.insert("labels", Array::new([n], (0..n).map(|i| (i % classes) as f32).collect()));
    }
    inputs
}

/// Squares of four by four pixels and a third as much noise.
fn images(name: &str, n: usize, [c, h, w]: [usize; 3]) -> Array {
    let noise = numbers(&format!("{name} noise"), n * c * h * w);
    let squares = numbers(&format!("{name} squares"), n * c * (h / 4) * (w / 4));
    let square = |at: usize| squares[(at / (h * w) * (h / 4) + at / w % h / 4) * (w / 4) + at % w / 4];
    let value = |(at, noise): (usize, u64)| ((3 * square(at) + noise) as f64 / f64::from(1 << 25) - 1.0) as f32;
    Array::new([n, c, h, w], noise.into_iter().enumerate().map(value).collect())
}
