//! Activations and their gradients, and the gradient of a bias.

#![allow(clippy::extra_unused_type_parameters, reason = "plain loops, which need no vectors of their own")]

use rayon::prelude::*;

use super::buffer::Bits;
use super::geometry::BLOCK;
use super::isa::for_each_isa;
use super::lanes::Lanes;
use super::norm::columns::{Sum, sum};
use super::norm::{IMAGES, Sizes, rounded, sums_of_pieces, total};
use super::{Isa, MapShape};

/// Values of a piece of work.
const CHUNK: usize = 1 << 16;

/// Replaces each x by tanh x, within 3e-7. NaN stays NaN.
pub fn tanh(isa: Isa, x: &mut [f32]) {
    x.par_chunks_mut(CHUNK).for_each(|x| tanh_chunk(isa, x));
}

for_each_isa! {
    fn tanh_chunk = tanh_body(x: &mut [f32]);
}

#[inline(always)]
unsafe fn tanh_body<L>(x: &mut [f32]) {
    for x in x {
        *x = tanh_of(*x);
    }
}

/// tanh x = 2u / (1 + u²) with u = tanh(x / 2) = p / q, the seventh convergent of Lambert's continued fraction.
///
/// The slope of the double-angle formula goes to 0 as u goes to 1, and with it the influence of the fraction's error,
/// so that few terms are enough. Beyond |x| = 9, tanh differs from ±1 by less than 3e-8.
#[inline(always)]
fn tanh_of(x: f32) -> f32 {
    let half = 0.5 * x.clamp(-9.0, 9.0);
    let square = half * half;
    let p = half * (135_135.0 + square * (17_325.0 + square * (378.0 + square)));
    let q = 135_135.0 + square * (62_370.0 + square * (3_150.0 + square * 28.0));
    (2.0 * p * q / (p * p + q * q)).clamp(-1.0, 1.0)
}

/// Turns `grad`, the gradient of `out` = tanh x, into the gradient of x: times 1 − out².
pub fn tanh_backward(isa: Isa, out: &[f32], grad: &mut [f32]) {
    assert_eq!(out.len(), grad.len(), "as many gradients as outputs");
    grad.par_chunks_mut(CHUNK).zip(out.par_chunks(CHUNK)).for_each(|(grad, out)| tanh_backward_chunk(isa, out, grad));
}

for_each_isa! {
    fn tanh_backward_chunk = tanh_backward_body(out: &[f32], grad: &mut [f32]);
}

#[inline(always)]
unsafe fn tanh_backward_body<L>(out: &[f32], grad: &mut [f32]) {
    for (grad, out) in grad.iter_mut().zip(out) {
        *grad *= 1.0 - out * out;
    }
}

/// Leaky ReLU: multiplies each x that is not above zero by `slope`.
pub fn leaky(isa: Isa, x: &mut [f32], slope: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| leaky_chunk(isa, x, slope));
}

for_each_isa! {
    fn leaky_chunk = leaky_body(x: &mut [f32], slope: f32);
}

#[inline(always)]
unsafe fn leaky_body<L>(x: &mut [f32], slope: f32) {
    for x in x {
        // A choice between factors, not between products, of which the compiler would make a branch.
        *x *= if *x > 0.0 { 1.0 } else { slope };
    }
}

/// Which values of `x` are above zero: bit i of number k tells of value 16 · k + i.
pub fn signs(isa: Isa, x: &[f32]) -> Bits {
    let mut signs = Bits::of(x.len().div_ceil(BLOCK));
    let chunks = signs.par_chunks_mut(CHUNK / BLOCK).zip(x.par_chunks(CHUNK));
    chunks.for_each(|(signs, x)| signs_of_chunk(isa, x, signs));
    signs
}

/// Turns `grad`, the gradient of a leaky ReLU's output with these [`signs`], into that of its input: times `slope`
/// where the output is not above zero.
pub fn leaky_backward(isa: Isa, signs: &[u16], grad: &mut [f32], slope: f32) {
    assert_eq!(signs.len(), grad.len().div_ceil(BLOCK), "a bit for each gradient");
    let chunks = grad.par_chunks_mut(CHUNK).zip(signs.par_chunks(CHUNK / BLOCK));
    chunks.for_each(|(grad, signs)| leaky_backward_chunk(isa, signs, grad, slope));
}

for_each_isa! { fn signs_of_chunk = signs_body(x: &[f32], signs: &mut [u16]); }
for_each_isa! { fn leaky_backward_chunk = leaky_backward_body(signs: &[u16], grad: &mut [f32], slope: f32); }

#[inline(always)]
unsafe fn signs_body<L: Lanes>(x: &[f32], signs: &mut [u16]) {
    let (lines, rest) = x.as_chunks::<BLOCK>();
    for (line, signs) in lines.iter().zip(&mut *signs) {
        *signs = 0;
        for lane in (0..BLOCK).step_by(L::N) {
            // SAFETY: a line holds a whole number of vectors; the caller's promise on instructions.
            *signs |= unsafe { L::load(line.as_ptr().add(lane)) }.positive() << lane;
        }
    }
    if let (false, Some(signs)) = (rest.is_empty(), signs.last_mut()) {
        *signs = rest.iter().enumerate().map(|(i, &x)| u16::from(x > 0.0) << i).sum();
    }
}

