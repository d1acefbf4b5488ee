//! Adam (Kingma & Ba 2015, arXiv:1412.6980) as PyTorch computes it, ε included, in one pass over each tensor.
//! `burn-optim` would take ten passes, and has another ε.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::fused::{self, AdamStep};
use crate::networks::{Order, TensorSpec, layers};
use crate::{Array, Device, NnError, Params, Result};

/// Settings of Adam; β₂ = 0.999 and ε = 1e-8 as in `PyTorch`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// Step size, > 0.
    pub learning_rate: f64,
    /// Decay of the first moment, 0..1; DCGAN has 0.5.
    pub beta1: f64,
}

/// The optimiser of one module: Adam, with moments that start at zero, and perhaps a proximal term.
#[derive(Clone, Debug)]
pub(crate) struct Optimiser {
    adam: Adam,
    steps: u32,
    /// Both moments of each parameter, in the order in which the module is visited.
    moments: Vec<[Tensor<1>; 2]>,
    proximal: Option<Proximal>,
    device: Device,
}

/// The proximal term μ/2 ‖w − w₀‖² of `FedProx` (Li et al. 2020, arXiv:1812.06127), where w₀ are the parameters before
/// the first step.
#[derive(Clone, Debug)]
struct Proximal {
    mu: f64,
    /// w₀ of each parameter, in the order in which the module is visited; empty before the first step.
    start: Vec<Tensor<1>>,
}

impl Optimiser {
    /// The optimiser of a module on `device`.
    pub(crate) fn new(adam: Adam, device: Device) -> Self {
        Self { adam, steps: 0, moments: Vec::new(), proximal: None, device }
    }

    /// Resumes after `steps` steps on `module` that ended in `state`, a [`state`](Self::state); `tensors` is the module's table.
    ///
    /// # Errors
    /// [`NnError::MissingTensor`](crate::NnError::MissingTensor) when a parameter has only one of its two moments, and
    /// [`NnError::Shape`](crate::NnError::Shape) when one has another size than its parameter.
    pub(crate) fn resume<M: Module>(
        mut self,
        steps: u32,
        state: &Params,
        module: &M,
        tensors: &[TensorSpec],
    ) -> Result<Self> {
        let (on, trained) = (self.device.for_inference(), layers::trained(module, tensors));
        let tensor = |name: String, i: usize| {
            let (saved, spec) = (state.get(&name)?, trained[i]);
            let expected = vec![spec.shape.iter().product()];
            if saved.shape != expected {
                return Err(NnError::Shape { name, found: saved.shape.clone(), expected });
            }
            let values = saved.values().to_vec();
            let values = spec.layout.moved(values, &spec.shape, Order::Kernels, self.device.order());
            Ok(Tensor::from_data(TensorData::new(values, expected), &on.burn))
        };
        let number_of =
            |name: fn(usize) -> String| (0..trained.len()).take_while(|&i| state.get(&name(i)).is_ok()).count();
        let both = |i| Ok([tensor(moment_name(0, i), i)?, tensor(moment_name(1, i), i)?]);
        let moments = (0..number_of(|i| moment_name(0, i))).map(both).collect::<Result<_>>()?;
        let start = (0..number_of(start_name)).map(|i| tensor(start_name(i), i)).collect::<Result<_>>()?;
        if let Some(proximal) = &mut self.proximal {
            proximal.start = start;
        }
        Ok(Self { steps, moments, ..self })
    }

    /// The optimiser state: both moments of each parameter of `module` and, with a proximal term, its w₀. On every device the tensors
    /// are flat and in the layouts of the kernels; they are named by the number of the parameter in the order in which the module is
    /// visited. `tensors` is the module's table.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn state<M: Module>(&self, module: &M, tensors: &[TensorSpec]) -> Result<Params> {
        let trained = layers::trained(module, tensors);
        let moments = self.moments.iter().zip(&trained).enumerate();
        let moments = moments.flat_map(|(i, (both, spec))| [0, 1].map(|of| (moment_name(of, i), &both[of], spec)));
        let start = self.proximal.iter().flat_map(|proximal| &proximal.start).zip(&trained).enumerate();
        let all: Vec<_> = moments.chain(start.map(|(i, (start, spec))| (start_name(i), start, spec))).collect();
        let values = layers::read_all(all.iter().map(|(_, tensor, _)| (*tensor).clone()))?;
        let array = |((name, tensor, spec), values): ((String, &Tensor<1>, &&TensorSpec), Vec<f32>)| {
            let values = spec.layout.moved(values, &spec.shape, self.device.order(), Order::Kernels);
            (name, Array::new(tensor.dims(), values))
        };
        Ok(all.into_iter().zip(values).map(array).collect())
    }

    /// Adds a proximal term with weight `mu` to each later step; its w₀ is the module before the next one.
    pub(crate) fn add_proximal_term(&mut self, mu: f64) {
        self.proximal = Some(Proximal { mu, start: Vec::new() });
    }

    /// Sets the learning rate of later steps.
    pub(crate) fn set_learning_rate(&mut self, learning_rate: f64) {
        self.adam.learning_rate = learning_rate;
    }

    /// `module` after one step with the gradients `grads`.
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
        let proximal = self.proximal.as_mut().map(ProximalStep::new);
        let mut update = Update { step, grads, old: moments, new: &mut self.moments, proximal, device: self.device };
        module.map(&mut update)
    }
}

fn moment_name(of: usize, parameter: usize) -> String {
    format!("{}.{parameter}", ["first", "second"][of])
}

/// The name in checkpoints of a parameter's w₀.
fn start_name(parameter: usize) -> String {
    format!("anchor.{parameter}")
}

