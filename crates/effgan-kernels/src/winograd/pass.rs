//! The forward and the backward pass of a layer, chunk by chunk and strip by strip.

use std::sync::Arc;

use super::multiply::{Factors, multiply, multiply_for_weights};
use super::plan::Plan;
use super::product_layout::{Kind, ProductLayout};
use super::transform::{Spacing, into_products, out_of_products};
use super::weights::weights_out_of_products;
use crate::buffer::{self, Scratch};
#[cfg(test)]
use crate::cost::Cost;
use crate::geometry::{Geometry, Side};
use crate::isa::Isa;
use crate::layer::{Grads, Input, Then, Wants};
use crate::precision::Precision;

/// A layer for batches of one size.
#[derive(Clone, Debug)]
pub(crate) struct Winograd {
    isa: Isa,
    precision: Precision,
    plan: Arc<Plan>,
}

impl Winograd {
    /// The layer of geometry `g` for batches of `n` images, if there is a form for it.
    pub(crate) fn new(isa: Isa, precision: Precision, g: &Geometry, n: usize) -> Option<Self> {
        Kind::of(g).map(|kind| Self { isa, precision, plan: Plan::of(isa, precision, g, kind, n) })
    }

    /// The layer with chunks of `chunk` images and strips of `strip` blocks, whatever they cost.
    #[cfg(test)]
    pub(crate) fn divided(isa: Isa, precision: Precision, g: &Geometry, n: usize, [chunk, strip]: [usize; 2]) -> Self {
        let kind = Kind::of(g).expect("there is a form");
        let plan = Plan::new(Cost::new(isa, precision), g, kind, n, chunk.clamp(1, n.max(1)), strip);
        Self { isa, precision, plan: Arc::new(plan) }
    }

    /// `F(4, 2)` or `F(4, 3)`.
    pub(crate) fn name(&self) -> &'static str {
        self.plan.any().kind.name()
    }

    /// Estimated nanoseconds of a forward and a backward pass.
    pub(crate) fn cost(&self) -> f64 {
        self.plan.cost()
    }

    /// Writes act(convolution of the maps `from` + bias) to `out`.
    pub(crate) fn forward(&self, from: Side, maps: &[f32], weights: &[f32], then: Then, out: &mut [f32]) {
        let spacings = [from, from.other()].map(|side| self.spacing(side));
        self.forward_spaced(from, maps, weights, then, out, spacings);
    }

    /// As [`forward`](Self::forward), for maps and an output with these spacings.
    pub(crate) fn forward_spaced(
        &self,
        from: Side,
        maps: &[f32],
        weights: &[f32],
        then: Then,
        out: &mut [f32],
        [read, written]: [Spacing; 2],
    ) {
        let mut factors = None;
        for (first, layout) in self.plan.chunks() {
            let products = self.products(layout, from, &maps[first * read.image..], read);
            let out = &mut out[first * written.image..];
            self.write(layout, from.other(), &products, weights, &mut factors, then, out, written);
        }
    }

    fn spacing(&self, side: Side) -> Spacing {
        Spacing::of(self.plan.any().g.map(side))
    }

    /// The gradients of a layer that read the map `from`, given the gradient of its output, without that of the bias.
    pub(crate) fn backward(&self, from: Side, input: Input, weights: &[f32], grad: &[f32], wants: Wants) -> Grads {
        let (g, to) = (self.plan.any().g, from.other());
        let [read, written] = [from, to].map(|side| self.spacing(side));
        let mut of_weights = wants.params.then(|| buffer::take(g.num_weights()));
        // The gradient of a chunk takes the place of its input, which was transformed before.
        let (shared, mut memory) = match input {
            Input::Shared(values) => (Some(values), wants.input.then(|| buffer::take(values.len()))),
            Input::Own(values) => (None, Some(values)),
        };
        let (mut factors, mut sums) = (None, None);
        for (first, layout) in self.plan.chunks() {
            let of_grad = self.products(layout, to, &grad[first * written.image..], written);
            if let Some(of_weights) = &mut of_weights {
                let input = shared.or(memory.as_deref()).expect("the input is shared or owned");
                let of_input = self.products(layout, from, &input[first * read.image..], read);
                let maps = if from == Side::Input { [&*of_input, &*of_grad] } else { [&*of_grad, &*of_input] };
                self.add_weights(layout, maps, &mut sums, of_weights);
            }
            if let Some(memory) = memory.as_mut().filter(|_| wants.input) {
                let then = Then { bias: None, slope: 1.0 };
                let input_grad = &mut memory[first * read.image..];
                self.write(layout, from, &of_grad, weights, &mut factors, then, input_grad, read);
            }
        }
        if let (Some(of_weights), Some(sums)) = (&mut of_weights, &sums) {
            let layout = self.plan.any();
            weights_out_of_products(self.isa, layout, 0..layout.blocks(Side::Output), sums, of_weights);
        }
        let input = if wants.input { memory } else { memory.map(buffer::give_back).and(None) };
        Grads { weights: of_weights, bias: None, input }
    }

    /// The transform of one chunk's maps into products.
    fn products(&self, layout: &ProductLayout, side: Side, maps: &[f32], spacing: Spacing) -> Scratch {
        let mut products = Scratch::of(layout.products_len(layout.blocks(side)));
        into_products(self.isa, layout, side, maps, spacing, &mut products);
        products
    }

    /// Writes one chunk of the maps `to`, given the products of the other map. `factors` are kept for the next chunk.
    #[allow(clippy::too_many_arguments, reason = "two factors, and the bias and activation after their product")]
    fn write(
        &self,
        layout: &ProductLayout,
        to: Side,
        products: &[f32],
        weights: &[f32],
        factors: &mut Option<Factors>,
        then: Then,
        maps: &mut [f32],
        spacing: Spacing,
    ) {
        for strip in self.plan.strips(to) {
            // Those of a single strip serve all chunks.
            if factors.is_none() || strip.len() < layout.blocks(to) {
                // First, so that their memory is used again.
                *factors = None;
                *factors = Some(Factors::new(self.isa, self.precision, layout, to, strip.clone(), weights));
            }
            let factors = factors.as_ref().expect("they are made where there are none");
            let mut written = Scratch::of(layout.products_len(strip.len()));
            multiply(self.isa, layout, products, factors, &mut written);
            out_of_products(self.isa, layout, to, strip, &written, then, maps, spacing);
        }
    }

    /// Adds one chunk to the gradient of the weights: to `sums`, their products, where there are several chunks.
    fn add_weights(
        &self,
        layout: &ProductLayout,
        [input, output]: [&[f32]; 2],
        sums: &mut Option<Scratch>,
        weights: &mut [f32],
    ) {
        let Self { isa, precision, plan } = self;
        let all = 0..layout.blocks(Side::Output);
        if plan.has_chunks() {
            let add = sums.is_some();
            let sums = sums.get_or_insert_with(|| Scratch::of(layout.weights_len(Side::Output, all.len())));
            multiply_for_weights(*isa, *precision, layout, input, output, all, sums, add);
            return;
        }
        for strip in plan.strips(Side::Output) {
            let mut sums = Scratch::of(layout.weights_len(Side::Output, strip.len()));
            multiply_for_weights(*isa, *precision, layout, input, output, strip.clone(), &mut sums, false);
            weights_out_of_products(*isa, layout, strip, &sums, weights);
        }
    }
}
