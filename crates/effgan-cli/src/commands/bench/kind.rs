//! The networks that are measured.

use clap::ValueEnum;
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, ResnetConfig};
use effgan_run::failure::Result;

/// Length of z, as in DCGAN.
const LATENT_DIM: usize = 100;

/// A kind of networks.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Kind {
    Dcgan,
    Resnet,
}

impl Kind {
    /// A network with batch norm for images `[channels, height, width]`.
    pub(super) fn network(self, base_channels: usize, image_shape: [usize; 3]) -> Result<Network> {
        let latent_dim = LATENT_DIM;
        let config = match self {
            Self::Dcgan => NetworkConfig::Dcgan(DcganConfig { latent_dim, base_channels, ..DcganConfig::default() }),
            Self::Resnet => {
                NetworkConfig::Resnet(ResnetConfig { latent_dim, base_channels, ..ResnetConfig::default() })
            }
        };
        Ok(Network::new(config, image_shape)?)
    }

    /// Its name in a config.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dcgan => "dcgan",
            Self::Resnet => "resnet",
        }
    }
}
