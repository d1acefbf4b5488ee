//! The training of a model at a client, which all algorithms of this crate share.

use std::ops::ControlFlow;
use std::sync::Arc;

use effgan_nn::Adam;
use effgan_nn::model::{LossName, NetworkSpec, Part, StepPlan};
use effgan_nn::{Device, Model, NnError, Params, Streams, Trainer, model, networks};

use super::{BatchSampler, LocalConfig, LocalWork, Shard, ShuffledEpochs, batch, check_shard};
use crate::message::{Broadcast, ExchangeKind, Numbers, Shapes, Update, metrics};
use crate::step_observer::{FinishedStep, StepObserver, StepRecord, TrainingState};
use crate::{FlError, Result};

/// A model and how a client trains it; every algorithm of this crate uses it.
#[derive(Clone, Debug)]
pub struct LocalTraining {
    model: Arc<dyn Model>,
    config: LocalConfig,
    batches: Arc<dyn BatchSampler>,
    work: LocalWork,
    /// Number of exchanges of the run, ≥ 1, over which the step sizes decay.
    rounds: u32,
    /// μ, the weight of `FedProx`'s proximal term towards the broadcast parameters; no term when `None`.
    pub(crate) mu: Option<f64>,
    /// What trains the networks, with the config's precision.
    pub(crate) device: Device,
}

impl LocalTraining {
    /// Training of `model` on `device` with the settings of `config`, on shuffled epochs.
    ///
    /// # Errors
    /// [`FlError::Config`] when a setting is out of its bounds, or `device` does not support the precision.
    pub fn new(model: Arc<dyn Model>, config: LocalConfig, device: Device) -> Result<Self> {
        config.check(model.min_images())?;
        let work = config.work()?;
        let device = config.device(device)?;
        Ok(Self { model, config, batches: Arc::new(ShuffledEpochs), work, rounds: 1, mu: None, device })
    }

    /// The same training in a run of `rounds` exchanges, over which the step sizes decay.
    #[must_use]
    pub fn over(self, rounds: u32) -> Self {
        Self { rounds: rounds.max(1), ..self }
    }

    /// The same training, whose steps see the images that `batches` chooses.
    #[must_use]
    pub fn on(self, batches: Arc<dyn BatchSampler>) -> Self {
        Self { batches, ..self }
    }

    /// The model.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }

    /// The work of one round: `local.epochs` or `local.steps`.
    pub fn work(&self) -> LocalWork {
        self.work
    }

    /// The initial parameters of all networks.
    pub fn init(&self, seed: u64) -> Params {
        model::init(self.model(), seed)
    }

    /// Names and shapes of the tensors of [`update`](Self::update)'s result.
    pub(crate) fn expects(&self, kind: ExchangeKind) -> Shapes {
        let is_sent = |network: &NetworkSpec| kind != ExchangeKind::Collect || network.name == self.model.generator();
        let shapes = |NetworkSpec { name, tensors }| {
            tensors.into_iter().map(move |tensor| (format!("{name}.{}", tensor.name), tensor.shape))
        };
        self.model.networks().into_iter().filter(is_sent).flat_map(shapes).collect()
    }

    /// Number of steps of `work` on n = `num_examples` images: an epoch is ceil(n / kB) steps of k = `batches_per_step` batches of B
    /// images.
    pub fn steps(&self, work: LocalWork, num_examples: u64) -> u64 {
        match work {
            LocalWork::Epochs(epochs) => {
                u64::from(epochs).saturating_mul(num_examples.div_ceil(self.images_per_step(num_examples)))
            }
            LocalWork::Steps(steps) => u64::from(steps),
        }
    }

    /// Whether the server collects the generator's moving average.
    pub(crate) fn has_ema(&self) -> bool {
        self.config.ema.is_some()
    }

    /// Batch size B of a client with n = `num_examples` images, at most n.
    pub(crate) fn batch_size(&self, num_examples: u64) -> u64 {
        (self.config.batch_size as u64).min(num_examples).max(1)
    }

    fn images_per_step(&self, num_examples: u64) -> u64 {
        self.model.batches_per_step() as u64 * self.batch_size(num_examples)
    }

    /// Checks the number of images of a step, which a [`BatchSampler`] chooses.
    fn check_batch(&self, images: usize) -> Result<()> {
        let (least, batches) = (self.model.min_images(), self.model.batches_per_step());
        if images >= least && images.is_multiple_of(batches) {
            return Ok(());
        }
        Err(FlError::Config(format!(
            "a step has {images} images; the model needs {least} or more, in {batches} equal batches"
        )))
    }

