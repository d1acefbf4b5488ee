//! `effgan bench`

use std::time::Instant;

use clap::{Args, Subcommand};
use effgan_fl::local::{LocalConfig, LocalTraining};
use effgan_nn::gan::{Adam, Gan};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, NormKind};
use effgan_nn::{Purpose, Streams, parallel_map};
use serde::Serialize;

use crate::failure::Result;
use crate::output::say;

/// Speed of this machine at what a run spends its time on
#[derive(Subcommand)]
pub enum Bench {
    TrainStep(TrainStep),
}

/// One DCGAN training step on 28 × 28 grey images, by as many clients at the same time as `--jobs`
#[derive(Args)]
pub struct TrainStep {
    #[arg(long, default_value_t = 64)]
    base_channels: usize,
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..))]
    batch_size: u16,
    /// Clients at the same time, one thread each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Steps that are timed, after three that are not
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
    /// One JSON object instead of a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    base_channels: usize,
    batch_size: usize,
    jobs: usize,
    median_ms_per_step: f64,
    images_per_second: f64,
}

impl Bench {
    pub fn run(self) -> Result<()> {
        let Self::TrainStep(bench) = self;
        bench.run()
    }
}

impl TrainStep {
    fn run(self) -> Result<()> {
        let (jobs, batch_size) = (usize::from(self.jobs), usize::from(self.batch_size));
        let dcgan = DcganConfig { latent_dim: 100, base_channels: self.base_channels, norm: NormKind::Batch };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28])?;
        let times = parallel_map(jobs, jobs, |client| self.time(&network, client as u64));
        let mut times: Vec<f64> = times.into_iter().collect::<Result<Vec<_>>>()?.concat();
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let images_per_second = (jobs * batch_size) as f64 / median;
        let base_channels = self.base_channels;
        let timing = Timing { base_channels, batch_size, jobs, median_ms_per_step: 1e3 * median, images_per_second };
        if self.json {
            say(serde_json::to_string(&timing).expect("plain data"));
        } else {
            say(format!("{:.1} ms a step (median), {images_per_second:.0} images/s", 1e3 * median));
        }
        Ok(())
    }

    /// Seconds of each timed step of one client.
    fn time(&self, network: &Network, client: u64) -> Result<Vec<f64>> {
        let local = LocalConfig {
            batch_size: usize::from(self.batch_size),
            learning_rate: 2e-4,
            beta1: 0.5,
            epochs: None,
            steps: Some(1),
            ema: None,
        };
        let params = LocalTraining::new(network.clone(), local)?.init(client);
        let mut gan = Gan::new(network, &params, Adam { learning_rate: 2e-4, beta1: 0.5 })?;
        let streams = Streams::of_run(client);
        let mut times = Vec::new();
        for step in 0..3 + u64::from(self.steps) {
            let noise = streams.normal(Purpose::Shuffle, step, usize::from(self.batch_size) * network.image_len());
            let real = noise.into_iter().map(f32::tanh).collect();
            let z = streams.normal(Purpose::Latent, step, usize::from(self.batch_size) * network.latent_dim());
            let started = Instant::now();
            (gan, _) = gan.step(real, z);
            times.push(started.elapsed().as_secs_f64());
        }
        Ok(times.split_off(3))
    }
}
