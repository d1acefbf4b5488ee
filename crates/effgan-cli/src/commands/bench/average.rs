//! `effgan bench average`

use std::fmt;
use std::time::{Duration, Instant};

use clap::Args;
use effgan_fl::aggregate::WeightedMean;
use effgan_nn::{Array, Params, Purpose, Streams};
use effgan_run::failure::Result;
use serde::Serialize;

use super::{ENGINE, print_result};

/// Tensors per client, all of one size.
const TENSORS: u64 = 10;

/// Measure the weighted mean of many clients' parameters, on one thread
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench average
  effgan bench average --clients 1000 --megabytes 2 --json")]
pub(crate) struct Average {
    /// Number of clients
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Size of one client's parameters in MB (10^6 bytes)
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    megabytes: u32,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    engine: &'static str,
    threads: usize,
    clients: u32,
    /// Of one client, 10^6 bytes.
    megabytes: f64,
    seconds: f64,
    /// 10^9 bytes of parameters per second.
    gigabytes_per_second: f64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { clients, megabytes, seconds, gigabytes_per_second, .. } = self;
        write!(f, "averaging {seconds:8.3} s, {gigabytes_per_second:.2} GB/s  ({clients} clients of {megabytes} MB)")
    }
}

impl Average {
    pub(super) fn run(self) -> Result<()> {
        let mut mean = WeightedMean::new();
        let (mut bytes, mut time) = (0, Duration::ZERO);
        for client in 0..self.clients {
            // Made and dropped one by one, like replies: memory does not grow with the number of clients.
            let params = self.params(client);
            bytes += params.num_bytes();
            let started = Instant::now();
            mean.add(&params, f64::from(client + 1))?;
            time += started.elapsed();
        }
        let started = Instant::now();
        std::hint::black_box(mean.finish());
        let seconds = (time + started.elapsed()).as_secs_f64();
        let timing = Timing {
            engine: ENGINE,
            threads: 1,
            clients: self.clients,
            megabytes: 1e-6 * bytes as f64 / f64::from(self.clients),
            seconds,
            gigabytes_per_second: 1e-9 * bytes as f64 / seconds,
        };
        print_result(&timing, self.json);
        Ok(())
    }

    fn params(&self, client: u32) -> Params {
        let streams = Streams::of_round(1, client);
        let len = self.megabytes as usize * 1_000_000 / 4 / TENSORS as usize;
        let tensor = |i| (format!("tensor{i}"), Array::new([len], streams.normal(Purpose::Init, i, len)));
        (0..TENSORS).map(tensor).collect()
    }
}