    /// The images of step `first` and later ones, where a step has `images_per_step` images.
    pub(crate) fn batches<'a>(
        &self,
        shard: &Shard<'a>,
        streams: &'a Streams,
        images_per_step: usize,
        first: u64,
    ) -> Box<dyn Iterator<Item = Vec<u32>> + 'a> {
        self.batches.batches(shard.train, streams, images_per_step, first)
    }

    /// How the training steps of `round` train the model.
    pub(crate) fn plan(&self, round: u32) -> StepPlan {
        let decay = self.config.decay.factor(round, self.rounds);
        let decayed = |adam: Adam| Adam { learning_rate: adam.learning_rate * decay, ..adam };
        let networks = self.model.networks().into_iter();
        let adam = networks.map(|network| (network.name, decayed(self.config.adam(network.name)))).collect();
        StepPlan { ema: self.config.ema, proximal: self.mu, adam }
    }

    /// Does `work` and returns what the exchange asks for: all networks for an average; the generator alone (its moving average when `ema`
    /// is on) when the server collects, because the other networks never leave their client.
    ///
    /// # Errors
    /// [`FlError::NonFiniteLoss`], [`FlError::OneImage`], [`FlError::Interrupted`], [`FlError::DeviceIsFull`]; tensors that do not fit the model.
    pub fn update(
        &self,
        broadcast: &Broadcast,
        work: LocalWork,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        check_shard(self.model(), shard.client, shard.train.len())?;
        let num_examples = shard.train.len() as u64;
        self.with_sizes(num_examples, || {
            let mut trainer = self.model.trainer(&broadcast.params, &self.plan(broadcast.round), self.device)?;
            let metrics = self.train(&mut *trainer, (broadcast.round, work), shard, streams, observer)?;
            let part = if broadcast.kind == ExchangeKind::Collect { Part::Collected } else { Part::Averaged };
            Ok(Update { params: trainer.into_params(part)?, num_examples, metrics })
        })
    }

    /// Does `work` on batches of a client with `num_examples` images. When it fills the device, the error has the sizes that do.
    pub(crate) fn with_sizes<T>(&self, num_examples: u64, work: impl FnOnce() -> Result<T>) -> Result<T> {
        work().map_err(|error| {
            let FlError::Nn(NnError::DeviceIsFull) = error else { return error };
            let (batch_size, image_shape) = (self.batch_size(num_examples), self.model.image_shape());
            let bytes = self.model.networks().iter().map(|network| networks::num_bytes(&network.tensors)).sum::<u64>();
            FlError::DeviceIsFull { batch_size, image_shape, megabytes: bytes as f64 / 1e6 }
        })
    }

    /// Trains, from the state in which an earlier start of the program left the work if there is one, and returns the means of the losses.
    fn train(
        &self,
        trainer: &mut dyn Trainer,
        (round, work): (u32, LocalWork),
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Numbers> {
        let num_examples = shard.train.len() as u64;
        let (steps, images_per_step) = (self.steps(work, num_examples), self.images_per_step(num_examples));
        let mut progress = Progress::new(shard, round, steps, self.model.losses());
        if let Some(TrainingState { steps, tensors }) = observer.resume_from(steps)? {
            trainer.restore(&tensors, steps.len() as u64)?;
            for FinishedStep { batch_size, losses } in steps {
                if progress.report(losses, batch_size, observer)?.is_break() {
                    return Err(FlError::Interrupted);
                }
            }
        }
        let batches = self.batches(shard, streams, images_per_step as usize, progress.step);
        let (persons, mut under_way) = (shard.by_person(), Vec::new());
        for images in batches.take(steps.saturating_sub(progress.step) as usize) {
            self.check_batch(images.len())?;
            trainer.step(batch(shard, persons.as_deref(), &images), streams)?;
            under_way.push(images.len() as u64);
            let step = progress.step + under_way.len() as u64;
            let (saves, keeps) = (observer.saves(step), observer.keeps(step, steps));
            if !saves && !keeps && step < steps && under_way.len() < self.device.steps_per_read() {
                continue;
            }
            let mut stops = false;
            for (losses, batch_size) in trainer.drain_losses()?.into_iter().zip(under_way.drain(..)) {
                stops |= progress.report(losses, batch_size, observer)?.is_break();
            }
            // What is kept comes before the state from which a resumed run goes on behind it.
            if keeps {
                let params = trainer.params(Part::Averaged)?.merged_with(trainer.params(Part::Collected)?);
                observer.keep(Update { params, num_examples, metrics: progress.metrics() })?;
            }
            if saves || stops {
                observer.save(trainer.state()?)?;
            }
            if stops {
                return Err(FlError::Interrupted);
            }
        }
        Ok(progress.metrics())
    }
}

