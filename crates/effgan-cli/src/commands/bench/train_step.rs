//! `effgan bench train-step`

mod client;
mod setting;
mod span;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Barrier, OnceLock};

use clap::Args;
use effgan_fl::LocalConfig;
use effgan_nn::{Device, DeviceName, Precision, on_threads, parallel_map};
use effgan_run::failure::Result;
use effgan_run::record::machine;
use serde::Serialize;

use self::client::Client;
use self::setting::Setting;
use self::span::Span;
use super::kind::NetworkArgs;
use super::mark::Mark;
use super::peak_memory::PeakMemory;
use super::{ENGINE, print_result};

/// Measure training steps on noise of the shape of images
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench train-step
  effgan bench train-step --jobs 4 --batch 32 --json
  effgan bench train-step --network resnet --size 32 --channels 3
  effgan bench train-step --config configs/mnist-32-resnet.toml")]
pub(crate) struct TrainStep {
    /// Measure the step of this config instead: its network, on images like those of its data set, by its [local] table
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["network", "size", "channels", "base_channels", "batch", "precision"]
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Images per step
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(2..))]
    batch: u16,
    /// Clients that train at the same time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,
    /// Threads of each client
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Precision of the large matrix products, f32 or bf16
    #[arg(long, default_value = "f32", value_parser = precision)]
    precision: Precision,
    /// Seconds for which each client is timed, after at most 10 untimed steps
    #[arg(long, default_value_t = 6.0, value_parser = seconds, conflicts_with = "steps")]
    seconds: f64,
    /// Number of timed steps per client, instead of a time
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// What trains: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0
    #[arg(long, default_value_t)]
    device: DeviceName,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// Parses a precision.
fn precision(text: &str) -> std::result::Result<Precision, &'static str> {
    let known = [Precision::F32, Precision::Bf16].into_iter().find(|precision| precision.name() == text);
    known.ok_or("expected f32 or bf16")
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
    network: &'static str,
    /// Height of the images, in pixels.
    size: usize,
    /// Width of the images, in pixels.
    width: usize,
    channels: usize,
    /// Threads of all clients together.
    threads: usize,
    jobs: usize,
    /// Real images of each update of the discriminator.
    batch: usize,
    base_channels: usize,
    /// Per step of one client.
    wall_ms_per_step: f64,
    /// User CPU time per step.
    user_ms_per_step: f64,
    /// Real images, of all clients together.
    images_per_second: f64,
    /// Peak memory of all clients' steps, less that before the first step; `None` where the system does not say.
    memory_mb: Option<f64>,
    instruction_set: String,
    precision: &'static str,
    /// Operations are counted as plain convolutions need them: a fast algorithm does fewer and may exceed the peak.
    gflop_per_step: f64,
    /// Of all clients together.
    gflop_per_second: f64,
    /// Peak of one thread, times the cores that the clients use; `None` on a GPU.
    peak_gflop_per_second: Option<f64>,
    share_of_peak: Option<f64>,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { network, size, width, channels, threads, jobs, batch, base_channels, .. } = self;
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        let clients = format!("{jobs} client{} on {threads} thread{}", plural(*jobs), plural(*threads));
        writeln!(
            f,
            "training step  {:7.1} ms wall, {:.1} ms user, {:.0} images/s  ({clients}, {network}, {size} x {width} x {channels}, \
             batch {batch}, base {base_channels})",
            self.wall_ms_per_step, self.user_ms_per_step, self.images_per_second
        )?;
        let of_peak = self
            .share_of_peak
            .zip(self.peak_gflop_per_second)
            .map_or_else(String::new, |(share, peak)| format!(", {:.0} % of an f32 peak of {peak:.0}", 100.0 * share));
        let (isa, precision) = (&self.instruction_set, self.precision);
        write!(f, "arithmetic     {:7.1} GFLOP/s{of_peak} ({isa}, {precision})", self.gflop_per_second)?;
        match self.memory_mb {
            Some(memory) => write!(f, "\nmemory         {memory:7.0} MB more than before the first step"),
            None => Ok(()),
        }
    }
}

/// Where the clients wait for each other once their networks and images exist.
struct Start {
    barrier: Barrier,
    /// What the process has in memory then.
    memory: OnceLock<Option<PeakMemory>>,
}

impl Start {
    fn wait(&self) {
        if self.barrier.wait().is_leader() {
            self.memory.get_or_init(PeakMemory::start);
        }
        self.barrier.wait();
    }

    fn megabytes(&self) -> Option<f64> {
        self.memory.get()?.as_ref()?.megabytes()
    }
}

impl TrainStep {
    pub(super) fn run(self) -> Result<()> {
        let (jobs, setting) = (usize::from(self.jobs), self.setting()?);
        let device = setting.local.device(self.device.open()?)?;
        let start = Start { barrier: Barrier::new(jobs), memory: OnceLock::new() };
        let spans = parallel_map(jobs, jobs, |client| {
            on_threads(usize::from(self.threads), || self.time(Client::new(&setting, device, client as u64), &start))
        });
        let spans = spans.into_iter().collect::<Result<Vec<_>>>()?;
        print_result(&self.timing(&setting, &spans, start.megabytes(), device), self.json);
        Ok(())
    }

    fn setting(&self) -> Result<Setting> {
        if let Some(file) = &self.config {
            return Setting::of_config(file);
        }
        let mut setting = Setting::new(&self.network)?;
        setting.local = LocalConfig { batch_size: self.batch.into(), precision: self.precision, ..setting.local };
        Ok(setting)
    }

    /// Warms `client` up together with the others and times its steps.
    fn time(&self, client: Result<Client>, start: &Start) -> Result<Span> {
        // After a failure too, since the others wait for all clients.
        start.wait();
        let client = client.and_then(Client::warmed_up);
        start.barrier.wait();
        let (mut client, started) = (client?, Mark::now());
        let mut steps = 0;
        while match self.steps {
            Some(wanted) => steps < wanted,
            None => started.at.elapsed().as_secs_f64() < self.seconds,
        } {
            client.step()?;
            steps += 1;
        }
        client.wait()?;
        Ok(Span { steps, started, ended: Mark::now() })
    }

    fn timing(&self, setting: &Setting, spans: &[Span], memory_mb: Option<f64>, device: Device) -> Timing {
        let (network, base_channels) = setting.network_and_base_channels();
        let [channels, size, width] = setting.network.image_shape;
        let (jobs, threads) = (spans.len(), spans.len() * usize::from(self.threads));
        let (wall, user) = Span::first_to_last(spans);
        let steps = spans.iter().map(|span| f64::from(span.steps)).sum::<f64>();
        let gflop_per_step = 1e-9 * setting.flop_per_step();
        let gflop_per_second = gflop_per_step * steps / wall;
        let of_core = device.peak_gflops();
        let peak_gflop_per_second = of_core.map(|peak| peak * threads.min(machine::cores()) as f64);
        Timing {
            engine: ENGINE,
            network,
            size,
            width,
            channels,
            threads,
            jobs,
            batch: setting.local.batch_size,
            base_channels,
            wall_ms_per_step: 1e3 * wall / (steps / jobs as f64),
            user_ms_per_step: 1e3 * user / steps,
            images_per_second: setting.images_per_step() as f64 * steps / wall,
            memory_mb,
            instruction_set: device.name(),
            precision: setting.local.precision.name(),
            gflop_per_step,
            gflop_per_second,
            peak_gflop_per_second,
            share_of_peak: peak_gflop_per_second.map(|peak| gflop_per_second / peak),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_above_0() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "NaN", "inf", "six"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
