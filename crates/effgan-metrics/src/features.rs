//! Features and classes of images, as a feature network computes them, and patches of images without one.

use crate::Patches;

/// Features and predicted classes of n images.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Feature vectors, `[n, d]`, row-major.
    pub values: Vec<f32>,
    /// d, the length of a feature vector, ≥ 1.
    pub dim: usize,
    /// Predicted classes, `[n]`; empty where there is no classifier for such images.
    pub classes: Vec<u8>,
    /// Patches of the images; absent where they are not compared.
    pub patches: Option<Patches>,
}

impl Features {
    /// Those of no images, with vectors of length `dim`.
    pub fn of_no_images(dim: usize) -> Self {
        Self { values: Vec::new(), dim, classes: Vec::new(), patches: None }
    }

    /// The number of images.
    pub fn n(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Adds those of the images that follow, of the same network.
    pub fn extend(&mut self, more: Self) {
        self.values.extend(more.values);
        self.classes.extend(more.classes);
        match (&mut self.patches, more.patches) {
            (Some(patches), Some(more)) => patches.extend(more),
            (patches, more) => *patches = patches.take().or(more),
        }
    }
}
