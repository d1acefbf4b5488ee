use proptest::prelude::*;

use super::weight_grad::CHUNK;
use super::*;
use crate::Isa;
use crate::MapShape;
use crate::activation::signs;
use crate::naive::{self, assert_close_sums, noise};

/// f32 sums of at most some thousand products, relative to the largest result.
const TOLERANCE: f64 = 2e-6;

/// Geometries of all kinds that the kernels are compiled for; maps as narrow as one pixel and wider than the widest
/// tile.
fn geometry() -> impl Strategy<Value = Geometry> {
    let window = (1..=5usize, 1..=4usize, 0..=2usize);
    ((1..=4usize, 1..=3usize), (1..=7usize, 1..=19usize), window)
        .prop_map(|((input_channels, blocks), (height, width), (kernel, stride, padding))| {
            let padding = padding.min((kernel - 1) / 2);
            let output = MapShape { channels: blocks * BLOCK, height, width };
            Geometry::of_conv_transpose(output, input_channels, kernel, stride, padding)
        })
        .prop_filter("the kernels take it", fits)
}

/// Random input and output maps, weights, biases of both maps, and outputs of a leaky `ReLU`.
struct Case {
    g: Geometry,
    n: usize,
    input: Vec<f32>,
    output: Vec<f32>,
    weights: Vec<f32>,
    output_bias: Vec<f32>,
    input_bias: Vec<f32>,
    out: Vec<f32>,
}

impl Case {
    fn of(g: Geometry, n: usize) -> Self {
        Self {
            g,
            n,
            input: noise(n * g.input.len(), 1),
            output: noise(n * g.output.len(), 2),
            weights: noise(g.num_weights(), 3),
            output_bias: noise(g.output.channels, 4),
            input_bias: noise(g.input.channels, 5),
            out: noise(n * g.output.len(), 6),
        }
    }

    fn masked(&self, slope: f32) -> Vec<f32> {
        self.output.iter().zip(&self.out).map(|(&v, &out)| if out > 0.0 { v } else { slope * v }).collect()
    }

    fn conv(&self, isa: Isa, bias: Option<&[f32]>, slope: f32) -> Vec<f32> {
        let mut output = vec![f32::NAN; self.output.len()];
        conv(isa, &self.g, self.n, &self.input, &self.weights, bias, slope, &mut output);
        output
    }

    fn conv_transpose(&self, isa: Isa, mask: Option<Mask>, bias: Option<&[f32]>) -> Vec<f32> {
        let mut input = vec![f32::NAN; self.input.len()];
        conv_transpose(isa, &self.g, self.n, &self.output, mask, &self.weights, bias, &mut input);
        input
    }

    fn weight_grad(&self, isa: Isa, mask: Option<Mask>) -> (Vec<f32>, Vec<f32>) {
        let mut grad = vec![f32::NAN; self.weights.len()];
        let sums = weight_grad(isa, &self.g, self.n, &self.input, &self.output, mask, &mut grad);
        (grad, sums)
    }
}

/// Sums over images and pixels of a map `[n, channels / 16, pixels, 16]`.
fn channel_sums(g: &Geometry, output: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0; g.output.channels];
    for (i, &v) in output.iter().enumerate() {
        let block = i / (g.output.pixels() * BLOCK) % (g.output.channels / BLOCK);
        sums[block * BLOCK + i % BLOCK] += f64::from(v);
    }
    sums
}

fn grey() -> Geometry {
    Geometry::of_conv(MapShape { channels: 1, height: 28, width: 28 }, 64, 4, 2, 1)
}

fn colour() -> Geometry {
    Geometry::of_conv(MapShape { channels: 3, height: 32, width: 32 }, 32, 4, 2, 1)
}

fn assert_matches_the_reference(case: &Case) {
    let (g, n) = (&case.g, case.n);
    for isa in Isa::available() {
        let mut exact = naive::conv(g, n, &case.input, &case.weights);
        assert_close_sums("conv", &case.conv(isa, None, 1.0), &exact, TOLERANCE);
        for (i, v) in exact.iter_mut().enumerate() {
            let block = i / (g.output.pixels() * BLOCK) % (g.output.channels / BLOCK);
            *v += f64::from(case.output_bias[block * BLOCK + i % BLOCK]);
            *v *= if *v > 0.0 { 1.0 } else { f64::from(0.2f32) };
        }
        assert_close_sums("conv, leaky", &case.conv(isa, Some(&case.output_bias), 0.2), &exact, TOLERANCE);

        let exact = naive::conv_transpose(g, n, &case.output, &case.weights);
        assert_close_sums("conv_transpose", &case.conv_transpose(isa, None, None), &exact, TOLERANCE);
        let masked = case.masked(0.2);
        let signs = signs(isa, &case.out);
        let mask = Some((&signs[..], 0.2));
        let mut exact = naive::conv_transpose(g, n, &masked, &case.weights);
        for (i, v) in exact.iter_mut().enumerate() {
            *v += f64::from(case.input_bias[i % g.input.channels]);
        }
        assert_close_sums(
            "conv_transpose, masked",
            &case.conv_transpose(isa, mask, Some(&case.input_bias)),
            &exact,
            TOLERANCE,
        );

        for (mask, output) in [(None, &case.output), (mask, &masked)] {
            let (grad, sums) = case.weight_grad(isa, mask);
            assert_close_sums("grad", &grad, &naive::weight_grad(g, n, &case.input, output), TOLERANCE);
            assert_close_sums("sums", &sums, &channel_sums(g, output), TOLERANCE);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_geometry_matches_the_f64_loops(g in geometry(), n in 0..=2usize) {
        assert_matches_the_reference(&Case::of(g, n));
    }
}

#[test]
fn outer_layers_of_a_dcgan_match_the_f64_loops() {
    assert_matches_the_reference(&Case::of(grey(), 9));
    assert_matches_the_reference(&Case::of(colour(), 2));
}

#[test]
fn pixels_that_no_window_covers_are_the_bias() {
    // Kernel 2, stride 2: the ninth line and column of the image are left out.
    let g = Geometry::of_conv(MapShape { channels: 1, height: 9, width: 9 }, 16, 2, 2, 0);
    let case = Case::of(g, 1);
    assert_matches_the_reference(&case);
    let input = case.conv_transpose(Isa::PORTABLE, None, Some(&[0.5]));
    assert!((0..9).all(|i| input[8 * 9 + i] == 0.5 && input[i * 9 + 8] == 0.5));
}

#[test]
fn many_channels_and_far_windows_do_not_fit() {
    let geometry =
        |channels, output, stride| Geometry::of_conv(MapShape { channels, height: 9, width: 9 }, output, 3, stride, 1);
    assert!(fits(&geometry(3, 16, 2)) && fits(&geometry(1, 32, 4)));
    assert!(!fits(&geometry(5, 16, 1)) && !fits(&geometry(1, 24, 2)) && !fits(&geometry(3, 16, 3)));
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let case = Case::of(grey(), 3 * CHUNK + 1);
    for isa in Isa::available() {
        let signs = signs(isa, &case.out);
        let mask = Some((&signs[..], 0.2));
        let results = [1, 2, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                (case.conv(isa, None, 0.2), case.conv_transpose(isa, mask, None), case.weight_grad(isa, mask))
            })
        });
        assert!(results[0] == results[1] && results[0] == results[2]);
    }
}
