//! Adam (Kingma & Ba 2015, arXiv:1412.6980), as `PyTorch` computes it, in one pass over each tensor.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::fused::{self, AdamStep};

/// Settings of Adam; β₂ = 0.999 and ε = 1e-8 as in `PyTorch`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Step size, > 0.
    pub learning_rate: f64,
    /// Decay of the first moment, 0..1; DCGAN has 0.5.
    pub beta1: f64,
}

/// Adam with its moments, which start at zero, for one module.
#[derive(Clone, Debug)]
pub(crate) struct Optimiser {
    adam: Adam,
    steps: u32,
    /// Both moments of each parameter, in the order in which the module is visited.
    moments: Vec<[Tensor<1>; 2]>,
}

impl Optimiser {
    pub(crate) fn new(adam: Adam) -> Self {
        Self { adam, steps: 0, moments: Vec::new() }
    }

    /// Sets another step size from now on.
    pub(crate) fn set_learning_rate(&mut self, learning_rate: f64) {
        self.adam.learning_rate = learning_rate;
    }

    /// `module` after one step against `grads`.
    pub(crate) fn step<M: Module>(&mut self, module: M, grads: GradientsParams) -> M {
        self.steps += 1;
        let step = AdamStep {
            learning_rate: self.adam.learning_rate as f32,
            beta1: self.adam.beta1 as f32,
            beta2: 0.999,
            epsilon: 1e-8,
            step: self.steps,
        };
        let moments = std::mem::take(&mut self.moments).into_iter();
        let mut update = Update { step, grads, old: moments, new: &mut self.moments };
        module.map(&mut update)
    }
}

struct Update<'a> {
    step: AdamStep,
    grads: GradientsParams,
    old: std::vec::IntoIter<[Tensor<1>; 2]>,
    new: &'a mut Vec<[Tensor<1>; 2]>,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Running statistics are visited too; they have no gradient.
        let Some(grad) = self.grads.remove::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let params = tensor.inner().reshape([-1]);
        let zero = || Tensor::zeros_like(&params);
        let moments = self.old.next().unwrap_or_else(|| [zero(), zero()]);
        let (params, moments) = fused::adam(params, grad.reshape([-1]), moments, self.step);
        self.new.push(moments);
        let params = Tensor::from_inner(params.reshape(shape)).require_grad();
        Param::from_mapped_value(id, params, mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::device::training_device;
    use crate::networks::layers;

    #[derive(serde::Deserialize)]
    struct AdamFixture {
        learning_rate: f64,
        beta1: f64,
        initial: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        final_f32: Vec<f32>,
    }

    #[derive(Module, Debug)]
    struct Vector {
        weight: Param<Tensor<1>>,
    }

    #[test]
    fn adam_matches_pytorch_after_100_steps() {
        let fixture: AdamFixture = serde_json::from_str(include_str!("../tests/fixtures/adam.json")).unwrap();
        let device = training_device();
        let vector = |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device);
        let mut module = Vector { weight: Param::from_tensor(vector(&fixture.initial)) };
        let mut adam = Optimiser::new(Adam { learning_rate: fixture.learning_rate, beta1: fixture.beta1 });
        for gradient in &fixture.gradients {
            // The gradient of w · g is g.
            let loss = (module.weight.val() * vector(gradient)).sum();
            let grads = GradientsParams::from_grads(loss.backward(), &module);
            module = adam.step(module, grads);
        }
        // PyTorch's own f32 and f64 results differ by 3e-7; with Burn's default epsilon the first would be off by 1e-3.
        let difference = largest_difference(&layers::values(module.weight.val()), &fixture.final_f32);
        assert!(difference < 1e-6, "{difference}");
    }

    fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
    }
}
