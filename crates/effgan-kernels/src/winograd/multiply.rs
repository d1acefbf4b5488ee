//! The matrix products of all points, in f32 or bf16.

use std::ops::Range;

use super::packed_points::PackedPoints;
use super::product_layout::ProductLayout;
use super::weights::weights_into_products;
use crate::buffer::Scratch;
use crate::geometry::{BLOCK, Side};
use crate::isa::Isa;
use crate::parallel_for::{Shared, parallel_for};
use crate::precision::Precision;
use crate::product::{Blocks, BlocksMut, product, product_of_transposed};
use crate::product_bf16::{self, Pack, Packed};

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
    /// Rounded to bf16.
    Bf16(PackedPoints),
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
        let write = || {
            let mut products = Scratch::of(layout.weights_len(to, count));
            weights_into_products(isa, layout, to, blocks, weights, &mut products);
            products
        };
        let values = match precision {
            Precision::F32 => Values::F32(write()),
            Precision::Bf16 => {
                let rows = layout.blocks(to.other()) * BLOCK;
                let mut packed = PackedPoints::new(Pack::Pairs, layout.points, count, |_| rows);
                let products = write();
                packed.write(layout.points, |point| layout.factor_at(&products, point, to, count));
                Values::Bf16(packed)
            }
        };
        Self { to, blocks: count, values }
    }
}

/// The products of a map, which one matrix product reads for each strip of what it writes.
#[derive(Clone, Copy)]
pub(crate) struct MapProducts<'a> {
    products: &'a [f32],
    /// The same rounded to bf16, where they are multiplied in bf16 several times.
    packed: Option<&'a PackedPoints>,
}

impl<'a> MapProducts<'a> {
    /// Products that one matrix product reads.
    pub(crate) fn read_once(products: &'a [f32]) -> Self {
        Self { products, packed: None }
    }

    /// Calls `work` with `products` of the map `side`, which `times` matrix products read as their left factor.
    pub(crate) fn read_several_times<R>(
        precision: Precision,
        layout: &ProductLayout,
        side: Side,
        products: &[f32],
        pack: Pack,
        times: usize,
        work: impl FnOnce(MapProducts) -> R,
    ) -> R {
        let packed = (precision == Precision::Bf16 && times > 1).then(|| {
            let blocks = layout.blocks(side);
            let mut packed = PackedPoints::new(pack, layout.points, blocks, |point| layout.image_rows(point));
            packed.write(layout.points, |point| layout.point(products, point, 0..blocks));
            packed
        });
        work(MapProducts { products, packed: packed.as_ref() })
    }

    /// Calls `work` with the matrix of `point` in bf16.
    fn in_bf16<R>(
        self,
        layout: &ProductLayout,
        side: Side,
        pack: Pack,
        point: usize,
        work: impl FnOnce(Packed) -> R,
    ) -> R {
        match self.packed {
            Some(packed) => work(packed.point(point)),
            None => in_bf16(
                pack,
                layout.image_rows(point),
                layout.point(self.products, point, 0..layout.blocks(side)),
                work,
            ),
        }
    }
}

/// Calls `work` with a matrix of `rows` rows rounded to bf16.
fn in_bf16<R>(pack: Pack, rows: usize, matrix: Blocks, work: impl FnOnce(Packed) -> R) -> R {
    let mut lines = Scratch::of(Packed::lines(rows, matrix.count));
    work(Packed::write(pack, rows, matrix, &mut lines))
}

/// Writes some blocks of the products of one map: those of the other map, `map`, times `factors`.
pub(crate) fn multiply(isa: Isa, layout: &ProductLayout, map: MapProducts, factors: &Factors, written: &mut [f32]) {
    let (from, blocks) = (factors.to.other(), factors.blocks);
    assert_eq!(map.products.len(), layout.products_len(layout.blocks(from)));
    assert_eq!(written.len(), layout.products_len(blocks));
    let written = BlocksMut::new(written, layout.rows * BLOCK, blocks);
    parallel_for(layout.points, |point| {
        // SAFETY: points have rows of their own.
        let c = unsafe { written.starting_at(layout.first_row(point)) };
        match &factors.values {
            Values::F32(values) => {
                let a = layout.point(map.products, point, 0..layout.blocks(from));
                product(isa, layout.image_rows(point), a, layout.factor_at(values, point, factors.to, blocks), c);
            }
            Values::Bf16(factors) => {
                map.in_bf16(layout, from, Pack::Rows, point, |a| product_bf16::product(a, factors.point(point), c));
            }
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
    input: MapProducts,
    output: &[f32],
    blocks: Range<usize>,
    weights: &mut [f32],
    add: bool,
) {
    let depth = layout.blocks(Side::Input) * BLOCK;
    let len_of = |side| layout.products_len(layout.blocks(side));
    assert_eq!([input.products.len(), output.len()], [Side::Input, Side::Output].map(len_of));
    assert_eq!(weights.len(), layout.weights_len(Side::Output, blocks.len()));
    let (stride, len) = (layout.point_stride(Side::Output, blocks.len()), depth * blocks.len() * BLOCK);
    let weights = Shared::new(weights);
    parallel_for(layout.points, |point| {
        // SAFETY: each point is written by one call.
        let c = unsafe { weights.part(point * stride, len) };
        let b = layout.point(output, point, blocks.clone());
        let (rows, c) = (layout.image_rows(point), BlocksMut::new(c, depth * BLOCK, blocks.len()));
        match precision {
            Precision::F32 => {
                let a = layout.point(input.products, point, 0..layout.blocks(Side::Input));
                product_of_transposed(isa, rows, a, b, c, add);
            }
            Precision::Bf16 => input.in_bf16(layout, Side::Input, Pack::Pairs, point, |a| {
                in_bf16(Pack::Pairs, rows, b, |b| product_bf16::product_of_transposed(a, b, c, add));
            }),
        }
    });
}
