//! The 25 matrix products, in f32 or bf16.

use super::product_layout::{POINTS, ProductLayout};
use super::weights::{weights_into_products, weights_into_transposed_products};
use crate::buffer::Buffer;
use crate::geometry::{BLOCK, Side};
use crate::isa::Isa;
use crate::parallel_for::{Shared, parallel_for};
use crate::precision::Precision;
use crate::product::{BlocksMut, product, product_of_transposed};
use crate::product_bf16::{self, Packed};

/// The products of the weights, in the precision that they are multiplied in.
#[allow(clippy::large_enum_variant, reason = "it lives on the stack and saves an allocation")]
pub(crate) enum Factors {
    /// Not rounded.
    F32(Buffer),
    /// Rounded to bf16, one matrix per point.
    Bf16([Packed; POINTS]),
}

impl Factors {
    /// The factors that turn the products of the map `from` into those of the other map.
    pub(crate) fn new(isa: Isa, precision: Precision, layout: &ProductLayout, from: Side, weights: &[f32]) -> Self {
        let mut products = Buffer::of(layout.weights_len());
        match from {
            Side::Input => weights_into_products(isa, layout, weights, &mut products),
            Side::Output => weights_into_transposed_products(isa, layout, weights, &mut products),
        }
        match precision {
            Precision::F32 => Self::F32(products),
            Precision::Bf16 => {
                let of_point =
                    |point| product_bf16::pack(layout.columns(from), layout.factor_at(&products, point, from));
                Self::Bf16(std::array::from_fn(of_point))
            }
        }
    }
}

/// Writes the products of the other map: `products`, those of the map `from`, times those of the weights.
pub(crate) fn multiply(
    isa: Isa,
    layout: &ProductLayout,
    from: Side,
    products: &[f32],
    weights: &Factors,
    other: &mut [f32],
) {
    assert_eq!([products.len(), other.len()], [from, from.other()].map(|side| layout.products_len(side)));
    let other = BlocksMut::new(other, layout.rows * BLOCK, layout.columns(from.other()) / BLOCK);
    parallel_for(POINTS, |point| {
        // SAFETY: points have rows of their own.
        let c = unsafe { other.starting_at(layout.first_row[point]) };
        let (rows, a) = (layout.image_rows(point), layout.point(products, point, from));
        match weights {
            Factors::F32(weights) => product(isa, rows, a, layout.factor_at(weights, point, from), c),
            Factors::Bf16(packed) => product_bf16::product(rows, a, &packed[point], c),
        }
    });
}

/// Writes the gradient of the weights' products, given the products of both maps, to `weights`, or adds it with `add`.
pub(crate) fn multiply_for_weights(
    isa: Isa,
    precision: Precision,
    layout: &ProductLayout,
    input: &[f32],
    output: &[f32],
    weights: &mut [f32],
    add: bool,
) {
    let (from, to) = (layout.columns(Side::Input), layout.columns(Side::Output));
    assert_eq!([input.len(), output.len()], [Side::Input, Side::Output].map(|side| layout.products_len(side)));
    assert_eq!(weights.len(), layout.weights_len());
    let weights = Shared::new(weights);
    parallel_for(POINTS, |point| {
        let start = point * layout.point_stride();
        // SAFETY: point `point` of the weights, whose length is checked above; each point is written by one call.
        let c = unsafe { std::slice::from_raw_parts_mut(weights.pointer().add(start), from * to) };
        let (a, b) = (layout.point(input, point, Side::Input), layout.point(output, point, Side::Output));
        let (rows, c) = (layout.image_rows(point), BlocksMut::new(c, from * BLOCK, to / BLOCK));
        match precision {
            Precision::F32 => product_of_transposed(isa, rows, a, b, c, add),
            Precision::Bf16 => product_bf16::product_of_transposed(rows, a, b, c, add),
        }
    });
}
