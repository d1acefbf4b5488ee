//! What `effgan evaluate` adds to the scores: the accuracy of a classifier that is trained on the images, and memorisation.

use effgan_metrics::{Features, Labelled, MetricError, SmallNet, TrainOnSynthetic, memorisation, train_on_synthetic};

use super::evaluation::MemberMemorisation;
use super::evaluator::Evaluator;
use super::scored_images::Images;
use crate::failure::{Failure, Result};

/// Samples of each member whose nearest training images are searched.
const MEMBER_SAMPLES: usize = 1000;

impl Evaluator<'_> {
    /// Trains a classifier on the images, where there is a classifier to label them, and tests it on real ones.
    pub(super) fn train_on_synthetic(&self, n: usize) -> Result<Option<TrainOnSynthetic>> {
        let (Some(net), Some(labels), Some((train, train_labels))) =
            (self.network.classifier(), self.real.labels, &self.real.train)
        else {
            return Ok(None);
        };
        let n = n.min(train_labels.len());
        if n < TrainOnSynthetic::LEAST {
            return Ok(None);
        }
        (self.progress)("training a classifier", 0, 1);
        let [samples, train, test] = [(&self.images, n), (train, n), (&self.real.images, labels.len())]
            .map(|(images, n)| self.fitted(images, n));
        let (samples, train, test) = (samples?, train?, test?);
        let real = Labelled { images: &train, labels: &train_labels[..n] };
        let test = Labelled { images: &test, labels };
        let result = train_on_synthetic(&samples, SmallNet::SHAPE, net, Some(real), test, 1, self.jobs);
        (self.progress)("training a classifier", 1, 1);
        result.map(Some).map_err(Failure::data)
    }

    /// The first `n` images as the classifier takes them, u8 `[n, 1, 28, 28]`, read piece by piece.
    fn fitted(&self, images: &Images, n: usize) -> Result<Vec<u8>> {
        let mut all = Vec::with_capacity(n * SmallNet::SHAPE.iter().product::<usize>());
        for piece in images.pieces(n, self.network.piece()) {
            self.check_stop()?;
            all.extend_from_slice(&images.read(piece, self.device, self.jobs, self.stop)?.fit(SmallNet::SHAPE));
        }
        Ok(all)
    }

    /// Measures memorisation for each share: for the images that are scored, whose `features` are known, and for each member.
    pub(super) fn memorisation(
        &self,
        n: usize,
        features: &Features,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<MemberMemorisation>> {
        let (mut found, network) = (Vec::new(), self.memorisation_network);
        for (i, share) in self.shares.iter().enumerate() {
            self.check_stop()?;
            let [train, held_out] = [&share.train, &share.held_out].map(|images| -> Result<Features> {
                let n = images.count().expect("shares have a number of images");
                self.extract_cached(network, "training images", images, n)
            });
            let samples = match &share.samples {
                Some(samples) => self.extract(network, "samples of members", samples, MEMBER_SAMPLES)?,
                None if std::ptr::eq(network, self.network) => features.clone(),
                None => self.extract(network, "images", &self.images, n)?,
            };
            let (train, held_out) = (train?.values, held_out?.values);
            if train.is_empty() || held_out.is_empty() {
                continue; // without held-out images there is nothing to compare with
            }
            let member = share.name.clone();
            match memorisation(&samples.values, &train, &held_out, network.dim(), self.jobs) {
                Ok(memorisation) => found.push(MemberMemorisation { member, memorisation }),
                Err(error @ (MetricError::HeldOutCopies { .. } | MetricError::TooFewFor { .. })) => {
                    warnings.push(format!("{member}: {error}"));
                }
                Err(error) => return Err(Failure::data(error)),
            }
            (self.progress)("members", i + 1, self.shares.len());
        }
        Ok(found)
    }
}
