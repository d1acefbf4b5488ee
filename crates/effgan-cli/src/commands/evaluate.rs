//! `effgan evaluate`

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use clap::Args;
use effgan_data::datasets::{Reading, Report};
use effgan_data::{DatasetConfig, ImageFiles, from_home};
use effgan_fl::Ensemble;
use effgan_metrics::Resize;
use effgan_metrics::metric::Network;
use effgan_nn::DeviceName;
use effgan_run::api::selection;
use effgan_run::config::{Config, NetworkName};
use effgan_run::failure::{Failure, Result};
use effgan_run::record::machine;
use effgan_run::scores::{
    self, Evaluation, Evaluator, FeatureNet, Images, NetworkChoice, RealSet, Share, Training, is_model, run_of,
};

use super::interrupt::stop_flag;
use crate::output::{advise, say, write};
use crate::terminal::{ReadingBar, bar, shown_on};

/// Score a model or images against real images
///
/// The scores are Fréchet and kernel distance (sliced Wasserstein distance of images without classes), precision, recall, density and coverage, class balance, the accuracy of a classifier trained on the
/// images, and memorisation. Each is shown with its floor: the score of as many real images.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan evaluate runs/quickstart
  effgan evaluate images.npy --reference mnist-mini --json")]
pub(super) struct Evaluate {
    /// A run or model folder, a folder of pictures, or an .npy or .npz file
    images: PathBuf,
    /// Real images: a data set's name, a config file for its data set, a folder of pictures, or an .npy or .npz file [default: the run's data set]
    #[arg(long, value_name = "DATASET|PATH")]
    reference: Option<String>,
    /// The folder with the files of a reference data set that is neither built in nor fetched
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Feature network: mnist, fashion-mnist, inception, or a file made by `effgan features train` [default: the run's, or the data set's own]
    #[arg(long, value_name = "NET")]
    features: Option<NetworkName>,
    /// Weights of Inception-2015: safetensors or a PyTorch state dict [default: those of `effgan data fetch inception`]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// How images are resized for Inception: as pytorch-fid, torch-fidelity or clean-fid (clean) does
    #[arg(long, default_value_t)]
    resize: Resize,
    /// Number of images on each side [default: all; for a model, as many samples as there are reference images]
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    num: Option<u32>,
    /// Seed of a model's samples
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Score this member of a model only; `global` is the averaged generator; repeatable
    #[arg(long = "member", value_name = "NAME")]
    members: Vec<String>,
    /// Threads; no result depends on them [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// What draws and scores the images: cpu, auto, or a GPU as `effgan devices` lists it, such as gpu:0
    #[arg(long, default_value_t)]
    device: DeviceName,
    /// Print one JSON object, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Evaluate {
    pub(super) fn run(self) -> Result<()> {
        let stop = stop_flag()?;
        let asked = Self { images: from_home(self.images), ..self };
        let evaluation = asked.evaluate(&stop)?;
        if asked.json {
            write(&serde_json::to_vec_pretty(&evaluation).expect("an evaluation is plain data"));
            say("");
        } else {
            write(evaluation.to_string().as_bytes());
        }
        Ok(())
    }

    fn evaluate(&self, stop: &AtomicBool) -> Result<Evaluation> {
        if !self.images.exists() {
            let path = self.images.display();
            let line = format!(
                "{path} does not exist; pass a run or model folder, a folder of images, or an .npy or .npz file"
            );
            return Err(usage(line));
        }
        let model = is_model(&self.images).then(|| Ensemble::open(&self.images)).transpose()?;
        let run = model.as_ref().and_then(|_| run_of(&self.images));
        let config = run.as_ref().map(|run| Config::load(&run.join("config.toml"), &[])).transpose()?;
        let real = self.real(config.as_ref())?;
        let (device, dataset) = (self.device.open()?, real.dataset().map(|dataset| dataset.name));
        let bar = bar();
        let progress = shown_on(&bar);
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let features = self.features.as_ref().or_else(|| self.features_of(config.as_ref()?));
        let choice = NetworkChoice {
            features,
            weights: self.weights.as_deref(),
            resize: self.resize,
            by_config: self.features.is_none(),
        };
        let network = choice.load(&real, Training { device, jobs, progress: &progress, stop })?;
        let small = dataset.and_then(|dataset| FeatureNet::of_dataset(dataset, device));
        let small = small.filter(|_| network.network() == Network::Inception);
        let selection = selection(&self.members)?;
        let files = if model.is_none() { Some(ImageFiles::open(&self.images)?) } else { None };
        let (images, name) = match (&model, &files) {
            (Some(model), _) => {
                let name = format!(
                    "{}: {}, seed {}",
                    self.images.display(),
                    super::sample::drawn_from(model, &selection),
                    self.seed
                );
                (Images::Model(model, selection.clone(), self.seed), name)
            }
            (None, Some(files)) if self.members.is_empty() => (Images::Files(files), files.name().to_owned()),
            _ => return Err(usage(format!("--member is for a model, and {} is not one", self.images.display()))),
        };
        let shares = self.shares(&real, model.as_ref(), run.as_deref())?;
        let evaluator = Evaluator {
            images,
            name,
            real: real.images(),
            network: &network,
            memorisation_network: small.as_ref().unwrap_or(&network),
            n: self.num.map(|n| n as usize),
            in_depth: true,
            shares,
            device,
            jobs,
            stop,
            progress: &progress,
        };
        let evaluation = evaluator.evaluate();
        bar.finish_and_clear();
        evaluation
    }

    /// The network that the run was scored with, where it is scored against its own data set again.
    fn features_of<'a>(&self, run: &'a Config) -> Option<&'a NetworkName> {
        run.evaluation.features.as_ref().filter(|_| self.reference.is_none())
    }

    fn real(&self, run: Option<&Config>) -> Result<RealSet> {
        let bar = ReadingBar::default();
        let report = |report: Report<'_>| bar.report(report, advise);
        let reading = Reading::reported_to(&report).with_cache_of_user();
        match (&self.reference, run) {
            (Some(reference), _) => RealSet::named(reference, self.dir.clone(), &reading),
            (None, Some(run)) => {
                let dataset = run.dataset.clone();
                let dataset = DatasetConfig { dir: self.dir.clone().or(dataset.dir), ..dataset };
                RealSet::of_config(&dataset, run.federation.classes.as_deref(), &reading)
            }
            (None, None) => {
                let line = format!("{} records no data set; pass --reference DATASET or PATH", self.images.display());
                Err(usage(line))
            }
        }
    }

    fn shares<'a>(&self, real: &'a RealSet, model: Option<&'a Ensemble>, run: Option<&Path>) -> Result<Vec<Share<'a>>> {
        let Some(dataset) = real.dataset() else { return Ok(Vec::new()) };
        let partition =
            run.filter(|_| self.reference.is_none()).map(|run| scores::read_partition(run, dataset)).transpose()?;
        Ok(match (partition, model) {
            (Some(partition), Some(model)) if self.members.is_empty() => {
                Share::of_run(dataset, &partition, model, self.seed)
            }
            _ => vec![Share::of_dataset(dataset)],
        })
    }
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}
