//! `effgan sample`

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use effgan_data::ClientName;
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;
use effgan_fl::sample::Draw;
use effgan_nn::Device;
use effgan_run::failure::{Failure, Result};
use effgan_run::record::machine;
use effgan_run::record::pictures::{grid, save_png};
use effgan_run::record::run_dir::check_new_file;
use npyz::WriterBuilder;

use crate::output::say;

/// Maximum number of images of one PNG grid, which is held in memory.
const MAX_IN_GRID: u32 = 10_000;

/// Draw images from a trained model
///
/// Image i of a seed does not depend on how many images are drawn.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan sample runs/quickstart --out grid.png
  effgan sample runs/quickstart --num 1000 --seed 2 --out images.npy")]
pub(super) struct Sample {
    /// A run folder, or a model folder
    model: PathBuf,
    /// Number of images
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    num: u32,
    /// Seed of the images
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// FILE.png for a grid, FILE.npy for a u8 array [n, c, h, w], any other path for a new folder of PNG files
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// Draw from this member only; `global` is the averaged generator; repeatable
    #[arg(long = "member", value_name = "NAME")]
    members: Vec<String>,
    /// Draw this class only, by name or number, from a conditional model; repeatable: the images then take the classes in turn. `all` stands for
    /// all classes [default: random classes]
    #[arg(long = "class", value_name = "CLASS")]
    classes: Vec<String>,
    /// Threads; no result depends on them [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Sample {
    pub(super) fn run(self) -> Result<()> {
        check_new_file(&self.out)?;
        check_grid(&self.out, self.num)?;
        let model = Ensemble::open(&self.model)?;
        let selection = effgan_run::api::selection(&self.members)?;
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let classes = classes(&self.classes, &model)?;
        let draw = Draw::new(self.seed, 0..u64::from(self.num), Device::cpu()?, jobs);
        let images = model.sample(&selection, &Draw { classes: &classes, ..draw })?;
        save(&self.out, &images, model.image_shape())?;
        say(format!("{} images from {} in {}", self.num, drawn_from(&model, &selection), self.out.display()));
        Ok(())
    }
}

/// Refuses grids that are too large.
fn check_grid(out: &Path, num: u32) -> Result<()> {
    if num > MAX_IN_GRID && kind(out) == Some("png") {
        let line =
            format!("--num {num} is too many for one grid (at most {MAX_IN_GRID}); use an .npy file or a folder");
        return Err(Failure::usage(anyhow::anyhow!(line)));
    }
    Ok(())
}

fn kind(out: &Path) -> Option<&str> {
    out.extension().and_then(|extension| extension.to_str())
}

/// The labels to draw in turn.
fn classes(names: &[String], model: &Ensemble) -> Result<Vec<u8>> {
    if names == ["all"] {
        // For an unconditional model, asks for class 0: the sampler has the error for it.
        let last = model.manifest().network.num_classes.unwrap_or(1) - 1;
        return Ok((0..=last as u8).collect());
    }
    let known = &model.manifest().classes;
    let class = |name: &String| {
        let names = if known.is_empty() { String::new() } else { format!(" nor one of {}", known.join(", ")) };
        let line = || anyhow::anyhow!("--class {name} is neither `all` nor a number from 0 to 255{names}");
        match known.iter().position(|known| known == name) {
            Some(label) => Ok(label as u8),
            None => name.parse::<u8>().map_err(|_| Failure::usage(line())),
        }
    };
    names.iter().map(class).collect()
}

/// What the images are drawn from, as part of a sentence.
pub(super) fn drawn_from(model: &Ensemble, selection: &Selection) -> String {
    match selection {
        Selection::Members(names) => names.iter().map(ClientName::as_str).collect::<Vec<_>>().join(", "),
        Selection::Ensemble if !model.manifest().members.is_empty() => {
            format!("the ensemble of {} generators", model.manifest().members.len())
        }
        Selection::Ensemble | Selection::Global => "the averaged generator".into(),
    }
}

fn save(out: &Path, images: &[u8], shape: [usize; 3]) -> anyhow::Result<()> {
    let image_len: usize = shape.iter().product();
    let n = images.len() / image_len;
    match kind(out) {
        Some("png") => save_png(out, &grid(images, shape, n.isqrt().max(1), 2)),
        Some("npy") => save_npy(out, images, [n, shape[0], shape[1], shape[2]]),
        _ => {
            fs::create_dir(out).with_context(|| format!("making {}", out.display()))?;
            let digits = (n - 1).to_string().len();
            let save_one = |(i, image)| save_png(&out.join(format!("{i:0digits$}.png")), &grid(image, shape, 1, 1));
            images.chunks_exact(image_len).enumerate().try_for_each(save_one)
        }
    }
}

fn save_npy(out: &Path, images: &[u8], shape: [usize; 4]) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape.map(|size| size as u64));
    let mut writer = options.writer(&mut bytes).begin_nd()?;
    writer.extend(images.iter().copied())?;
    writer.finish()?;
    effgan_nn::checkpoint::write_file(out, &bytes).with_context(|| format!("writing {}", out.display()))
}
