//! Winograd's algorithm (Winograd 1980; Lavin & Gray 2016, arXiv:1509.09308) for two kinds of convolutions and for
//! their transposes: kernel 4, stride 2 and padding 1, as in a DCGAN, and kernel 3 and stride 1, as in a `ResNet`.
//!
//! Each axis of the output map is divided into *tiles* of up to four values. F(m, r) computes a tile of m values of a
//! convolution with r taps from m + r − 1 products, one at each of so many *points*. A *product* thus has a point and a
//! tile along one axis, and a pair of each in two dimensions. A window of 3 × 3 has three taps along each axis
//! ([`three_taps`]): F(4, 3) needs 36 multiplications for 4 × 4 values, where plain loops need 144. With kernel 4 and
//! stride 2 the input map is split into its four *phases* (even and odd rows and columns): it is then a map of half the
//! side and four times the channels, on which the convolution has two taps and stride 1 ([`two_taps`]). For 14 × 14 ↔ 7
//! × 7 pixels there are 9 products per axis: 81 multiplications for each phase and pair of channels, where the plain
//! loops take 196.
//!
//! All tiles share the transformed weights of a point. The products of each of the points of the plane are therefore
//! one matrix product, with a row for each tile of each image. With the matrices A, B and G of F(m, r), one trilinear
//! form gives the convolution, its transpose and the gradient of the weights:
//!
//! ```text
//! output = Aᵀ [ (G w) · (Bᵀ input) ]
//! input  = B  [ (G w) · (A output) ]
//! grad w = Gᵀ [ (Bᵀ input) · (A output) ]
//! ```
//!
//! A [`plan`] divides the batch into chunks and the columns of a map into strips, so that products and transformed
//! weights stay in the caches between a transform and the matrix product that follows it.
//!
//! Rounding: the coefficients of a transform along one axis are at most 8 and sum to at most 15 in a row, which keeps
//! f32 results within 2e-5 of the largest value (tested at 512 channels).

pub(super) mod axis;
pub(super) mod form;
mod lattice;
pub(super) mod multiply;
mod packed_points;
mod pass;
mod plan;
mod planes;
pub(super) mod product_layout;
pub(super) mod three_taps;
pub(super) mod transform;
pub(super) mod two_taps;
pub(super) mod weights;

pub(super) use pass::Winograd;
pub(super) use transform::Spacing;

#[cfg(test)]
mod tests;
