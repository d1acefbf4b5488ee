//! Features and classes of a small network that ships with the program.

use effgan_nn::classifier::{Classified, Classifier};
use effgan_nn::{Params, checkpoint, parallel_map};

use crate::{MetricError, Result};

/// Images that one worker classifies at a time.
const CHUNK: usize = 512;

/// A LeNet trained to tell the classes of one data set apart; its 84 penultimate values are the features of `fd_small`.
pub struct SmallNet {
    classifier: Classifier,
    hash: String,
}

impl SmallNet {
    /// Length of a feature vector.
    pub const FEATURES: usize = Classifier::FEATURES;
    /// Number of classes that it tells apart.
    pub const CLASSES: usize = Classifier::CLASSES;

    /// The shipped network for MNIST (`weights/README.md` has its accuracy).
    pub fn mnist() -> Self {
        Self::shipped(include_bytes!("../weights/mnist.safetensors"))
    }

    /// The shipped network for Fashion-MNIST.
    pub fn fashion_mnist() -> Self {
        Self::shipped(include_bytes!("../weights/fashion-mnist.safetensors"))
    }

    /// A network with the tensors that `effgan features train` wrote.
    ///
    /// # Errors
    /// [`MetricError::FeatureNet`] when a tensor is missing, unknown or has another shape.
    pub fn new(params: &Params) -> Result<Self> {
        let classifier = Classifier::new(params).map_err(|error| MetricError::FeatureNet(error.to_string()))?;
        Ok(Self { classifier, hash: params.hash() })
    }

    /// The [model hash](Params::hash) of its weights.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn shipped(file: &[u8]) -> Self {
        let params = checkpoint::from_bytes(file).expect("the shipped weights are a safetensors file");
        Self::new(&params).expect("the shipped weights fit the network")
    }

    /// Features and classes of `images`, u8 `[n, 1, 28, 28]`; `jobs` threads change no bit.
    ///
    /// # Errors
    /// [`MetricError::ImageShape`] when an image is not 1 × 28 × 28.
    pub fn classify(&self, images: &[u8], shape: [usize; 3], jobs: usize) -> Result<Classified> {
        if shape != [1, 28, 28] {
            return Err(MetricError::ImageShape { found: shape });
        }
        let chunks: Vec<&[u8]> = images.chunks(CHUNK * shape.iter().product::<usize>()).collect();
        let parts = parallel_map(chunks.len(), jobs, |i| self.classifier.classify(chunks[i]));
        let mut all = Classified { features: Vec::new(), classes: Vec::new() };
        for part in parts {
            all.features.extend(part.features);
            all.classes.extend(part.classes);
        }
        Ok(all)
    }
}
