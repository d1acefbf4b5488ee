//! Gradients of single examples that are clipped before they are summed (Abadi et al. 2016, arXiv:1607.00133), for
//! networks through which every example passes by itself, on the CPU.
//!
//! [`Examples`] records the layers of a pass. On the way back a layer does not sum the gradients of its parameters over
//! the examples: it keeps its input and the gradient of its output, of which they are made, and the norm of each example's
//! gradient. Once the norms of all layers are known, [`Examples::clipped_sums`] weighs the examples and sums.
//! [`per_example`] has the method and why the bound holds.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Dispatch, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use burn_flex::FlexTensor;
use effgan_kernels::buffer::Bits;
use effgan_kernels::conv::{Activated, Conv, Input, Wants};
use effgan_kernels::norm::{GroupStatistics, Sizes};
use effgan_kernels::per_example::{
    clipping_factor, conv_mean_squared_norms, conv_squared_norms, drop_examples, group_norm_squared_norms,
    linear_squared_norms, weigh_examples,
};
use effgan_kernels::{activation, linear, norm};

use super::flex::{self, Values, into_vec, linear_sizes, map_dims, tensor};
use super::kept::Kept;
use super::{Convolution, Geometry, Kernels, Normalisation, Side};
use crate::device::{self, Device};

/// The layers that a batch of examples passes through, in the order in which it does.
#[derive(Debug, Default)]
pub(crate) struct Examples {
    layers: RefCell<Vec<LayerParams>>,
    found: Arc<Mutex<Vec<Option<Found>>>>,
}

/// The weights and the bias of a layer, or γ and β, flat.
#[derive(Debug)]
struct LayerParams {
    /// As the network has them: the gradient of a loss may pass on to what they were computed from.
    of_network: [Tensor<1>; 2],
    /// The weights again, as a leaf, and what the layer makes of it for its kernel.
    leaf: Tensor<1>,
    for_kernel: Tensor<1>,
}

/// Parameters of a layer, flat, and the sum of the examples' clipped gradients of them.
pub(crate) struct ClippedSum {
    pub(crate) params: Tensor<1>,
    pub(crate) sum: Vec<f32>,
}

impl Examples {
    /// act(convolution of `x` + bias) with the window that `taps` makes of `weights`. Where that is a convolution and the
    /// mean over 2 × 2 pixels, `pooled` is the geometry of the former, which `weights` are of.
    pub(crate) fn convolve(
        &self,
        x: Tensor<4>,
        weights: &Tensor<3>,
        bias: Tensor<1>,
        how: Convolution,
        pooled: Option<Geometry>,
        taps: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Tensor<4> {
        assert_eq!(how.from, Side::Input, "no discriminator has a transposed convolution");
        let window = self.record(weights, &bias, taps);
        let (x, window, bias) = (x.into_dispatch(), window.into_dispatch(), bias.detach().into_dispatch());
        Tensor::from_dispatch(Dispatch::convolve(x, window, bias, how, Some(self.slot(pooled))))
    }

    /// x W + b with W `[inputs, outputs]`.
    pub(crate) fn linear(&self, x: Tensor<2>, weights: &Tensor<2>, bias: Tensor<1>, device: Device) -> Tensor<2> {
        let weights = self.record(weights, &bias, |weights| weights);
        let (x, weights, bias) = (x.into_dispatch(), weights.into_dispatch(), bias.detach().into_dispatch());
        Tensor::from_dispatch(Dispatch::linear(x, weights, bias, device, Some(self.slot(None))))
    }

    /// Group normalisation and a leaky ReLU.
    pub(crate) fn group_norm(
        &self,
        x: Tensor<4>,
        gamma: &Tensor<1>,
        beta: Tensor<1>,
        groups: usize,
        how: Normalisation,
    ) -> Tensor<4> {
        let gamma = self.record(gamma, &beta, |gamma| gamma);
        let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.detach().into_dispatch());
        Tensor::from_dispatch(Dispatch::group_norm(x, gamma, beta, groups, how, Some(self.slot(None))))
    }