/// A [`Proximal`] term during one step, in which the module's parameters are visited in order.
struct ProximalStep<'a> {
    mu: f64,
    old: std::vec::IntoIter<Tensor<1>>,
    new: &'a mut Vec<Tensor<1>>,
}

impl<'a> ProximalStep<'a> {
    fn new(term: &'a mut Proximal) -> Self {
        Self { mu: term.mu, old: std::mem::take(&mut term.start).into_iter(), new: &mut term.start }
    }

    /// `grad` of the next parameter, plus μ (w − w₀).
    fn add_to(&mut self, grad: Tensor<1>, params: &Tensor<1>) -> Tensor<1> {
        let start = self.old.next().unwrap_or_else(|| params.clone());
        self.new.push(start.clone());
        grad + (params.clone() - start) * self.mu
    }
}

/// Updates a module's parameters one after the other; moments move from `old` to `new`.
struct Update<'a> {
    step: AdamStep,
    grads: GradientsParams,
    old: std::vec::IntoIter<[Tensor<1>; 2]>,
    new: &'a mut Vec<[Tensor<1>; 2]>,
    proximal: Option<ProximalStep<'a>>,
    device: Device,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Running statistics are visited too, and have no gradient.
        let Some(grad) = self.grads.remove::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let params = tensor.inner().reshape([-1]);
        let zero = || Tensor::zeros_like(&params);
        let moments = self.old.next().unwrap_or_else(|| [zero(), zero()]);
        let grad = grad.reshape([-1]);
        let grad = if let Some(term) = &mut self.proximal { term.add_to(grad, &params) } else { grad };
        let (params, moments) = fused::adam(params, grad, moments, self.step, self.device);
        self.new.push(moments);
        let params = Tensor::from_inner(params.reshape(shape)).require_grad();
        Param::from_mapped_value(id, params, mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::networks::Init;

    #[derive(serde::Deserialize)]
    struct AdamFixture {
        learning_rate: f64,
        beta1: f64,
        initial: Vec<f32>,
        gradients: Vec<Vec<f32>>,
        r#final: Vec<f32>,
    }

    #[derive(Module, Debug)]
    struct Vector {
        weight: Param<Tensor<1>>,
    }

    #[test]
    fn adam_matches_pytorch_after_100_steps() {
        let fixture: AdamFixture = serde_json::from_str(include_str!("../tests/fixtures/adam.json")).unwrap();
        let device = Device::of_tests();
        let burn = device.for_training().burn;
        let vector = |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &burn);
        let mut module = Vector { weight: Param::from_tensor(vector(&fixture.initial)) };
        let mut adam = Optimiser::new(Adam { learning_rate: fixture.learning_rate, beta1: fixture.beta1 }, device);
        for gradient in &fixture.gradients {
            // The gradient of w · g is g.
            let loss = (module.weight.val() * vector(gradient)).sum();
            let grads = GradientsParams::from_grads(loss.backward(), &module);
            module = adam.step(module, grads);
        }
        // f32 rounding in 100 steps, by PyTorch too, is 3e-7; with Burn's default epsilon the first would be off by 1e-3.
        let difference = largest_difference(&layers::values(module.weight.val()), &fixture.r#final);
        assert!(difference < 1e-6, "{difference}");
    }

    fn vector(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::of_tests().for_training().burn)
    }

    /// `module` after a step on a loss whose gradient is `gradient` everywhere.
    fn step(adam: &mut Optimiser, module: Vector, gradient: &[f32]) -> Vector {
        let loss = (module.weight.val() * vector(gradient)).sum();
        let grads = GradientsParams::from_grads(loss.backward(), &module);
        adam.step(module, grads)
    }

    fn optimiser() -> Optimiser {
        Optimiser::new(Adam { learning_rate: 0.1, beta1: 0.5 }, Device::of_tests())
    }

    const GRADIENTS: [[f32; 2]; 4] = [[1.0, -2.0], [0.5, 0.25], [-3.0, 1.0], [0.125, 2.0]];

    #[test]
    fn the_proximal_term_adds_mu_times_the_distance_to_the_gradient() {
        let first = [3.0, -1.0];
        let module = || Vector { weight: Param::from_tensor(vector(&first)) };
        let (mut proximal, mut plain) = (optimiser(), optimiser());
        proximal.add_proximal_term(0.75);
        let (mut a, mut b) = (module(), module());
        for gradient in &GRADIENTS {
            let distance = layers::values(b.weight.val()).into_iter().zip(first).map(|(w, w0)| w - w0);
            let by_hand: Vec<f32> = distance.zip(gradient).map(|(distance, g)| g + distance * 0.75).collect();
            (a, b) = (step(&mut proximal, a, gradient), step(&mut plain, b, &by_hand));
            assert_eq!(layers::values(a.weight.val()), layers::values(b.weight.val()));
        }
        assert_ne!(layers::values(b.weight.val()), first);
    }

    #[test]
    fn adam_resumes_from_its_state_to_the_bit() {
        let mut module = Vector { weight: Param::from_tensor(vector(&[3.0, -1.0])) };
        let (mut adam, table) = (optimiser(), [TensorSpec::new("weight", [2], Init::Constant(0.0))]);
        for (steps, gradient) in (0..).zip(&GRADIENTS) {
            let state = adam.state(&module, &table).unwrap();
            let mut resumed = optimiser().resume(steps, &state, &module, &table).unwrap();
            let again = step(&mut resumed, module.clone(), gradient);
            module = step(&mut adam, module, gradient);
            assert_eq!(layers::values(again.weight.val()), layers::values(module.weight.val()));
        }
    }

    fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
    }
}
