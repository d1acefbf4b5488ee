//! `effgan bench train-step`

use std::fmt;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::Args;
use effgan_nn::Adam;
use effgan_nn::gan::{Gan, TrainConfig};
use effgan_nn::networks::{Network, init};
use effgan_nn::{Device, Precision, Purpose, Streams, on_threads, parallel_map};
use effgan_run::failure::Result;
use effgan_run::record::machine;
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;

use super::{ENGINE, IMAGE_SHAPE, LATENT_DIM, dcgan, print_result};

/// Steps before timing starts, for caches and allocator to settle.
const WARM_UP_STEPS: usize = 10;

/// Batches that the steps cycle through.
const BATCHES: u64 = 8;

/// Measure training steps of a DCGAN on 28 × 28 grey images
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench train-step
  effgan bench train-step --jobs 4 --batch 32 --json")]
pub(crate) struct TrainStep {
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..))]
    batch: u16,
    /// Width of the networks
    #[arg(long, default_value_t = 64)]
    base_channels: usize,
    /// Clients that train at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Threads of each client
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Precision of the large matrix products, f32 or bf16
    #[arg(long, default_value = "f32", value_parser = precision)]
    precision: Precision,
    /// Seconds for which each client is timed, after 10 untimed steps
    #[arg(long, default_value_t = 6.0, value_parser = seconds, conflicts_with = "steps")]
    seconds: f64,
    /// Number of timed steps per client, instead of a time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Parses a precision that this processor supports.
fn precision(text: &str) -> std::result::Result<Precision, String> {
    let known = [Precision::F32, Precision::Bf16].into_iter().find(|precision| precision.name() == text);
    let precision = known.ok_or("expected f32 or bf16")?;
    match Device::cpu().map(|device| device.with_precision(precision)) {
        Ok(Err(_)) => Err("this processor does not support it".into()),
        // Without a device, the command fails at its start.
        Ok(Ok(_)) | Err(_) => Ok(precision),
    }
}

/// Parses a duration in seconds: above 0, at most an hour.
fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected a number above 0, at most 3600".into()),
    }
}

#[derive(Serialize)]
struct Timing {
    engine: &'static str,
    /// Threads of all clients together.
    threads: usize,
    jobs: usize,
    batch: usize,
    base_channels: usize,
    /// Per step of one client.
    wall_ms_per_step: f64,
    /// User CPU time per step.
    user_ms_per_step: f64,
    /// Of all clients together.
    images_per_second: f64,
    instruction_set: &'static str,
    precision: &'static str,
    /// Of all clients together. Operations are counted as a plain convolution needs them: a fast algorithm does fewer and may exceed the peak.
    gflop_per_second: f64,
    /// Peak of one thread, times the cores that the clients use.
    peak_gflop_per_second: f64,
    share_of_peak: f64,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { threads, jobs, batch, base_channels, .. } = self;
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let clients = format!("{jobs} client{} on {threads} thread{}", plural(*jobs), plural(*threads));
        writeln!(
            f,
            "training step  {:7.1} ms wall, {:.1} ms user, {:.0} images/s  ({clients}, batch {batch}, \
             base {base_channels})",
            self.wall_ms_per_step, self.user_ms_per_step, self.images_per_second
        )?;
        let (percent, peak) = (100.0 * self.share_of_peak, self.peak_gflop_per_second);
        let (isa, precision) = (self.instruction_set, self.precision);
        write!(
            f,
            "arithmetic     {:7.1} GFLOP/s, {percent:.0} % of an f32 peak of {peak:.0} ({isa}, {precision})",
            self.gflop_per_second
        )
    }
}

impl TrainStep {
    pub(super) fn run(self) -> Result<()> {
        let jobs = usize::from(self.jobs);
        let (network, device) = (dcgan(self.base_channels)?, Device::cpu()?.with_precision(self.precision)?);
        let start = Barrier::new(jobs);
        let spans = parallel_map(jobs, jobs, |client| {
            on_threads(usize::from(self.threads), || {
                self.time(Client::new(&network, self.batch, device, client as u64), &start)
            })
        });
        let spans = spans.into_iter().collect::<Result<Vec<_>>>()?;
        print_result(&self.timing(&spans, device), self.json);
        Ok(())
    }

    /// Warms `client` up, waits for the others and times its steps.
    fn time(&self, client: Result<Client>, start: &Barrier) -> Result<Span> {
        let client = client.map(Client::warmed_up);
        // After a failure too, since the others wait for all clients.
        start.wait();
        let (mut client, started) = (client?, Mark::now());
        let mut steps = 0;
        while match self.steps {
            Some(wanted) => steps < wanted,
            None => started.at.elapsed().as_secs_f64() < self.seconds,
        } {
            client = client.step();
            steps += 1;
        }
        Ok(Span { steps, started, ended: Mark::now() })
    }

