//! Convolution and transposed convolution with bias and activation, forward and backward, by whichever form serves the
//! shapes: Winograd's, the direct one for [few channels](few_channels), or [`im2col`] for all others.

use super::buffer::{self, Buffer};
use super::geometry::{Geometry, MapShape};
use super::isa::Isa;
use super::precision::Precision;
use super::winograd::{self, Factors, Plan};
use super::{activation, few_channels, im2col};

/// What follows a layer's sum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// Nothing.
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
    /// The slope below zero that a kernel can fuse; 1 is none.
    pub fn slope(self) -> f32 {
        match self {
            Self::LeakyRelu { slope } => slope,
            Self::Identity | Self::Tanh => 1.0,
        }
    }

    /// The gradient of the activation's input, in place of that of its output `out`.
    pub fn backward(self, isa: Isa, out: &[f32], grad: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::LeakyRelu { slope } => activation::leaky_backward(isa, out, grad, slope),
            Self::Tanh => activation::tanh_backward(isa, out, grad),
        }
    }
}

/// A convolution's link between two maps, for batches of `n`.
#[derive(Clone, Debug)]
pub struct Conv {
    g: Geometry,
    n: usize,
    isa: Isa,
    precision: Precision,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Winograd(Chunks),
    FewChannels,
    Im2col,
}

/// Floats of the big map's products that a chunk of images may have, were each image's the plan of a batch of one
/// (spare rows take half of that one): 8 images of 64 × 14 × 14 in 0.7 MB, so that the transforms find the products in
/// the second cache. With fewer images the weights' products, which come from the third for every chunk, would be
/// waited for.
const MOST_PRODUCTS: usize = 340_000;

/// A batch in chunks of equally many images, but for the last.
#[derive(Clone, Debug)]
struct Chunks(Vec<Plan>);

impl Chunks {
    fn new(g: &Geometry, n: usize) -> Self {
        let most = (MOST_PRODUCTS / Plan::new(g, 1).big_len()).max(1);
        let size = n.div_ceil(n.div_ceil(most).max(1)).max(1);
        let mut plans = vec![Plan::new(g, size); n / size];
        if !n.is_multiple_of(size) || n == 0 {
            plans.push(Plan::new(g, n % size));
        }
        Self(plans)
    }

    /// The plan of each chunk and its first image.
    fn each(&self) -> impl Iterator<Item = (usize, &Plan)> {
        let size = self.0[0].images();
        self.0.iter().enumerate().map(move |(i, plan)| (i * size, plan))
    }

    /// The first of the plans: weights have the same products in all.
    fn first(&self) -> &Plan {
        &self.0[0]
    }
}

/// What the backward pass is given of the forward pass.
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    /// The layer's input.
    pub input: &'a [f32],
    /// The layer's weights.
    pub weights: &'a [f32],
    /// The layer's output, after the activation.
    pub out: &'a [f32],
    /// The layer's activation.
    pub activation: Activation,
}

/// Which gradients are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Those of the weights and the bias.
    pub params: bool,
    /// That of the input.
    pub input: bool,
}

/// The gradients that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Grads {
    /// `[kernel · kernel, big.channels, small.channels]`.
    pub weights: Option<Vec<f32>>,
    /// One a channel of the output.
    pub bias: Option<Vec<f32>>,
    /// As the input.
    pub input: Option<Vec<f32>>,
}

impl Conv {
    /// The link `g` for batches of `n`, in the fastest form that serves it; `precision` is that of Winograd's products.
    pub fn new(isa: Isa, precision: Precision, g: &Geometry, n: usize) -> Self {
        let form = if winograd::fits(g) {
            Form::Winograd(Chunks::new(g, n))
        } else if few_channels::fits(g) {
            Form::FewChannels
        } else {
            Form::Im2col
        };
        Self { g: *g, n, isa, precision, form }
    }

    /// The same link by im2col, whatever its shapes.
    #[cfg(test)]
    fn by_im2col(isa: Isa, g: &Geometry, n: usize) -> Self {
        Self { g: *g, n, isa, precision: Precision::F32, form: Form::Im2col }
    }

    /// act(convolution of `big` + bias), a batch of small maps.
    pub fn down(&self, big: &[f32], weights: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
        let mut small = self.linear_down(big, weights, Some(bias), activation.slope());
        if activation == Activation::Tanh {
            activation::tanh(self.isa, &mut small);
        }
        small
    }

    /// act(transposed convolution of `small` + bias), a batch of big maps.
    pub fn up(&self, small: &[f32], weights: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
        let mut big = self.linear_up(small, None, weights, Some(bias));
        match activation {
            Activation::Identity => {}
            Activation::LeakyRelu { slope } => activation::leaky(self.isa, &mut big, slope),
            Activation::Tanh => activation::tanh(self.isa, &mut big),
        }
        big
    }

