//! The CPU kernels of a training step, in which a client spends its time.
//!
//! Arguments and results are plain slices and vectors; `effgan-nn` makes Burn operations of them. The first argument of
//! a kernel is the instruction set to run with, an [`Isa`]. Work is divided by the shape of the data, never by the
//! number of threads, and sums are folded in a fixed order: results depend on the instruction set, but not on the
//! number of threads. All `unsafe` code of the workspace is in this crate.
#![allow(unsafe_code)]
// The body of a kernel must be inlined into the function that enables its instructions (see `for_each_isa`).
#![allow(clippy::inline_always)]
// Products take `BlocksMut`, a mutable borrow of the matrix that they write, by value.
#![allow(clippy::needless_pass_by_value)]
// Matches on the width of a vector have one arm per width, also where two arms are equal.
#![allow(clippy::match_same_arms)]
// The intrinsics of `std::arch` are many.
#![allow(clippy::wildcard_imports)]
// Register tiles are indexed by constants, so that the compiler keeps them in registers; it does not through iterators.
#![allow(clippy::needless_range_loop)]

pub mod activation;
pub mod adam;
pub mod buffer;
pub mod conv;
pub mod few_channels;
pub mod geometry;
pub mod im2col;
pub mod inference;
pub mod isa;
mod lanes;
pub mod linear;
mod matrix;
#[cfg(test)]
mod naive;
pub mod norm;
mod parallel_for;
pub mod per_example;
mod precision;
mod product;
mod product_bf16;
mod winograd;

pub use geometry::{BLOCK, Geometry, MapShape, Side};
pub use isa::Isa;
pub use precision::Precision;
pub use product::peak_gflops;
