//! The transforms of batches of feature maps into products and back, plane by plane.

use std::cell::RefCell;
use std::ops::Range;

use super::axis::MAX_TAPS;
use super::form::{Input, Output, Transform};
use super::planes::{Finish, plane_into_products, plane_out_of_products};
use super::product_layout::{ProductLayout, with_form};
use crate::buffer::Scratch;
use crate::geometry::{BLOCK, MapShape, Side};
use crate::isa::{Isa, for_each_isa};
use crate::lanes::Lanes;
use crate::layer::Then;
use crate::parallel_for::{Shared, parallel_for};

/// Distances between the planes of a batch of maps, in floats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spacing {
    /// From an image to the next one.
    pub image: usize,
    /// From 16 channels to the next 16 of an image.
    pub block: usize,
}

impl Spacing {
    /// Of maps `[n, channels / 16, pixels, 16]`.
    pub(crate) fn of(map: &MapShape) -> Self {
        Self { image: map.len(), block: map.pixels() * BLOCK }
    }

    /// Index after the last float of `n` maps.
    fn end(self, map: &MapShape, n: usize) -> usize {
        let last = (map.channels / BLOCK - 1) * self.block + map.pixels() * BLOCK;
        if n == 0 { 0 } else { (n - 1) * self.image + last }
    }
}

/// Bᵀ input or A output: writes the products `[blocks, rows, 16]` of a batch of maps.
pub(crate) fn into_products(
    isa: Isa,
    layout: &ProductLayout,
    side: Side,
    maps: &[f32],
    spacing: Spacing,
    products: &mut [f32],
) {
    assert!(maps.len() >= spacing.end(layout.g.map(side), layout.n), "the maps end before their last plane");
    assert_eq!(products.len(), layout.products_len(layout.blocks(side)));
    let products = Shared::new(products);
    parallel_for(layout.n, |i| {
        with_scratch(layout, i, |scratch, offsets| {
            let map = &maps[i * spacing.image..];
            image_into(isa, layout, side, map, spacing.block, scratch, products.pointer(), offsets);
        });
    });
}

for_each_isa! {
    fn image_into = image_into_on(layout: &ProductLayout, side: Side, map: &[f32], apart: usize, scratch: *mut f32, products: *mut f32, offsets: &[usize]);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn image_into_on<L: Lanes>(
    layout: &ProductLayout,
    side: Side,
    map: &[f32],
    apart: usize,
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    // SAFETY: the caller's.
    unsafe {
        with_form!(layout.kind, F => match side {
            Side::Input => planes_into::<L, Input<F>>(layout, map, apart, scratch, products, offsets),
            Side::Output => planes_into::<L, Output<F>>(layout, map, apart, scratch, products, offsets),
        });
    }
}

#[inline(always)]
unsafe fn planes_into<L: Lanes, T: Transform>(
    layout: &ProductLayout,
    map: &[f32],
    apart: usize,
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let shape = T::shape(&layout.g);
    let blocks = shape.channels / BLOCK;
    for block in 0..blocks {
        for phase in 0..T::PHASES {
            let lattice = T::lattice(&layout.g, phase);
            // SAFETY: `into_products` has checked the lengths, and images have rows of their own.
            unsafe {
                let plane = map.as_ptr().add(block * apart);
                let products = products.add((phase * blocks + block) * layout.rows * BLOCK);
                plane_into_products::<L, T>(&layout.axes, lattice, plane, scratch, products, offsets);
            }
        }
    }
}

/// act(B products + bias) or act(Aᵀ products + bias) with a leaky ReLU: writes those planes of a batch of maps that
/// belong to the blocks of columns `blocks`, given their products.
///
/// # Safety
/// Nobody else reads or writes these planes at the same time.
#[allow(clippy::too_many_arguments, reason = "what is written, where, and from what")]
pub(crate) unsafe fn out_of_products(
    isa: Isa,
    layout: &ProductLayout,
    side: Side,
    blocks: Range<usize>,
    products: &[f32],
    then: Then,
    maps: Shared,
    spacing: Spacing,
) {
    let shape = layout.g.map(side);
    assert!(maps.len() >= spacing.end(shape, layout.n), "the maps end before their last plane");
    assert_eq!(products.len(), layout.products_len(blocks.len()));
    assert!(blocks.end <= layout.blocks(side));
    assert!(then.bias.is_none_or(|bias| bias.len() == shape.channels));
    parallel_for(layout.n, |i| {
        with_scratch(layout, i, |scratch, offsets| {
            let map = maps.after(i * spacing.image).pointer();
            image_out(isa, layout, side, blocks.clone(), products, then, scratch, offsets, map, spacing.block);
        });
    });
}

for_each_isa! {
    fn image_out = image_out_on(layout: &ProductLayout, side: Side, blocks: Range<usize>, products: &[f32], then: Then, scratch: *mut f32, offsets: &[usize], map: *mut f32, apart: usize);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn image_out_on<L: Lanes>(
    layout: &ProductLayout,
    side: Side,
    blocks: Range<usize>,
    products: &[f32],
    then: Then,
    scratch: *mut f32,
    offsets: &[usize],
    map: *mut f32,
    apart: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        with_form!(layout.kind, F => match side {
            Side::Input => planes_out::<L, Input<F>>(layout, blocks, products, then, scratch, offsets, map, apart),
            Side::Output => planes_out::<L, Output<F>>(layout, blocks, products, then, scratch, offsets, map, apart),
        });
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn planes_out<L: Lanes, T: Transform>(
    layout: &ProductLayout,
    blocks: Range<usize>,
    products: &[f32],
    then: Then,
    scratch: *mut f32,
    offsets: &[usize],
    map: *mut f32,
    apart: usize,
) {
    let shape = T::shape(&layout.g);
    let map_blocks = shape.channels / BLOCK;
    for (i, block) in blocks.enumerate() {
        let (phase, block) = (block / map_blocks, block % map_blocks);
        let lattice = T::lattice(&layout.g, phase);
        // SAFETY: `out_of_products` has checked the lengths; each plane is written by one call.
        unsafe {
            let bias = then.bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(block * BLOCK));
            let products = products.as_ptr().add(i * layout.rows * BLOCK);
            let plane = map.add(block * apart);
            let finish = Finish { bias, slope: then.slope };
            plane_out_of_products::<L, T>(&layout.axes, lattice, products, offsets, scratch, plane, finish);
        }
    }
}

thread_local! {
    /// The offsets of an image's products.
    static OFFSETS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with memory for a plane that is transformed along one axis, and with the offsets of the products of image
/// `i`.
fn with_scratch(layout: &ProductLayout, i: usize, work: impl FnOnce(*mut f32, &[usize])) {
    let extra = MAX_TAPS - 1;
    let lines = layout.axes.iter().map(|axis| axis.products.len().max(axis.covered + extra)).product::<usize>();
    let mut plane = Scratch::of(lines * BLOCK);
    OFFSETS.with_borrow_mut(|offsets| {
        layout.offsets(i, offsets);
        work(plane.as_mut_ptr(), offsets);
    });
}