#[inline(always)]
unsafe fn leaky_backward_body<L: Lanes>(signs: &[u16], grad: &mut [f32], slope: f32) {
    let (lines, rest) = grad.as_chunks_mut::<BLOCK>();
    for (line, &signs) in lines.iter_mut().zip(signs) {
        let line = line.as_mut_ptr();
        // SAFETY: as above.
        unsafe { mask_line::<L>(line, signs, slope, line) };
    }
    if let Some(&signs) = signs.last() {
        for (i, grad) in rest.iter_mut().enumerate() {
            *grad *= if signs >> i & 1 == 1 { 1.0 } else { slope };
        }
    }
}

/// Writes the line at `from` to `to`, which may be the same, times `slope` where its bit is not set.
///
/// # Safety
/// The processor has the instructions; a line is readable at `from` and writable at `to`.
#[inline(always)]
pub(crate) unsafe fn mask_line<L: Lanes>(from: *const f32, signs: u16, slope: f32, to: *mut f32) {
    for lane in (0..BLOCK).step_by(L::N) {
        // SAFETY: the caller's.
        unsafe {
            let values = L::load(from.add(lane));
            values.where_set(signs >> lane, values.scale(slope)).store(to.add(lane));
        }
    }
}

/// The sum of each channel of `x`, `n` maps of shape `map`, over images and pixels: `[channels]`.
///
/// Where `x` is the gradient of a layer's output, this is the gradient of its bias.
pub fn channel_sums(isa: Isa, n: usize, map: &MapShape, x: &[f32]) -> Vec<f32> {
    let sizes = Sizes::of(n, map);
    assert_eq!(x.len(), sizes.len(), "x is {n} images of {map:?}");
    let mut sums = sums_of_pieces(n, sizes.channels);
    sums.par_chunks_mut(sizes.channels).zip(x.par_chunks(IMAGES * sizes.image())).for_each(|(sums, x)| {
        sum(isa, &sizes.holding(x.len()), &mut Sum { x, sum: sums });
    });
    rounded(total(&mut sums, sizes.channels))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::naive::{assert_close, noise};
    use super::*;

    #[test]
    fn tanh_is_within_3e_7_everywhere() {
        let dense = (-1_200_000..=1_200_000).map(|i| i as f32 * 1e-5);
        let far = [-f32::INFINITY, -1e30, -100.0, -0.0, f32::MIN_POSITIVE, 1e-8, 100.0, 1e30, f32::INFINITY];
        let x: Vec<f32> = dense.chain(far).collect();
        for isa in Isa::available() {
            let mut out = x.clone();
            tanh(isa, &mut out);
            for (&x, &out) in x.iter().zip(&out) {
                let off = (f64::from(out) - f64::from(x).tanh()).abs();
                assert!(off <= 3e-7 && out.abs() <= 1.0, "tanh {x} = {out} is off by {off}");
            }
        }
    }

    #[test]
    fn tanh_of_nan_is_nan() {
        for isa in Isa::available() {
            let mut x = [f32::NAN; 17];
            tanh(isa, &mut x);
            assert!(x.iter().all(|x| x.is_nan()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn gradients_pass_through_activations(n in 1..200_usize, slope in -0.5_f32..1.0, seed: u32) {
            let (x, grad) = (noise(n, seed.into()), noise(n, u64::from(seed) + 1));
            for isa in Isa::available() {
                let (mut out, mut back) = (x.clone(), grad.clone());
                tanh(isa, &mut out);
                tanh_backward(isa, &out, &mut back);
                for i in 0..n {
                    let slope = f64::from(x[i]).cosh().powi(-2);
                    // 1 − out² has twice the error of out.
                    let off = (f64::from(back[i]) - f64::from(grad[i]) * slope).abs();
                    assert!(off <= 1e-6 * f64::from(grad[i].abs()), "at {} off by {off}", x[i]);
                }

                let (mut out, mut back) = (x.clone(), grad.clone());
                leaky(isa, &mut out, slope);
                leaky_backward(isa, &signs(isa, &x), &mut back, slope);
                for i in 0..n {
                    let factor = if x[i] > 0.0 { 1.0 } else { slope };
                    assert_eq!([out[i], back[i]], [x[i] * factor, grad[i] * factor]);
                }
            }
        }

        #[test]
        fn channel_sums_are_the_plain_loop(
            n in 1..10_usize,
            channels in prop::sample::select(vec![1, 3, 16, 20, 48]),
            (height, width) in (1..20_usize, 1..20_usize),
            seed: u32,
        ) {
            let map = MapShape { channels, height, width };
            // Away from zero, so that nothing cancels and the tolerance is that of f32 runs of 256.
            let x: Vec<f32> = noise(n * map.len(), seed.into()).iter().map(|x| x + 3.0).collect();
            let mut exact = vec![0.0; channels];
            for image in x.chunks_exact(map.len()) {
                for (c, exact) in exact.iter_mut().enumerate() {
                    let pixels = (0..map.pixels()).map(|p| image[map.index(c, p / width, p % width)]);
                    *exact += pixels.map(f64::from).sum::<f64>();
                }
            }
            for isa in Isa::available() {
                assert_close("sums", &channel_sums(isa, n, &map, &x), &exact, 1e-6);
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let map = MapShape { channels: 16, height: 14, width: 14 };
        let (x, grad) = (noise(50 * map.len(), 1), noise(50 * map.len(), 2));
        for isa in Isa::available() {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (mut out, mut back) = (x.clone(), grad.clone());
                    leaky(isa, &mut out, 0.2);
                    leaky_backward(isa, &signs(isa, &out), &mut back, 0.2);
                    tanh(isa, &mut out);
                    tanh_backward(isa, &out, &mut back);
                    let sums = channel_sums(isa, 50, &map, &out);
                    (out, back, sums)
                })
            };
            assert!(run(1) == run(2) && run(1) == run(3), "{isa:?}");
        }
    }
}
