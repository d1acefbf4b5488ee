//! Differentially private training of the discriminator (DP-SGD: Abadi et al. 2016, arXiv:1607.00133), the only network
//! that sees real images. What is computed from the discriminator, the generator above all, is as private as it is.
//!
//! An update of the discriminator sums the gradients of its real images, each clipped to a norm C, adds noise of the
//! standard deviation σC to each value, and divides by the expected number B of real images. Each of a client's n images
//! is among them with the probability q = B/n, whatever the others are (Poisson sampling), so there may be none; then the
//! update has the noise alone. Where persons are to be hidden, each is drawn with that probability in the place of an
//! image, and with it one of its images, all equally likely: the sum then depends on no person by more than C, however
//! many images it has, and each person counts the same. Generated images depend on no real image beside the parameters: their gradients cost
//! nothing, and their number is always B. They are clipped all the same, for balance: where real gradients alone are, the
//! discriminator comes to take all images for generated ones (in MNIST, the loss on these fell to 0.01), and its accuracy
//! on them says nothing.
//!
//! Which images an update sees, and its noise, are secret: they come from the system's generator and not from the run's
//! seed, which the server knows.

use std::collections::BTreeMap;

use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use rand_distr::StandardNormal;

use super::{Gan, PendingLosses};
use crate::fused::{ClippedSum, Examples};
use crate::model::TrainingImages;
use crate::networks::{Labels, Mode, labels_tensor, layers};
use crate::{NnError, Purpose, Result, Streams};

/// Real images that pass through the discriminator at the same time. A sample of any size is computed in such parts.
const CHUNK: usize = 256;

/// How the training of a discriminator at clients hides each of their images, or each person with all images.
#[derive(Clone, Debug, PartialEq)]
pub struct Privacy {
    /// C > 0, as in [`DpSgd`].
    pub clip: f64,
    /// B ≥ 1, as in [`DpSgd`]; a client with fewer images (or persons) has all of them in each update.
    pub batch: usize,
    /// σ of a client, by its number of images and the number of those that one is hidden among: images, or persons.
    pub noise_multipliers: BTreeMap<[u64; 2], f64>,
    /// Takes what must be secret from this seed, so that tests can repeat it: then nothing is private.
    pub insecure_seed: Option<u64>,
}

impl Privacy {
    /// The updates of the client whose images these are.
    ///
    /// # Errors
    /// [`NnError::Config`] when no noise was planned for that many.
    pub(super) fn of_client(&self, from: &TrainingImages<'_>) -> Result<DpSgd> {
        let [num_examples, num_hidden] = [from.indices.len(), from.num_hidden()];
        let Some(&noise_multiplier) = self.noise_multipliers.get(&[num_examples as u64, num_hidden as u64]) else {
            let of = from.persons.map_or_else(String::new, |persons| format!(" of {} persons", persons.len()));
            return Err(NnError::Config(format!("no noise is planned for a client with {num_examples} images{of}")));
        };
        Ok(DpSgd { clip: self.clip, noise_multiplier, batch: self.batch.min(num_hidden) })
    }

    /// The real images of each of a step's `updates`: Poisson samples of all of a client's images, or of one image of each person.
    ///
    /// # Errors
    /// As [`of_client`](Self::of_client).
    pub(super) fn samples(
        &self,
        from: &TrainingImages<'_>,
        updates: usize,
        rng: &mut SecretRng,
    ) -> Result<Vec<RealImages>> {
        let rate = self.of_client(from)?.batch as f64 / from.num_hidden() as f64;
        let sample = |_| {
            let sample = match from.persons {
                Some(persons) => rng.poisson_sample_of_persons(persons, rate),
                None => rng.poisson_sample(from.indices, rate),
            };
            RealImages { images: from.values(&sample), labels: from.labels_of(&sample) }
        };
        Ok((0..updates).map(sample).collect())
    }

    /// The secret numbers of a step.
    pub(super) fn randomness(&self, streams: &Streams, step: u64) -> Result<SecretRng> {
        let Some(seed) = self.insecure_seed else { return SecretRng::from_system() };
        let mut key = [0; 32];
        streams.at(Purpose::InsecureNoise, step).fill(&mut key);
        key.iter_mut().zip(seed.to_le_bytes()).for_each(|(key, seed)| *key ^= seed);
        Ok(SecretRng::insecure(key))
    }
}

/// How an update of the discriminator hides each real image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DpSgd {
    /// C > 0, the largest norm of the gradient of one image, over all parameters of the discriminator. Where a layer has
    /// spectral norm, its gradient is that of the normalised weight.
    pub clip: f64,
    /// σ ≥ 0: the noise has the standard deviation σC.
    pub noise_multiplier: f64,
    /// B ≥ 1, the expected number of real images of an update, each of another person where these are hidden, and the number of generated ones.
    pub batch: usize,
}

