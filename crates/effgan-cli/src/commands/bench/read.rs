//! `effgan bench read`

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use effgan_data::datasets::Reading;
use effgan_data::{DatasetConfig, DatasetName};
use effgan_run::failure::Result;
use effgan_run::record::machine;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use serde::Serialize;

use super::peak_memory::PeakMemory;
use super::{ENGINE, print_result};

/// Measure how fast a folder of pictures is read
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench read pictures --size 64 --channels 3
  effgan bench read pictures --cache /tmp/cache --json")]
pub(crate) struct Read {
    /// The folder
    folder: PathBuf,
    /// Pixels per side to which pictures are resized [default: their own]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    size: Option<u16>,
    /// Channels to which pictures are converted: 1 or 3 [default: their own]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
    channels: Option<u8>,
    /// Keep decoded pictures below this folder, and read those that are kept there [default: none are kept]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    engine: &'static str,
    threads: usize,
    num: usize,
    seconds: f64,
    /// CPU time of all threads, of the program and of the system for it.
    cpu_seconds: f64,
    images_per_second: f64,
    /// Bytes of all images.
    images_mb: f64,
    /// Peak while they were read.
    memory_mb: Option<f64>,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { num, seconds, cpu_seconds, images_per_second, images_mb, .. } = self;
        let peak = self.memory_mb.map_or_else(String::new, |memory| format!(", {memory:.0} MB at the peak"));
        write!(
            f,
            "{num} pictures in {seconds:.3} s ({cpu_seconds:.3} s of CPU), {images_per_second:.0} a second; {images_mb:.0} MB of images{peak}"
        )
    }
}

impl Read {
    pub(super) fn run(self) -> Result<()> {
        let Self { folder, size, channels, cache, json } = self;
        let config = DatasetConfig {
            dir: Some(folder),
            size: size.map(usize::from),
            channels: channels.map(usize::from),
            ..DatasetConfig::of(DatasetName::Folder)
        };
        let reading = Reading::quiet();
        let reading = cache.map_or(reading.clone(), |cache| reading.with_cache(cache));
        let memory = PeakMemory::start();
        let (started, cpu_before) = (Instant::now(), cpu_seconds());
        let dataset = config.read(None, &reading)?;
        let (seconds, cpu_seconds) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu_before);
        let (num, memory_mb) = (dataset.train.len() + dataset.test.len(), memory.and_then(|memory| memory.megabytes()));
        let images_mb = 1e-6 * (dataset.train.pixels().len() + dataset.test.pixels().len()) as f64;
        let (engine, threads, images_per_second) = (ENGINE, machine::cores(), num as f64 / seconds);
        print_result(
            &Timing { engine, threads, num, seconds, cpu_seconds, images_per_second, images_mb, memory_mb },
            json,
        );
        Ok(())
    }
}

/// CPU time of this process so far.
fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the process may ask about itself");
    let seconds = |time: TimeVal| time.tv_sec() as f64 + 1e-6 * time.tv_usec() as f64;
    seconds(usage.user_time()) + seconds(usage.system_time())
}
