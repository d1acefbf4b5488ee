//! The transforms of batches of feature maps, plane by plane.

use super::axis::{Big, Small};
use super::plan::Plan;
use super::planes::{Finish, Lattice, plane_into_products, plane_out_of_products};
use crate::kernels::geometry::BLOCK;
use crate::kernels::isa::{Isa, for_each_isa};
use crate::kernels::lanes::Lanes;
use crate::kernels::threads::{self, Shared};

/// Bᵀ big: a batch of big maps into products `[4 · channels / 16, rows, 16]`, phase by phase.
pub fn big_into_products(isa: Isa, plan: &Plan, big: &[f32], products: &mut [f32]) {
    assert_eq!(big.len(), plan.n * plan.g.big.len());
    assert_eq!(products.len(), plan.big_len());
    let products = Shared::new(products);
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            big_image_into(
                isa,
                plan,
                &big[i * plan.g.big.len()..][..plan.g.big.len()],
                scratch,
                products.pointer(),
                offsets,
            );
        });
    });
}

for_each_isa! {
    fn big_image_into = big_image_into_on(plan: &Plan, big: &[f32], scratch: *mut f32, products: *mut f32, offsets: &[usize]);
}

#[inline(always)]
pub unsafe fn big_image_into_on<L: Lanes>(
    plan: &Plan,
    big: &[f32],
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let shape = &plan.g.big;
    let blocks = shape.channels / BLOCK;
    for block in 0..blocks {
        for phase in 0..4 {
            let lattice = Lattice::phase(shape, phase);
            // SAFETY: lengths are checked above, and images have rows of their own.
            unsafe {
                let plane = big.as_ptr().add(block * shape.pixels() * BLOCK);
                let products = products.add((phase * blocks + block) * plan.rows * BLOCK);
                plane_into_products::<L, Big>(&plan.axes, lattice, plane, scratch, products, offsets);
            }
        }
    }
}

/// A small: a batch of small maps into products `[channels / 16, rows, 16]`.
pub fn small_into_products(isa: Isa, plan: &Plan, small: &[f32], products: &mut [f32]) {
    assert_eq!(small.len(), plan.n * plan.g.small.len());
    assert_eq!(products.len(), plan.small_len());
    let products = Shared::new(products);
    let len = plan.g.small.len();
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            small_image_into(isa, plan, &small[i * len..][..len], scratch, products.pointer(), offsets);
        });
    });
}

for_each_isa! {
    fn small_image_into = small_image_into_on(plan: &Plan, small: &[f32], scratch: *mut f32, products: *mut f32, offsets: &[usize]);
}

#[inline(always)]
pub unsafe fn small_image_into_on<L: Lanes>(
    plan: &Plan,
    small: &[f32],
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let shape = &plan.g.small;
    for block in 0..shape.channels / BLOCK {
        // SAFETY: lengths are checked above, and images have rows of their own.
        unsafe {
            let plane = small.as_ptr().add(block * shape.pixels() * BLOCK);
            let products = products.add(block * plan.rows * BLOCK);
            plane_into_products::<L, Small>(&plan.axes, Lattice::whole(shape), plane, scratch, products, offsets);
        }
    }
}

/// B products, plus bias: a batch of big maps of their products.
pub fn big_out_of_products(isa: Isa, plan: &Plan, products: &[f32], bias: Option<&[f32]>, slope: f32, big: &mut [f32]) {
    assert_eq!(big.len(), plan.n * plan.g.big.len());
    assert_eq!(products.len(), plan.big_len());
    assert!(bias.is_none_or(|bias| bias.len() == plan.g.big.channels));
    let len = plan.g.big.len();
    let big = Shared::new(big);
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            // SAFETY: image `i` of the batch, whose length is checked above; each image is written by one call.
            let big = unsafe { std::slice::from_raw_parts_mut(big.pointer().add(i * len), len) };
            big_image_out(isa, plan, products, bias, slope, scratch, offsets, big);
        });
    });
}

