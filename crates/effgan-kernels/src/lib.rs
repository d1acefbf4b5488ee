//! The CPU kernels of a training step, in which a client spends its time.
//!
//! Arguments and results are plain slices and vectors; `effgan-nn` makes Burn operations of them. The first argument of
//! a kernel is the instruction set to run with, an [`Isa`]. Work is divided by the shape of the data, never by the
//! number of threads, and sums are folded in a fixed order: results depend on the instruction set, but not on the
//! number of threads. All `unsafe` code of the workspace, except in tests, is in this crate.
#![allow(unsafe_code, reason = "vector instructions and unchecked loads")]
#![allow(clippy::inline_always, reason = "a kernel must be inlined into the function that enables its instructions")]
#![allow(
    clippy::needless_pass_by_value,
    reason = "products take `BlocksMut`, a mutable borrow of their output, by value"
)]
#![allow(
    clippy::match_same_arms,
    reason = "a match on a vector's width has one arm per width, even where two are equal"
)]
#![allow(clippy::wildcard_imports, reason = "kernels use dozens of intrinsics of `std::arch`")]
#![allow(
    clippy::needless_range_loop,
    reason = "a tile stays in registers only if it is indexed by constants, not through iterators"
)]

pub mod activation;
pub mod adam;
pub mod buffer;
pub mod conv;
mod cost;
pub mod few_channels;
pub mod geometry;
pub mod im2col;
pub mod inference;
pub mod isa;
mod lanes;
mod layer;
pub mod linear;
mod matrix;
#[cfg(test)]
mod naive;
pub mod norm;
mod parallel_for;
pub mod per_example;
mod pointwise;
mod precision;
mod product;
mod product_bf16;
pub mod resample;
mod winograd;

pub use cost::ARITHMETIC_VERSION;
pub use geometry::{BLOCK, Geometry, MapShape, Side};
pub use isa::Isa;
pub use precision::Precision;
pub use product::peak_gflops;
