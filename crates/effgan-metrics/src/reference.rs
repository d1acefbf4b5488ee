//! Scoring images against real ones: the one way from features to scores, during a run and in `effgan evaluate`.

use std::collections::BTreeMap;

use crate::metric::{Metric, Network, Source};
use crate::{
    ClassHistogram, Comparison, FeatureStats, Features, METRICS, MetricError, OwnNetwork, Result, Scores, Settings,
};

/// Real images, by their features, with which others are compared.
pub struct Reference {
    network: Network,
    features: Features,
    stats: FeatureStats,
    classes: Option<ClassHistogram>,
    own_network: Option<OwnNetwork>,
}

impl Reference {
    /// Real images with these `features` of `network`; `classes` are their true ones, which a classifier's predictions are compared with.
    ///
    /// # Errors
    /// When there are fewer than two images, or a feature is not finite.
    pub fn new(network: Network, features: Features, classes: Option<ClassHistogram>) -> Result<Self> {
        let stats = FeatureStats::of(&features.values, features.dim)?;
        Ok(Self { network, features, stats, classes, own_network: None })
    }

    /// The same, whose scores record the network that was trained on the data set.
    #[must_use]
    pub fn with_own_network(self, own_network: Option<OwnNetwork>) -> Self {
        Self { own_network, ..self }
    }

    /// The number of real images.
    pub fn n(&self) -> usize {
        self.features.n()
    }

    /// Scores as many images as the reference has by the metrics that are cheap enough for every round. `jobs` threads change no result.
    ///
    /// # Errors
    /// When there are fewer than two images or another number than the reference has, or a feature is not finite.
    pub fn score_round(&self, images: &Features, jobs: usize) -> Result<Scores> {
        if images.n() != self.n() {
            return Err(MetricError::NotAsManyImages { n: images.n(), n_reference: self.n() });
        }
        self.score_by(|metric| metric.is_in_run(self.network), images, jobs)
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
        let settings = Settings { own_network: self.own_network.clone(), ..comparison.settings() };
        Ok(Scores { n: images.n(), n_reference: None, values, settings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Patches, Prdc};

    /// Features of n images on a line, in ten classes.
    fn features(n: usize, shift: f32) -> Features {
        let values = (0..2 * n).map(|i| shift + (i * i % 97) as f32).collect();
        Features { values, dim: 2, classes: (0..n).map(|i| (i % 10) as u8).collect(), patches: Some(patches(n)) }
    }

    fn patches(n: usize) -> Patches {
        let mut patches = Patches::none_of([1, 8, 8]);
        patches.add(&(0..n * 64).map(|i| (i * i % 251) as u8).collect::<Vec<_>>(), 0..n, n, 1);
        patches
    }

    fn reference(network: Network) -> Reference {
        let real = features(40, 0.0);
        let classes = ClassHistogram::of_reference(&real.classes, 10).unwrap();
        Reference::new(network, real, Some(classes)).unwrap()
    }

    #[test]
    fn every_metric_from_features_is_computed_with_each_network_that_it_is_of() {
        for network in Network::ALL {
            let scores = reference(network).score(&features(30, 1.0), 1).unwrap();
            let from_features = |metric: &&&Metric| matches!(metric.source, Source::Features(_));
            for metric in METRICS.iter().filter(from_features) {
                assert_eq!(scores.get(metric).is_some(), metric.is_of(network), "{} of {network:?}", metric.name);
            }
            assert_eq!((scores.n, scores.n_reference), (30, Some(40)));
        }
    }

    #[test]
    fn a_round_has_the_cheap_metrics_with_the_bits_of_an_evaluation() {
        for network in Network::ALL {
            let reference = reference(network);
            let images = features(40, 1.0);
            let (round, all) = (reference.score_round(&images, 1).unwrap(), reference.score(&images, 2).unwrap());
            for metric in METRICS {
                let expected = all.get(metric).filter(|_| metric.is_in_run(network));
                assert_eq!(round.get(metric).map(f64::to_bits), expected.map(f64::to_bits), "{}", metric.name);
            }
            assert_eq!(round.settings.class_counts, all.settings.class_counts);
            assert_eq!(round.settings.swd_levels, all.settings.swd_levels);
            let nearest_k = (network == Network::LowPass).then_some(Prdc::NEAREST_K);
            let kd_subsets = all.settings.kd_subsets.filter(|_| network == Network::Inception);
            assert_eq!((round.settings.nearest_k, round.settings.kd_subsets), (nearest_k, kd_subsets));
        }
    }

    #[test]
    fn a_round_of_fewer_or_more_images_than_the_reference_has_is_refused() {
        for n in [39, 41] {
            let error = reference(Network::Small).score_round(&features(n, 1.0), 1).unwrap_err();
            assert_eq!(error, MetricError::NotAsManyImages { n, n_reference: 40 });
        }
    }

    #[test]
    fn without_true_classes_there_are_no_scores_of_classes() {
        let (real, images) = (features(40, 0.0), features(40, 1.0));
        let names = |classes: Option<ClassHistogram>| -> Vec<&str> {
            let reference = Reference::new(Network::Small, real.clone(), classes).unwrap();
            reference.score_round(&images, 1).unwrap().all().map(|(metric, _)| metric.name).collect()
        };
        let mut all = names(Some(ClassHistogram::of_reference(&real.classes, 10).unwrap()));
        all.retain(|name| !["class_kl", "modes"].contains(name));
        assert_eq!(names(None), all);
    }
}