for_each_isa! {
    fn big_image_out = big_image_out_on(plan: &Plan, products: &[f32], bias: Option<&[f32]>, slope: f32, scratch: *mut f32, offsets: &[usize], big: &mut [f32]);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn big_image_out_on<L: Lanes>(
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    scratch: *mut f32,
    offsets: &[usize],
    big: &mut [f32],
) {
    let shape = &plan.g.big;
    let blocks = shape.channels / BLOCK;
    for block in 0..blocks {
        for phase in 0..4 {
            let lattice = Lattice::phase(shape, phase);
            // SAFETY: lengths are checked above.
            unsafe {
                let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(block * BLOCK));
                let products = products.as_ptr().add((phase * blocks + block) * plan.rows * BLOCK);
                let plane = big.as_mut_ptr().add(block * shape.pixels() * BLOCK);
                plane_out_of_products::<L, Big>(
                    &plan.axes,
                    lattice,
                    products,
                    offsets,
                    scratch,
                    plane,
                    Finish { bias, slope },
                );
            }
        }
    }
}

/// Aᵀ products, plus bias, through a leaky ReLU: a batch of small maps of their products.
pub fn small_out_of_products(
    isa: Isa,
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    small: &mut [f32],
) {
    assert_eq!(small.len(), plan.n * plan.g.small.len());
    assert_eq!(products.len(), plan.small_len());
    assert!(bias.is_none_or(|bias| bias.len() == plan.g.small.channels));
    let len = plan.g.small.len();
    let small = Shared::new(small);
    threads::each(plan.n, |i| {
        with_scratch(plan, i, |scratch, offsets| {
            // SAFETY: image `i` of the batch, whose length is checked above; each image is written by one call.
            let small = unsafe { std::slice::from_raw_parts_mut(small.pointer().add(i * len), len) };
            small_image_out(isa, plan, products, bias, slope, scratch, offsets, small);
        });
    });
}

for_each_isa! {
    fn small_image_out = small_image_out_on(plan: &Plan, products: &[f32], bias: Option<&[f32]>, slope: f32, scratch: *mut f32, offsets: &[usize], small: &mut [f32]);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn small_image_out_on<L: Lanes>(
    plan: &Plan,
    products: &[f32],
    bias: Option<&[f32]>,
    slope: f32,
    scratch: *mut f32,
    offsets: &[usize],
    small: &mut [f32],
) {
    let shape = &plan.g.small;
    for block in 0..shape.channels / BLOCK {
        // SAFETY: lengths are checked above.
        unsafe {
            let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr().add(block * BLOCK));
            let products = products.as_ptr().add(block * plan.rows * BLOCK);
            let plane = small.as_mut_ptr().add(block * shape.pixels() * BLOCK);
            plane_out_of_products::<L, Small>(
                &plan.axes,
                Lattice::whole(shape),
                products,
                offsets,
                scratch,
                plane,
                Finish { bias, slope },
            );
        }
    }
}

thread_local! {
    /// Half-transformed planes and the offsets of an image's products.
    static SCRATCH: std::cell::RefCell<(Vec<f32>, Vec<usize>)> = const { std::cell::RefCell::new((Vec::new(), Vec::new())) };
}

/// `work` with scratch for one plane and the offsets of image `i`.
pub fn with_scratch(plan: &Plan, i: usize, work: impl FnOnce(*mut f32, &[usize])) {
    SCRATCH.with_borrow_mut(|(scratch, offsets)| {
        let lines = plan.axes.iter().map(|axis| axis.products.len().max(axis.side + 1)).product::<usize>();
        if scratch.len() < lines * BLOCK {
            scratch.resize(lines * BLOCK, 0.0);
        }
        plan.offsets(i, offsets);
        work(scratch.as_mut_ptr(), offsets);
    });
}
