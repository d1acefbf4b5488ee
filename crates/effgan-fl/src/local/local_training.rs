//! The training of both networks at a client, which all algorithms of this crate share.

use std::ops::ControlFlow;

use effgan_nn::gan::{Adam, Ema, Gan, Loss, Losses, TrainConfig};
use effgan_nn::networks::{self, Network, TensorSpec};
use effgan_nn::{Device, Params, Purpose, Streams};

use super::batches::Batches;
use super::local_config::out_of_bounds;
use super::{LocalConfig, LocalWork, Shard, check_shard};
use crate::message::{Broadcast, ExchangeKind, Numbers, Shapes, Update, metrics};
use crate::step_observer::{StepObserver, StepRecord, TrainingState};
use crate::{FlError, Result};

/// Both networks and how a client trains them; every algorithm of this crate uses it.
#[derive(Clone, Debug)]
pub struct LocalTraining {
    pub(crate) network: Network,
    config: LocalConfig,
    work: LocalWork,
    /// Number of exchanges of the run, ≥ 1, over which the step sizes decay.
    rounds: u32,
    /// μ, the weight of `FedProx`'s proximal term towards the broadcast parameters; no term when `None`.
    pub(crate) mu: Option<f64>,
    /// What trains the networks, with the config's precision.
    pub(crate) device: Device,
}

impl LocalTraining {
    /// Training of `network` on `device` with the settings of `config`.
    ///
    /// # Errors
    /// [`FlError::Config`] when a setting is out of its bounds, or `device` does not support the precision.
    pub fn new(network: Network, config: LocalConfig, device: Device) -> Result<Self> {
        let work = LocalWork::one_of(config.epochs, config.steps, "local.")?;
        config.decay.check()?;
        if let Some(reason) = out_of_bounds(&config, &network) {
            return Err(FlError::Config(reason));
        }
        let device = device.with_precision(config.precision);
        let device = device.map_err(|error| FlError::Config(format!("local.{error}")))?;
        Ok(Self { network, config, work, rounds: 1, mu: None, device })
    }

    /// The same training in a run of `rounds` exchanges, over which the step sizes decay.
    #[must_use]
    pub fn over(self, rounds: u32) -> Self {
        Self { rounds: rounds.max(1), ..self }
    }

    /// The work of one round: `local.epochs` or `local.steps`.
    pub fn work(&self) -> LocalWork {
        self.work
    }

    /// The initial parameters of both networks.
    pub fn init(&self, seed: u64) -> Params {
        let streams = Streams::of_run(seed);
        let draw = |tensors: &[_], which| networks::init(tensors, &mut streams.at(Purpose::Init, which));
        let generator = draw(&self.network.generator_tensors(), 0).named_under("generator");
        generator.merged_with(draw(&self.network.discriminator_tensors(), 1).named_under("discriminator"))
    }

    /// Names and shapes of the tensors of [`update`](Self::update)'s result.
    pub(crate) fn expects(&self, kind: ExchangeKind) -> Shapes {
        let named = |network: &str, tensors: Vec<TensorSpec>| -> Shapes {
            tensors.into_iter().map(|tensor| (format!("{network}.{}", tensor.name), tensor.shape)).collect()
        };
        let mut shapes = named("generator", self.network.generator_tensors());
        if kind != ExchangeKind::Collect {
            shapes.extend(named("discriminator", self.network.discriminator_tensors()));
        }
        shapes
    }

    /// Number of steps of `work` on n = `num_examples` images: an epoch is ceil(n / kB) steps of k = `discriminator_steps` batches of
    /// B images.
    pub fn steps(&self, work: LocalWork, num_examples: u64) -> u64 {
        let images_per_step = self.config.discriminator_steps as u64 * self.batch_size(num_examples);
        match work {
            LocalWork::Epochs(epochs) => u64::from(epochs).saturating_mul(num_examples.div_ceil(images_per_step)),
            LocalWork::Steps(steps) => u64::from(steps),
        }
    }

    /// Updates of the discriminator per update of the generator.
    pub(crate) fn discriminator_steps(&self) -> usize {
        self.config.discriminator_steps
    }

    /// The loss that both networks minimise.
    pub(crate) fn loss(&self) -> Loss {
        self.config.loss
    }

    /// Whether the server collects the generator's moving average.
    pub(crate) fn has_ema(&self) -> bool {
        self.config.ema.is_some()
    }

    /// Batch size B of a client with n = `num_examples` images, at most n.
    pub(crate) fn batch_size(&self, num_examples: u64) -> u64 {
        (self.config.batch_size as u64).min(num_examples).max(1)
    }