/// The steps of one exchange as an observer sees them.
struct Progress<'a> {
    shard: &'a Shard<'a>,
    round: u32,
    /// Number of steps done, of `steps`.
    step: u64,
    steps: u64,
    names: &'static [LossName],
    /// Sum of each loss over the steps done.
    sums: Vec<f64>,
}

impl<'a> Progress<'a> {
    fn new(shard: &'a Shard, round: u32, steps: u64, names: &'static [LossName]) -> Self {
        Self { shard, round, step: 0, steps, names, sums: vec![0.0; names.len()] }
    }

    /// Adds the next step, which saw `batch_size` images, and calls `observer`.
    ///
    /// # Errors
    /// [`FlError::NonFiniteLoss`].
    fn report(
        &mut self,
        losses: Vec<f32>,
        batch_size: u64,
        observer: &mut dyn StepObserver,
    ) -> Result<ControlFlow<()>> {
        let Self { round, steps, names, .. } = *self;
        self.step += 1;
        self.sums.iter_mut().zip(&losses).for_each(|(sum, &loss)| *sum += f64::from(loss));
        let (client, step) = (self.shard.client.clone(), self.step);
        let record = StepRecord { client, round, step, steps, batch_size, names, losses };
        record.check_finite()?;
        Ok(observer.step(&record))
    }

    /// The means of the losses over the steps done.
    fn metrics(&self) -> Numbers {
        let means: Vec<f64> = self.sums.iter().map(|sum| sum / self.step as f64).collect();
        metrics(self.names, &means, self.step)
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::networks::{DcganConfig, Network, NetworkConfig};

    use super::*;
    use crate::Decay;

    fn network() -> Network {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, ..DcganConfig::default() };
        Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap()
    }

    fn training(epochs: Option<u32>, steps: Option<u32>, batch_size: usize) -> Result<LocalTraining> {
        let config = LocalConfig { batch_size, epochs, steps, ..LocalConfig::default() };
        LocalTraining::new(Arc::new(config.gan(network())), config, Device::cpu()?)
    }

    #[test]
    fn an_epoch_has_one_step_per_full_or_partial_batch() {
        let training = training(Some(3), None, 64).unwrap();
        assert_eq!([1, 10, 64, 65, 128, 129].map(|n| training.steps(training.work(), n)), [3, 3, 3, 6, 6, 9]);
    }

    #[test]
    fn an_epoch_of_steps_with_two_updates_is_one_pass_rounded_up_to_whole_steps() {
        let once = training(Some(1), None, 4).unwrap();
        let config =
            LocalConfig { discriminator_steps: effgan_nn::gan::DiscriminatorSteps::Fixed(2), ..once.config.clone() };
        let twice = LocalTraining { model: Arc::new(config.gan(network())), config, ..once };
        assert_eq!([2, 4, 8, 9, 16].map(|n| twice.steps(twice.work(), n)), [1, 1, 1, 2, 2]);
    }

    #[test]
    fn a_full_device_is_named_with_what_fills_it() {
        let training = training(Some(1), None, 64).unwrap();
        let failed = |error| training.with_sizes::<()>(40, || Err(error)).unwrap_err().to_string();
        assert!(failed(FlError::Nn(NnError::DeviceIsFull)).starts_with(
            "the device has no memory left for batches of 40 images of [1, 4, 4] and networks of 0 MB; lower"
        ));
        assert_eq!(failed(FlError::Interrupted), FlError::Interrupted.to_string());
    }

    #[test]
    fn step_sizes_are_set_per_network_and_decay_with_the_round() {
        let training = training(Some(1), None, 4).unwrap().over(4);
        let config = LocalConfig {
            learning_rate: 2e-4,
            discriminator_learning_rate: Some(4e-4),
            decay: Decay::Linear,
            ..training.config.clone()
        };
        let training = LocalTraining { config, ..training };
        let rates = |round| {
            let plan = training.plan(round);
            ["generator", "discriminator"].map(|network| plan.adam[network].learning_rate)
        };
        assert_eq!([rates(1), rates(3)], [[2e-4, 4e-4], [1e-4, 2e-4]]);
    }
}
