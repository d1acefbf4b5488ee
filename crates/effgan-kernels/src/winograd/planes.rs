//! Two-dimensional transforms of one plane of 16 channels, between its pixels and its products.

use super::axis::{Axis, MAX_POINTS, MAX_TAPS};
use super::form::{Form, Transform};
use super::lattice::Lattice;
use crate::geometry::BLOCK;
use crate::lanes::Lanes;

/// Number of products of a tile of `size` values.
#[inline(always)]
const fn products_of<T: Transform>(size: usize) -> usize {
    size + T::Form::TAPS - 1
}

/// Transforms one plane of 16 channels into its products, each written at its offset in `products`.
///
/// # Safety
/// The processor has `L`; the lattice's pixels are inside `plane`, each offset plus 16 inside `products`; `scratch`
/// holds products × (covered + extra) lines.
#[inline(always)]
pub(crate) unsafe fn plane_into_products<L: Lanes, T: Transform>(
    [vertical, horizontal]: &[Axis; 2],
    lattice: Lattice,
    plane: *const f32,
    scratch: *mut f32,
    products: *mut f32,
    offsets: &[usize],
) {
    let columns = horizontal.covered + T::EXTRA;
    // SAFETY: the caller's.
    unsafe {
        for lane in (0..BLOCK).step_by(L::N) {
            for tile in &vertical.tiles {
                let to = scratch.add(tile.product * columns * BLOCK);
                match tile.size {
                    4 => columns_into::<L, T, 4>(lattice, plane.add(lane), tile.start, columns, to),
                    _ => columns_into::<L, T, 3>(lattice, plane.add(lane), tile.start, columns, to),
                }
            }
            for (row, offsets) in offsets.chunks_exact(horizontal.products.len()).enumerate() {
                for tile in &horizontal.tiles {
                    let from = scratch.add((row * columns + tile.start) * BLOCK);
                    let offsets = offsets.as_ptr().add(tile.product);
                    match tile.size {
                        4 => row_into::<L, T, 4>(from, products.add(lane), offsets),
                        _ => row_into::<L, T, 3>(from, products.add(lane), offsets),
                    }
                }
            }
        }
    }
}

/// Transforms all columns of one vertical tile.
#[inline(always)]
pub(crate) unsafe fn columns_into<L: Lanes, T: Transform, const SIZE: usize>(
    lattice: Lattice,
    plane: *const f32,
    start: usize,
    columns: usize,
    to: *mut f32,
) {
    let mut rows = [None; MAX_POINTS];
    for i in 0..MAX_POINTS {
        rows[i] = lattice.row(start + i);
    }
    for x in 0..columns {
        // SAFETY: the caller's.
        unsafe {
            let mut values = [L::splat(0.0); MAX_POINTS];
            if let Some(column) = lattice.column(x) {
                for i in 0..SIZE + T::EXTRA {
                    if let Some(row) = rows[i] {
                        let pixel = plane.add(row + column);
                        L::prefetch(pixel.wrapping_add(lattice.next_plane()));
                        values[i] = L::load(pixel);
                    }
                }
            }
            let m = T::into::<L, SIZE>(values);
            for i in 0..products_of::<T>(SIZE) {
                m[i].store(to.add((i * columns + x) * BLOCK));
            }
        }
    }
}

/// Transforms one row of one horizontal tile.
#[inline(always)]
pub(crate) unsafe fn row_into<L: Lanes, T: Transform, const SIZE: usize>(
    from: *const f32,
    products: *mut f32,
    offsets: *const usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut values = [L::splat(0.0); MAX_POINTS];
        for i in 0..SIZE + T::EXTRA {
            values[i] = L::load(from.add(i * BLOCK));
        }
        let m = T::into::<L, SIZE>(values);
        for i in 0..products_of::<T>(SIZE) {
            m[i].store(products.add(*offsets.add(i)));
        }
    }
}

/// What happens to a value before it is stored: a bias is added, then a leaky ReLU applied where the slope is not 1.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// 16 values, or null for none.
    pub bias: *const f32,
    pub slope: f32,
}