    /// Records a layer's parameters, and returns its weights as they are for the kernel, as a leaf: the kernel's backward
    /// pass is called even where the layer reads images, which have no gradient.
    fn record<const D: usize>(
        &self,
        weights: &Tensor<D>,
        bias: &Tensor<1>,
        for_kernel: impl FnOnce(Tensor<D>) -> Tensor<D>,
    ) -> Tensor<D> {
        let of_network = [weights.clone().reshape([-1]), bias.clone()];
        let leaf = of_network[0].clone().detach().require_grad();
        let weights = for_kernel(leaf.clone().reshape(weights.dims()));
        self.layers.borrow_mut().push(LayerParams { of_network, leaf, for_kernel: weights.clone().reshape([-1]) });
        weights.detach().require_grad()
    }

    /// Where the layer that was recorded last will find the gradients.
    fn slot(&self, pooled: Option<Geometry>) -> Slot {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.push(None);
        Slot { found: self.found.clone(), layer: found.len() - 1, pooled }
    }

    /// Σ fᵢ · gᵢ over the first `counted` examples, after the backward pass of the sum of the examples' losses: for each
    /// tensor of parameters, in the order of the layers. gᵢ is the gradient of an example and fᵢ = min(1, `clip` / |gᵢ|).
    /// A gradient that is not finite counts as zero.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When a layer's backward pass was not done.
    pub(crate) fn clipped_sums(self, counted: usize, clip: f64) -> crate::Result<Vec<ClippedSum>> {
        let found = std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner));
        let found: Vec<Found> = found.into_iter().map(|found| found.expect("the backward pass is done")).collect();
        let factors = factors(&found, counted, clip);
        let mut sums = Vec::new();
        for (layer, found) in self.layers.into_inner().into_iter().zip(found) {
            let [weights, bias] = found.terms.weighed_sums(&factors);
            let weights = layer.of_weights(weights)?;
            let both = layer.of_network.into_iter().zip([weights, bias]);
            sums.extend(both.map(|(params, sum)| ClippedSum { params, sum }));
        }
        Ok(sums)
    }
}

impl LayerParams {
    /// The gradient of the weights, given that of what the kernel has of them.
    fn of_weights(&self, for_kernel: Vec<f32>) -> crate::Result<Vec<f32>> {
        let device = self.for_kernel.device();
        let len = for_kernel.len();
        let gradient = Tensor::<1>::from_data(TensorData::new(for_kernel, [len]), &device);
        let grads = (self.for_kernel.clone() * gradient).sum().backward();
        let found = self.leaf.grad(&grads).expect("the kernel's weights come from the leaf");
        let values = found.try_into_data().map_err(|error| device::failure(&error))?;
        Ok(values.try_into_vec().expect("networks compute in f32"))
    }
}

/// The factor of each example.
fn factors(layers: &[Found], counted: usize, clip: f64) -> Vec<f32> {
    let n = layers.first().map_or(0, |layer| layer.squared_norms.len());
    let squared_norm = |i: usize| layers.iter().map(|layer| layer.squared_norms[i]).sum::<f64>();
    (0..n).map(|i| if i < counted { clipping_factor(squared_norm(i), clip) } else { 0.0 }).collect()
}

/// Where a layer of a pass puts what its backward pass finds.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    found: Arc<Mutex<Vec<Option<Found>>>>,
    layer: usize,
    pooled: Option<Geometry>,
}

impl Slot {
    fn fill(&self, squared_norms: Vec<f64>, terms: Terms) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found[self.layer] = Some(Found { squared_norms, terms });
    }
}

/// What the backward pass of a layer finds.
#[derive(Debug)]
struct Found {
    /// Of each example's gradient of all parameters of the layer, rounded up.
    squared_norms: Vec<f64>,
    terms: Terms,
}

/// What the gradients of a layer's parameters are sums of.
#[derive(Debug)]
enum Terms {
    /// Inputs, and gradients of outputs before the activation.
    Convolution { conv: Conv, n: usize, x: FlexTensor, w: FlexTensor, grad: Vec<f32> },
    /// Inputs and gradients of outputs.
    Linear { sizes: linear::Sizes, device: Device, x: FlexTensor, grad: Vec<f32> },
    /// Inputs with their statistics, and gradients of outputs before the activation.
    GroupNorm { layer: GroupNorm, grad: Vec<f32> },
}

