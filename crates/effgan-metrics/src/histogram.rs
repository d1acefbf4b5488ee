//! The classes of a set of images, compared with those of the real images: a score of missing modes that needs no features.

use serde::Serialize;

use crate::error::{MetricError, Result};

/// A class counts as hit when its share is at least 1 / `HIT_DIVISOR` of its share among the real images.
const HIT_DIVISOR: u128 = 10;

/// Number of images of each class, true or predicted; at least one image in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassHistogram {
    /// Number of images of each class, `[num_classes]`.
    counts: Vec<u64>,
}

impl ClassHistogram {
    /// Counts `classes`, one per image, each below `num_classes`.
    ///
    /// # Errors
    /// [`MetricError::NoImages`] when there are none, [`MetricError::ClassOutOfRange`] at the first class that is not
    /// below `num_classes`.
    pub fn from_classes(classes: &[u8], num_classes: usize) -> Result<Self> {
        if classes.is_empty() {
            return Err(MetricError::NoImages);
        }
        let mut counts = vec![0; num_classes];
        for (image, &class) in classes.iter().enumerate() {
            let count = counts.get_mut(usize::from(class));
            *count.ok_or(MetricError::ClassOutOfRange { image, class, num_classes })? += 1;
        }
        Ok(Self { counts })
    }

    /// The same of the true classes of reference images, `labels`, of which none may be missing: a KL divergence from it would be infinite.
    ///
    /// # Errors
    /// Those of [`from_classes`](Self::from_classes), and [`MetricError::MissingClass`] for the first class without an image.
    pub fn of_reference(labels: &[u8], num_classes: usize) -> Result<Self> {
        let histogram = Self::from_classes(labels, num_classes)?;
        match histogram.counts.iter().position(|&count| count == 0) {
            Some(class) => Err(MetricError::MissingClass { class, n: labels.len() }),
            None => Ok(histogram),
        }
    }