    /// Does `work` and returns what the exchange asks for: both networks for an average; the generator alone (its moving average when `ema`
    /// is on) when the server collects, because discriminators never leave their client.
    ///
    /// # Errors
    /// [`FlError::NonFiniteLoss`], [`FlError::OneImage`], [`FlError::Interrupted`]; tensors that do not fit the network.
    pub fn update(
        &self,
        broadcast: &Broadcast,
        work: LocalWork,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Update> {
        let Trained { gan, ema, metrics } = self.train(broadcast, work, shard, streams, observer)?;
        let params = match broadcast.kind {
            ExchangeKind::Collect => ema.map_or_else(|| gan.generator(), |ema| ema.params()).named_under("generator"),
            _ => gan.params(),
        };
        Ok(Update { params, num_examples: shard.train.len() as u64, metrics })
    }

    /// Settings of the training steps of `round`.
    pub(crate) fn train_config(&self, round: u32) -> TrainConfig {
        let LocalConfig { loss, discriminator_steps, learning_rate, beta1, .. } = self.config;
        let decay = self.config.decay.factor(round, self.rounds);
        let adam = |own: Option<f64>| Adam { learning_rate: own.unwrap_or(learning_rate) * decay, beta1 };
        TrainConfig {
            loss,
            generator: adam(self.config.generator_learning_rate),
            discriminator: adam(self.config.discriminator_learning_rate),
            discriminator_steps,
        }
    }

    fn train(
        &self,
        broadcast: &Broadcast,
        work: LocalWork,
        shard: &Shard,
        streams: &Streams,
        observer: &mut dyn StepObserver,
    ) -> Result<Trained> {
        check_shard(&self.network, shard.client, shard.train.len())?;
        let (mut gan, mut ema, done) = self.begin(broadcast, observer.resume_from()?)?;
        let num_examples = shard.train.len() as u64;
        let steps = self.steps(work, num_examples);
        let images_per_step = self.config.discriminator_steps * self.batch_size(num_examples) as usize;
        let mut batches = Batches::from_step(shard, streams, images_per_step, done.len() as u64);
        let mut sums = [0.0; 2];
        for step in 0..steps {
            let losses;
            let is_new = step as usize >= done.len();
            if is_new {
                let (real, labels) = batches.next_batch();
                let z = streams.normal(Purpose::Latent, step, images_per_step * self.network.latent_dim());
                (gan, losses) = gan.step(real, z, &labels);
                if let Some(ema) = &mut ema {
                    ema.follow(&gan);
                }
            } else {
                // An earlier start of the program did this step; the observer is only called again.
                losses = done[step as usize];
            }
            let (client, batch_size) = (shard.client.clone(), images_per_step as u64);
            let record = StepRecord { client, round: broadcast.round, step: step + 1, steps, batch_size, losses };
            check_finite(&record)?;
            sums[0] += f64::from(losses.discriminator);
            sums[1] += f64::from(losses.generator);
            let interrupted = observer.step(&record) == ControlFlow::Break(());
            if is_new {
                observer.checkpoint(step + 1, interrupted, &|| state_of(&gan, ema.as_ref()))?;
            }
            if interrupted {
                return Err(FlError::Interrupted);
            }
        }
        Ok(Trained { gan, ema, metrics: means(sums, steps) })
    }

    /// The networks of `broadcast` or, when resuming, those of `resumed`; and the losses of the finished steps.
    fn begin(&self, broadcast: &Broadcast, resumed: Option<TrainingState>) -> Result<(Gan, Option<Ema>, Vec<Losses>)> {
        let mut gan = Gan::new(&self.network, &broadcast.params, self.train_config(broadcast.round), self.device)?;
        if let Some(mu) = self.mu {
            gan = gan.with_proximal_term(mu);
        }
        let ema = self.config.ema;
        let Some(TrainingState { losses, tensors }) = resumed else {
            let ema = ema.map(|decay| Ema::new(decay, &gan));
            return Ok((gan, ema, Vec::new()));
        };
        let gan = gan.resume(&tensors, losses.len() as u32)?;
        let ema = ema.map(|decay| Ema::resume(decay, &gan, &tensors.under(EMA))).transpose()?;
        Ok((gan, ema, losses))
    }
}

/// Prefix of the moving average in a saved training state.
const EMA: &str = "ema";

/// All tensors that later steps depend on.
fn state_of(gan: &Gan, ema: Option<&Ema>) -> Params {
    let ema = ema.map(|ema| ema.params().named_under(EMA));
    gan.training_state().merged_with(ema.unwrap_or_default())
}

struct Trained {
    gan: Gan,
    ema: Option<Ema>,
    metrics: Numbers,
}

fn means([loss_d, loss_g]: [f64; 2], steps: u64) -> Numbers {
    let n = steps as f64;
    metrics(loss_d / n, loss_g / n, steps)
}

/// Checks that both losses of a step are finite.
pub(crate) fn check_finite(record: &StepRecord) -> Result<()> {
    let losses = [("discriminator", record.losses.discriminator), ("generator", record.losses.generator)];
    match losses.into_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((network, value)) => Err(FlError::NonFiniteLoss {
            network,
            client: record.client.clone(),
            round: record.round,
            step: record.step,
            steps: record.steps,
            value,
        }),
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::networks::{DcganConfig, NetworkConfig};

    use super::*;
    use crate::Decay;

    fn training(epochs: Option<u32>, steps: Option<u32>, batch_size: usize) -> Result<LocalTraining> {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap();
        let config = LocalConfig { batch_size, epochs, steps, ..LocalConfig::default() };
        LocalTraining::new(network, config, Device::cpu()?)
    }

    #[test]
    fn an_epoch_has_one_step_per_full_or_partial_batch() {
        let training = training(Some(3), None, 64).unwrap();
        assert_eq!([1, 10, 64, 65, 128, 129].map(|n| training.steps(training.work(), n)), [3, 3, 3, 6, 6, 9]);
    }

    #[test]
    fn an_epoch_of_steps_with_two_updates_is_one_pass_rounded_up_to_whole_steps() {
        let once = training(Some(1), None, 4).unwrap();
        let twice = LocalTraining { config: LocalConfig { discriminator_steps: 2, ..once.config.clone() }, ..once };
        assert_eq!([2, 4, 8, 9, 16].map(|n| twice.steps(twice.work(), n)), [1, 1, 1, 2, 2]);
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
            let train = training.train_config(round);
            [train.generator.learning_rate, train.discriminator.learning_rate]
        };
        assert_eq!([rates(1), rates(3)], [[2e-4, 4e-4], [1e-4, 2e-4]]);
    }
}
