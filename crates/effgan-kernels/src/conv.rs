//! Convolution and transposed convolution with bias and activation, forward and backward, by whichever form serves the
//! shapes: Winograd's, the direct one for [few channels](few_channels), or [`im2col`] for all others.

use std::cell::RefCell;
use std::sync::Arc;

use super::buffer::{self, Buffer};
use super::geometry::{Geometry, MapShape, Side};
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

/// A convolution (from the big map of a link) or a transposed one (from the small map), for batches of `n`.
#[derive(Clone, Debug)]
pub struct Conv {
    g: Geometry,
    from: Side,
    n: usize,
    isa: Isa,
    precision: Precision,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Winograd(Arc<Chunks>),
    FewChannels,
    Im2col,
}

/// Floats of the big map's products that a chunk of images may have, were each image's the plan of a batch of one
/// (spare rows take half of that one): 8 images of 64 × 14 × 14 in 0.7 MB, so that the transforms find the products in
/// the second cache. With fewer images the weights' products, which come from the third for every chunk, would be
/// waited for.
const MOST_PRODUCTS: usize = 340_000;

/// Batches whose [`Chunks`] a thread remembers: those of a few networks' layers.
const MOST_KNOWN: usize = 32;

/// A batch in chunks of equally many images, but for the last.
#[derive(Debug)]
struct Chunks {
    /// The plan of each of the first `whole` chunks.
    plan: Plan,
    whole: usize,
    /// That of the images that are left, or of a batch of none.
    last: Option<Plan>,
}

impl Chunks {
    /// The chunks of `n` images, which a thread makes out once.
    fn of(g: &Geometry, n: usize) -> Arc<Self> {
        thread_local! {
            static KNOWN: RefCell<Vec<(Geometry, usize, Arc<Chunks>)>> = const { RefCell::new(Vec::new()) };
        }
        KNOWN.with_borrow_mut(|known| {
            if let Some((.., chunks)) = known.iter().find(|(of, images, _)| (of, *images) == (g, n)) {
                return Arc::clone(chunks);
            }
            if known.len() == MOST_KNOWN {
                known.remove(0);
            }
            let chunks = Arc::new(Self::new(g, n));
            known.push((*g, n, Arc::clone(&chunks)));
            chunks
        })
    }

    fn new(g: &Geometry, n: usize) -> Self {
        let most = (MOST_PRODUCTS / Plan::new(g, 1).products_len(Side::Big)).max(1);
        let size = n.div_ceil(n.div_ceil(most).max(1)).max(1);
        let last = (!n.is_multiple_of(size) || n == 0).then(|| Plan::new(g, n % size));
        Self { plan: Plan::new(g, size), whole: n / size, last }
    }

    /// The plan of each chunk and its first image.
    fn each(&self) -> impl Iterator<Item = (usize, &Plan)> {
        let size = self.plan.images();
        let whole = (0..self.whole).map(move |i| (i * size, &self.plan));
        whole.chain(self.last.iter().map(move |last| (self.whole * size, last)))
    }

    /// One of the plans: weights have the same products in all.
    fn any(&self) -> &Plan {
        &self.plan
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
    /// From the map `from` of the link `g` to the other, for batches of `n`, in the fastest form that serves it;
    /// `precision` is that of Winograd's products.
    pub fn new(isa: Isa, precision: Precision, g: &Geometry, from: Side, n: usize) -> Self {
        let form = if winograd::fits(g) {
            Form::Winograd(Chunks::of(g, n))
        } else if few_channels::fits(g) {
            Form::FewChannels
        } else {
            Form::Im2col
        };
        Self { g: *g, from, n, isa, precision, form }
    }

    /// act(convolution of `input` + bias), or of the transposed convolution: a batch of the other map.
    pub fn forward(&self, input: &[f32], weights: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
        let mut out = self.linear(self.from, input, None, weights, Some(bias), activation.slope());
        if activation == Activation::Tanh {
            activation::tanh(self.isa, &mut out);
        }
        out
    }

    /// The gradients of [`forward`](Self::forward) of that of its output, which is used up.
    pub fn backward(&self, forward: Forward, grad: &mut [f32], wants: Wants) -> Grads {
        let mask = self.fused_mask(&forward);
        if mask.is_none() {
            forward.activation.backward(self.isa, forward.out, grad);
        }
        let mut grads = match &self.form {
            Form::Winograd(chunks) => self.winograd_backward(chunks, forward, grad, wants),
            Form::FewChannels | Form::Im2col => self.plain_backward(forward, grad, mask, wants),
        };
        if wants.params && grads.bias.is_none() {
            let map = self.g.map(self.from.other());
            grads.bias = Some(activation::channel_sums(self.isa, self.n, map, grad));
        }
        grads
    }

    /// Output and slope of a leaky ReLU that the direct kernels take along in their backward pass.
    fn fused_mask<'a>(&self, forward: &Forward<'a>) -> Option<(&'a [f32], f32)> {
        let Activation::LeakyRelu { slope } = forward.activation else { return None };
        let taken_along = matches!(self.form, Form::FewChannels) && self.from == Side::Big;
        taken_along.then_some((forward.out, slope))
    }

