//! A [`Gan`] with the moving average of its generator, as a [`Trainer`].

use super::kept_images::KeptImages;
use rand::RngExt;

use super::adaptive_steps::AdaptiveSteps;
use super::{Ema, GENERATOR, Gan, PendingLosses, Privacy};
use crate::model::{Batch, Part, Trainer, TrainingImages};
use crate::{Params, Purpose, Result, Streams};

/// Prefix of the moving average in a saved state.
const EMA: &str = "ema";

/// A generator and a discriminator in training.
pub(super) struct GanTrainer {
    /// `None` only while a step runs, which takes it and returns the next one.
    gan: Option<Gan>,
    ema: Option<Ema>,
    /// Number of steps done.
    steps: u64,
    /// Losses of the steps that were not asked for yet.
    losses: Vec<PendingLosses>,
    /// All images of the client, on a device that keeps them.
    kept: Option<KeptImages>,
    privacy: Option<Privacy>,
    /// When the generator follows the discriminator; `None` where it does after each step.
    adaptive: Option<AdaptiveSteps>,
}

impl GanTrainer {
    /// Trains `gan`, with a moving average of its generator where `ema` is its decay, and [`AdaptiveSteps`] where it `adapts`.
    pub(super) fn new(gan: Gan, ema: Option<f32>, privacy: Option<Privacy>, adapts: bool) -> Self {
        let (ema, adaptive) = (ema.map(|decay| Ema::new(decay, &gan)), adapts.then(AdaptiveSteps::new));
        Self { gan: Some(gan), ema, steps: 0, losses: Vec::new(), kept: None, privacy, adaptive }
    }

    fn gan(&self) -> &Gan {
        self.gan.as_ref().expect("no step is running")
    }

    fn take_gan(&mut self) -> Gan {
        self.gan.take().expect("no step is running")
    }

    fn plain_step(&mut self, batch: Batch<'_>, streams: &Streams) -> (Gan, PendingLosses) {
        let z = self.latent(batch.indices.len(), streams);
        if self.kept.is_none() {
            self.kept = KeptImages::new(&batch.from, self.gan());
        }
        let real = match &self.kept {
            Some(kept) => kept.images(batch.indices),
            None => self.gan().images_on_device(batch.images()),
        };
        self.take_gan().step_on(&real, z, &batch.labels())
    }

    /// A step on samples of all of the client's images. Nothing but the updates of the discriminator depends on which: generated
    /// images are as many in each step, and their classes are equally likely.
    fn private_step(
        &mut self,
        from: &TrainingImages<'_>,
        privacy: &Privacy,
        streams: &Streams,
    ) -> Result<(Gan, PendingLosses)> {
        let dp = privacy.of_client(from)?;
        let mut rng = privacy.randomness(streams, self.steps)?;
        let updates = self.gan().discriminator_steps();
        let real = privacy.samples(from, updates, &mut rng)?;
        let n = updates * dp.batch;
        let (z, labels) = (self.latent(n, streams), self.fake_classes(n, streams));
        let gan = self.take_gan();
        match &mut self.adaptive {
            None => gan.private_step(&real, z, &labels, &dp, &mut rng),
            Some(steps) => {
                let follows = |recognised| steps.count(recognised);
                gan.adaptive_private_step(&real[0], z, &labels, &dp, &mut rng, follows)
            }
        }
    }

    /// Updates of the generator so far.
    fn generator_steps(&self) -> u64 {
        self.adaptive.as_ref().map_or(self.steps, AdaptiveSteps::generator_steps)
    }

    /// z of this step's `n` generated images.
    fn latent(&self, n: usize, streams: &Streams) -> Vec<f32> {
        streams.normal(Purpose::Latent, self.steps, n * self.gan().network().latent_dim())
    }

    /// Classes of this step's `n` generated images, all equally likely; none where the network is not conditional.
    fn fake_classes(&self, n: usize, streams: &Streams) -> Vec<u8> {
        let Some(classes) = self.gan().network().num_classes else { return Vec::new() };
        let mut rng = streams.at(Purpose::FakeClass, self.steps);
        (0..n).map(|_| rng.random_range(0..classes) as u8).collect()
    }
}

impl Trainer for GanTrainer {
    fn step(&mut self, batch: Batch<'_>, streams: &Streams) -> Result<()> {
        let before = self.generator_steps();
        let (gan, losses) = match self.privacy.take() {
            None => self.plain_step(batch, streams),
            Some(privacy) => {
                let done = self.private_step(&batch.from, &privacy, streams);
                self.privacy = Some(privacy);
                done?
            }
        };
        self.steps += 1;
        let has_moved = self.generator_steps() > before;
        if let Some(ema) = self.ema.as_mut().filter(|_| has_moved) {
            ema.follow(&gan);
        }
        self.gan = Some(gan);
        self.losses.push(losses);
        Ok(())
    }

    fn drain_losses(&mut self) -> Result<Vec<Vec<f32>>> {
        let losses = PendingLosses::read(std::mem::take(&mut self.losses))?.into_iter();
        Ok(losses.map(|losses| vec![losses.discriminator, losses.generator]).collect())
    }

    fn into_params(mut self: Box<Self>, part: Part) -> Result<Params> {
        self.gan = Some(self.take_gan().without_optimisers());
        self.params(part)
    }

    fn params(&self, part: Part) -> Result<Params> {
        match (part, &self.ema) {
            (Part::Averaged, _) => self.gan().params(),
            (Part::Collected, None) => Ok(self.gan().generator()?.named_under(GENERATOR)),
            (Part::Collected, Some(ema)) => Ok(ema.params()?.named_under(GENERATOR)),
        }
    }

    fn state(&self) -> Result<Params> {
        let average = self.ema.as_ref().map(|ema| Ok(ema.params()?.named_under(EMA))).transpose()?;
        let adaptive = self.adaptive.as_ref().map(AdaptiveSteps::state).unwrap_or_default();
        Ok(self.gan().training_state()?.merged_with(average.unwrap_or_default()).merged_with(adaptive))
    }

    fn restore(&mut self, state: &Params, steps: u64) -> Result<()> {
        let gan = match &mut self.adaptive {
            None => self.take_gan().resume(state, steps as u32)?,
            Some(adaptive) => {
                *adaptive = AdaptiveSteps::resume(state)?;
                let of_generator = adaptive.generator_steps() as u32;
                self.take_gan().resume_at(state, of_generator, steps as u32)?
            }
        };
        if let Some(ema) = &mut self.ema {
            *ema = Ema::resume(ema.decay(), gan.network(), &state.under(EMA), gan.device())?;
        }
        (self.gan, self.steps) = (Some(gan), steps);
        self.losses.clear();
        Ok(())
    }
}
