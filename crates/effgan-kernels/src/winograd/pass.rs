//! The forward and the backward pass of a layer, chunk by chunk and strip by strip: side by side where there are enough
//! for all threads, so that a thread finds in its own caches what it has transformed.

use std::ops::Range;
use std::sync::Arc;

use super::multiply::{Factors, MapProducts, multiply, multiply_for_weights};
use super::plan::Plan;
use super::product_layout::Kind;
use super::transform::{Spacing, into_products, out_of_products};
use super::weights::weights_out_of_products;
use crate::buffer::{self, Scratch};
#[cfg(test)]
use crate::cost::Cost;
use crate::geometry::{Geometry, Side};
use crate::isa::Isa;
use crate::layer::{Grads, Input, Then, Wants};
use crate::parallel_for::{Shared, parallel_for, parallel_for_large};
use crate::precision::Precision;
use crate::product_bf16::Pack;

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
        self.plan.layout().kind.name()
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
        let (to, out) = (from.other(), Shared::new(out));
        let factors = self.factors_of_all_chunks(to, weights);
        parallel_for_large(self.plan.chunks(), |i| {
            let (first, layout) = self.plan.chunk(i);
            let mut products = Scratch::of(layout.products_len(layout.blocks(from)));
            into_products(self.isa, layout, from, &maps[first * read.image..], read, &mut products);
            // SAFETY: each chunk's images are written by one call.
            unsafe { self.write(i, to, &products, weights, factors.as_ref(), then, out, written) };
        });
    }

    fn spacing(&self, side: Side) -> Spacing {
        Spacing::of(self.plan.layout().g.map(side))
    }

    /// The gradients of a layer that read the map `from`, given the gradient of its output, without that of the bias.
    pub(crate) fn backward(&self, from: Side, input: Input, weights: &[f32], grad: &[f32], wants: Wants) -> Grads {
        let (plan, to) = (&*self.plan, from.other());
        let mut of_weights = wants.params.then(|| buffer::take(plan.layout().g.num_weights()));
        // The gradient of a chunk takes the place of its input, which was transformed before.
        let (others, mut memory) = match input {
            Input::Shared(values) => (Some(values), wants.input.then(|| buffer::take(values.len()))),
            Input::Own(values) => (None, Some(values)),
        };
        // What all chunks use lies below what each takes, so that no memory between them is lost.
        let factors = if wants.input { self.factors_of_all_chunks(from, weights) } else { None };
        let mut sums = (wants.params && plan.chunks() > 1).then(|| self.weight_products());
        for chunks in self.groups() {
            let of_grad = self.products(chunks.clone(), to, grad);
            if let Some(of_weights) = &mut of_weights {
                let input = others.or(memory.as_deref()).expect("the input is shared or owned");
                let of_input = self.products(chunks.clone(), from, input);
                let maps = if from == Side::Input { [&of_input, &of_grad] } else { [&of_grad, &of_input] };
                match &mut sums {
                    Some(sums) => self.add_weights(chunks.clone(), maps, sums),
                    None => self.write_weights(maps, of_weights),
                }
            }
            if let Some(memory) = memory.as_deref_mut().filter(|_| wants.input) {
                let (then, memory) = (Then { bias: None, slope: 1.0 }, Shared::new(memory));
                parallel_for(chunks.len(), |j| {
                    let (i, of_grad) = (chunks.start + j, self.part(&of_grad, to, &chunks, j));
                    // SAFETY: each chunk's images are written by one call.
                    unsafe {
                        self.write(i, from, of_grad, weights, factors.as_ref(), then, memory, self.spacing(from));
                    }
                });
            }
        }
        if let (Some(of_weights), Some(sums)) = (&mut of_weights, &sums) {
            let (layout, grad) = (plan.layout(), Shared::new(of_weights));
            // SAFETY: it is borrowed here alone.
            unsafe { weights_out_of_products(self.isa, layout, 0..layout.blocks(Side::Output), sums, grad) };
        }
        let input = if wants.input { memory } else { memory.map(buffer::give_back).and(None) };
        Grads { weights: of_weights, bias: None, input }
    }

    /// The chunks in groups, one chunk for each thread where there are enough.
    fn groups(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (chunks, threads) = (self.plan.chunks(), rayon::current_num_threads());
        let size = if chunks >= 2 * threads { threads } else { 1 };
        (0..chunks).step_by(size).map(move |first| first..chunks.min(first + size))
    }

    /// The transforms of the maps of some chunks, one after the other.
    fn products(&self, chunks: Range<usize>, side: Side, maps: &[f32]) -> Scratch {
        let mut products = Scratch::of(chunks.len() * self.products_len(side));
        let (spacing, parts) = (self.spacing(side), Shared::new(&mut products));
        parallel_for(chunks.len(), |j| {
            let (first, layout) = self.plan.chunk(chunks.start + j);
            // SAFETY: each part is written by one call.
            let products = unsafe { parts.part(j * self.products_len(side), layout.products_len(layout.blocks(side))) };
            into_products(self.isa, layout, side, &maps[first * spacing.image..], spacing, products);
        });
        products
    }

    /// The products of chunk `j` of `chunks`.
    fn part<'a>(&self, products: &'a [f32], side: Side, chunks: &Range<usize>, j: usize) -> &'a [f32] {
        let layout = self.plan.chunk(chunks.start + j).1;
        &products[j * self.products_len(side)..][..layout.products_len(layout.blocks(side))]
    }

    /// Length of the products of a chunk that others follow.
    fn products_len(&self, side: Side) -> usize {
        let layout = if self.plan.chunks() == 1 { self.plan.chunk(0).1 } else { self.plan.layout() };
        layout.products_len(layout.blocks(side))
    }

    /// The factors that write the maps `to`, where they serve several chunks: where there is a single strip.
    fn factors_of_all_chunks(&self, to: Side, weights: &[f32]) -> Option<Factors> {
        (self.plan.chunks() > 1 && self.plan.strips(to) == 1).then(|| self.factors(to, 0, weights))
    }

    fn factors(&self, to: Side, strip: usize, weights: &[f32]) -> Factors {
        Factors::new(self.isa, self.precision, self.plan.layout(), to, self.plan.strip(to, strip), weights)
    }

    /// Writes the maps `to` of chunk `i` to their place among `maps`, those of all chunks, given its products of the other
    /// map and the factors that serve all chunks, if any.
    ///
    /// # Safety
    /// Nobody else reads or writes these maps at the same time.
    #[allow(clippy::too_many_arguments, reason = "two factors, and the bias and activation after their product")]
    unsafe fn write(
        &self,
        i: usize,
        to: Side,
        products: &[f32],
        weights: &[f32],
        factors: Option<&Factors>,
        then: Then,
        maps: Shared,
        spacing: Spacing,
    ) {
        let (first, layout) = self.plan.chunk(i);
        let maps = maps.after(first * spacing.image);
        let strips = self.plan.strips(to);
        MapProducts::read_several_times(self.precision, layout, to.other(), products, Pack::Rows, strips, |read| {
            parallel_for_large(strips, |i| {
                let own = factors.is_none().then(|| self.factors(to, i, weights));
                let factors = factors.or(own.as_ref()).expect("one of both");
                let strip = self.plan.strip(to, i);
                let mut written = Scratch::of(layout.products_len(strip.len()));
                multiply(self.isa, layout, read, factors, &mut written);
                // SAFETY: the caller's, and each strip is written by one call.
                unsafe { out_of_products(self.isa, layout, to, strip, &written, then, maps, spacing) };
            });
        });
    }

    /// Memory for the products of all weights.
    fn weight_products(&self) -> Scratch {
        let layout = self.plan.layout();
        Scratch::of(layout.weights_len(Side::Output, layout.blocks(Side::Output)))
    }

    /// Adds some of several chunks, in order, to the products of the weights' gradient: the first chunk writes them.
    fn add_weights(&self, chunks: Range<usize>, [input, output]: [&Scratch; 2], sums: &mut Scratch) {
        let Self { isa, precision, plan } = self;
        for (j, i) in chunks.clone().enumerate() {
            let layout = plan.chunk(i).1;
            let input = MapProducts::read_once(self.part(input, Side::Input, &chunks, j));
            let output = self.part(output, Side::Output, &chunks, j);
            let all = 0..layout.blocks(Side::Output);
            multiply_for_weights(*isa, *precision, layout, input, output, all, sums, i > 0);
        }
    }

    /// Writes the gradient of the weights, given the products of the only chunk.
    fn write_weights(&self, [input, output]: [&Scratch; 2], weights: &mut [f32]) {
        let Self { isa, precision, plan } = self;
        let (layout, weights, strips) = (plan.chunk(0).1, Shared::new(weights), plan.strips(Side::Output));
        MapProducts::read_several_times(*precision, layout, Side::Input, input, Pack::Pairs, strips, |input| {
            parallel_for_large(strips, |i| {
                let strip = plan.strip(Side::Output, i);
                let mut sums = Scratch::of(layout.weights_len(Side::Output, strip.len()));
                multiply_for_weights(*isa, *precision, layout, input, output, strip.clone(), &mut sums, false);
                // SAFETY: each strip is written by one call.
                unsafe { weights_out_of_products(*isa, layout, strip, &sums, weights) };
            });
        });
    }
}
