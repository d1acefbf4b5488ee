//! Features and classes of images, as a feature network computes them.

/// Shape `[c, h, w]` of the images that the small feature networks take; others are resized to it first.
pub(super) const SMALL_NET_SHAPE: [usize; 3] = [1, 28, 28];

/// Features and predicted classes of n images.
#[derive(Clone, Default)]
pub struct Features {
    /// Feature vectors, `[n, d]`, row-major.
    pub values: Vec<f32>,
    /// Predicted classes, `[n]`; empty where there is no classifier for such images.
    pub classes: Vec<u8>,
}
