//! How a batch and a layer's weights are divided, so that products stay in the caches.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::product_layout::{Kind, ProductLayout};
use crate::cost::{Cost, in_order, moved, read_again};
use crate::geometry::{Geometry, Side};
use crate::isa::Isa;
use crate::precision::Precision;

/// What a plan depends on.
type Key = (Isa, Precision, Geometry, usize);

/// Maximum number of plans that a thread keeps: enough for the layers of a few networks.
const MAX_KNOWN: usize = 64;

/// A batch divided into chunks of images, and each map's blocks of columns into strips.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The layout of each whole chunk.
    layout: ProductLayout,
    /// Number of whole chunks.
    whole: usize,
    /// The layout of the remaining images, if any, or of an empty batch.
    last: Option<ProductLayout>,
    /// Maximum number of blocks in a strip.
    strip: usize,
    /// Estimated nanoseconds of the layer's forward and backward pass.
    cost: f64,
}

/// Nanoseconds that a chunk costs beside its arithmetic and memory: threads wait for each other between its transforms
/// and its products.
const OVERHEAD: f64 = 5e3;

/// Number of blocks in a strip where a layer has several: the width of a register tile.
const STRIP: usize = 2;

impl Plan {
    /// The plan for `n` images, made once per thread.
    pub(crate) fn of(isa: Isa, precision: Precision, g: &Geometry, kind: Kind, n: usize) -> Arc<Self> {
        thread_local! {
            static KNOWN: RefCell<Vec<(Key, Arc<Plan>)>> = const { RefCell::new(Vec::new()) };
        }
        let key = (isa, precision, *g, n);
        KNOWN.with_borrow_mut(|known| {
            if let Some((_, plan)) = known.iter().find(|(of, _)| *of == key) {
                return Arc::clone(plan);
            }
            if known.len() == MAX_KNOWN {
                known.remove(0);
            }
            let plan = Arc::new(Self::cheapest(Cost::new(isa, precision), g, kind, n));
            known.push((key, Arc::clone(&plan)));
            plan
        })
    }

    /// The plan of least cost.
    fn cheapest(cost: Cost, g: &Geometry, kind: Kind, n: usize) -> Self {
        let chunks = (0..).map(|halvings| n.div_ceil(1 << halvings)).take_while(|&size| size > 1);
        let divided = chunks.chain([1]).flat_map(|size| [(size, STRIP), (size, usize::MAX)]);
        let plans = divided.map(|(size, strip)| Self::new(cost, g, kind, n, size, strip));
        plans.min_by(|a, b| a.cost.total_cmp(&b.cost)).expect("there is one chunk at least")
    }

    /// The plan with chunks of `size` ≥ 1 images and strips of at most `strip` blocks.
    pub(crate) fn new(cost: Cost, g: &Geometry, kind: Kind, n: usize, size: usize, strip: usize) -> Self {
        let last = (!n.is_multiple_of(size) || n == 0).then(|| ProductLayout::new(g, kind, n % size));
        let mut plan = Self { layout: ProductLayout::new(g, kind, size), whole: n / size, last, strip, cost: 0.0 };
        let writes = [Side::Input, Side::Output].map(|to| plan.cost_of_writing(cost, to));
        plan.cost = writes.iter().sum::<f64>() + plan.cost_of_weights(cost);
        plan
    }

    /// Nanoseconds for writing the maps `to`, given the other maps.
    fn cost_of_writing(&self, cost: Cost, to: Side) -> f64 {
        let (layout, strips) = (&self.layout, self.strips(to));
        let strip = self.strip.min(layout.blocks(to));
        let read = size_of::<f32>() * layout.products_len(layout.blocks(to.other()));
        let written = size_of::<f32>() * layout.products_len(strip);
        let factors = size_of::<f32>() * layout.weights_len(to, strip);
        // Kept for all chunks where there is one strip.
        let transforms = if strips == 1 { 1 } else { self.chunks() * strips };
        let streams = if strips == 1 { in_order(factors, factors) } else { read_again(strips * read, read) };
        // Both maps' products take turns in the caches.
        let resident = read + written;
        let of_chunk = moved(read + written * strips, resident) + cost.product(layout.multiply_adds(), streams);
        self.chunks() as f64 * (of_chunk + OVERHEAD) + transforms as f64 * moved(factors, factors)
    }

    /// Nanoseconds for the gradient of the weights, given the products of both maps.
    fn cost_of_weights(&self, cost: Cost) -> f64 {
        let (layout, strip) = (&self.layout, self.strip.min(self.layout.blocks(Side::Output)));
        let of = |blocks| size_of::<f32>() * layout.weights_len(Side::Output, blocks);
        let all = of(layout.blocks(Side::Output));
        let read = size_of::<f32>() * layout.products_len(layout.blocks(Side::Input));
        let chunks = self.chunks();
        if chunks > 1 {
            // The sums are read and written once per chunk.
            let of_chunk = cost.product(layout.multiply_adds(), in_order(2 * all, all)) + moved(read, read);
            return chunks as f64 * of_chunk + moved(all, all);
        }
        cost.product(layout.multiply_adds(), read_again(self.strips(Side::Output) * read, read))
            + moved(2 * all, of(strip))
    }

