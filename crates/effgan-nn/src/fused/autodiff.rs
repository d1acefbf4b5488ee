//! Backward passes of the operations on Burn's CPU backend.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex, TensorMetadata};
use burn::tensor::Shape;
use burn_flex::FlexTensor;

use super::examples;
use super::flex::{self, Values, give_back, into_vec, linear_sizes, map_dims, tensor};
use super::kept::Kept;
use super::{AdamStep, Convolution, Kernels, MapShape, Normalisation, Slot};
use crate::Device;
use effgan_kernels::buffer::Bits;
use effgan_kernels::conv::{Conv, Grads, Input, Wants};
use effgan_kernels::{activation, buffer, linear, norm};

/// What the backward pass of a convolution needs.
#[derive(Clone, Debug)]
struct ConvState {
    conv: Conv,
    how: Convolution,
    x: FlexTensor,
    w: FlexTensor,
    output: Kept,
}

impl ConvState {
    fn backward(self, grad: FlexTensor, wants: Wants) -> Grads {
        let Self { conv, x, w, output, .. } = self;
        let (mut grad, w) = (into_vec(grad), Values::of(&w));
        let grads = if x.is_unique() {
            conv.backward(Input::Own(into_vec(x)), w.get(), output.activated(), &mut grad, wants)
        } else {
            conv.backward(Input::Shared(Values::of(&x).get()), w.get(), output.activated(), &mut grad, wants)
        };
        buffer::give_back(grad);
        if let Kept::Tanh(out) = output {
            give_back(out);
        }
        grads
    }
}

#[derive(Debug)]
struct ConvOp;

impl Backward<Flex, 3> for ConvOp {
    type State = ConvState;

    fn backward(self, ops: Ops<ConvState, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x, w, bias] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let (x_shape, w_shape, how) = (ops.state.x.shape(), ops.state.w.shape(), ops.state.how);
        let wants = Wants { params: w.is_some() || bias.is_some(), input: x.is_some() };
        let found = ops.state.backward(grad, wants);
        let parents = [
            (x, found.input, x_shape),
            (w, found.weights, w_shape),
            (bias, found.bias, Shape::from([how.geometry.map(how.from.other()).channels])),
        ];
        for (parent, values, shape) in parents {
            if let (Some(parent), Some(values)) = (parent, values) {
                grads.register::<Flex>(parent.id, tensor(values, shape));
            }
        }
    }
}

#[derive(Debug)]
struct LinearOp;

impl Backward<Flex, 3> for LinearOp {
    type State = (FlexTensor, FlexTensor, Device);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [to_x, to_w, to_bias] = ops.parents;
        let grad = grads.consume::<Flex>(&ops.node);
        let (x, w, device) = ops.state;
        let (isa, sizes) = (device.isa(), linear_sizes(&x, &w));
        let grad = into_vec(grad);
        if let Some(parent) = to_bias {
            let bias = linear::bias_grad(isa, &sizes, &grad);
            grads.register::<Flex>(parent.id, tensor(bias, [sizes.outputs]));
        }
        if let Some(parent) = to_w {
            let weights = linear::weight_grad(isa, &sizes, Values::of(&x).get(), &grad);
            grads.register::<Flex>(parent.id, tensor(weights, [sizes.inputs, sizes.outputs]));
        }
        if let Some(parent) = to_x {
            let input = linear::input_grad(isa, &sizes, Values::of(&w).get(), &grad);
            grads.register::<Flex>(parent.id, tensor(input, [sizes.n, sizes.inputs]));
        }
        buffer::give_back(grad);
        give_back(x);
    }
}

/// The statistics that the backward pass of a normalisation needs.
#[derive(Clone, Debug)]
enum Statistics {
    Batches(norm::Statistics),
    Groups(usize, norm::GroupStatistics),
}

#[derive(Clone, Debug)]
struct NormState {
    x: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    statistics: Statistics,
    how: Normalisation,
}

