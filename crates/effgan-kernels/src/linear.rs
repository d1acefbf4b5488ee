//! Linear layers, y = x W + b with W `[inputs, outputs]`, and their gradients.

use super::buffer;
use super::isa::{Isa, for_each_isa};
use super::lanes::Lanes;
use super::matrix::{Matrix, matmul};

/// Sizes of a linear layer and its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Examples.
    pub n: usize,
    /// Length of each input.
    pub inputs: usize,
    /// Length of each output.
    pub outputs: usize,
}

impl Sizes {
    fn check(&self, x: &[f32], weights: &[f32], out: &[f32]) {
        let Self { n, inputs, outputs } = *self;
        assert_eq!([x.len(), weights.len(), out.len()], [n * inputs, inputs * outputs, n * outputs], "{self:?}");
    }
}

/// x W + b, `[n, outputs]`.
pub fn forward(isa: Isa, sizes: &Sizes, x: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = buffer::take(sizes.n * sizes.outputs);
    out.chunks_exact_mut(sizes.outputs).for_each(|out| out.copy_from_slice(bias));
    sizes.check(x, weights, &out);
    if sizes.outputs == 1 {
        // A single column would be filled up to a block.
        for (out, x) in out.iter_mut().zip(x.chunks_exact(sizes.inputs)) {
            *out += dot(isa, x, weights);
        }
    } else {
        let x = Matrix::new(x, sizes.n, sizes.inputs);
        matmul(isa, x, Matrix::new(weights, sizes.inputs, sizes.outputs), &mut out, true);
    }
    out
}

/// The gradient of the weights, xᵀ · grad.
pub fn weight_grad(isa: Isa, sizes: &Sizes, x: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut weights = buffer::take(sizes.inputs * sizes.outputs);
    sizes.check(x, &weights, grad);
    if sizes.outputs == 1 {
        weights.fill(0.0);
        for (x, &grad) in x.chunks_exact(sizes.inputs).zip(grad) {
            add_scaled(isa, grad, x, &mut weights);
        }
    } else {
        let x = Matrix::new(x, sizes.n, sizes.inputs).transposed();
        matmul(isa, x, Matrix::new(grad, sizes.n, sizes.outputs), &mut weights, false);
    }
    weights
}

/// The gradient of the bias, the sum of `grad` over the batch.
pub fn bias_grad(isa: Isa, sizes: &Sizes, grad: &[f32]) -> Vec<f32> {
    let mut sum = buffer::take(sizes.outputs);
    sum.fill(0.0);
    for grad in grad.chunks_exact(sizes.outputs) {
        add_scaled(isa, 1.0, grad, &mut sum);
    }
    sum
}

/// The gradient of the input, grad · Wᵀ.
pub fn input_grad(isa: Isa, sizes: &Sizes, weights: &[f32], grad: &[f32]) -> Vec<f32> {
    let mut input = buffer::take(sizes.n * sizes.inputs);
    sizes.check(&input, weights, grad);
    if sizes.outputs == 1 {
        for (input, &grad) in input.chunks_exact_mut(sizes.inputs).zip(grad) {
            scaled(isa, grad, weights, input);
        }
    } else {
        let weights = Matrix::new(weights, sizes.inputs, sizes.outputs).transposed();
        matmul(isa, Matrix::new(grad, sizes.n, sizes.outputs), weights, &mut input, false);
    }
    input
}

for_each_isa! { fn dot = dot_on(x: &[f32], y: &[f32]) -> f32; }
for_each_isa! { fn scaled = scaled_on(factor: f32, x: &[f32], to: &mut [f32]); }
for_each_isa! { fn add_scaled = add_scaled_on(factor: f32, x: &[f32], to: &mut [f32]); }

/// Σ x · y, in 64 partial sums that are added at the end.
#[inline(always)]
unsafe fn dot_on<L: Lanes>(x: &[f32], y: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 64];
    let (x_chunks, y_chunks) = (x.chunks_exact(64), y.chunks_exact(64));
    let rest: f32 = x_chunks.remainder().iter().zip(y_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x_chunks.zip(y_chunks) {
        for i in 0..64 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[inline(always)]
unsafe fn scaled_on<L: Lanes>(factor: f32, x: &[f32], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(x) {
        *to = factor * x;
    }
}

#[inline(always)]
unsafe fn add_scaled_on<L: Lanes>(factor: f32, x: &[f32], to: &mut [f32]) {
    for (to, x) in to.iter_mut().zip(x) {
        *to += factor * x;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::naive::{assert_close_sums, noise};

    fn plain(sizes: &Sizes, x: &[f32], weights: &[f32], grad: &[f32]) -> [Vec<f64>; 4] {
        let Sizes { n, inputs, outputs } = *sizes;
        let mut all = [n * outputs, inputs * outputs, outputs, n * inputs].map(|len| vec![0.0_f64; len]);
        for (i, j, k) in (0..n).flat_map(|i| (0..inputs).flat_map(move |j| (0..outputs).map(move |k| (i, j, k)))) {
            let (x, w, g) = (x[i * inputs + j], weights[j * outputs + k], grad[i * outputs + k]);
            all[0][i * outputs + k] += f64::from(x) * f64::from(w);
            all[1][j * outputs + k] += f64::from(x) * f64::from(g);
            all[2][k] += if j == 0 { f64::from(g) } else { 0.0 };
            all[3][i * inputs + j] += f64::from(g) * f64::from(w);
        }
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_linear_layer_and_its_gradients_are_those_of_plain_loops(
            n in 1_usize..8, inputs in 1_usize..200, outputs in prop_oneof![Just(1_usize), 1_usize..40], seed in 0_u64..99,
        ) {
            let sizes = Sizes { n, inputs, outputs };
            let (x, weights) = (noise(n * inputs, seed), noise(inputs * outputs, seed + 1));
            let grad = noise(n * outputs, seed + 2);
            let [exact, exact_weights, exact_bias, exact_input] = plain(&sizes, &x, &weights, &grad);
            for isa in Isa::available() {
                // f32 sums of at most 200 products, which may cancel to a tenth of their size.
                let close = |ours: &[f32], exact: &[f64]| assert_close_sums(isa.name(), ours, exact, 2e-5);
                close(&forward(isa, &sizes, &x, &weights, &vec![0.0; outputs]), &exact);
                close(&weight_grad(isa, &sizes, &x, &grad), &exact_weights);
                close(&bias_grad(isa, &sizes, &grad), &exact_bias);
                close(&input_grad(isa, &sizes, &weights, &grad), &exact_input);
            }
        }
    }

    #[test]
    fn the_bias_is_added_to_every_example() {
        let sizes = Sizes { n: 2, inputs: 1, outputs: 2 };
        assert_eq!(forward(Isa::PORTABLE, &sizes, &[1.0, 2.0], &[3.0, 4.0], &[10.0, 20.0]), [13.0, 24.0, 16.0, 28.0]);
    }
}
