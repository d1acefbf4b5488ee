//! Convolution and transposed convolution with bias and activation, forward and backward, by the form that costs least:
//! Winograd's, the direct one for [few channels](few_channels), a plain product for windows of one pixel, or
//! [`im2col`], which takes all shapes.

use super::buffer;
use super::cost::Cost;
use super::geometry::{Geometry, Side};
use super::isa::Isa;
use super::layer::Then;
pub use super::layer::{Activated, Activation, Grads, Input, Wants};
use super::precision::Precision;
use super::winograd::Winograd;
use super::{activation, few_channels, im2col, pointwise};

/// A convolution or a transposed convolution for batches of `n` images.
#[derive(Clone, Debug)]
pub struct Conv {
    g: Geometry,
    /// The map that the layer reads.
    from: Side,
    n: usize,
    isa: Isa,
    form: Form,
}

/// The algorithm.
#[derive(Clone, Debug)]
enum Form {
    Winograd(Winograd),
    FewChannels,
    Pointwise,
    Im2col,
}

impl Conv {
    /// The layer of geometry `g` that reads the map `from`, for batches of `n` images, by the form whose forward
    /// and backward pass have the least estimated cost, whichever map it reads. `precision` applies only to Winograd's
    /// products.
    pub fn new(isa: Isa, precision: Precision, g: &Geometry, from: Side, n: usize) -> Self {
        let (cost, winograd) = (Cost::new(isa, Precision::F32), Winograd::new(isa, precision, g, n));
        let forms = [
            few_channels::cost(cost, g, n).map(|cost| (cost, Form::FewChannels)),
            pointwise::cost(cost, g, n).map(|cost| (cost, Form::Pointwise)),
            winograd.map(|winograd| (winograd.cost(), Form::Winograd(winograd))),
            Some((im2col::cost(cost, g, n), Form::Im2col)),
        ];
        let cheapest = forms.into_iter().flatten().min_by(|(a, _), (b, _)| a.total_cmp(b));
        let (_, form) = cheapest.expect("im2col takes all shapes");
        Self { g: *g, from, n, isa, form }
    }

    /// The name of the form: `F(4, 2)`, `F(4, 3)`, `few channels`, `pointwise` or `im2col`.
    pub fn form(&self) -> &'static str {
        match &self.form {
            Form::Winograd(winograd) => winograd.name(),
            Form::FewChannels => "few channels",
            Form::Pointwise => "pointwise",
            Form::Im2col => "im2col",
        }
    }

    /// The layer's output, act(convolution of `input` + bias), transposed where the layer is.
    pub fn forward(&self, input: &[f32], weights: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
        let mut out = buffer::take(self.n * self.g.map(self.from.other()).len());
        self.linear(self.from, input, None, weights, Some(bias), activation.slope(), &mut out);
        if activation == Activation::Tanh {
            activation::tanh(self.isa, &mut out);
        }
        out
    }

    /// The gradients of [`forward`](Self::forward) of `input`, given the gradient `grad` of its output, which is
    /// overwritten.
    pub fn backward(
        &self,
        input: Input,
        weights: &[f32],
        activated: Activated,
        grad: &mut [f32],
        wants: Wants,
    ) -> Grads {
        let mask = self.fused_mask(activated);
        if mask.is_none() {
            activated.backward(self.isa, grad);
        }
        let mut grads = match &self.form {
            Form::Winograd(winograd) => winograd.backward(self.from, input, weights, grad, wants),
            Form::FewChannels | Form::Pointwise | Form::Im2col => {
                self.plain_backward(input, weights, grad, mask, wants)
            }
        };
        if wants.params && grads.bias.is_none() {
            let map = self.g.map(self.from.other());
            grads.bias = Some(activation::channel_sums(self.isa, self.n, map, grad));
        }
        grads
    }

    /// Signs and slope of the leaky ReLU, where the direct kernels fuse its backward pass with their own.
    fn fused_mask<'a>(&self, activated: Activated<'a>) -> Option<(&'a [u16], f32)> {
        let Activated::LeakyRelu(signs, slope) = activated else { return None };
        let is_fused = matches!(self.form, Form::FewChannels) && self.from == Side::Input;
        is_fused.then_some((signs, slope))
    }

    /// Writes the convolution that reads the map `from`, bias and leaky ReLU. With `mask`, `input` is a gradient that
    /// first passes back through a leaky ReLU (see [`few_channels::conv_transpose`]).
    #[allow(clippy::too_many_arguments, reason = "a layer's input, output and parameters")]
    fn linear(
        &self,
        from: Side,
        input: &[f32],
        mask: Option<(&[u16], f32)>,
        weights: &[f32],
        bias: Option<&[f32]>,
        slope: f32,
        out: &mut [f32],
    ) {
        let Self { g, n, isa, .. } = self;
        match (&self.form, from) {
            (Form::Winograd(winograd), _) => {
                winograd.forward(from, input, weights, Then { bias, slope }, out);
            }
            (Form::Pointwise, _) => pointwise::forward(*isa, g, from, input, weights, Then { bias, slope }, out),
            (Form::FewChannels, Side::Input) => few_channels::conv(*isa, g, *n, input, weights, bias, slope, out),
            (Form::FewChannels, Side::Output) => {
                few_channels::conv_transpose(*isa, g, *n, input, mask, weights, bias, out);
            }
            (Form::Im2col, Side::Input) => im2col::conv(*isa, g, *n, input, weights, bias, slope, out),
            (Form::Im2col, Side::Output) => im2col::conv_transpose(*isa, g, *n, input, weights, bias, out),
        }
        // These two kernels have no activation of their own.
        if from == Side::Output && slope != 1.0 && matches!(self.form, Form::FewChannels | Form::Im2col) {
            activation::leaky(*isa, out, slope);
        }
    }

    /// The backward pass by any algorithm but Winograd's; with the gradient of the bias where the kernel sums it
    /// anyway.
    fn plain_backward(
        &self,
        input: Input,
        layer_weights: &[f32],
        grad: &[f32],
        mask: Option<(&[u16], f32)>,
        wants: Wants,
    ) -> Grads {
        let Self { g, from, n, isa, .. } = self;
        let mut grads = Grads::default();
        if wants.params {
            let (input, output) = by_side(*from, input.values(), grad);
            let mut weights = buffer::take(g.num_weights());
            match self.form {
                Form::FewChannels => {
                    let sums = few_channels::weight_grad(*isa, g, *n, input, output, mask, &mut weights);
                    match from {
                        Side::Input => grads.bias = Some(sums),
                        Side::Output => buffer::give_back(sums),
                    }
                }
                Form::Pointwise => pointwise::weight_grad(*isa, g, input, output, &mut weights),
                Form::Im2col => im2col::weight_grad(*isa, g, *n, input, output, &mut weights),
                Form::Winograd(_) => unreachable!("it has a backward pass of its own"),
            }
            grads.weights = Some(weights);
        }
        let mut memory = input.into_memory();
        if wants.input {
            self.linear(from.other(), grad, mask, layer_weights, None, 1.0, &mut memory);
            grads.input = Some(memory);
        } else {
            buffer::give_back(memory);
        }
        grads
    }
}

/// `(input, output)` of the geometry, given what belongs to the map that the layer reads and to the one that it writes.
fn by_side<'a>(from: Side, read: &'a [f32], written: &'a [f32]) -> (&'a [f32], &'a [f32]) {
    match from {
        Side::Input => (read, written),
        Side::Output => (written, read),
    }
}

#[cfg(test)]
mod tests;
