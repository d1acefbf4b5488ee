//! `effgan bench`: one file a measurement.

mod average;
mod frechet;
mod sample;
mod train_step;

use std::fmt::Display;

use clap::Subcommand;
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig};
use serde::Serialize;

use crate::output::say;
use effgan_run::failure::Result;

/// Length of z, as DCGAN has it.
const LATENT_DIM: usize = 100;

/// `[c, h, w]` of MNIST and its relatives.
const IMAGE_SHAPE: [usize; 3] = [1, 28, 28];

/// What produced a result, beside those of other engines.
const ENGINE: &str = concat!("effgan ", env!("CARGO_PKG_VERSION"));

/// Speed of this machine at what runs and samples spend their time on
#[derive(Subcommand)]
pub(super) enum Bench {
    TrainStep(train_step::TrainStep),
    Sample(sample::Sample),
    Frechet(frechet::Frechet),
    Average(average::Average),
}

impl Bench {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::TrainStep(bench) => bench.run(),
            Self::Sample(bench) => bench.run(),
            Self::Frechet(bench) => bench.run(),
            Self::Average(bench) => bench.run(),
        }
    }
}

/// The network that is trained and sampled: DCGAN with batch norm.
fn dcgan(base_channels: usize) -> Result<Network> {
    let dcgan = DcganConfig { latent_dim: LATENT_DIM, base_channels, ..DcganConfig::default() };
    Ok(Network::new(NetworkConfig::Dcgan(dcgan), IMAGE_SHAPE)?)
}

/// Says one result: for people, or as one JSON object.
fn say_result(result: &(impl Display + Serialize), json: bool) {
    if json {
        say(serde_json::to_string(result).expect("plain data"));
    } else {
        say(result);
    }
}