/// Transforms the products of one plane of 16 channels back into pixels.
///
/// # Safety
/// The processor has `L`; the lattice's pixels are inside `plane`, each offset plus 16 inside `products`; `scratch`
/// holds (covered + extra) × products lines.
#[inline(always)]
pub(crate) unsafe fn plane_out_of_products<L: Lanes, T: Transform>(
    [vertical, horizontal]: &[Axis; 2],
    lattice: Lattice,
    products: *const f32,
    offsets: &[usize],
    scratch: *mut f32,
    plane: *mut f32,
    finish: Finish,
) {
    let width = horizontal.products.len();
    // SAFETY: the caller's.
    unsafe {
        for lane in (0..BLOCK).step_by(L::N) {
            for tile in &vertical.tiles {
                let offsets = offsets.as_ptr().add(tile.product * width);
                let to = scratch.add(tile.start * width * BLOCK);
                match tile.size {
                    4 => columns_out::<L, T, 4>(products.add(lane), offsets, width, tile.start > 0, to),
                    _ => columns_out::<L, T, 3>(products.add(lane), offsets, width, tile.start > 0, to),
                }
            }
            let bias = if finish.bias.is_null() { L::splat(0.0) } else { L::load(finish.bias.add(lane)) };
            for y in 0..vertical.covered + T::EXTRA {
                let Some(row) = lattice.row(y) else { continue };
                let to = RowOut { lattice, row: plane.add(row + lane), bias, slope: finish.slope };
                let mut carry = [L::splat(0.0); MAX_TAPS - 1];
                for tile in &horizontal.tiles {
                    let from = scratch.add((y * width + tile.product) * BLOCK);
                    carry = match tile.size {
                        4 => to.tile::<T, 4>(from, tile.start, carry),
                        _ => to.tile::<T, 3>(from, tile.start, carry),
                    };
                }
                for i in 0..T::EXTRA {
                    to.write(horizontal.covered + i, carry[i]);
                }
            }
        }
    }
}

/// Transforms all columns of one vertical tile. With `carry`, the last values of the tile above, which it shares with
/// this one, are already at `to` and are added to this tile's first.
#[inline(always)]
pub(crate) unsafe fn columns_out<L: Lanes, T: Transform, const SIZE: usize>(
    products: *const f32,
    offsets: *const usize,
    columns: usize,
    carry: bool,
    to: *mut f32,
) {
    for column in 0..columns {
        // SAFETY: the caller's: offsets of all products of the tile, and scratch for all its values.
        unsafe {
            let mut m = [L::splat(0.0); MAX_POINTS];
            for i in 0..products_of::<T>(SIZE) {
                m[i] = L::load(products.add(*offsets.add(i * columns + column)));
            }
            let mut values = T::out::<L, SIZE>(m);
            let to = to.add(column * BLOCK);
            if carry {
                for i in 0..T::EXTRA {
                    values[i] = values[i].add(L::load(to.add(i * columns * BLOCK)));
                }
            }
            for i in 0..SIZE + T::EXTRA {
                values[i].store(to.add(i * columns * BLOCK));
            }
        }
    }
}

/// A row of pixels to be written.
#[derive(Clone, Copy)]
pub(crate) struct RowOut<L> {
    pub lattice: Lattice,
    pub row: *mut f32,
    pub bias: L,
    pub slope: f32,
}

impl<L: Lanes> RowOut<L> {
    /// Writes the values of one tile, with `carry` added to the first; returns the `carry` for the next tile: the
    /// values that they share.
    #[inline(always)]
    unsafe fn tile<T: Transform, const SIZE: usize>(
        self,
        from: *const f32,
        start: usize,
        mut carry: [L; MAX_TAPS - 1],
    ) -> [L; MAX_TAPS - 1] {
        // SAFETY: the caller's.
        unsafe {
            let mut m = [L::splat(0.0); MAX_POINTS];
            for i in 0..products_of::<T>(SIZE) {
                m[i] = L::load(from.add(i * BLOCK));
            }
            let mut values = T::out::<L, SIZE>(m);
            for i in 0..T::EXTRA {
                values[i] = values[i].add(carry[i]);
            }
            for i in 0..SIZE {
                self.write(start + i, values[i]);
            }
            carry[..T::EXTRA].copy_from_slice(&values[SIZE..SIZE + T::EXTRA]);
            carry
        }
    }

    #[inline(always)]
    unsafe fn write(self, x: usize, value: L) {
        let value = value.add(self.bias);
        let value = if self.slope == 1.0 { value } else { value.leaky(self.slope) };
        if let Some(column) = self.lattice.column(x) {
            let pixel = self.row.wrapping_add(column);
            L::prefetch(pixel.wrapping_add(self.lattice.next_plane()));
            // SAFETY: the caller's.
            unsafe { value.store(pixel) }
        }
    }
}
