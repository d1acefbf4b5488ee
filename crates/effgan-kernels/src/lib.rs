//! CPU kernels of the training step: what a client spends its time in.
//!
//! Everything here is plain slices; the fused operations plug it into Burn. A kernel takes the [`Isa`] to run with
//! first. Work is cut by the shape of its data, never by the number of threads, and sums are folded in a fixed order,
//! so that the bits do not depend on that number (they do on the set of instructions). The only `unsafe` code of the
//! workspace is in this folder.
#![allow(unsafe_code)]
// What runs under `for_each_isa` must end up in the function that has the instructions.
#![allow(clippy::inline_always)]
// Products take the matrix that they write by value, as its borrow.
#![allow(clippy::needless_pass_by_value)]
// The width of a vector decides, and two widths may be served alike.
#![allow(clippy::match_same_arms)]
// The instructions of a processor have long names and are many.
#![allow(clippy::wildcard_imports)]
// Register tiles are indexed by constants, so that the compiler keeps them in registers; iterators it does not see
// through.
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
pub mod norm;
pub mod per_example;
mod precision;
mod product;
mod product_bf16;
#[cfg(test)]
mod reference;
mod threads;
mod winograd;

pub use geometry::{BLOCK, Geometry, MapShape, Side};
pub use isa::Isa;
pub use precision::Precision;
pub use product::peak_gflops;
