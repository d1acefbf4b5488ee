//! Scoring images against real ones: the one way from features to scores, during a run and in `effgan evaluate`.

use std::collections::BTreeMap;

use crate::metric::{Metric, Network, Source};
use crate::{ClassHistogram, Comparison, FeatureStats, Features, METRICS, Result, Scores};

/// Real images, by their features, with which others are compared.
pub struct Reference {
    network: Network,
    features: Features,
    stats: FeatureStats,
    classes: Option<ClassHistogram>,
}

impl Reference {
    /// Real images with these `features` of `network`; `classes` are their true ones, which a classifier's predictions are compared with.
    ///
    /// # Errors
    /// When there are fewer than two images, or a feature is not finite.
    pub fn new(network: Network, features: Features, classes: Option<ClassHistogram>) -> Result<Self> {
        let stats = FeatureStats::of(&features.values, features.dim)?;
        Ok(Self { network, features, stats, classes })
    }

    /// The number of real images.
    pub fn n(&self) -> usize {
        self.features.n()
    }

    /// Scores as many images as the reference has by the metrics that are cheap enough for every round. `jobs` threads change no result.
    ///
    /// # Errors
    /// When there are fewer than two images, or a feature is not finite.
    pub fn score_round(&self, images: &Features, jobs: usize) -> Result<Scores> {
        self.score_by(|metric| metric.in_run().is_some(), images, jobs)
    }

    /// Scores images by all metrics that are computed from features.
    ///
    /// # Errors
    /// When a set has no more than [`Prdc::NEAREST_K`](crate::Prdc::NEAREST_K) images, or a feature is not finite.
    pub fn score(&self, images: &Features, jobs: usize) -> Result<Scores> {
        let scores = self.score_by(|_| true, images, jobs)?;
        Ok(Scores { n_reference: Some(self.n()), ..scores })
    }

    fn score_by(&self, is_wanted: impl Fn(&Metric) -> bool, images: &Features, jobs: usize) -> Result<Scores> {
        let real = (&self.features, &self.stats, self.classes.as_ref());
        let comparison = Comparison::new(real, images, jobs);
        let mut values = BTreeMap::new();
        for metric in METRICS.iter().filter(|metric| metric.is_of(self.network) && is_wanted(metric)) {
            if let Source::Features(compute) = metric.source
                && let Some(value) = compute(&comparison)?
            {
                values.insert(metric.name, value);
            }
        }
        Ok(Scores { n: images.n(), n_reference: None, values, settings: comparison.settings() })
    }
}
