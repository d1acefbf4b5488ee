//! Two sets of images, by their features and classes: what a metric is computed from.

use std::cell::OnceCell;

use crate::{
    ClassHistogram, FeatureStats, Features, KernelDistance, LevelDistance, Prdc, Result, Settings, Subsets,
    frechet_distance, kernel_distance, prdc, sliced_wasserstein::sliced_wasserstein,
};

/// Seed of the subsets of the kernel distance, which are the same in each evaluation.
const SEED: u64 = 1;

/// Real images and the images that are compared with them. What several metrics need is computed once, for the first that asks.
///
/// The `source` of a metric in the table calls its computation with the features of both:
///
/// ```
/// # use effgan_metrics::{Result, metric::Source};
/// /// The difference between the means of all features.
/// fn mean_shift(real: &[f32], images: &[f32]) -> Result<f64> {
///     let mean = |values: &[f32]| values.iter().map(|&value| f64::from(value)).sum::<f64>() / values.len() as f64;
///     Ok((mean(images) - mean(real)).abs())
/// }
///
/// let source = Source::Features(|pair| mean_shift(&pair.real().values, &pair.images().values).map(Some));
/// ```
pub struct Comparison<'a> {
    real: &'a Features,
    images: &'a Features,
    jobs: usize,
    real_stats: &'a FeatureStats,
    real_classes: Option<&'a ClassHistogram>,
    kernel: OnceCell<KernelDistance>,
    prdc: OnceCell<Prdc>,
    classes: OnceCell<ClassHistogram>,
    swd_levels: OnceCell<Vec<LevelDistance>>,
}

impl<'a> Comparison<'a> {
    /// Compares `images` with `real` ones, whose statistics and true classes are given. The number of threads, `jobs`, changes no result.
    pub(crate) fn new(
        (real, real_stats, real_classes): (&'a Features, &'a FeatureStats, Option<&'a ClassHistogram>),
        images: &'a Features,
        jobs: usize,
    ) -> Self {
        let (kernel, prdc, classes, swd_levels) = Default::default();
        Self { real, images, jobs, real_stats, real_classes, kernel, prdc, classes, swd_levels }
    }

    /// Features of the real images.
    pub fn real(&self) -> &Features {
        self.real
    }

    /// Features of the images that are scored, of the same length.
    pub fn images(&self) -> &Features {
        self.images
    }

    /// The Fréchet distance.
    pub(crate) fn frechet_distance(&self) -> Result<f64> {
        frechet_distance(self.real_stats, &FeatureStats::of(&self.images.values, self.images.dim)?)
    }

    /// The kernel distance over subsets.
    pub(crate) fn kernel(&self) -> Result<&KernelDistance> {
        once(&self.kernel, || {
            let (real, images) = (self.real, self.images);
            let subsets = Subsets::draw(real.n(), images.n(), SEED);
            kernel_distance(&real.values, &images.values, real.dim, &subsets, self.jobs)
        })
    }

    /// Precision, recall, density and coverage.
    pub(crate) fn prdc(&self) -> Result<&Prdc> {
        let (real, images) = (self.real, self.images);
        once(&self.prdc, || prdc(&real.values, &images.values, real.dim, Prdc::NEAREST_K, self.jobs))
    }

    /// The sliced Wasserstein distance, as the mean over the levels of the pyramids; `None` where a set has no patches.
    pub(crate) fn sliced_wasserstein(&self) -> Option<f64> {
        let (real, images) = (self.real.patches.as_ref()?, self.images.patches.as_ref()?);
        let levels = self.swd_levels.get_or_init(|| sliced_wasserstein(real, images, self.jobs));
        Some(levels.iter().map(|level| level.swd).sum::<f64>() / levels.len() as f64)
    }

    /// A number that compares the predicted classes of the images with the true ones of the real images; `None` where either is not known.
    pub(crate) fn of_classes(
        &self,
        compare: impl FnOnce(&ClassHistogram, &ClassHistogram) -> Result<f64>,
    ) -> Result<Option<f64>> {
        let Some(real) = self.real_classes else { return Ok(None) };
        let num_classes = real.counts().len();
        let images = once(&self.classes, || ClassHistogram::from_classes(&self.images.classes, num_classes))?;
        compare(images, real).map(Some)
    }

    /// What has been used for the metrics that were asked for.
    pub(crate) fn settings(&self) -> Settings {
        let kernel = self.kernel.get();
        Settings {
            kd_std: kernel.map(|kernel| kernel.std),
            kd_subsets: kernel.map(|kernel| kernel.subsets),
            kd_subset_size: kernel.map(|kernel| kernel.subset_size),
            nearest_k: self.prdc.get().map(|prdc| prdc.nearest_k),
            class_counts: self.classes.get().map_or_else(Vec::new, |classes| classes.counts().to_vec()),
            swd_levels: self.swd_levels.get().cloned().unwrap_or_default(),
        }
    }
}

/// The value in `cell`, which `make` fills when it is empty.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    match cell.get() {
        Some(value) => Ok(value),
        None => make().map(|value| cell.get_or_init(|| value)),
    }
}