    /// Number of chunks, ≥ 1.
    pub(crate) fn chunks(&self) -> usize {
        self.whole + usize::from(self.last.is_some())
    }

    /// The first image and the layout of chunk `i`.
    pub(crate) fn chunk(&self, i: usize) -> (usize, &ProductLayout) {
        let last = self.last.as_ref().filter(|_| i == self.whole);
        (i * self.layout.images(), last.unwrap_or(&self.layout))
    }

    /// The layout of whole chunks. The weights' products are the same in all chunks.
    pub(crate) fn layout(&self) -> &ProductLayout {
        &self.layout
    }

    /// Number of strips of the map `to`, ≥ 1.
    pub(crate) fn strips(&self, to: Side) -> usize {
        self.layout.blocks(to).div_ceil(self.strip)
    }

    /// The blocks of strip `i` of the map `to`.
    pub(crate) fn strip(&self, to: Side, i: usize) -> Range<usize> {
        let (blocks, first) = (self.layout.blocks(to), i * self.strip);
        first..first.saturating_add(self.strip).min(blocks)
    }

    /// Estimated nanoseconds of the layer's forward and backward pass.
    pub(crate) fn cost(&self) -> f64 {
        self.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MapShape;

    fn plan(isa: Isa, channels: [usize; 2], side: usize, n: usize) -> Arc<Plan> {
        let input = MapShape { channels: channels[0], height: side, width: side };
        let g = Geometry::of_conv(input, channels[1], 4, 2, 1);
        Plan::of(isa, Precision::F32, &g, Kind::TwoTaps, n)
    }

    #[test]
    fn chunks_and_strips_cover_all_images_and_columns() {
        for (isa, n) in Isa::available().into_iter().flat_map(|isa| [0, 1, 16, 63, 64, 65].map(|n| (isa, n))) {
            for (channels, side) in [([64, 128], 14), ([256, 512], 8)] {
                let plan = plan(isa, channels, side, n);
                let images = (0..plan.chunks()).flat_map(|i| {
                    let (first, layout) = plan.chunk(i);
                    first..first + layout.images()
                });
                assert!(images.eq(0..n));
                for to in [Side::Input, Side::Output] {
                    let blocks = (0..plan.strips(to)).flat_map(|i| plan.strip(to, i));
                    assert!(blocks.eq(0..plan.layout().blocks(to)));
                }
            }
        }
    }

    /// Another choice sums gradients in another order: it is another version of the arithmetic.
    #[test]
    fn what_is_chosen_is_that_of_the_version_of_the_arithmetic() {
        assert_eq!(crate::ARITHMETIC_VERSION, 3, "what another version chooses belongs here");
        let map = |channels, side| MapShape { channels, height: side, width: side };
        let two_taps = |channels, side| Geometry::of_conv(map(channels, side), 2 * channels, 4, 2, 1);
        let three_taps = |channels, side| Geometry::of_conv(map(channels, side), channels, 3, 1, 1);
        // Images in a chunk, and blocks in a strip of the input and of the output map, in f32 and in bf16.
        for (g, n, f32, bf16) in [
            (two_taps(64, 14), 128, [8, 16, 8], [16, 16, 8]),
            (two_taps(64, 14), 64, [8, 16, 8], [16, 16, 8]),
            (two_taps(64, 32), 128, [4, 16, 8], [4, 16, 8]),
            (two_taps(128, 16), 128, [16, 32, 16], [16, 32, 16]),
            (two_taps(256, 8), 128, [128, 2, 2], [128, 2, 2]),
            (two_taps(512, 8), 32, [32, 2, 2], [32, 2, 2]),
            (three_taps(64, 32), 64, [2, 4, 4], [2, 4, 4]),
            (three_taps(128, 16), 128, [4, 8, 8], [4, 8, 8]),
        ] {
            let kind = Kind::of(&g).expect("there is a form");
            let all = [16, 8, 4].map(|lanes| (lanes, Precision::F32, f32));
            for (lanes, precision, expected) in all.into_iter().chain([(16, Precision::Bf16, bf16)]) {
                let plan = Plan::cheapest(Cost::of_lanes(lanes, precision), &g, kind, n);
                let [input, output] = [Side::Input, Side::Output].map(|side| plan.strip(side, 0).len());
                let found = [plan.layout().images(), input, output];
                assert_eq!(found, expected, "{g:?} with {lanes} lanes, {}", precision.name());
            }
        }
    }

    #[test]
    fn weights_that_exceed_the_caches_are_transformed_in_strips_while_the_whole_batch_passes() {
        for isa in Isa::available() {
            let wide = plan(isa, [512, 1024], 8, 32);
            assert!(wide.strips(Side::Output) > 1 && wide.chunks() == 1, "{}", isa.name());
        }
    }
}
