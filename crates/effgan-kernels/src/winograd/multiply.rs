//! The matrix products of all points, in f32 or bf16.

use std::ops::Range;

use super::product_layout::{MAX_PLANE_POINTS, ProductLayout};
use super::weights::weights_into_products;
use crate::buffer::Scratch;
use crate::geometry::{BLOCK, Side};
use crate::isa::Isa;
use crate::parallel_for::{Shared, parallel_for};
use crate::precision::Precision;
use crate::product::{BlocksMut, product, product_of_transposed};
use crate::product_bf16::{self, Packed};

/// The products of those weights that write some blocks of a map, in the precision that they are multiplied in.
pub(crate) struct Factors {
    /// The map that they write, and how many blocks of it.
    to: Side,
    blocks: usize,
    values: Values,
}

#[allow(clippy::large_enum_variant, reason = "it lives on the stack and saves an allocation")]
enum Values {
    /// Not rounded.
    F32(Scratch),
    /// Rounded to bf16, one matrix per point.
    Bf16([Packed; MAX_PLANE_POINTS]),
}

impl Factors {
    /// The factors of the blocks `blocks` of the map `to`.
    pub(crate) fn new(
        isa: Isa,
        precision: Precision,
        layout: &ProductLayout,
        to: Side,
        blocks: Range<usize>,
        weights: &[f32],
    ) -> Self {
        let count = blocks.len();
        let mut products = Scratch::of(layout.weights_len(to, count));
        weights_into_products(isa, layout, to, blocks, weights, &mut products);
        let values = match precision {
            Precision::F32 => Values::F32(products),
            Precision::Bf16 => {
                let rows = layout.blocks(to.other()) * BLOCK;
                Values::Bf16(std::array::from_fn(|point| {
                    if point < layout.points {
                        product_bf16::pack(rows, layout.factor_at(&products, point, to, count))
                    } else {
                        Packed::default()
                    }
                }))
            }
        };
        Self { to, blocks: count, values }
    }
}

/// Writes some blocks of the products of one map: `products`, those of the other map, times `factors`.
pub(crate) fn multiply(isa: Isa, layout: &ProductLayout, products: &[f32], factors: &Factors, written: &mut [f32]) {
    let (from, blocks) = (factors.to.other(), factors.blocks);
    assert_eq!(products.len(), layout.products_len(layout.blocks(from)));
    assert_eq!(written.len(), layout.products_len(blocks));
    let written = BlocksMut::new(written, layout.rows * BLOCK, blocks);
    parallel_for(layout.points, |point| {
        // SAFETY: points have rows of their own.
        let c = unsafe { written.starting_at(layout.first_row(point)) };
        let (rows, a) = (layout.image_rows(point), layout.point(products, point, 0..layout.blocks(from)));
        match &factors.values {
            Values::F32(values) => product(isa, rows, a, layout.factor_at(values, point, factors.to, blocks), c),
            Values::Bf16(packed) => product_bf16::product(rows, a, &packed[point], c),
        }
    });
}

/// Writes the gradient of the products of the weights that write the blocks `blocks` of the output map to `weights`,
/// given the products of both maps, or adds it with `add`.
#[allow(clippy::too_many_arguments, reason = "three matrices and what they are")]
pub(crate) fn multiply_for_weights(
    isa: Isa,
    precision: Precision,
    layout: &ProductLayout,
    input: &[f32],
    output: &[f32],
    blocks: Range<usize>,
    weights: &mut [f32],
    add: bool,
) {
    let depth = layout.blocks(Side::Input) * BLOCK;
    let len_of = |side| layout.products_len(layout.blocks(side));
    assert_eq!([input.len(), output.len()], [Side::Input, Side::Output].map(len_of));
    assert_eq!(weights.len(), layout.weights_len(Side::Output, blocks.len()));
    let (stride, len) = (layout.point_stride(Side::Output, blocks.len()), depth * blocks.len() * BLOCK);
    let weights = Shared::new(weights);
    parallel_for(layout.points, |point| {
        // SAFETY: point `point` of the weights, whose length is checked above; each point is written by one call.
        let c = unsafe { std::slice::from_raw_parts_mut(weights.pointer().add(point * stride), len) };
        let a = layout.point(input, point, 0..layout.blocks(Side::Input));
        let b = layout.point(output, point, blocks.clone());
        let (rows, c) = (layout.image_rows(point), BlocksMut::new(c, depth * BLOCK, blocks.len()));
        match precision {
            Precision::F32 => product_of_transposed(isa, rows, a, b, c, add),
            Precision::Bf16 => product_bf16::product_of_transposed(rows, a, b, c, add),
        }
    });
}
