//! The 25 matrix products, in f32 or bf16.

use super::plan::{POINTS, Plan};
use super::weights::{weights_into_products, weights_into_transposed_products};
use crate::kernels::buffer::Buffer;
use crate::kernels::geometry::BLOCK;
use crate::kernels::isa::Isa;
use crate::kernels::precision::Precision;
use crate::kernels::product::{BlocksMut, product, product_of_transposed};
use crate::kernels::product_bf16::{self, Packed};
use crate::kernels::threads::{self, Shared};

/// The weights' products as the factor of a multiplication, in its precision.
pub enum Factors {
    /// As they are.
    F32(Buffer),
    /// Rounded, one matrix a point.
    Bf16(Vec<Packed>),
}

impl Factors {
    /// [`weights_into_products`], for [`multiply_down`].
    pub fn of_weights(isa: Isa, precision: Precision, plan: &Plan, weights: &[f32]) -> Self {
        let mut products = Buffer::of(plan.weights_len());
        weights_into_products(isa, plan, weights, &mut products);
        Self::rounded(precision, plan, products, 4 * plan.g.big.channels)
    }

    /// [`weights_into_transposed_products`], for [`multiply_up`].
    pub fn of_transposed_weights(isa: Isa, precision: Precision, plan: &Plan, weights: &[f32]) -> Self {
        let mut products = Buffer::of(plan.weights_len());
        weights_into_transposed_products(isa, plan, weights, &mut products);
        Self::rounded(precision, plan, products, plan.g.small.channels)
    }

    fn rounded(precision: Precision, plan: &Plan, products: Buffer, rows: usize) -> Self {
        let columns = 4 * plan.g.big.channels * plan.g.small.channels / rows;
        match precision {
            Precision::F32 => Self::F32(products),
            Precision::Bf16 => {
                let of_point = |point| plan.weights_at(&products, point, rows, columns);
                Self::Bf16((0..POINTS).map(|point| product_bf16::pack(rows, of_point(point))).collect())
            }
        }
    }
}

/// The small map's products: the big one's times the weights'.
pub fn multiply_down(isa: Isa, plan: &Plan, big: &[f32], weights: &Factors, small: &mut [f32]) {
    let (from, to) = (4 * plan.g.big.channels, plan.g.small.channels);
    multiply(isa, plan, big, from, weights, small, to);
}

/// The big map's products: the small one's times the transposed weights'.
pub fn multiply_up(isa: Isa, plan: &Plan, small: &[f32], transposed_weights: &Factors, big: &mut [f32]) {
    let (from, to) = (plan.g.small.channels, 4 * plan.g.big.channels);
    multiply(isa, plan, small, from, transposed_weights, big, to);
}

pub fn multiply(isa: Isa, plan: &Plan, a: &[f32], from: usize, weights: &Factors, c: &mut [f32], to: usize) {
    assert_eq!((a.len(), c.len()), (from * plan.rows, to * plan.rows));
    let c = BlocksMut::new(c, plan.rows * BLOCK, to / BLOCK);
    threads::each(POINTS, |point| {
        // SAFETY: points have rows of their own.
        let c = unsafe { c.starting_at(plan.first_row[point]) };
        let (rows, a) = (plan.image_rows(point), plan.point(a, point, from));
        match weights {
            Factors::F32(weights) => product(isa, rows, a, plan.weights_at(weights, point, from, to), c),
            Factors::Bf16(packed) => product_bf16::product(rows, a, &packed[point], c),
        }
    });
}

/// The gradient of the weights' products, of those of both maps; added to what is there when `add`.
pub fn multiply_for_weights(
    isa: Isa,
    precision: Precision,
    plan: &Plan,
    big: &[f32],
    small: &[f32],
    weights: &mut [f32],
    add: bool,
) {
    let (from, to) = (4 * plan.g.big.channels, plan.g.small.channels);
    assert_eq!((big.len(), small.len()), (from * plan.rows, to * plan.rows));
    assert_eq!(weights.len(), plan.weights_len());
    let weights = Shared::new(weights);
    threads::each(POINTS, |point| {
        let start = point * plan.point_stride();
        // SAFETY: point `point` of the weights, whose length is checked above; each point is written by one call.
        let c = unsafe { std::slice::from_raw_parts_mut(weights.pointer().add(start), from * to) };
        let (a, b) = (plan.point(big, point, from), plan.point(small, point, to));
        let (rows, c) = (plan.image_rows(point), BlocksMut::new(c, from * BLOCK, to / BLOCK));
        match precision {
            Precision::F32 => product_of_transposed(isa, rows, a, b, c, add),
            Precision::Bf16 => product_bf16::product_of_transposed(rows, a, b, c, add),
        }
    });
}
