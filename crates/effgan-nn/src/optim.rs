//! Adam (Kingma & Ba 2015, arXiv:1412.6980), as `PyTorch` computes it, in one pass over each tensor.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::device::device;
use crate::fused::{self, AdamStep};
use crate::networks::layers;
use crate::{Array, Params, Result};

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
    pull: Option<Pull>,
}

/// The pull of `FedProx` (Li et al. 2020, arXiv:1812.06127): the gradient of μ/2 ‖w − w₀‖², where w₀ is the module
/// before its first step.
#[derive(Clone, Debug)]
struct Pull {
    mu: f64,
    /// w₀ of each parameter, in the order in which the module is visited; empty before the first step.
    anchors: Vec<Tensor<1>>,
}

impl Optimiser {
    pub(crate) fn new(adam: Adam) -> Self {
        Self { adam, steps: 0, moments: Vec::new(), pull: None }
    }

    /// Adam after `steps` steps that left `moments` behind.
    ///
    /// # Errors
    /// [`NnError::MissingTensor`](crate::NnError::MissingTensor) when a parameter has one moment alone.
    pub(crate) fn resumed(adam: Adam, steps: u32, moments: &Params) -> Result<Self> {
        Self::new(adam).go_on(steps, moments)
    }

    /// The same optimiser after `steps` steps that left `moments` behind.
    ///
    /// # Errors
    /// As [`resumed`](Self::resumed).
    pub(crate) fn go_on(mut self, steps: u32, moments: &Params) -> Result<Self> {
        let tensor = |name: String| Ok(layers::tensor(moments.get(&name)?, &device()));
        let have = |name: String| moments.get(&name).is_ok();
        let both = |i| Ok([tensor(moment_name(0, i))?, tensor(moment_name(1, i))?]);
        self.moments = (0..).take_while(|&i| have(moment_name(0, i))).map(both).collect::<Result<_>>()?;
        if let Some(pull) = &mut self.pull {
            pull.anchors =
                (0..).take_while(|&i| have(anchor_name(i))).map(|i| tensor(anchor_name(i))).collect::<Result<_>>()?;
        }
        Ok(Self { steps, ..self })
    }

    /// Both moments of each parameter, and where a pull draws it, flat, in the layouts of the kernels; by number, in
    /// the order in which the module is visited.
    pub(crate) fn moments(&self) -> Params {
        let array = |tensor: &Tensor<1>| Array::new(tensor.dims(), layers::values(tensor.clone()));
        let named = |(i, both): (usize, &[Tensor<1>; 2])| [0, 1].map(|of| (moment_name(of, i), array(&both[of])));
        let anchors = self.pull.iter().flat_map(|pull| &pull.anchors).enumerate();
        let anchors = anchors.map(|(i, anchor)| (anchor_name(i), array(anchor)));
        self.moments.iter().enumerate().flat_map(named).chain(anchors).collect()
    }

    /// From now on every step also pulls towards the module before its first one, as strongly as `mu`.
    pub(crate) fn pull(&mut self, mu: f64) {
        self.pull = Some(Pull { mu, anchors: Vec::new() });
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
        let pull = self.pull.as_mut().map(Anchored::new);
        let mut update = Update { step, grads, old: moments, new: &mut self.moments, pull };
        module.map(&mut update)
    }
}

fn moment_name(of: usize, parameter: usize) -> String {
    format!("{}.{parameter}", ["first", "second"][of])
}

fn anchor_name(parameter: usize) -> String {
    format!("anchor.{parameter}")
}

/// A [`Pull`] during one walk over the module.
struct Anchored<'a> {
    mu: f64,
    old: std::vec::IntoIter<Tensor<1>>,
    new: &'a mut Vec<Tensor<1>>,
}

impl<'a> Anchored<'a> {
    fn new(pull: &'a mut Pull) -> Self {
        Self { mu: pull.mu, old: std::mem::take(&mut pull.anchors).into_iter(), new: &mut pull.anchors }
    }

    /// The next parameter's gradient, and μ (w − w₀).
    fn pulled(&mut self, grad: Tensor<1>, params: &Tensor<1>) -> Tensor<1> {
        let anchor = self.old.next().unwrap_or_else(|| params.clone());
        self.new.push(anchor.clone());
        grad + (params.clone() - anchor) * self.mu
    }
}

struct Update<'a> {
    step: AdamStep,
    grads: GradientsParams,
    old: std::vec::IntoIter<[Tensor<1>; 2]>,
    new: &'a mut Vec<[Tensor<1>; 2]>,
    pull: Option<Anchored<'a>>,
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
        let grad = grad.reshape([-1]);
        let grad = if let Some(pull) = &mut self.pull { pull.pulled(grad, &params) } else { grad };
        let (params, moments) = fused::adam(params, grad, moments, self.step);
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

    fn vector(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &training_device())
    }

    /// `module` after a step against a loss whose gradient is `gradient` everywhere.
    fn step(adam: &mut Optimiser, module: Vector, gradient: &[f32]) -> Vector {
        let loss = (module.weight.val() * vector(gradient)).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &module);
        adam.step(module, grads)
    }

    const ADAM: Adam = Adam { learning_rate: 0.1, beta1: 0.5 };
    const GRADIENTS: [[f32; 2]; 4] = [[1.0, -2.0], [0.5, 0.25], [-3.0, 1.0], [0.125, 2.0]];

    #[test]
    fn a_pull_is_mu_times_the_way_gone_added_to_the_gradient() {
        let first = [3.0, -1.0];
        let module = || Vector { weight: Param::from_tensor(vector(&first)) };
        let (mut pulled, mut plain) = (Optimiser::new(ADAM), Optimiser::new(ADAM));
        pulled.pull(0.75);
        let (mut a, mut b) = (module(), module());
        for gradient in &GRADIENTS {
            let gone = layers::values(b.weight.val()).into_iter().zip(first).map(|(w, w0)| w - w0);
            let by_hand: Vec<f32> = gone.zip(gradient).map(|(gone, g)| g + gone * 0.75).collect();
            (a, b) = (step(&mut pulled, a, gradient), step(&mut plain, b, &by_hand));
            assert_eq!(layers::values(a.weight.val()), layers::values(b.weight.val()));
        }
        assert_ne!(layers::values(b.weight.val()), first);
    }

    #[test]
    fn adam_goes_on_from_its_moments_to_the_bit() {
        let mut module = Vector { weight: Param::from_tensor(vector(&[3.0, -1.0])) };
        let mut adam = Optimiser::new(ADAM);
        for (steps, gradient) in (0..).zip(&GRADIENTS) {
            let mut resumed = Optimiser::resumed(ADAM, steps, &adam.moments()).unwrap();
            let again = step(&mut resumed, module.clone(), gradient);
            module = step(&mut adam, module, gradient);
            assert_eq!(layers::values(again.weight.val()), layers::values(module.weight.val()));
        }
    }

    fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
    }
}
