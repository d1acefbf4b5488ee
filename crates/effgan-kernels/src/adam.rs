//! Adam (Kingma & Ba 2015, arXiv:1412.6980) in one pass over the parameters.

#![allow(clippy::extra_unused_type_parameters, reason = "a plain loop, which needs no vectors of its own")]

use rayon::prelude::*;

use super::Isa;
use super::isa::for_each_isa;

/// Parameters of a piece of work.
const CHUNK: usize = 1 << 16;

/// Settings of one step, those of `torch.optim.Adam`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// α, > 0.
    pub learning_rate: f32,
    /// Decay of the mean gradient, in [0, 1).
    pub beta1: f32,
    /// Decay of the mean squared gradient, in [0, 1).
    pub beta2: f32,
    /// ε, added to the square root of the mean squared gradient.
    pub epsilon: f32,
    /// Number t of this update, from 1.
    pub step: u32,
}

/// Moves `params` against `grads`: m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², p ← p − α · m̂ / (√v̂ + ε).
///
/// m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ). Both moments are zeros before step 1.
pub fn update(
    isa: Isa,
    step: &AdamStep,
    params: &mut [f32],
    grads: &[f32],
    first_moment: &mut [f32],
    second_moment: &mut [f32],
) {
    let lengths = [grads.len(), first_moment.len(), second_moment.len()];
    assert_eq!(lengths, [params.len(); 3], "a gradient and two moments for each parameter");
    assert!(step.step > 0, "the first step is 1");
    let factors = Factors::of(step);
    let moments = first_moment.par_chunks_mut(CHUNK).zip(second_moment.par_chunks_mut(CHUNK));
    let chunks = params.par_chunks_mut(CHUNK).zip(grads.par_chunks(CHUNK)).zip(moments);
    chunks.for_each(|((params, grads), (first, second))| update_chunk(isa, &factors, params, grads, first, second));
}

/// The factors of a step's formulas, which are the same for all parameters.
struct Factors {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    /// α / (1 − β₁ᵗ).
    rate: f32,
    /// 1 / √(1 − β₂ᵗ).
    root: f32,
    epsilon: f32,
}

impl Factors {
    /// Computed in f64: in the first steps β₂ᵗ is so close to 1 that f32 would lose digits of 1 − β₂ᵗ.
    fn of(step: &AdamStep) -> Self {
        let (beta1, beta2) = (f64::from(step.beta1), f64::from(step.beta2));
        let correction = |beta: f64| 1.0 - beta.powf(f64::from(step.step));
        Self {
            beta1: step.beta1,
            rest1: (1.0 - beta1) as f32,
            beta2: step.beta2,
            rest2: (1.0 - beta2) as f32,
            rate: (f64::from(step.learning_rate) / correction(beta1)) as f32,
            root: (1.0 / correction(beta2).sqrt()) as f32,
            epsilon: step.epsilon,
        }
    }
}

for_each_isa! {
    fn update_chunk = update_body(
        factors: &Factors,
        params: &mut [f32],
        grads: &[f32],
        first_moment: &mut [f32],
        second_moment: &mut [f32],
    );
}

#[inline(always)]
unsafe fn update_body<L>(
    factors: &Factors,
    params: &mut [f32],
    grads: &[f32],
    first_moment: &mut [f32],
    second_moment: &mut [f32],
) {
    let &Factors { beta1, rest1, beta2, rest2, rate, root, epsilon } = factors;
    let moments = first_moment.iter_mut().zip(second_moment);
    for ((param, &grad), (first, second)) in params.iter_mut().zip(grads).zip(moments) {
        *first = beta1 * *first + rest1 * grad;
        *second = beta2 * *second + rest2 * grad * grad;
        *param -= rate * *first / (second.sqrt() * root + epsilon);
    }
}

#[cfg(test)]
mod tests {
    use super::super::naive::{assert_close, noise};
    use super::*;

    const STEP: AdamStep = AdamStep { learning_rate: 1e-3, beta1: 0.5, beta2: 0.999, epsilon: 1e-8, step: 1 };

    /// `params` after some steps with noise for gradients.
    fn after_steps(isa: Isa, steps: u32, params: &[f32]) -> Vec<f32> {
        let (mut params, mut first, mut second) = (params.to_vec(), vec![0.0; params.len()], vec![0.0; params.len()]);
        for step in 1..=steps {
            let grads = noise(params.len(), step.into());
            update(isa, &AdamStep { step, ..STEP }, &mut params, &grads, &mut first, &mut second);
        }
        params
    }

    /// The same in f64, by the formulas in PyTorch's documentation of `torch.optim.Adam`.
    fn exact_after_steps(steps: u32, params: &[f32]) -> Vec<f64> {
        let mut params: Vec<f64> = params.iter().map(|&param| param.into()).collect();
        let (mut first, mut second) = (vec![0.0; params.len()], vec![0.0; params.len()]);
        let [rate, beta1, beta2, epsilon] = [STEP.learning_rate, STEP.beta1, STEP.beta2, STEP.epsilon].map(f64::from);
        for step in 1..=steps {
            for (i, grad) in noise(params.len(), step.into()).into_iter().map(f64::from).enumerate() {
                first[i] = beta1 * first[i] + (1.0 - beta1) * grad;
                second[i] = beta2 * second[i] + (1.0 - beta2) * grad * grad;
                let first_hat = first[i] / (1.0 - beta1.powf(step.into()));
                let second_hat = second[i] / (1.0 - beta2.powf(step.into()));
                params[i] -= rate * first_hat / (second_hat.sqrt() + epsilon);
            }
        }
        params
    }

    #[test]
    fn a_hundred_steps_match_f64() {
        for n in [1, 15, 1000] {
            let params = noise(n, 1000);
            let exact = exact_after_steps(100, &params);
            for isa in Isa::available() {
                // 1e-6: a parameter is rounded a hundred times.
                assert_close("params", &after_steps(isa, 100, &params), &exact, 1e-6);
            }
        }
    }

    /// m̂ = g and √v̂ = |g|, so each parameter moves by α against its gradient's sign.
    #[test]
    fn first_step_moves_by_the_learning_rate() {
        for isa in Isa::available() {
            let (mut params, mut first, mut second) = ([0.0; 3], [0.0; 3], [0.0; 3]);
            update(isa, &STEP, &mut params, &[4.0, -0.25, 0.0], &mut first, &mut second);
            assert_close("params", &params, &[-1e-3, 1e-3, 0.0], 1e-6);
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let params = noise(3 * CHUNK + 5, 1);
        for isa in Isa::available() {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| after_steps(isa, 3, &params))
            };
            assert!(run(1) == run(2) && run(1) == run(3), "{isa:?}");
        }
    }
}