    /// The gradients of [`down`](Self::down) of that of its output, which is used up.
    pub fn down_backward(&self, forward: Forward, grad: &mut [f32], wants: Wants) -> Grads {
        let mask = if let (Form::FewChannels, Activation::LeakyRelu { slope }) = (&self.form, forward.activation) {
            // The direct kernels take the leaky ReLU along.
            Some((forward.out, slope))
        } else {
            forward.activation.backward(self.isa, forward.out, grad);
            None
        };
        if let Form::Winograd(chunks) = &self.form {
            return self.winograd_down_backward(chunks, forward, grad, wants);
        }
        let mut grads = Grads::default();
        if wants.params {
            let (weights, bias) = self.param_grads(forward.input, grad, mask);
            (grads.weights, grads.bias) = (Some(weights), Some(bias));
        }
        grads.input = wants.input.then(|| self.linear_up(grad, mask, forward.weights, None));
        grads
    }

    /// The gradients of [`up`](Self::up) of that of its output, which is used up.
    pub fn up_backward(&self, forward: Forward, grad: &mut [f32], wants: Wants) -> Grads {
        forward.activation.backward(self.isa, forward.out, grad);
        let bias = wants.params.then(|| activation::channel_sums(self.isa, self.n, &self.g.big, grad));
        if let Form::Winograd(chunks) = &self.form {
            return Grads { bias, ..self.winograd_up_backward(chunks, forward, grad, wants) };
        }
        Grads {
            weights: wants.params.then(|| self.param_grads(grad, forward.input, None).0),
            bias,
            input: wants.input.then(|| self.linear_down(grad, forward.weights, None, 1.0)),
        }
    }

    /// Convolution, bias and leaky ReLU.
    fn linear_down(&self, big: &[f32], weights: &[f32], bias: Option<&[f32]>, slope: f32) -> Vec<f32> {
        let mut small = buffer::take(self.n * self.g.small.len());
        match &self.form {
            Form::Winograd(chunks) => {
                let weights = Factors::of_weights(self.isa, self.precision, chunks.first(), weights);
                for (first, plan) in chunks.each() {
                    let products = self.big_products(plan, images(big, first, plan, &self.g.big));
                    let small = images_mut(&mut small, first, plan, &self.g.small);
                    self.small_of_products(plan, &products, &weights, bias, slope, small);
                }
            }
            Form::FewChannels => few_channels::down(self.isa, &self.g, self.n, big, weights, bias, slope, &mut small),
            Form::Im2col => im2col::down(&self.g, self.n, big, weights, bias, slope, &mut small),
        }
        small
    }

    /// Transposed convolution and bias, of `small` that may be masked as in [`few_channels::up`].
    fn linear_up(&self, small: &[f32], mask: Option<(&[f32], f32)>, weights: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        let mut big = buffer::take(self.n * self.g.big.len());
        match &self.form {
            Form::Winograd(chunks) => {
                let weights = Factors::of_transposed_weights(self.isa, self.precision, chunks.first(), weights);
                for (first, plan) in chunks.each() {
                    let products = self.small_products(plan, images(small, first, plan, &self.g.small));
                    let big = images_mut(&mut big, first, plan, &self.g.big);
                    self.big_of_products(plan, &products, &weights, bias, big);
                }
            }
            Form::FewChannels => few_channels::up(self.isa, &self.g, self.n, small, mask, weights, bias, &mut big),
            Form::Im2col => im2col::up(&self.g, self.n, small, weights, bias, &mut big),
        }
        big
    }

    /// The gradient of the weights, and the sums of `small` a channel, without Winograd's form.
    fn param_grads(&self, big: &[f32], small: &[f32], mask: Option<(&[f32], f32)>) -> (Vec<f32>, Vec<f32>) {
        let mut weights = buffer::take(self.g.num_weights());
        let sums = if matches!(self.form, Form::FewChannels) {
            few_channels::weight_grad(self.isa, &self.g, self.n, big, small, mask, &mut weights)
        } else {
            im2col::weight_grad(&self.g, self.n, big, small, &mut weights);
            activation::channel_sums(self.isa, self.n, &self.g.small, small)
        };
        (weights, sums)
    }

