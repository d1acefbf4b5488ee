//! The norm of an example's own gradient in [Winograd's form](crate::winograd): Gᵀ [ (Bᵀ input) · (A output) ], with a
//! row for each tile of the one image.

mod absolute;

use std::cell::RefCell;
use std::sync::Arc;

use self::absolute::RowSizes;
use super::sums::size;
use super::{ROUNDING, UNDERFLOW};
use crate::buffer::Scratch;
use crate::cost::Cost;
use crate::geometry::{BLOCK, Geometry, Side};
use crate::isa::Isa;
use crate::parallel_for::Shared;
use crate::precision::Precision;
use crate::product::Blocks;
use crate::winograd::axis::MAX_POINTS;
use crate::winograd::multiply::{MapProducts, multiply_for_weights};
use crate::winograd::product_layout::{Kind, ProductLayout};
use crate::winograd::transform::{Spacing, into_products};
use crate::winograd::weights::weights_out_of_products;

/// Maximum number of blocks of the output whose weights are in memory at once: the width of a register tile.
const STRIP: usize = 3;

/// Maximum number of layers that a thread keeps.
const MAX_KNOWN: usize = 64;

/// The form of a layer for single images.
pub(super) struct Winograd {
    layout: ProductLayout,
    sizes: RowSizes,
}

impl Winograd {
    /// The form of a geometry, made once per thread, if there is one.
    pub(super) fn of(g: &Geometry) -> Option<Arc<Self>> {
        thread_local! {
            static KNOWN: RefCell<Vec<(Geometry, Arc<Winograd>)>> = const { RefCell::new(Vec::new()) };
        }
        let kind = Kind::of(g)?;
        KNOWN.with_borrow_mut(|known| {
            if let Some((_, winograd)) = known.iter().find(|(of, _)| of == g) {
                return Some(Arc::clone(winograd));
            }
            if known.len() == MAX_KNOWN {
                known.remove(0);
            }
            let layout = ProductLayout::new(g, kind, 1);
            let sizes = RowSizes::of(&layout);
            known.push((*g, Arc::new(Self { layout, sizes })));
            known.last().map(|(_, winograd)| Arc::clone(winograd))
        })
    }

    /// Estimated nanoseconds per example.
    pub(super) fn cost(&self, cost: Cost) -> f64 {
        let layout = &self.layout;
        let products: usize =
            [Side::Input, Side::Output].map(|side| layout.products_len(layout.blocks(side))).iter().sum();
        let weights = layout.weights_len(Side::Output, layout.blocks(Side::Output));
        cost.product(layout.multiply_adds(), 0.0) + 0.075 * (products + weights) as f64
    }

    /// The norm of one example's gradient, rounded up, given the norms of both maps.
    pub(super) fn norm(&self, isa: Isa, input: &[f32], output: &[f32], sizes: [f64; 2]) -> f64 {
        let layout = &self.layout;
        let [inputs, outputs] = [(Side::Input, input), (Side::Output, output)].map(|(side, map)| {
            let mut products = Scratch::of(layout.products_len(layout.blocks(side)));
            into_products(isa, layout, side, map, Spacing::of(layout.g.map(side)), &mut products);
            products
        });
        let mut grad = Scratch::of(layout.g.num_weights());
        let blocks = layout.blocks(Side::Output);
        for strip in (0..blocks).step_by(STRIP).map(|first| first..blocks.min(first + STRIP)) {
            let mut weights = Scratch::of(layout.weights_len(Side::Output, strip.len()));
            let inputs = MapProducts::read_once(&inputs);
            multiply_for_weights(isa, Precision::F32, layout, inputs, &outputs, strip.clone(), &mut weights, false);
            // SAFETY: it is borrowed here alone.
            unsafe { weights_out_of_products(isa, layout, strip, &weights, Shared::new(&mut grad)) };
        }
        size(isa, &grad) + self.error(isa, [&inputs, &outputs], sizes)
    }

    /// Largest error of the gradient's norm.
    ///
    /// The products of a point are off by at most the roundings of their transform times what the transform makes of
    /// the sizes of a map's values: by at most the norm of the point's row times that of the tile's values. The sum
    /// over the tiles of a point is off by those errors times the other map's products, and by its own roundings times
    /// the norms of both. What a point is off by counts as much in the gradient as the norm of its row of G.
    fn error(&self, isa: Isa, [inputs, outputs]: [&[f32]; 2], [input, output]: [f64; 2]) -> f64 {
        let (layout, sizes) = (&self.layout, &self.sizes);
        let axis_points = layout.points.isqrt();
        let of_point = |side: Side, products: &[f32], point: usize| {
            let (rows, blocks) = (layout.image_rows(point) * BLOCK, layout.blocks(side));
            let Blocks { values, stride, count } = layout.point(products, point, 0..blocks);
            (0..count).map(|block| size(isa, &values[block * stride..][..rows]).powi(2)).sum::<f64>().sqrt()
        };
        let mut error = 0.0;
        for point in 0..layout.points {
            let axes = [point / axis_points, point % axis_points];
            let row = |rows: &[[f64; MAX_POINTS]; 2]| rows[0][axes[0]] * rows[1][axes[1]];
            let [of_input, of_output] = [(Side::Input, inputs), (Side::Output, outputs)]
                .map(|(side, products)| of_point(side, products, point));
            // A value of the input is in at most two tiles along each axis.
            let off_input = sizes.input_roundings * ROUNDING * row(&sizes.input) * 2.0 * input;
            // Two more for the multiplication by the example's factor.
            let off_output = (sizes.output_roundings + 2.0) * ROUNDING * row(&sizes.output) * output;
            let own = (layout.image_rows(point) as f64 + sizes.weight_roundings) * ROUNDING;
            let of_sum = own * of_input * of_output + off_input * (of_output + off_output) + of_input * off_output;
            error += row(&sizes.weights) * of_sum;
        }
        let underflow = (layout.points * layout.g.output.pixels() * layout.g.num_weights()) as f64 * UNDERFLOW;
        // The factor is for products of errors.
        1.01 * error + 16.0 * underflow
    }
}
