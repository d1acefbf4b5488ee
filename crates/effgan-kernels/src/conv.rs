//! Convolution and transposed convolution with bias and activation, forward and backward. The shapes decide the
//! algorithm: Winograd's, the direct one for [few channels](few_channels), or [`im2col`] for all others.

use std::cell::RefCell;
use std::sync::Arc;

use super::buffer::{self, Buffer};
use super::geometry::{Geometry, MapShape, Side};
use super::isa::Isa;
use super::precision::Precision;
use super::winograd::{self, Factors, ProductLayout};
use super::{activation, few_channels, im2col};

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

    /// Turns `grad`, the gradient of the activation's output `out`, into the gradient of its input.
    pub fn backward(self, isa: Isa, out: &[f32], grad: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::LeakyRelu { slope } => activation::leaky_backward(isa, out, grad, slope),
            Self::Tanh => activation::tanh_backward(isa, out, grad),
        }
    }
}

/// A convolution or a transposed convolution for batches of `n` images.
#[derive(Clone, Debug)]
pub struct Conv {
    g: Geometry,
    /// The map that the layer reads.
    from: Side,
    n: usize,
    isa: Isa,
    precision: Precision,
    form: Form,
}

/// The algorithm.
#[derive(Clone, Debug)]
enum Form {
    Winograd(Arc<Chunks>),
    FewChannels,
    Im2col,
}

/// Maximum number of floats of the input map's products in a chunk of images. Each image counts as a batch of one, of
/// which half are spare rows: 8 images of 64 × 14 × 14 then take 0.7 MB, and the transforms find the products in the L2
/// cache. In smaller chunks, loading the weights' products from the L3 cache, once per chunk, would take longer than multiplying.
const MAX_PRODUCTS: usize = 340_000;

/// Maximum number of [`Chunks`] that a thread keeps: enough for the layers of a few networks.
const MAX_KNOWN: usize = 32;

/// A batch divided into chunks of equally many images, except for the last.
#[derive(Debug)]
struct Chunks {
    /// The layout of each whole chunk.
    layout: ProductLayout,
    /// Number of whole chunks.
    whole: usize,
    /// The layout of the remaining images, if any, or of an empty batch.
    last: Option<ProductLayout>,
}

impl Chunks {
    /// The chunks of `n` images, computed once per thread.
    fn of(g: &Geometry, n: usize) -> Arc<Self> {
        thread_local! {
            static KNOWN: RefCell<Vec<(Geometry, usize, Arc<Chunks>)>> = const { RefCell::new(Vec::new()) };
        }
        KNOWN.with_borrow_mut(|known| {
            if let Some((.., chunks)) = known.iter().find(|(of, images, _)| (of, *images) == (g, n)) {
                return Arc::clone(chunks);
            }
            if known.len() == MAX_KNOWN {
                known.remove(0);
            }
            let chunks = Arc::new(Self::new(g, n));
            known.push((*g, n, Arc::clone(&chunks)));
            chunks
        })
    }

    fn new(g: &Geometry, n: usize) -> Self {
        let max_images = (MAX_PRODUCTS / ProductLayout::new(g, 1).products_len(Side::Input)).max(1);
        let size = n.div_ceil(n.div_ceil(max_images).max(1)).max(1);
        let last = (!n.is_multiple_of(size) || n == 0).then(|| ProductLayout::new(g, n % size));
        Self { layout: ProductLayout::new(g, size), whole: n / size, last }
    }

    /// The first image and the layout of each chunk.
    fn each(&self) -> impl Iterator<Item = (usize, &ProductLayout)> {
        let size = self.layout.images();
        let whole = (0..self.whole).map(move |i| (i * size, &self.layout));
        whole.chain(self.last.iter().map(move |last| (self.whole * size, last)))
    }

    /// One of the layouts, for the weights, whose products are the same in all.
    fn any(&self) -> &ProductLayout {
        &self.layout
    }
}

/// What the backward pass needs of the forward pass.
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

/// Which gradients the backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Those of the weights and the bias.
    pub params: bool,
    /// That of the input.
    pub input: bool,
}

/// The gradients that [`Wants`] selects.
#[derive(Clone, Debug, Default)]
pub struct Grads {
    /// `[kernel · kernel, input.channels, output.channels]`.
    pub weights: Option<Vec<f32>>,
    /// One value per channel of the layer's output.
    pub bias: Option<Vec<f32>>,
    /// Shaped as the layer's input.
    pub input: Option<Vec<f32>>,
}

impl Conv {
    /// The layer of geometry `g` that reads the map `from`, for batches of `n` images, by the fastest algorithm for its
    /// shapes. `precision` applies only to Winograd's products.
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

    /// The layer's output, act(convolution of `input` + bias), transposed where the layer is.
    pub fn forward(&self, input: &[f32], weights: &[f32], bias: &[f32], activation: Activation) -> Vec<f32> {
        let mut out = self.linear(self.from, input, None, weights, Some(bias), activation.slope());
        if activation == Activation::Tanh {
            activation::tanh(self.isa, &mut out);
        }
        out
    }

    /// The gradients of [`forward`](Self::forward), given the gradient `grad` of its output, which is overwritten.
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