    fn winograd_down_backward(&self, chunks: &Chunks, forward: Forward, grad: &[f32], wants: Wants) -> Grads {
        let Forward { input, weights, .. } = forward;
        let mut of_weights = wants.params.then(|| Buffer::of(chunks.first().weights_len()));
        let mut big = wants.input.then(|| {
            let products = Factors::of_transposed_weights(self.isa, self.precision, chunks.first(), weights);
            (products, buffer::take(self.n * self.g.big.len()))
        });
        for (first, plan) in chunks.each() {
            let products = self.small_products(plan, images(grad, first, plan, &self.g.small));
            if let Some(of_weights) = &mut of_weights {
                let of_input = self.big_products(plan, images(input, first, plan, &self.g.big));
                winograd::multiply_for_weights(
                    self.isa,
                    self.precision,
                    plan,
                    &of_input,
                    &products,
                    of_weights,
                    first > 0,
                );
            }
            if let Some((weights, big)) = &mut big {
                let big = images_mut(big, first, plan, &self.g.big);
                self.big_of_products(plan, &products, weights, None, big);
            }
        }
        Grads {
            weights: of_weights.map(|products| self.weights_of_products(chunks, &products)),
            bias: wants.params.then(|| activation::channel_sums(self.isa, self.n, &self.g.small, grad)),
            input: big.map(|(_, big)| big),
        }
    }

    fn winograd_up_backward(&self, chunks: &Chunks, forward: Forward, grad: &[f32], wants: Wants) -> Grads {
        let Forward { input, weights, .. } = forward;
        let mut of_weights = wants.params.then(|| Buffer::of(chunks.first().weights_len()));
        let mut small = wants.input.then(|| {
            (
                Factors::of_weights(self.isa, self.precision, chunks.first(), weights),
                buffer::take(self.n * self.g.small.len()),
            )
        });
        for (first, plan) in chunks.each() {
            let products = self.big_products(plan, images(grad, first, plan, &self.g.big));
            if let Some(of_weights) = &mut of_weights {
                let of_input = self.small_products(plan, images(input, first, plan, &self.g.small));
                winograd::multiply_for_weights(
                    self.isa,
                    self.precision,
                    plan,
                    &products,
                    &of_input,
                    of_weights,
                    first > 0,
                );
            }
            if let Some((weights, small)) = &mut small {
                let small = images_mut(small, first, plan, &self.g.small);
                self.small_of_products(plan, &products, weights, None, 1.0, small);
            }
        }
        Grads {
            weights: of_weights.map(|products| self.weights_of_products(chunks, &products)),
            bias: None,
            input: small.map(|(_, small)| small),
        }
    }

    fn big_products(&self, plan: &Plan, big: &[f32]) -> Buffer {
        let mut products = Buffer::of(plan.big_len());
        winograd::big_into_products(self.isa, plan, big, &mut products);
        products
    }

    fn small_products(&self, plan: &Plan, small: &[f32]) -> Buffer {
        let mut products = Buffer::of(plan.small_len());
        winograd::small_into_products(self.isa, plan, small, &mut products);
        products
    }

    fn small_of_products(
        &self,
        plan: &Plan,
        big: &[f32],
        weights: &Factors,
        bias: Option<&[f32]>,
        slope: f32,
        small: &mut [f32],
    ) {
        let mut products = Buffer::of(plan.small_len());
        winograd::multiply_down(self.isa, plan, big, weights, &mut products);
        winograd::small_out_of_products(self.isa, plan, &products, bias, slope, small);
    }

    fn big_of_products(&self, plan: &Plan, small: &[f32], weights: &Factors, bias: Option<&[f32]>, big: &mut [f32]) {
        let mut products = Buffer::of(plan.big_len());
        winograd::multiply_up(self.isa, plan, small, weights, &mut products);
        winograd::big_out_of_products(self.isa, plan, &products, bias, 1.0, big);
    }

    fn weights_of_products(&self, chunks: &Chunks, products: &[f32]) -> Vec<f32> {
        let mut grad = buffer::take(self.g.num_weights());
        winograd::weights_out_of_products(self.isa, chunks.first(), products, &mut grad);
        grad
    }
}

/// The images of one chunk.
fn images<'a>(batch: &'a [f32], first: usize, plan: &Plan, map: &MapShape) -> &'a [f32] {
    &batch[first * map.len()..][..plan.images() * map.len()]
}