impl Terms {
    /// The gradients of weights and bias, each example's times its factor.
    fn weighed_sums(self, factors: &[f32]) -> [Vec<f32>; 2] {
        let n = factors.len();
        match self {
            Self::Convolution { conv, n, x, w, mut grad } => {
                weigh_examples(n, factors, &mut grad);
                let (x, wants) = (without_dropped(x, factors), Wants { params: true, input: false });
                let (x, w) = (Values::of(&x), Values::of(&w));
                let grads = conv.backward(Input::Shared(x.get()), w.get(), Activated::Identity, &mut grad, wants);
                [grads.weights, grads.bias].map(|grad| grad.expect("both are wanted"))
            }
            Self::Linear { sizes, device, x, mut grad } => {
                weigh_examples(n, factors, &mut grad);
                let x = without_dropped(x, factors);
                let weights = linear::weight_grad(device.isa(), &sizes, Values::of(&x).get(), &grad);
                [weights, linear::bias_grad(device.isa(), &sizes, &grad)]
            }
            Self::GroupNorm { mut layer, mut grad } => {
                weigh_examples(n, factors, &mut grad);
                layer.x = without_dropped(layer.x, factors);
                let GroupStatistics { mean, inv_std } = &mut layer.statistics;
                drop_examples(n, factors, mean);
                drop_examples(n, factors, inv_std);
                let found = layer.backward(&mut grad);
                [found.gamma, found.beta]
            }
        }
    }
}

/// `x`, in which the examples whose factor is 0 are 0.
fn without_dropped(x: FlexTensor, factors: &[f32]) -> FlexTensor {
    if factors.iter().all(|&factor| factor != 0.0) {
        return x;
    }
    let shape = x.shape();
    let mut values = into_vec(x);
    drop_examples(factors.len(), factors, &mut values);
    tensor(values, shape)
}

/// A convolution on its way back.
#[derive(Clone, Debug)]
struct Convolving {
    conv: Conv,
    how: Convolution,
    x: FlexTensor,
    w: FlexTensor,
    output: Kept,
    slot: Slot,
}

#[derive(Debug)]
struct ConvOp;

impl Backward<Flex, 2> for ConvOp {
    type State = Convolving;

    fn backward(self, ops: Ops<Convolving, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([to_x, _], Convolving { conv, how, x, w, output, slot }) = (ops.parents, ops.state);
        let mut grad = into_vec(grads.consume::<Flex>(&ops.node));
        let (isa, n) = (how.device.isa(), x.shape()[0]);
        output.activated().backward(isa, &mut grad);
        let squared_norms = match &slot.pooled {
            Some(geometry) => conv_mean_squared_norms(isa, geometry, n, Values::of(&x).get(), &grad),
            None => conv_squared_norms(isa, &how.geometry, n, Values::of(&x).get(), &grad),
        };
        if let Some(parent) = to_x {
            // Kernels may overwrite the gradient.
            let mut grad = grad.clone();
            let (values, wants) = (Values::of(&x), Wants { params: false, input: true });
            let input = Input::Shared(values.get());
            let found = conv.backward(input, Values::of(&w).get(), Activated::Identity, &mut grad, wants);
            let input = found.input.expect("it is wanted");
            grads.register::<Flex>(parent.id, tensor(input, x.shape()));
        }
        slot.fill(squared_norms, Terms::Convolution { conv, n, x, w, grad });
    }
}

/// The output of a convolution of single examples.
pub(super) fn convolve<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    w: FloatTensor<Autodiff<Flex, C>>,
    bias: FloatTensor<Autodiff<Flex, C>>,
    how: Convolution,
    slot: Slot,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [x.node(), w.node()];
    let (x, w, bias) = (x.into_primitive(), w.into_primitive(), bias.into_primitive());
    let conv = flex::prepared(&x, how);
    let out = flex::convolve(&conv, &x, &w, &bias, how);
    match ConvOp.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(out),
        OpsKind::Tracked(prepared) => {
            let output = Kept::of(&out, how);
            prepared.finish(Convolving { conv, how, x, w, output, slot }, out)
        }
    }
}

