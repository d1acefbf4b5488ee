//! Scoring a set of images against a reference set.

use effgan_nn::classifier::Classified;
use serde::{Deserialize, Serialize};

use crate::{ClassHistogram, FeatureStats, MetricError, Result, SmallNet, frechet_distance};

/// How close a set of images is to the reference. Each number depends on `n`, and must be compared with the floor, the score of
/// equally many real images against the same reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Number of images; the reference has equally many.
    pub n: usize,
    /// Fréchet distance on the small network's 84 features, ≥ 0, lower is closer. Not an FID: another network, another scale.
    pub fd_small: f64,
    /// KL divergence of the predicted classes from the reference's true ones, in nats, ≥ 0.
    pub class_kl: f64,
    /// Number of classes whose share is at least a tenth of their share in the reference.
    pub modes: usize,
    /// Number of images of each predicted class.
    pub class_counts: Vec<u64>,
}

/// A reference set with its feature network, against which sets of images are scored.
pub struct Reference {
    net: SmallNet,
    shape: [usize; 3],
    stats: FeatureStats,
    histogram: ClassHistogram,
    jobs: usize,
}

impl Reference {
    /// The reference of u8 `images` `[n, c, h, w]` of `shape` with their true `labels`.
    ///
    /// # Errors
    /// When the images do not fit the network, there are fewer than two, or a class has none, which would make the KL divergence infinite.
    pub fn new(net: SmallNet, images: &[u8], shape: [usize; 3], labels: &[u8], jobs: usize) -> Result<Self> {
        let Classified { features, .. } = net.classify(images, shape, jobs)?;
        let stats = FeatureStats::of(&features, SmallNet::FEATURES)?;
        let histogram = ClassHistogram::from_classes(labels, SmallNet::CLASSES)?;
        if let Some(class) = histogram.counts().iter().position(|&count| count == 0) {
            return Err(MetricError::MissingClass { class, n: labels.len() });
        }
        Ok(Self { net, shape, stats, histogram, jobs })
    }

    /// Number of reference images; equally many should be scored.
    pub fn n(&self) -> usize {
        self.stats.n
    }

    /// Scores u8 `images` `[n, c, h, w]`.
    ///
    /// # Errors
    /// When there are fewer than two images, or a feature is not finite.
    pub fn score(&self, images: &[u8]) -> Result<Scores> {
        let Classified { features, classes } = self.net.classify(images, self.shape, self.jobs)?;
        let stats = FeatureStats::of(&features, SmallNet::FEATURES)?;
        let histogram = ClassHistogram::from_classes(&classes, SmallNet::CLASSES)?;
        Ok(Scores {
            n: classes.len(),
            fd_small: frechet_distance(&self.stats, &stats)?,
            class_kl: ClassHistogram::kl(&histogram, &self.histogram)?,
            modes: ClassHistogram::modes_hit(&histogram, &self.histogram)?,
            class_counts: histogram.counts().to_vec(),
        })
    }
}
