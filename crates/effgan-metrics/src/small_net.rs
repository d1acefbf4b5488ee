//! The small classifier that is built into the program, and its features.

use effgan_nn::classifier::{Classified, Classifier};
use effgan_nn::{Device, Params, checkpoint, parallel_map};

use crate::error::of_device;
use crate::{MetricError, Result};

/// Images that one worker classifies at a time.
const CHUNK: usize = 512;

/// A LeNet trained to classify one data set; the 84 values of its penultimate layer are its features.
pub struct SmallNet {
    classifier: Classifier,
    hash: String,
}

impl SmallNet {
    /// Shape `[c, h, w]` of the images that it takes.
    pub const SHAPE: [usize; 3] = [1, 28, 28];
    /// Length of a feature vector.
    pub const FEATURES: usize = Classifier::FEATURES;
    /// Number of classes.
    pub const CLASSES: usize = Classifier::CLASSES;

    /// The built-in network for MNIST (its accuracy is in `weights/README.md`), on `device`.
    pub fn mnist(device: Device) -> Self {
        Self::built_in(include_bytes!("../weights/mnist.safetensors"), device)
    }

    /// The built-in network for Fashion-MNIST, on `device`.
    pub fn fashion_mnist(device: Device) -> Self {
        Self::built_in(include_bytes!("../weights/fashion-mnist.safetensors"), device)
    }

    /// A network with the tensors that `effgan features train` wrote, on `device`.
    ///
    /// # Errors
    /// [`MetricError::FeatureNet`] when a tensor is missing, unknown or has another shape.
    pub fn new(params: &Params, device: Device) -> Result<Self> {
        let classifier = Classifier::new(params, device).map_err(|error| MetricError::FeatureNet(error.to_string()))?;
        Ok(Self { classifier, hash: params.hash() })
    }

    /// The [model hash](Params::hash) of its weights.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn built_in(file: &[u8], device: Device) -> Self {
        let params = checkpoint::from_bytes(file).expect("the built-in weights are a safetensors file");
        Self::new(&params, device).expect("the built-in weights fit the network")
    }

    /// The mean probability of the most likely class of `images`, u8 `[n, 1, 28, 28]`, n ≥ 1: how sure the network is of what it sees.
    ///
    /// # Errors
    /// [`MetricError::ImageShape`] when an image is not 1 × 28 × 28.
    pub fn certainty(&self, images: &[u8], shape: [usize; 3]) -> Result<f64> {
        if shape != Self::SHAPE {
            return Err(MetricError::ImageShape { found: shape });
        }
        let certainty = self.classifier.certainty(images).map_err(|error| of_device(&error))?;
        Ok(certainty.iter().copied().map(f64::from).sum::<f64>() / certainty.len() as f64)
    }

    /// Features and classes of `images`, u8 `[n, 1, 28, 28]`. The result does not depend on the number of threads, `jobs`.
    ///
    /// # Errors
    /// [`MetricError::ImageShape`] when an image is not 1 × 28 × 28.
    pub fn classify(&self, images: &[u8], shape: [usize; 3], jobs: usize) -> Result<Classified> {
        if shape != Self::SHAPE {
            return Err(MetricError::ImageShape { found: shape });
        }
        let chunks: Vec<&[u8]> = images.chunks(CHUNK * shape.iter().product::<usize>()).collect();
        let parts = parallel_map(chunks.len(), jobs, |i| self.classifier.classify(chunks[i]));
        let mut all = Classified { features: Vec::new(), classes: Vec::new() };
        for part in parts {
            let part = part.map_err(|error| of_device(&error))?;
            all.features.extend(part.features);
            all.classes.extend(part.classes);
        }
        Ok(all)
    }
}
