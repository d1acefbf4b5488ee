//! How a batch and a layer's weights are divided, so that products stay in the caches.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::product_layout::{Kind, ProductLayout};
use crate::cost::{Cost, moved, read_again, read_in_order};
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
        let (layout, strip) = (&self.layout, self.strip.min(self.layout.blocks(to)));
        let blocks = layout.blocks(to);
        let read = size_of::<f32>() * layout.products_len(layout.blocks(to.other()));
        let written = size_of::<f32>() * layout.products_len(strip);
        let factors = size_of::<f32>() * layout.weights_len(to, strip);
        let strips = blocks.div_ceil(strip);
        // Kept for all chunks where there is one strip.
        let transforms = if strips == 1 { 1 } else { self.chunks().count() * strips };
        let streams = if strips == 1 { read_in_order(factors) } else { read_again(strips * read, read) };
        let of_chunk =
            moved(read, read) + moved(written * strips, written) + cost.product(layout.multiply_adds(), streams);
        self.chunks().count() as f64 * of_chunk + transforms as f64 * moved(factors, factors)
    }

    /// Nanoseconds for the gradient of the weights, given the products of both maps.
    fn cost_of_weights(&self, cost: Cost) -> f64 {
        let (layout, strip) = (&self.layout, self.strip.min(self.layout.blocks(Side::Output)));
        let of = |blocks| size_of::<f32>() * layout.weights_len(Side::Output, blocks);
        let all = of(layout.blocks(Side::Output));
        let read = size_of::<f32>() * layout.products_len(layout.blocks(Side::Input));
        let chunks = self.chunks().count();
        if chunks > 1 {
            // The sums are read and written once per chunk.
            let of_chunk = cost.product(layout.multiply_adds(), read_in_order(2 * all)) + moved(read, read);
            return chunks as f64 * of_chunk + moved(all, all);
        }
        let strips = layout.blocks(Side::Output).div_ceil(strip);
        cost.product(layout.multiply_adds(), read_again(strips * read, read)) + moved(2 * all, of(strip))
    }

    /// The first image and the layout of each chunk.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (usize, &ProductLayout)> {
        let size = self.layout.images();
        let whole = (0..self.whole).map(move |i| (i * size, &self.layout));
        whole.chain(self.last.iter().map(move |last| (self.whole * size, last)))
    }

    /// Whether there are several chunks.
    pub(crate) fn has_chunks(&self) -> bool {
        self.whole + usize::from(self.last.is_some()) > 1
    }

    /// One of the layouts, for the weights, whose products are the same in all.
    pub(crate) fn any(&self) -> &ProductLayout {
        &self.layout
    }

    /// The strips of the map `to`.
    pub(crate) fn strips(&self, to: Side) -> impl Iterator<Item = Range<usize>> + use<> {
        let (blocks, strip) = (self.layout.blocks(to), self.strip);
        (0..blocks).step_by(strip).map(move |first| first..first.saturating_add(strip).min(blocks))
    }

    /// Estimated nanoseconds of the layer's forward and backward pass.
    pub(crate) fn cost(&self) -> f64 {
        self.cost
    }
}
