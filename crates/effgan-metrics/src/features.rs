//! Features and classes of images, as a feature network computes them.

/// Features and predicted classes of n images.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Feature vectors, `[n, d]`, row-major.
    pub values: Vec<f32>,
    /// d, the length of a feature vector, ≥ 1.
    pub dim: usize,
    /// Predicted classes, `[n]`; empty where there is no classifier for such images.
    pub classes: Vec<u8>,
}

impl Features {
    /// The number of images.
    pub fn n(&self) -> usize {
        self.values.len() / self.dim
    }
}