    /// Convolution from the map `from`, bias and leaky ReLU; with `mask`, of a gradient of the small map that is first
    /// taken back through a leaky ReLU (see [`few_channels::up`]).
    fn linear(
        &self,
        from: Side,
        input: &[f32],
        mask: Option<(&[f32], f32)>,
        weights: &[f32],
        bias: Option<&[f32]>,
        slope: f32,
    ) -> Vec<f32> {
        let Self { g, n, isa, .. } = self;
        let mut out = buffer::take(n * g.map(from.other()).len());
        match (&self.form, from) {
            (Form::Winograd(chunks), _) => {
                let factors = Factors::new(*isa, self.precision, chunks.any(), from, weights);
                for (first, plan) in chunks.each() {
                    let products = self.products(plan, from, images(input, first, plan, g.map(from)));
                    let out = images_mut(&mut out, first, plan, g.map(from.other()));
                    self.multiplied(plan, from, &products, &factors, bias, slope, out);
                }
            }
            (Form::FewChannels, Side::Big) => few_channels::down(*isa, g, *n, input, weights, bias, slope, &mut out),
            (Form::FewChannels, Side::Small) => few_channels::up(*isa, g, *n, input, mask, weights, bias, &mut out),
            (Form::Im2col, Side::Big) => im2col::down(g, *n, input, weights, bias, slope, &mut out),
            (Form::Im2col, Side::Small) => im2col::up(g, *n, input, weights, bias, &mut out),
        }
        // The kernels from the small map have no activation of their own.
        if from == Side::Small && slope != 1.0 && !matches!(self.form, Form::Winograd(_)) {
            activation::leaky(*isa, &mut out, slope);
        }
        out
    }

    /// Without Winograd's form; the sums that are the bias' gradient where they come along.
    fn plain_backward(&self, forward: Forward, grad: &[f32], mask: Option<(&[f32], f32)>, wants: Wants) -> Grads {
        let Self { g, from, n, isa, .. } = self;
        let mut grads = Grads::default();
        if wants.params {
            let (big, small) = big_and_small(*from, forward.input, grad);
            let mut weights = buffer::take(g.num_weights());
            if matches!(self.form, Form::FewChannels) {
                let sums = few_channels::weight_grad(*isa, g, *n, big, small, mask, &mut weights);
                match from {
                    Side::Big => grads.bias = Some(sums),
                    Side::Small => buffer::give_back(sums),
                }
            } else {
                im2col::weight_grad(g, *n, big, small, &mut weights);
            }
            grads.weights = Some(weights);
        }
        grads.input = wants.input.then(|| self.linear(from.other(), grad, mask, forward.weights, None, 1.0));
        grads
    }

    fn winograd_backward(&self, chunks: &Chunks, forward: Forward, grad: &[f32], wants: Wants) -> Grads {
        let Self { g, from, isa, precision, .. } = self;
        let to = from.other();
        let mut of_weights = wants.params.then(|| Buffer::of(chunks.any().weights_len()));
        let mut input_grad = wants.input.then(|| {
            let factors = Factors::new(*isa, *precision, chunks.any(), to, forward.weights);
            (factors, buffer::take(self.n * g.map(*from).len()))
        });
        for (first, plan) in chunks.each() {
            let of_grad = self.products(plan, to, images(grad, first, plan, g.map(to)));
            if let Some(of_weights) = &mut of_weights {
                let of_input = self.products(plan, *from, images(forward.input, first, plan, g.map(*from)));
                let (big, small) = big_and_small(*from, &of_input, &of_grad);
                winograd::multiply_for_weights(*isa, *precision, plan, big, small, of_weights, first > 0);
            }
            if let Some((factors, input_grad)) = &mut input_grad {
                let input_grad = images_mut(input_grad, first, plan, g.map(*from));
                self.multiplied(plan, to, &of_grad, factors, None, 1.0, input_grad);
            }
        }
        let weights = of_weights.map(|products| {
            let mut weights = buffer::take(g.num_weights());
            winograd::weights_out_of_products(*isa, chunks.any(), &products, &mut weights);
            weights
        });
        Grads { weights, bias: None, input: input_grad.map(|(_, input_grad)| input_grad) }
    }

    /// The products of one chunk of a map.
    fn products(&self, plan: &Plan, side: Side, maps: &[f32]) -> Buffer {
        let mut products = Buffer::of(plan.products_len(side));
        winograd::into_products(self.isa, plan, side, maps, &mut products);
        products
    }

