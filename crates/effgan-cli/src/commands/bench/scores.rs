//! `effgan bench scores`

use std::fmt;

use anyhow::Context;
use clap::Args;
use effgan_metrics::{Prdc, Subsets, kernel_distance, prdc};
use effgan_nn::{Purpose, Streams};
use effgan_run::failure::Result;
use effgan_run::record::machine;
use serde::Serialize;

use super::mark::Mark;
use super::{ENGINE, print_result};

/// Measure PRDC and KID between two sets of random features, on all cores and on one
///
/// PRDC is precision, recall, density and coverage with 5 nearest neighbours; KID is the kernel distance over 100 pairs of subsets
/// of 1,000 images.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench scores
  effgan bench scores --num 2000 --dims 2048 --json")]
pub(crate) struct Scores {
    /// Images per set
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(6..=1_000_000))]
    num: u32,
    /// Features per image, two results each; the defaults are those of the small network and Inception
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
    prdc_ms: f64,
    prdc_user_ms: f64,
    kid_ms: f64,
    kid_user_ms: f64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { threads, num, dim, prdc_ms, prdc_user_ms, kid_ms, kid_user_ms, .. } = self;
        let size = format!("{num} x {dim}");
        let s = if *threads == 1 { " " } else { "s" };
        write!(
            f,
            "features {size:<12} {threads:2} thread{s} {prdc_ms:9.1} ms PRDC ({prdc_user_ms:.1} user), \
             {kid_ms:9.1} ms KID ({kid_user_ms:.1} user)"
        )
    }
}

impl Scores {
    pub(super) fn run(self) -> Result<()> {
        let mut threads = vec![machine::cores(), 1];
        threads.dedup();
        for &dim in &self.dims {
            let sets = [1, 2]
                .map(|seed| Streams::of_run(seed).normal(Purpose::Latent, 0, self.num as usize * usize::from(dim)));
            for &threads in &threads {
                print_result(&time(&sets, self.num, dim, threads)?, self.json);
            }
        }
        Ok(())
    }
}

fn time([real, fake]: &[Vec<f32>; 2], num: u32, dim: u16, threads: usize) -> Result<Timing> {
    let dims = usize::from(dim);
    let started = Mark::now();
    prdc(real, fake, dims, Prdc::NEAREST_K, threads).context("PRDC of random features")?;
    let (prdc_seconds, prdc_user) = started.elapsed();
    let started = Mark::now();
    let subsets = Subsets::draw(num as usize, num as usize, 1);
    kernel_distance(real, fake, dims, &subsets, threads).context("KID of random features")?;
    let (kid_seconds, kid_user) = started.elapsed();
    let [prdc_ms, prdc_user_ms, kid_ms, kid_user_ms] =
        [prdc_seconds, prdc_user, kid_seconds, kid_user].map(|s| 1e3 * s);
    Ok(Timing { engine: ENGINE, threads, num, dim, prdc_ms, prdc_user_ms, kid_ms, kid_user_ms })
}