/// The real images that an update sees, perhaps none.
#[derive(Clone, Debug, Default)]
pub struct RealImages {
    /// `[n, c, h, w]` in [-1, 1].
    pub images: Vec<f32>,
    /// The class of each, `[n]`; of no meaning where the network is not conditional.
    pub labels: Vec<u8>,
}

/// A generator of random numbers that nobody else knows.
pub struct SecretRng(ChaCha20Rng);

impl SecretRng {
    /// A generator with a key from the operating system.
    ///
    /// # Errors
    /// [`NnError::NoRandomness`] when the system has none.
    pub fn from_system() -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| NnError::NoRandomness(error.to_string()))?;
        Ok(Self(ChaCha20Rng::from_seed(key)))
    }

    /// A generator whose numbers anyone can repeat who knows `key`: nothing that is trained with it is private.
    pub fn insecure(key: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(key))
    }

    /// A Poisson sample of `images`: each is in it with the probability `rate`.
    pub fn poisson_sample(&mut self, images: &[u32], rate: f64) -> Vec<u32> {
        images.iter().copied().filter(|_| self.0.random::<f64>() < rate).collect()
    }

    /// One image of each person in a Poisson sample of `persons`, all images of a person equally likely.
    pub fn poisson_sample_of_persons(&mut self, persons: &[Vec<u32>], rate: f64) -> Vec<u32> {
        let mut sample = Vec::new();
        for images in persons {
            if self.0.random::<f64>() < rate {
                sample.push(images[self.0.random_range(0..images.len())]);
            }
        }
        sample
    }

    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        self.0.sample(StandardNormal)
    }
}

impl DpSgd {
    /// (sum of the real images' gradients + noise + sum of the generated images' gradients) / B.
    fn noisy_mean(&self, of_real: &[f32], of_fake: &[f32], rng: &mut SecretRng) -> Vec<f32> {
        let (deviation, batch) = (self.noise_multiplier * self.clip, self.batch as f64);
        let sums = of_real.iter().zip(of_fake).map(|(&real, &fake)| f64::from(real) + f64::from(fake));
        sums.map(|sum| ((sum + deviation * rng.normal()) / batch) as f32).collect()
    }
}

impl Gan {
    /// One step, of which `real` has the images of each update of the discriminator. `z` `[k · B, latent_dim]` and, in a
    /// conditional network, `labels` `[k · B]` are those of the generated images; neither may depend on a real image.
    ///
    /// The losses are those of the generated images alone.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When the lengths do not match, a label is not a class of the network, or the discriminator has batch norm.
    pub fn private_step(
        mut self,
        real: &[RealImages],
        z: Vec<f32>,
        labels: &[u8],
        dp: &DpSgd,
        rng: &mut SecretRng,
    ) -> Result<(Self, PendingLosses)> {
        let (z, labels) = self.on_device(z, labels, real.len() * dp.batch);
        let (mut discriminator, mut last) = (Vec::new(), None);
        for (i, real) in real.iter().enumerate() {
            let rows = i * dp.batch..(i + 1) * dp.batch;
            let labels = labels.clone().map(|labels| labels.slice(rows.clone()));
            let (fake, logits) = self.update_discriminator(real, z.clone().slice(rows), labels.as_ref(), dp, rng)?;
            discriminator.push(self.train.loss.of_fake(logits).mean());
            last = Some((fake, labels));
        }
        let (fake, labels) = last.expect("a step updates the discriminator at least once");
        let (generator, grads) = self.generator_pass(fake, labels.as_ref());
        self.generator = self.adam_g.step(self.generator, grads);
        Ok((self, PendingLosses { discriminator, generator }))
    }

    /// One update of the discriminator, and one of the generator where `generator_follows` says so, given the share of generated images that
    /// the discriminator recognised before its update. Arguments, losses, errors and panics are those of [`private_step`](Self::private_step).
    pub(super) fn adaptive_private_step(
        mut self,
        real: &RealImages,
        z: Vec<f32>,
        labels: &[u8],
        dp: &DpSgd,
        rng: &mut SecretRng,
        generator_follows: impl FnOnce(f64) -> bool,
    ) -> Result<(Self, PendingLosses)> {
        let (z, labels) = self.on_device(z, labels, dp.batch);
        let (fake, logits) = self.update_discriminator(real, z, labels.as_ref(), dp, rng)?;
        let recognised = self.train.loss.share_recognised(&layers::read(logits.clone())?);
        let generator = if generator_follows(recognised) {
            let (loss, grads) = self.generator_pass(fake, labels.as_ref());
            self.generator = self.adam_g.step(self.generator, grads);
            loss
        } else {
            let logits = self.discriminator.forward(fake.detach(), labels.as_ref(), Mode::Evaluate);
            self.train.loss.generator(logits).inner()
        };
        let discriminator = vec![self.train.loss.of_fake(logits).mean()];
        Ok((self, PendingLosses { discriminator, generator }))
    }