    /// Number of images of each class, `[num_classes]`.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Number of images in all, at least 1.
    pub fn num_images(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// KL(fake ‖ real) of the class shares, in nats, ≥ 0; 0 means equal shares.
    ///
    /// A class without fake images adds 0 (0 · log 0 = 0): [`modes_hit`](Self::modes_hit) counts those. The result is +∞ when
    /// a class of the fake images does not exist among the real ones.
    ///
    /// # Errors
    /// [`MetricError::NumClasses`] when the two histograms have different numbers of classes.
    pub fn kl(fake: &Self, real: &Self) -> Result<f64> {
        check_num_classes(fake, real)?;
        let (fake_images, real_images) = (fake.num_images() as f64, real.num_images() as f64);
        let present = fake.counts.iter().zip(&real.counts).filter(|&(&fake, _)| fake > 0);
        let terms = present.map(|(&fake, &real)| {
            let (fake, real) = (fake as f64 / fake_images, real as f64 / real_images);
            fake * (fake / real).ln()
        });
        // For equal shares, a rounding error of either sign remains.
        Ok(terms.sum::<f64>().max(0.0))
    }

    /// Number of classes of the real images that the fake images cover: those whose share among the fake images is at least a
    /// tenth of their share among the real ones.
    ///
    /// A single image is not enough, because a classifier mislabels some: a generator that draws no sevens would still be
    /// credited with the class.
    ///
    /// # Errors
    /// [`MetricError::NumClasses`] when the two histograms have different numbers of classes.
    pub fn modes_hit(fake: &Self, real: &Self) -> Result<usize> {
        check_num_classes(fake, real)?;
        let (fake_images, real_images) = (u128::from(fake.num_images()), u128::from(real.num_images()));
        // Integers, so that a share of exactly a tenth is a hit.
        let is_hit = |&(&fake, &real): &(&u64, &u64)| {
            real > 0 && HIT_DIVISOR * u128::from(fake) * real_images >= u128::from(real) * fake_images
        };
        Ok(fake.counts.iter().zip(&real.counts).filter(is_hit).count())
    }
}

fn check_num_classes(fake: &ClassHistogram, real: &ClassHistogram) -> Result<()> {
    match (real.counts.len(), fake.counts.len()) {
        (real, fake) if real == fake => Ok(()),
        (real, fake) => Err(MetricError::NumClasses { real, fake }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A histogram with these counts.
    fn histogram(counts: &[usize]) -> ClassHistogram {
        let classes = counts.iter().enumerate().flat_map(|(class, &count)| vec![class as u8; count]);
        ClassHistogram::from_classes(&classes.collect::<Vec<_>>(), counts.len()).unwrap()
    }

    #[test]
    fn every_class_is_counted() {
        let histogram = ClassHistogram::from_classes(&[2, 0, 2, 2], 4).unwrap();
        assert_eq!(histogram.counts(), [1, 0, 3, 0]);
        assert_eq!(histogram.num_images(), 4);
    }

    #[test]
    fn a_class_beyond_the_last_is_refused() {
        let error = ClassHistogram::from_classes(&[1, 3], 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "image 1 has class 3, expected a class below num_classes = 3; check the labels or raise it"
        );
        assert_eq!(ClassHistogram::from_classes(&[], 3), Err(MetricError::NoImages));
    }

    #[test]
    fn kl_of_two_classes_by_hand() {
        // (3/4) ln(3/4 : 1/2) + (1/4) ln(1/4 : 1/2)
        let expected = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
        let kl = ClassHistogram::kl(&histogram(&[3, 1]), &histogram(&[2, 2])).unwrap();
        // 1e-15: f64 rounding of two terms.
        assert!((kl - expected).abs() < 1e-15);
    }

    #[test]
    fn kl_of_equal_shares_is_zero() {
        // 1e-15: f64 rounding of three shares.
        assert!(ClassHistogram::kl(&histogram(&[10, 20, 30]), &histogram(&[1, 2, 3])).unwrap() < 1e-15);
    }

    #[test]
    fn kl_of_one_of_ten_classes_is_log_ten() {
        let fake = histogram(&[0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        let kl = ClassHistogram::kl(&fake, &histogram(&[5; 10])).unwrap();
        // 1e-14: f64 rounding of one quotient and its logarithm.
        assert!((kl - 10.0_f64.ln()).abs() < 1e-14);
    }

    #[test]
    fn kl_is_infinite_for_a_class_that_real_images_lack() {
        let (narrow, wide) = (histogram(&[4, 0]), histogram(&[3, 1]));
        assert!(ClassHistogram::kl(&wide, &narrow).unwrap().is_infinite());
        assert!(ClassHistogram::kl(&narrow, &wide).unwrap().is_finite());
    }

    #[test]
    fn a_tenth_of_the_real_share_hits_a_mode_and_less_does_not() {
        // The real share of each class is 1/2, so 5 of 100 fake images are the bound.
        let real = histogram(&[50, 50]);
        assert_eq!(ClassHistogram::modes_hit(&histogram(&[95, 5]), &real), Ok(2));
        assert_eq!(ClassHistogram::modes_hit(&histogram(&[96, 4]), &real), Ok(1));
    }

    #[test]
    fn a_class_that_real_images_lack_is_not_a_mode() {
        assert_eq!(ClassHistogram::modes_hit(&histogram(&[5, 5, 0]), &histogram(&[5, 0, 5])), Ok(1));
    }

    #[test]
    fn histograms_of_different_classifiers_are_refused() {
        let (two, three) = (histogram(&[1, 1]), histogram(&[1, 1, 1]));
        let error = MetricError::NumClasses { real: 3, fake: 2 };
        assert_eq!(ClassHistogram::kl(&two, &three), Err(error.clone()));
        assert_eq!(ClassHistogram::modes_hit(&two, &three), Err(error));
    }
}
