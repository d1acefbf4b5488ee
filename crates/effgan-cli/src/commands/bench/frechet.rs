//! `effgan bench frechet`

use std::fmt;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use effgan_metrics::{FeatureStats, frechet_distance};
use effgan_nn::{Purpose, Streams};
use effgan_run::failure::Result;
use serde::Serialize;

use super::{ENGINE, print_result};

/// Measure the Fréchet distance between two sets of random features, on one thread
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench frechet
  effgan bench frechet --num 50000 --dims 2048 --json")]
pub(crate) struct Frechet {
    /// Images per set
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    num: u32,
    /// Features per image, one result each; the defaults are those of the small network and Inception
    #[arg(long, value_delimiter = ',', default_values_t = [84, 2048])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    dims: Vec<u16>,
    /// Print one JSON object per result instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    engine: &'static str,
    threads: usize,
    num: u32,
    dim: u16,
    /// Mean and covariance of one set.
    statistics_ms: f64,
    /// Distance between two sets, given their statistics.
    distance_ms: f64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { num, dim, statistics_ms, distance_ms, .. } = self;
        let size = format!("{num} x {dim}");
        write!(f, "features {size:<12} {statistics_ms:9.1} ms statistics of a set, {distance_ms:9.1} ms distance")
    }
}

impl Frechet {
    pub(super) fn run(self) -> Result<()> {
        for &dim in &self.dims {
            print_result(&time(self.num, dim)?, self.json);
        }
        Ok(())
    }
}

fn time(num: u32, dim: u16) -> Result<Timing> {
    let sets = [1, 2].map(|seed| Streams::of_run(seed).normal(Purpose::Latent, 0, num as usize * usize::from(dim)));
    let started = Instant::now();
    let [real, fake] = sets.each_ref().map(|features| FeatureStats::of(features, usize::from(dim)));
    let statistics_ms = ms_since(started) / 2.0;
    let (real, fake) = (real.context("statistics of random features")?, fake.context("statistics of random features")?);
    let started = Instant::now();
    frechet_distance(&real, &fake).context("distance between random features")?;
    Ok(Timing { engine: ENGINE, threads: 1, num, dim, statistics_ms, distance_ms: ms_since(started) })
}

fn ms_since(started: Instant) -> f64 {
    1e3 * started.elapsed().as_secs_f64()
}
