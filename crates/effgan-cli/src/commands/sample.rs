//! `effgan sample`

use std::path::PathBuf;

use clap::Args;
use effgan_data::ClientName;
use effgan_fl::Ensemble;
use effgan_fl::ensemble::Selection;
use effgan_fl::sample::Draw;
use effgan_nn::DeviceName;
use effgan_run::failure::Result;
use effgan_run::record::machine;
use effgan_run::record::run_dir::check_new_file;

use super::images_out::ImagesOut;
use crate::output::say;

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
    /// FILE.png for a grid, FILE.npy or FILE.npz for a u8 array [n, c, h, w], a path without an extension for a new folder of PNG files
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
    /// What draws the images: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0
    #[arg(long, default_value_t)]
    device: DeviceName,
}

impl Sample {
    pub(super) fn run(self) -> Result<()> {
        check_new_file(&self.out)?;
        let out = ImagesOut::of(&self.out, self.num)?;
        let model = Ensemble::open(&self.model)?;
        let selection = effgan_run::api::selection(&self.members)?;
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let classes = effgan_run::api::classes(&self.classes, &model)?;
        let draw = Draw::new(self.seed, 0..u64::from(self.num), self.device.open()?, jobs);
        let images = model.sample(&selection, &Draw { classes: &classes, ..draw })?;
        out.save(&images, model.image_shape())?;
        say(format!("{} images from {} in {}", self.num, drawn_from(&model, &selection), self.out.display()));
        Ok(())
    }
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
