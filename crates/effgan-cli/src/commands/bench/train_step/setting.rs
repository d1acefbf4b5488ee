//! What a measured step trains: a network on images of one shape, and how.

use std::path::Path;

use effgan_fl::{AlgorithmConfig, LocalConfig};
use effgan_nn::gan::{DISCRIMINATOR, GENERATOR, GanModel, Loss, Privacy};
use effgan_nn::model::StepPlan;
use effgan_nn::networks::{Network, NetworkConfig};
use effgan_run::Config;
use effgan_run::failure::{Failure, Result};

use super::super::kind::{Kind, NetworkArgs};

/// A network and the settings of its training.
pub(super) struct Setting {
    pub(super) network: Network,
    pub(super) local: LocalConfig,
    /// Weight of `FedProx`'s proximal term.
    proximal: Option<f64>,
    /// The largest norm of an image's gradient; `None` where training is not private.
    clip: Option<f64>,
}

impl Setting {
    /// A network with batch norm on square images, with the loss of its paper.
    pub(super) fn new(args: &NetworkArgs) -> Result<Self> {
        let network = args.network()?;
        let loss = match args.kind {
            Kind::Dcgan => Loss::NonSaturating,
            Kind::Resnet => Loss::Hinge,
        };
        let local = LocalConfig { loss, ..LocalConfig::default() };
        Ok(Self { network, local, proximal: None, clip: None })
    }

    /// The network, the `[local]` table and the proximal term, if any, of the config in `file`, for images like those of its
    /// data set.
    pub(super) fn of_config(file: &Path) -> Result<Self> {
        let config = Config::load(file, &[])?;
        let images = config.load_dataset()?.train;
        let network = Network::of_classes(config.network.clone(), images.shape(), images.num_classes())
            .map_err(|error| Failure::from(error).of_config(file))?;
        let proximal = match &config.algorithm {
            AlgorithmConfig::Fedprox(fedprox) => Some(fedprox.mu),
            _ => None,
        };
        let clip = config.privacy.map(|privacy| privacy.clip);
        Ok(Self { network, local: config.local, proximal, clip })
    }

    /// The model of a client with `num_images` images. Steps of private training take the same time whatever the noise is.
    pub(super) fn model(&self, num_images: usize) -> GanModel {
        let privacy = self.clip.map(|clip| Privacy {
            clip,
            batch: self.local.batch_size,
            noise_multipliers: [([num_images as u64; 2], 1.0)].into(),
            insecure_seed: None,
        });
        GanModel { privacy, ..self.local.gan(self.network.clone()) }
    }

    /// The training of a run's first round.
    pub(super) fn plan(&self) -> StepPlan {
        let adam = [GENERATOR, DISCRIMINATOR].map(|name| (name, self.local.adam(name)));
        StepPlan { ema: self.local.ema, proximal: self.proximal, adam: adam.into() }
    }

    /// Real images of one step.
    pub(super) fn images_per_step(&self) -> usize {
        self.local.batch_size * self.local.discriminator_steps.per_step()
    }

    pub(super) fn flop_per_step(&self) -> f64 {
        self.network.flop_per_step(self.local.batch_size, self.local.discriminator_steps.per_step())
    }

    /// The kind of network, as in a config, and its channels.
    pub(super) fn network_and_base_channels(&self) -> (&'static str, usize) {
        match &self.network.config {
            NetworkConfig::Dcgan(dcgan) => ("dcgan", dcgan.base_channels),
            NetworkConfig::Resnet(resnet) => ("resnet", resnet.base_channels),
        }
    }
}