#[derive(Debug)]
struct NormOp;

impl Backward<Flex, 3> for NormOp {
    type State = NormState;

    fn backward(self, ops: Ops<NormState, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [to_x, to_gamma, to_beta] = ops.parents;
        let mut grad = into_vec(grads.consume::<Flex>(&ops.node));
        let NormState { x, gamma, beta, statistics, how: Normalisation { map, slope, device } } = ops.state;
        let (n, isa) = (x.shape()[0], device.isa());
        let found = {
            let (x, gamma, beta) = (Values::of(&x), Values::of(&gamma), Values::of(&beta));
            let (x, gamma, beta) = (x.get(), gamma.get(), beta.get());
            let sizes = norm::Sizes::of(n, &map);
            match statistics {
                Statistics::Batches(statistics) => {
                    norm::batch_norm_backward(isa, &sizes, x, &mut grad, gamma, beta, &statistics, slope)
                }
                Statistics::Groups(groups, statistics) => {
                    norm::group_norm_backward(isa, &sizes, groups, x, &mut grad, gamma, beta, &statistics, slope)
                }
            }
        };
        give_back(x);
        for (parent, values) in [(to_gamma, found.gamma), (to_beta, found.beta)] {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(values, [map.channels]));
            }
        }
        if let Some(parent) = to_x {
            grads.register::<Flex>(parent.id, tensor(grad, map_dims(n, &map)));
        }
    }
}

/// The rectifier, whose backward pass needs the signs of its output.
#[derive(Debug)]
struct ReluOp;

impl Backward<Flex, 1> for ReluOp {
    type State = (Bits, Device);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([parent], (signs, device)) = (ops.parents, ops.state);
        let grad = grads.consume::<Flex>(&ops.node);
        let shape = grad.shape();
        let mut grad = into_vec(grad);
        activation::leaky_backward(device.isa(), &signs, &mut grad, 0.0);
        match parent {
            Some(parent) => grads.register::<Flex>(parent.id, tensor(grad, shape)),
            None => buffer::give_back(grad),
        }
    }
}

/// The mean over 2 × 2 pixels of maps of a shape.
#[derive(Debug)]
struct MeanOp;

impl Backward<Flex, 1> for MeanOp {
    type State = (MapShape, Device);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([parent], (map, device)) = (ops.parents, ops.state);
        let grad = grads.consume::<Flex>(&ops.node);
        let small = map.halved();
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, flex::repeat_pixels(&grad, small, 0.25, device));
        }
        give_back(grad);
    }
}

/// The sum of maps and of repeated pixels of maps of a shape.
#[derive(Debug)]
struct RepeatOp;

impl Backward<Flex, 2> for RepeatOp {
    type State = (MapShape, Device);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let ([to_x, to_small], (map, device)) = (ops.parents, ops.state);
        let grad = grads.consume::<Flex>(&ops.node);
        let big = map.doubled();
        if let Some(parent) = to_small {
            grads.register::<Flex>(parent.id, flex::sum_pixels(&grad, big, 1.0, device));
        }
        match to_x {
            Some(parent) => grads.register::<Flex>(parent.id, grad),
            None => give_back(grad),
        }
    }
}