    fn timing(&self, spans: &[Span], device: Device) -> Timing {
        let (jobs, batch, base_channels) = (spans.len(), usize::from(self.batch), self.base_channels);
        let threads = jobs * usize::from(self.threads);
        let (wall, user) = first_to_last(spans);
        let steps = spans.iter().map(|span| f64::from(span.steps)).sum::<f64>();
        let images_per_second = steps * batch as f64 / wall;
        let gflop_per_second = 1e-9 * flop_per_image(base_channels) * images_per_second;
        let peak_gflop_per_second = device.peak_gflops() * threads.min(machine::cores()) as f64;
        Timing {
            engine: ENGINE,
            threads,
            jobs,
            batch,
            base_channels,
            wall_ms_per_step: 1e3 * wall / (steps / jobs as f64),
            user_ms_per_step: 1e3 * user / steps,
            images_per_second,
            instruction_set: device.name(),
            precision: self.precision.name(),
            gflop_per_second,
            peak_gflop_per_second,
            share_of_peak: gflop_per_second / peak_gflop_per_second,
        }
    }
}

/// A client that trains on noise.
struct Client {
    gan: Gan,
    /// Real images `[batch, c, h, w]` and z `[batch, latent_dim]`.
    batches: Vec<(Vec<f32>, Vec<f32>)>,
    steps: usize,
}

impl Client {
    fn new(network: &Network, batch: u16, device: Device, seed: u64) -> Result<Self> {
        let streams = Streams::of_run(seed);
        let first = |tensors: &[_], which| init(tensors, &mut streams.at(Purpose::Init, which));
        let generator = first(&network.generator_tensors(), 0).named_under("generator");
        let params = generator.merged_with(first(&network.discriminator_tensors(), 1).named_under("discriminator"));
        let noise = |purpose, i, len| streams.normal(purpose, i, usize::from(batch) * len);
        let batch_of_noise = |i| {
            let real = noise(Purpose::Shuffle, i, network.image_len()).into_iter().map(f32::tanh).collect();
            (real, noise(Purpose::Latent, i, network.latent_dim()))
        };
        let train = TrainConfig::new(Adam { learning_rate: 2e-4, beta1: 0.5 });
        let gan = Gan::new(network, &params, train, device)?;
        Ok(Self { gan, batches: (0..BATCHES).map(batch_of_noise).collect(), steps: 0 })
    }

    fn warmed_up(self) -> Self {
        (0..WARM_UP_STEPS).fold(self, |client, _| client.step())
    }

    fn step(mut self) -> Self {
        let (real, z) = self.batches[self.steps % self.batches.len()].clone();
        (self.gan, _) = self.gan.step(real, z, &[]);
        self.steps += 1;
        self
    }
}

/// The timed part of one client.
struct Span {
    steps: u32,
    started: Mark,
    ended: Mark,
}

/// A point in time.
struct Mark {
    at: Instant,
    /// User CPU time of the whole process up to then.
    user: Duration,
}

impl Mark {
    fn now() -> Self {
        let user = getrusage(UsageWho::RUSAGE_SELF).expect("the process may ask about itself").user_time();
        let user = Duration::from_secs(user.tv_sec() as u64) + Duration::from_micros(user.tv_usec() as u64);
        Self { at: Instant::now(), user }
    }
}

/// Wall and user CPU seconds from the first client's start to the last one's end.
fn first_to_last(spans: &[Span]) -> (f64, f64) {
    let first = spans.iter().map(|span| &span.started).min_by_key(|mark| mark.at).expect("at least one client");
    let last = spans.iter().map(|span| &span.ended).max_by_key(|mark| mark.at).expect("at least one client");
    ((last.at - first.at).as_secs_f64(), last.user.saturating_sub(first.user).as_secs_f64())
}

/// Floating-point operations per image and step: two per multiply-add of the layers, nothing else.
///
/// A layer multiplies each of its weights once per position of its kernel; there are as many positions as pixels in the smaller of its two
/// feature maps. The forward pass, the gradient of the input and that of the weights cost the same.
fn flop_per_image(base_channels: usize) -> f64 {
    let [channels, height, width] = IMAGE_SHAPE;
    let (half, quarter) = (height / 2 * (width / 2), height / 4 * (width / 4));
    let (base, kernel) = (base_channels, 4 * 4);

    let g_fc = LATENT_DIM * 2 * base * quarter;
    let g_conv1 = 2 * base * base * kernel * quarter;
    let g_conv2 = base * channels * kernel * half;
    let generator = g_fc + g_conv1 + g_conv2;

    let d_conv1 = channels * base * kernel * half;
    let d_conv2 = base * 2 * base * kernel * quarter;
    let d_fc = 2 * base * quarter;
    let discriminator = d_conv1 + d_conv2 + d_fc;

    let fake = generator;
    // Forward, weights and inputs, on a real and on a generated image, without the gradient of the images.
    let discriminator_step = 2 * (3 * discriminator - d_conv1);
    // Through the discriminator forward and back to the image, without its weights; through the generator without z.
    let generator_step = 2 * discriminator + 2 * generator - g_fc;
    2.0 * (fake + discriminator_step + generator_step) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_at_base_64_costs_147_5_mflop_an_image() {
        // Counted by hand for the same network in PyTorch. Within 1 %, the precision of that number.
        let mflop = 1e-6 * flop_per_image(64);
        assert!((mflop / 147.5 - 1.0).abs() < 0.01, "{mflop}");
    }

    #[test]
    fn a_duration_is_a_number_above_0() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "six"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
