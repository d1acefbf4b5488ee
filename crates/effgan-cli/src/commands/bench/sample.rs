//! `effgan bench sample`

use std::fmt;
use std::path::Path;

use anyhow::Context;
use clap::Args;
use effgan_data::ClientName;
use effgan_fl::Ensemble;
use effgan_fl::aggregate::{MemberSink, Weights};
use effgan_fl::ensemble::{ModelWriter, NormStatistics, Selection};
use effgan_fl::sample::Draw;
use effgan_nn::model::BATCH;
use effgan_nn::networks::{Network, init};
use effgan_nn::{DeviceName, Purpose, Streams};
use effgan_run::failure::Result;
use effgan_run::record::machine;
use serde::Serialize;

use super::kind::NetworkArgs;
use super::mark::Mark;
use super::{ENGINE, print_result};

/// Members of the ensemble.
const MEMBERS: u64 = 10;

/// Measure drawing images from an ensemble of 10 generators, on all cores and on one
#[derive(Args)]
#[command(after_help = "Examples:
  effgan bench sample
  effgan bench sample --network resnet --size 64 --channels 3
  effgan bench sample --base-channels 128 --num 1000 --json")]
pub(crate) struct Sample {
    #[command(flatten)]
    network: NetworkArgs,
    /// Number of images
    #[arg(long, default_value_t = 6400, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    num: u32,
    /// What draws the images: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0
    #[arg(long, default_value_t)]
    device: DeviceName,
    /// Print one JSON object per result instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Timing {
    engine: &'static str,
    threads: usize,
    network: &'static str,
    size: usize,
    channels: usize,
    members: u64,
    base_channels: usize,
    num: u32,
    seconds: f64,
    user_seconds: f64,
    images_per_second: f64,
    device: String,
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { threads, network, size, channels, members, base_channels, num, images_per_second, .. } = self;
        let user_ms = 1e3 * self.user_seconds / f64::from(*num);
        let s = if *threads == 1 { " " } else { "s" };
        write!(
            f,
            "sampling with {threads:2} thread{s} {images_per_second:9.0} images/s, {user_ms:.2} ms user per image  ({num} images, \
             {members} members, {network}, {size} x {size} x {channels}, base {base_channels})"
        )
    }
}

impl Sample {
    pub(super) fn run(self) -> Result<()> {
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let network = self.network.network()?;
        let model = write_model(folder.path(), &network)?;
        let mut threads = vec![machine::cores(), 1];
        threads.dedup();
        for threads in threads {
            print_result(&self.time(&model, network.image_shape, threads)?, self.json);
        }
        Ok(())
    }

    fn time(&self, model: &Ensemble, [channels, size, _]: [usize; 3], threads: usize) -> Result<Timing> {
        let device = self.device.open()?;
        let draw = |num| model.sample(&Selection::Ensemble, &Draw::new(1, 0..num, device, threads));
        draw(BATCH as u64)?; // a warm-up
        let started = Mark::now();
        draw(u64::from(self.num))?;
        let (seconds, user_seconds) = started.elapsed();
        Ok(Timing {
            engine: ENGINE,
            threads,
            network: self.network.kind.name(),
            size,
            channels,
            members: MEMBERS,
            base_channels: self.network.base_channels,
            num: self.num,
            seconds,
            user_seconds,
            images_per_second: f64::from(self.num) / seconds,
            device: device.name(),
        })
    }
}

/// Writes an ensemble of untrained generators, which draw as fast as trained ones.
fn write_model(dir: &Path, network: &Network) -> Result<Ensemble> {
    let mut writer = ModelWriter::create(dir, Weights::Uniform)?;
    let streams = Streams::of_run(1);
    let generator = |which| init(&network.generator_tensors(), &mut streams.at(Purpose::Init, which));
    for member in 0..MEMBERS {
        writer.member(ClientName::new(format!("client-{member}"))?, 1, generator(member))?;
    }
    Ok(writer.finish("effgan", network, &generator(MEMBERS), NormStatistics::Average)?)
}