    /// One chunk of the other map, of the products of the map `from`.
    #[allow(clippy::too_many_arguments, reason = "two factors, and what follows their product")]
    fn multiplied(
        &self,
        plan: &Plan,
        from: Side,
        products: &[f32],
        factors: &Factors,
        bias: Option<&[f32]>,
        slope: f32,
        out: &mut [f32],
    ) {
        let mut others = Buffer::of(plan.products_len(from.other()));
        winograd::multiply(self.isa, plan, from, products, factors, &mut others);
        winograd::out_of_products(self.isa, plan, from.other(), &others, bias, slope, out);
    }
}

/// What belongs to the big and to the small map, of what belongs to the map `from` and to the other.
fn big_and_small<'a>(from: Side, input: &'a [f32], out: &'a [f32]) -> (&'a [f32], &'a [f32]) {
    match from {
        Side::Big => (input, out),
        Side::Small => (out, input),
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
    use crate::reference::{assert_close, noise};

    const LEAKY: Activation = Activation::LeakyRelu { slope: 0.2 };

    /// The outer and the inner layer of a small DCGAN: few channels and Winograd's form.
    fn links() -> [Geometry; 2] {
        let map = |channels, side| MapShape { channels, height: side, width: side };
        [Geometry::of_conv(map(1, 28), 16, 4, 2, 1), Geometry::of_conv(map(16, 14), 32, 4, 2, 1)]
    }

    /// The same layer by im2col, whatever its shapes.
    fn by_im2col(conv: &Conv) -> Conv {
        Conv { form: Form::Im2col, ..conv.clone() }
    }

    /// Output and all gradients, in one row.
    fn both_ways(conv: &Conv, activation: Activation) -> Vec<Vec<f32>> {
        let (from, to) = (conv.g.map(conv.from), conv.g.map(conv.from.other()));
        let (input, bias) = (noise(3 * from.len(), 1), noise(to.channels, 3));
        // Sums of a few units: the tanh of one of fifty would keep that one's rounding and not its size.
        let weights: Vec<f32> = noise(conv.g.num_weights(), 2).iter().map(|w| 0.1 * w).collect();
        let out = conv.forward(&input, &weights, &bias, activation);
        let forward = Forward { input: &input, weights: &weights, out: &out, activation };
        let grads = conv.backward(forward, &mut noise(out.len(), 4), Wants { params: true, input: true });
        vec![out, grads.weights.unwrap(), grads.bias.unwrap(), grads.input.unwrap()]
    }

    #[test]
    fn all_forms_agree_forwards_and_backwards_with_every_activation() {
        for (g, isa) in links().iter().flat_map(|g| Isa::available().into_iter().map(move |isa| (g, isa))) {
            for (activation, from) in [Activation::Identity, LEAKY, Activation::Tanh]
                .into_iter()
                .flat_map(|activation| [(activation, Side::Big), (activation, Side::Small)])
            {
                let conv = Conv::new(isa, Precision::F32, g, from, 3);
                let (fast, plain) = (both_ways(&conv, activation), both_ways(&by_im2col(&conv), activation));
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
        for from in [Side::Big, Side::Small] {
            let [rounded, exact] = [Precision::Bf16, Precision::F32]
                .map(|precision| both_ways(&Conv::new(Isa::in_use(), precision, &g, from, 3), Activation::Identity));
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
        let conv = Conv::new(Isa::in_use(), Precision::F32, &g, Side::Big, 7);
        let in_chunks = |size, whole, last: Option<usize>| {
            let chunks = Chunks { plan: Plan::new(&g, size), whole, last: last.map(|n| Plan::new(&g, n)) };
            Conv { form: Form::Winograd(Arc::new(chunks)), ..conv.clone() }
        };
        let (input, weights) = (noise(7 * g.big.len(), 1), noise(g.num_weights(), 2));
        let run = |conv: &Conv| {
            let out = conv.forward(&input, &weights, &[0.0; 32], LEAKY);
            let forward = Forward { input: &input, weights: &weights, out: &out, activation: LEAKY };
            let grads = conv.backward(forward, &mut noise(out.len(), 4), Wants { params: true, input: true });
            [out, grads.input.unwrap(), grads.weights.unwrap()]
        };
        let [whole, chunked] = [run(&in_chunks(7, 1, None)), run(&in_chunks(3, 2, Some(1)))];
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
            assert_eq!(chunks.each().map(|(_, plan)| plan.images()).sum::<usize>(), n);
            assert!(chunks.each().all(|(_, plan)| plan.products_len(Side::Big) <= MOST_PRODUCTS + 4 * 64 * 100));
        }
    }
}