    /// Output and slope of the leaky ReLU, where the direct kernels fuse its backward pass with their own.
    fn fused_mask<'a>(&self, forward: &Forward<'a>) -> Option<(&'a [f32], f32)> {
        let Activation::LeakyRelu { slope } = forward.activation else { return None };
        let is_fused = matches!(self.form, Form::FewChannels) && self.from == Side::Input;
        is_fused.then_some((forward.out, slope))
    }

    /// Convolution that reads the map `from`, bias and leaky ReLU. With `mask`, `input` is a gradient that first passes
    /// back through a leaky ReLU (see [`few_channels::conv_transpose`]).
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
                for (first, layout) in chunks.each() {
                    let products = self.products(layout, from, images(input, first, layout, g.map(from)));
                    let out = images_mut(&mut out, first, layout, g.map(from.other()));
                    self.multiplied(layout, from, &products, &factors, bias, slope, out);
                }
            }
            (Form::FewChannels, Side::Input) => few_channels::conv(*isa, g, *n, input, weights, bias, slope, &mut out),
            (Form::FewChannels, Side::Output) => {
                few_channels::conv_transpose(*isa, g, *n, input, mask, weights, bias, &mut out);
            }
            (Form::Im2col, Side::Input) => im2col::conv(g, *n, input, weights, bias, slope, &mut out),
            (Form::Im2col, Side::Output) => im2col::conv_transpose(g, *n, input, weights, bias, &mut out),
        }
        // These two kernels have no activation of their own.
        if from == Side::Output && slope != 1.0 && !matches!(self.form, Form::Winograd(_)) {
            activation::leaky(*isa, &mut out, slope);
        }
        out
    }

    /// The backward pass by any algorithm but Winograd's; with the gradient of the bias where the kernel sums it anyway.
    fn plain_backward(&self, forward: Forward, grad: &[f32], mask: Option<(&[f32], f32)>, wants: Wants) -> Grads {
        let Self { g, from, n, isa, .. } = self;
        let mut grads = Grads::default();
        if wants.params {
            let (input, output) = by_side(*from, forward.input, grad);
            let mut weights = buffer::take(g.num_weights());
            if matches!(self.form, Form::FewChannels) {
                let sums = few_channels::weight_grad(*isa, g, *n, input, output, mask, &mut weights);
                match from {
                    Side::Input => grads.bias = Some(sums),
                    Side::Output => buffer::give_back(sums),
                }
            } else {
                im2col::weight_grad(g, *n, input, output, &mut weights);
            }
            grads.weights = Some(weights);
        }
        grads.input = wants.input.then(|| self.linear(from.other(), grad, mask, forward.weights, None, 1.0));
        grads
    }

    /// The backward pass by Winograd's algorithm, without the gradient of the bias.
    fn winograd_backward(&self, chunks: &Chunks, forward: Forward, grad: &[f32], wants: Wants) -> Grads {
        let Self { g, from, isa, precision, .. } = self;
        let to = from.other();
        let mut of_weights = wants.params.then(|| Buffer::of(chunks.any().weights_len()));
        let mut input_grad = wants.input.then(|| {
            let factors = Factors::new(*isa, *precision, chunks.any(), to, forward.weights);
            (factors, buffer::take(self.n * g.map(*from).len()))
        });
        for (first, layout) in chunks.each() {
            let of_grad = self.products(layout, to, images(grad, first, layout, g.map(to)));
            if let Some(of_weights) = &mut of_weights {
                let of_input = self.products(layout, *from, images(forward.input, first, layout, g.map(*from)));
                let (input, output) = by_side(*from, &of_input, &of_grad);
                winograd::multiply_for_weights(*isa, *precision, layout, input, output, of_weights, first > 0);
            }
            if let Some((factors, input_grad)) = &mut input_grad {
                let input_grad = images_mut(input_grad, first, layout, g.map(*from));
                self.multiplied(layout, to, &of_grad, factors, None, 1.0, input_grad);
            }
        }
        let weights = of_weights.map(|products| {
            let mut weights = buffer::take(g.num_weights());
            winograd::weights_out_of_products(*isa, chunks.any(), &products, &mut weights);
            weights
        });
        Grads { weights, bias: None, input: input_grad.map(|(_, input_grad)| input_grad) }
    }

    /// The transform of one chunk's maps into products.
    fn products(&self, layout: &ProductLayout, side: Side, maps: &[f32]) -> Buffer {
        let mut products = Buffer::of(layout.products_len(side));
        winograd::into_products(self.isa, layout, side, maps, &mut products);
        products
    }

    /// Writes one chunk of the layer's output to `out`: `products`, those of the map `from`, times `factors`.
    #[allow(clippy::too_many_arguments, reason = "two factors, and the bias and activation after their product")]
    fn multiplied(
        &self,
        layout: &ProductLayout,
        from: Side,
        products: &[f32],
        factors: &Factors,
        bias: Option<&[f32]>,
        slope: f32,
        out: &mut [f32],
    ) {
        let mut others = Buffer::of(layout.products_len(from.other()));
        winograd::multiply(self.isa, layout, from, products, factors, &mut others);
        winograd::out_of_products(self.isa, layout, from.other(), &others, bias, slope, out);
    }
}

/// `(input, output)` of the geometry, given what belongs to the map that the layer reads and to the one that it writes.
fn by_side<'a>(from: Side, read: &'a [f32], written: &'a [f32]) -> (&'a [f32], &'a [f32]) {
    match from {
        Side::Input => (read, written),
        Side::Output => (written, read),
    }
}

/// The maps of the images of one chunk, the first of which is image `first` of the batch.
fn images<'a>(batch: &'a [f32], first: usize, layout: &ProductLayout, map: &MapShape) -> &'a [f32] {
    &batch[first * map.len()..][..layout.images() * map.len()]
}

fn images_mut<'a>(batch: &'a mut [f32], first: usize, layout: &ProductLayout, map: &MapShape) -> &'a mut [f32] {
    &mut batch[first * map.len()..][..layout.images() * map.len()]
}

#[cfg(test)]
mod tests;