    /// z and the classes of `n` generated images.
    fn on_device(&self, z: Vec<f32>, labels: &[u8], n: usize) -> (Tensor<2>, Option<Labels>) {
        let z = Tensor::from_data(TensorData::new(z, [n, self.network.latent_dim()]), &self.on.burn);
        (z, self.network.num_classes.map(|classes| labels_tensor(labels, n, classes, &self.on)))
    }

    /// Returns the generated images, and the logits that the discriminator gave them before its update.
    fn update_discriminator(
        &mut self,
        real: &RealImages,
        z: Tensor<2>,
        labels: Option<&Labels>,
        dp: &DpSgd,
        rng: &mut SecretRng,
    ) -> Result<(Tensor<4>, Tensor<2>)> {
        let fake = self.generator.forward(z, labels, Mode::TRAIN);
        let (logits, grads) = self.private_pass(real, fake.clone().detach(), labels, dp, rng)?;
        self.discriminator = self.adam_d.step(self.discriminator.clone(), grads);
        Ok((fake, logits))
    }

    /// The logits of generated images, and the gradients of the discriminator.
    fn private_pass(
        &self,
        real: &RealImages,
        fake: Tensor<4>,
        labels: Option<&Labels>,
        dp: &DpSgd,
        rng: &mut SecretRng,
    ) -> Result<(Tensor<2>, GradientsParams)> {
        // No pass of single images moves the vectors of a spectral norm: this one does, whatever the image is.
        let first = labels.map(|labels| labels.clone().slice(0..1));
        self.discriminator.forward(fake.clone().slice(0..1), first.as_ref(), Mode::TRAIN);
        let fake = Sample { images: fake, labels: labels.cloned(), counts: true };
        let (logits, of_fake) = self.clipped_sums(&fake, |logits| self.train.loss.of_fake(logits), dp.clip)?;
        let of_real = self.clipped_sums_of_real(real, dp.clip)?;
        // The gradient of ⟨w, g⟩ by w is g, and passes on to what w is computed from.
        let products = of_real.into_iter().zip(of_fake).map(|(of_real, of_fake)| {
            let gradient = dp.noisy_mean(&of_real.sum, &of_fake.sum, rng);
            let gradient = TensorData::new(gradient, of_real.params.dims());
            (of_real.params * Tensor::from_data(gradient, &self.on.burn)).sum()
        });
        let all = products.reduce(|all, one| all + one).expect("a network has parameters");
        Ok((logits, GradientsParams::from_grads(all.backward(), &self.discriminator)))
    }

    /// For each tensor of parameters, the sum of the real images' gradients, each clipped to the norm `clip`.
    fn clipped_sums_of_real(&self, real: &RealImages, clip: f64) -> Result<Vec<ClippedSum>> {
        let counts = !real.labels.is_empty();
        // An image that does not count, where there is none.
        let empty = || RealImages { images: vec![0.0; self.network.image_shape.iter().product()], labels: vec![0] };
        let RealImages { images, labels } = if counts { real.clone() } else { empty() };
        let classes = self.network.num_classes;
        let labels = classes.map(|classes| labels_tensor(&labels, labels.len(), classes, &self.on));
        let sample = Sample { images: self.images_on_device(images), labels, counts };
        Ok(self.clipped_sums(&sample, |logits| self.train.loss.of_real(logits), clip)?.1)
    }

    /// The logits of all images, and for each tensor of parameters the sum of the gradients of the `loss`, that of each image clipped to the
    /// norm `clip`.
    fn clipped_sums(
        &self,
        sample: &Sample,
        loss: impl Fn(Tensor<2>) -> Tensor<2>,
        clip: f64,
    ) -> Result<(Tensor<2>, Vec<ClippedSum>)> {
        let n = sample.images.dims()[0];
        let part = |start: usize| {
            let (rows, examples) = (start..n.min(start + CHUNK), Examples::default());
            let labels = sample.labels.clone().map(|labels| labels.slice(rows.clone()));
            let images = sample.images.clone().slice(rows.clone());
            let logits = self.discriminator.forward(images, labels.as_ref(), Mode::PerExample(&examples));
            // Of the examples, not of the parameters: what the backward pass returns is not needed.
            loss(logits.clone()).sum().backward();
            let counted = if sample.counts { rows.len() } else { 0 };
            Ok((logits.inner(), examples.clipped_sums(counted, clip)?))
        };
        let (first, mut total) = part(0)?;
        let mut logits = vec![first];
        for start in (CHUNK..n).step_by(CHUNK) {
            let (more, sums) = part(start)?;
            logits.push(more);
            for (total, ClippedSum { sum, .. }) in total.iter_mut().zip(sums) {
                total.sum.iter_mut().zip(sum).for_each(|(total, sum)| *total += sum);
            }
        }
        Ok((Tensor::cat(logits, 0), total))
    }
}

/// Images that the discriminator sees, one or more.
struct Sample {
    images: Tensor<4>,
    labels: Option<Labels>,
    /// Whether their gradients count; else they are zero.
    counts: bool,
}

#[cfg(test)]
mod tests;
