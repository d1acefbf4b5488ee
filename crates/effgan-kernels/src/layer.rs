//! What a convolution's layer is given and gives: its activation, what its backward pass reads, and the gradients.

use super::isa::Isa;
use super::{activation, buffer};

/// The activation of a layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// No activation.
    Identity,
    /// x where it is above zero, slope · x elsewhere; 0 is ReLU.
    LeakyRelu {
        /// Factor below zero, 0..1.
        slope: f32,
    },
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The slope below zero, for kernels that fuse a leaky ReLU; 1 where there is nothing to fuse.
    pub fn slope(self) -> f32 {
        match self {
            Self::LeakyRelu { slope } => slope,
            Self::Identity | Self::Tanh => 1.0,
        }
    }
}

/// What the backward pass of an activation needs of its output.
#[derive(Clone, Copy, Debug)]
pub enum Activated<'a> {
    /// Nothing: there is no activation.
    Identity,
    /// The [signs](activation::signs) of a leaky ReLU's output, and its slope.
    LeakyRelu(&'a [u16], f32),
    /// The output of the hyperbolic tangent.
    Tanh(&'a [f32]),
}

impl Activated<'_> {
    /// Turns `grad`, the gradient of the activation's output, into the gradient of its input.
    pub fn backward(self, isa: Isa, grad: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::LeakyRelu(signs, slope) => activation::leaky_backward(isa, signs, grad, slope),
            Self::Tanh(out) => activation::tanh_backward(isa, out, grad),
        }
    }
}

/// What becomes of a map before it is written: a bias is added, then a leaky ReLU applied where the slope is not 1.
#[derive(Clone, Copy)]
pub(crate) struct Then<'a> {
    /// One value per channel.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) slope: f32,
}

/// A layer's input, as its backward pass is given it.
#[derive(Debug)]
pub enum Input<'a> {
    /// Others read it too.
    Shared(&'a [f32]),
    /// Nobody else needs it: the gradient of the input takes its place.
    Own(Vec<f32>),
}

impl Input<'_> {
    /// The values.
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Shared(values) => values,
            Self::Own(values) => values,
        }
    }

    /// Memory for the gradient of the input, once its values are no longer needed.
    pub(crate) fn into_memory(self) -> Vec<f32> {
        match self {
            Self::Shared(values) => buffer::take(values.len()),
            Self::Own(values) => values,
        }
    }
}

/// Which gradients the backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Those of the weights and the bias.
    pub params: bool,
    /// That of the input.
    pub input: bool,
}

/// The gradients that [`Wants`] selects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grads {
    /// `[kernel · kernel, input.channels, output.channels]`.
    pub weights: Option<Vec<f32>>,
    /// One value per channel of the layer's output.
    pub bias: Option<Vec<f32>>,
    /// Shaped as the layer's input.
    pub input: Option<Vec<f32>>,
}