fn images_mut<'a>(batch: &'a mut [f32], first: usize, plan: &Plan, map: &MapShape) -> &'a mut [f32] {
    &mut batch[first * map.len()..][..plan.images() * map.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::reference::{assert_close, noise};

    const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };

    /// The outer and the inner layer of a small DCGAN: few channels and Winograd's form.
    fn links() -> [Geometry; 2] {
        let map = |channels, side| MapShape { channels, height: side, width: side };
        [Geometry::of_conv(map(1, 28), 16, 4, 2, 1), Geometry::of_conv(map(16, 14), 32, 4, 2, 1)]
    }

    /// Output and all gradients, in one row.
    fn both_ways(conv: &Conv, g: &Geometry, activation: Activation, up: bool) -> Vec<Vec<f32>> {
        let (from, to) = if up { (g.small, g.big) } else { (g.big, g.small) };
        let (input, bias) = (noise(3 * from.len(), 1), noise(to.channels, 3));
        // Sums of a few units: the tanh of one of fifty would keep that one's rounding and not its size.
        let weights: Vec<f32> = noise(g.num_weights(), 2).iter().map(|w| 0.1 * w).collect();
        let out = if up {
            conv.up(&input, &weights, &bias, activation)
        } else {
            conv.down(&input, &weights, &bias, activation)
        };
        let mut grad = noise(out.len(), 4);
        let forward = Forward { input: &input, weights: &weights, out: &out, activation };
        let wants = Wants { params: true, input: true };
        let grads = if up {
            conv.up_backward(forward, &mut grad, wants)
        } else {
            conv.down_backward(forward, &mut grad, wants)
        };
        vec![out, grads.weights.unwrap(), grads.bias.unwrap(), grads.input.unwrap()]
    }

    #[test]
    fn all_forms_agree_forwards_and_backwards_with_every_activation() {
        for (g, isa) in links().iter().flat_map(|g| Isa::available().into_iter().map(move |isa| (g, isa))) {
            for (activation, up) in
                [Activation::Identity, LEAKY, Activation::Tanh].into_iter().flat_map(|a| [(a, false), (a, true)])
            {
                let fast = both_ways(&Conv::new(isa, Precision::F32, g, 3), g, activation, up);
                let plain = both_ways(&Conv::by_im2col(isa, g, 3), g, activation, up);
                for (fast, plain) in fast.iter().zip(&plain) {
                    let plain: Vec<f64> = plain.iter().map(|&x| f64::from(x)).collect();
                    // Two f32 sums in another order; the activation's derivative may jump where a sum is nearly zero,
                    // which these numbers do not meet.
                    assert_close(isa.name(), fast, &plain, 5e-5);
                }
            }
        }
    }

    #[test]
    fn bf16_products_are_close_to_f32_ones() {
        if !Precision::Bf16.is_available() {
            eprintln!("skipped: this processor has no AVX-512 BF16");
            return;
        }
        let g = links()[1];
        for up in [false, true] {
            let [rounded, exact] = [Precision::Bf16, Precision::F32]
                .map(|precision| both_ways(&Conv::new(Isa::in_use(), precision, &g, 3), &g, Activation::Identity, up));
            for (part, (rounded, exact)) in ["out", "weights", "bias", "input"].iter().zip(rounded.iter().zip(&exact)) {
                let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>().sqrt();
                let off = norm(&mut rounded.iter().zip(exact).map(|(a, b)| a - b));
                let share = off / norm(&mut exact.iter().copied());
                // 8 bits of mantissa are off by 2⁻⁹, and the transforms multiply that by a few; the bias has no
                // products.
                assert!(share < 2e-2 && (share > 1e-4 || *part == "bias"), "{part} is off by {share}");
            }
        }
    }

    #[test]
    fn a_batch_in_chunks_is_the_same_batch() {
        let g = links()[1];
        let conv = Conv::new(Isa::in_use(), Precision::F32, &g, 7);
        let in_chunks = |sizes: &[usize]| Conv {
            form: Form::Winograd(Chunks(sizes.iter().map(|&n| Plan::new(&g, n)).collect())),
            ..conv.clone()
        };
        let (input, weights) = (noise(7 * g.big.len(), 1), noise(g.num_weights(), 2));
        let run = |conv: &Conv| {
            let out = conv.down(&input, &weights, &[0.0; 32], LEAKY);
            let forward = Forward { input: &input, weights: &weights, out: &out, activation: LEAKY };
            let grads = conv.down_backward(forward, &mut noise(out.len(), 4), Wants { params: true, input: true });
            [out, grads.input.unwrap(), grads.weights.unwrap()]
        };
        let [whole, chunked] = [run(&in_chunks(&[7])), run(&in_chunks(&[3, 3, 1]))];
        assert_eq!(whole[..2], chunked[..2]);
        let exact: Vec<f64> = whole[2].iter().map(|&x| f64::from(x)).collect();
        // The gradient's sum over images is cut in another place.
        assert_close("weights", &chunked[2], &exact, 1e-5);
    }

    #[test]
    fn chunks_are_all_images_and_small_enough() {
        let map = MapShape { channels: 64, height: 14, width: 14 };
        let g = Geometry::of_conv(map, 128, 4, 2, 1);
        for n in [0, 1, 16, 63, 64, 65] {
            let chunks = Chunks::new(&g, n);
            assert_eq!(chunks.0.iter().map(Plan::images).sum::<usize>(), n);
            assert!(chunks.0.iter().all(|plan| plan.big_len() <= MOST_PRODUCTS + 4 * 64 * 100));
        }
    }
}