/// Records a normalisation, whose backward pass needs `state`.
fn normed<C: CheckpointStrategy>(
    nodes: [NodeGuard; 3],
    out: FlexTensor,
    state: NormState,
) -> FloatTensor<Autodiff<Flex, C>> {
    match NormOp.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::UnTracked(prepared) => prepared.finish(out),
        OpsKind::Tracked(prepared) => prepared.finish(state, out),
    }
}

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn convolve(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        how: Convolution,
        slot: Option<Slot>,
    ) -> FloatTensor<Self> {
        if let Some(slot) = slot {
            return examples::convolve::<C>(x, w, bias, how, slot);
        }
        let nodes = [x.node(), w.node(), bias.node()];
        let (x, w, bias) = (x.into_primitive(), w.into_primitive(), bias.into_primitive());
        let conv = flex::prepared(&x, how);
        let out = flex::convolve(&conv, &x, &w, &bias, how);
        match ConvOp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(out),
            OpsKind::Tracked(prepared) => {
                let output = Kept::of(&out, how);
                prepared.finish(ConvState { conv, how, x, w, output }, out)
            }
        }
    }

    fn linear(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        device: Device,
        slot: Option<Slot>,
    ) -> FloatTensor<Self> {
        if let Some(slot) = slot {
            return examples::linear::<C>(x, w, bias, device, slot);
        }
        let nodes = [x.node(), w.node(), bias.node()];
        let (x, w, bias) = (x.into_primitive(), w.into_primitive(), bias.into_primitive());
        let out = Flex::linear(x.clone(), w.clone(), bias, device, None);
        match LinearOp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(out),
            OpsKind::Tracked(prepared) => prepared.finish((x, w, device), out),
        }
    }

    fn batch_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        batches: usize,
        how: Normalisation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
        let (out, statistics) = flex::batch_norm(&x, &gamma, &beta, batches, how);
        let [mean, variance] = flex::mean_and_variance(&statistics, batches).map(Self::from_inner);
        let statistics = Statistics::Batches(statistics);
        let out = normed::<C>(nodes, out, NormState { x, gamma, beta, statistics, how });
        (out, mean, variance)
    }

    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        groups: usize,
        how: Normalisation,
        slot: Option<Slot>,
    ) -> FloatTensor<Self> {
        if let Some(slot) = slot {
            return examples::group_norm::<C>(x, gamma, beta, groups, how, slot);
        }
        let nodes = [x.node(), gamma.node(), beta.node()];
        let (x, gamma, beta) = (x.into_primitive(), gamma.into_primitive(), beta.into_primitive());
        let (out, statistics) = flex::group_norm(&x, &gamma, &beta, groups, how);
        let statistics = Statistics::Groups(groups, statistics);
        normed::<C>(nodes, out, NormState { x, gamma, beta, statistics, how })
    }

    fn scale_shift(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        how: Normalisation,
    ) -> FloatTensor<Self> {
        let (x, scale, shift) = (x.into_primitive(), scale.into_primitive(), shift.into_primitive());
        Self::from_inner(Flex::scale_shift(x, scale, shift, how))
    }

    fn relu(x: FloatTensor<Self>, device: Device) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let out = Flex::relu(x.into_primitive(), device);
        match ReluOp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(out),
            OpsKind::Tracked(prepared) => {
                let signs = activation::signs(device.isa(), Values::of(&out).get());
                prepared.finish((signs, device), out)
            }
        }
    }

    fn mean_pixels(x: FloatTensor<Self>, map: MapShape, device: Device) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let out = Flex::mean_pixels(x.into_primitive(), map, device);
        match MeanOp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(out),
            OpsKind::Tracked(prepared) => prepared.finish((map, device), out),
        }
    }

    fn add_repeated(
        x: FloatTensor<Self>,
        small: FloatTensor<Self>,
        map: MapShape,
        device: Device,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), small.node()];
        let out = Flex::add_repeated(x.into_primitive(), small.into_primitive(), map, device);
        match RepeatOp.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::UnTracked(prepared) => prepared.finish(out),
            OpsKind::Tracked(prepared) => prepared.finish((map, device), out),
        }
    }

    fn adam(
        params: FloatTensor<Self>,
        grads: FloatTensor<Self>,
        first_moment: FloatTensor<Self>,
        second_moment: FloatTensor<Self>,
        step: AdamStep,
        device: Device,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let moments = (first_moment.into_primitive(), second_moment.into_primitive());
        let (params, first, second) =
            Flex::adam(params.into_primitive(), grads.into_primitive(), moments.0, moments.1, step, device);
        (Self::from_inner(params), Self::from_inner(first), Self::from_inner(second))
    }
}
