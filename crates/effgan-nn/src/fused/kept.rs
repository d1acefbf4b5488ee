//! What a convolution keeps of its output.

use burn_flex::FlexTensor;
use effgan_kernels::activation;
use effgan_kernels::buffer::Bits;
use effgan_kernels::conv::Activated;

use super::flex::Values;
use super::{Activation, Convolution};

/// What is kept of a convolution's output for the backward pass of its activation.
#[derive(Clone, Debug)]
pub(super) enum Kept {
    Nothing,
    /// Signs and slope.
    LeakyRelu(Bits, f32),
    Tanh(FlexTensor),
}

impl Kept {
    pub(super) fn of(out: &FlexTensor, how: Convolution) -> Self {
        match how.activation {
            Activation::Identity => Self::Nothing,
            Activation::LeakyRelu { slope } => {
                Self::LeakyRelu(activation::signs(how.device.isa(), Values::of(out).get()), slope)
            }
            Activation::Tanh => Self::Tanh(out.clone()),
        }
    }

    pub(super) fn activated(&self) -> Activated<'_> {
        match self {
            Self::Nothing => Activated::Identity,
            Self::LeakyRelu(signs, slope) => Activated::LeakyRelu(signs, *slope),
            Self::Tanh(out) => Activated::Tanh(out.as_slice().expect("a kernel wrote it row by row")),
        }
    }
}
