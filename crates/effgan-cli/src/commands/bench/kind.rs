//! The networks that are measured.

use clap::{Args, ValueEnum};
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
    fn network(self, base_channels: usize, image_shape: [usize; 3]) -> Result<Network> {
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

    /// The pixels per side of the images that it is measured on where none are named.
    fn usual_size(self) -> usize {
        match self {
            Self::Dcgan => 28,
            Self::Resnet => 32,
        }
    }
}

/// Flags that choose a network.
#[derive(Args)]
pub(super) struct NetworkArgs {
    /// Kind of the networks
    #[arg(long = "network", id = "network", value_enum, default_value = "dcgan")]
    pub(super) kind: Kind,
    /// Pixels per side of the images; a resnet needs a power of two [default: 28, 32 for a resnet]
    #[arg(long)]
    size: Option<usize>,
    /// Channels of the images, 1 or 3
    #[arg(long, default_value_t = 1)]
    channels: usize,
    /// Width of the networks
    #[arg(long, default_value_t = 64)]
    pub(super) base_channels: usize,
}

impl NetworkArgs {
    /// The network, for square images.
    pub(super) fn network(&self) -> Result<Network> {
        let side = self.size.unwrap_or(self.kind.usual_size());
        self.kind.network(self.base_channels, [self.channels, side, side])
    }
}