#[derive(Debug)]
struct LinearOp;

impl Backward<Flex, 2> for LinearOp {
    type State = (FlexTensor, FlexTensor, Device, Slot);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([to_x, _], (x, w, device, slot)) = (ops.parents, ops.state);
        let grad = into_vec(grads.consume::<Flex>(&ops.node));
        let (isa, sizes) = (device.isa(), linear_sizes(&x, &w));
        if let Some(parent) = to_x {
            let input = linear::input_grad(isa, &sizes, Values::of(&w).get(), &grad);
            grads.register::<Flex>(parent.id, tensor(input, x.shape()));
        }
        let squared_norms = linear_squared_norms(isa, sizes.n, Values::of(&x).get(), &grad);
        slot.fill(squared_norms, Terms::Linear { sizes, device, x, grad });
    }
}

/// The output of a linear layer for single examples.
pub(super) fn linear<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    w: FloatTensor<Autodiff<Flex, C>>,
    bias: FloatTensor<Autodiff<Flex, C>>,
    device: Device,
    slot: Slot,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [x.node(), w.node()];
    let (x, w, bias) = (x.into_primitive(), w.into_primitive(), bias.into_primitive());
    let out = Flex::linear(x.clone(), w.clone(), bias, device, None);
    match LinearOp.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(out),
        OpsKind::Tracked(prepared) => prepared.finish((x, w, device, slot), out),
    }
}

/// A group norm without activation: its input, parameters and statistics.
#[derive(Clone, Debug)]
struct GroupNorm {
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    groups: usize,
    statistics: GroupStatistics,
    how: Normalisation,
}

impl GroupNorm {
    fn sizes(&self) -> Sizes {
        Sizes::of(self.x.shape()[0], &self.how.map)
    }

    /// Turns `grad`, the gradient of the output, into that of the input, and returns those of the parameters.
    fn backward(&self, grad: &mut [f32]) -> norm::NormGrads {
        let [x, gamma, beta] = [&self.x, &self.gamma, &self.beta].map(Values::of);
        let (isa, sizes) = (self.how.device.isa(), self.sizes());
        let (x, gamma, beta) = (x.get(), gamma.get(), beta.get());
        norm::group_norm_backward(isa, &sizes, self.groups, x, grad, gamma, beta, &self.statistics, 1.0)
    }
}

#[derive(Debug)]
struct GroupNormOp;

impl Backward<Flex, 2> for GroupNormOp {
    /// The signs are those of the output.
    type State = (GroupNorm, Bits, Slot);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([to_x, _], (layer, signs, slot)) = (ops.parents, ops.state);
        let mut grad = into_vec(grads.consume::<Flex>(&ops.node));
        let (isa, slope) = (layer.how.device.isa(), layer.how.slope);
        if slope != 1.0 {
            activation::leaky_backward(isa, &signs, &mut grad, slope);
        }
        let x = Values::of(&layer.x);
        let squared_norms = group_norm_squared_norms(isa, &layer.sizes(), x.get(), &layer.statistics, &grad);
        if let Some(parent) = to_x {
            let mut grad = grad.clone();
            layer.backward(&mut grad);
            grads.register::<Flex>(parent.id, tensor(grad, map_dims(layer.sizes().n, &layer.how.map)));
        }
        drop(x);
        slot.fill(squared_norms, Terms::GroupNorm { layer, grad });
    }
}

/// The output of a group norm of single examples.
pub(super) fn group_norm<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    gamma: FloatTensor<Autodiff<Flex, C>>,
    beta: FloatTensor<Autodiff<Flex, C>>,
    groups: usize,
    how: Normalisation,
    slot: Slot,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [x.node(), gamma.node()];
    let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
    let (out, statistics) = flex::group_norm(&x, &gamma, &beta, groups, how);
    match GroupNormOp.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(out),
        OpsKind::Tracked(prepared) => {
            let signs = activation::signs(how.device.isa(), Values::of(&out).get());
            let layer = GroupNorm { x, gamma, beta, groups, statistics, how };
            prepared.finish((layer, signs, slot), out)
        }
    }
}
