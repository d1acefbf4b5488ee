//! The result of an evaluation, as `effgan evaluate --json` prints it.

use effgan_metrics::metric::{Beside, Metric, Source};
use effgan_metrics::{Memorisation, Scores, TrainOnSynthetic};
use serde::{Deserialize, Serialize};

/// The scores of a set of images, beside those of real images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// The name of the images that were scored.
    pub of: String,
    /// The name of the reference images.
    pub reference: String,
    /// The feature network, and for Inception the resize.
    pub features: String,
    /// d, the length of a feature vector.
    pub dim: usize,
    /// Scores of the images.
    #[serde(flatten)]
    pub scores: Scores,
    /// Scores of as many real training images: what a perfect generator would reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<Scores>,
    /// Accuracy of a classifier that is trained on the images; absent when not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_on_synthetic: Option<TrainOnSynthetic>,
    /// Distance to training images, of the images and of each member; empty when not measured.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub memorisation: Vec<MemberMemorisation>,
    /// The network whose features memorisation is measured in.
    #[serde(default)]
    pub memorisation_features: String,
    /// What makes a number less reliable, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
}

impl Evaluation {
    /// The value of `metric`; `None` where it was not measured.
    pub fn value(&self, metric: &Metric) -> Option<f64> {
        match metric.source {
            Source::Features(_) => self.scores.get(metric),
            Source::Classifier(of) => self.train_on_synthetic.as_ref().map(of),
            Source::Memorisation(of) => self.memorisation.first().map(|all| of(&all.memorisation)),
        }
    }

    /// The value that real images reach.
    pub fn floor_of(&self, metric: &Metric) -> Option<f64> {
        match metric.source {
            Source::Features(_) => self.floor.as_ref()?.get(metric),
            Source::Classifier(_) => self.train_on_synthetic.as_ref()?.accuracy_of_real,
            Source::Memorisation(_) => None,
        }
    }

    /// The number that stands next to `metric`.
    pub(crate) fn beside(&self, metric: &Metric) -> Option<f64> {
        match metric.beside?.1 {
            Beside::Deviation => self.scores.settings.kd_std,
            Beside::Floor => self.floor_of(metric),
            Beside::LargestOfMembers => {
                let Source::Memorisation(of) = metric.source else { return None };
                self.memorisation.iter().skip(1).map(|member| of(&member.memorisation)).max_by(f64::total_cmp)
            }
        }
    }
}

/// How near samples are to training images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MemberMemorisation {
    /// The member, or `all` for the images that are scored.
    pub member: String,
    /// Their distances to training and to held-out images.
    #[serde(flatten)]
    pub memorisation: Memorisation,
}
