//! `effgan features`

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::{Args, Subcommand};
use effgan_data::datasets::{Reading, Report};
use effgan_data::{Dataset, DatasetConfig};
use effgan_metrics::{OwnNet, Quality, Recipe, SmallNet};
use effgan_nn::{Device, classifier};
use effgan_run::failure::{Failure, Result};
use effgan_run::record::machine;
use effgan_run::record::run_dir::check_new_file;
use effgan_run::scores::{FeatureNet, NetworkFile, Training, dataset_named};

use super::interrupt::stop_flag;
use crate::output::{advise, say};
use crate::terminal::{ReadingBar, bar, shown_on};

/// Passes over the training images of a LeNet.
const EPOCHS: u16 = 12;

/// Train feature networks for scores
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan features train folder --dir pictures --size 64 --out pictures.safetensors
  effgan features train fashion-mnist --dir data --out fashion.safetensors")]
pub(super) enum Features {
    Train(Train),
}

/// Train a feature network on the images of a data set with classes
///
/// Of digits and clothes of 28 × 28 grey pixels it is a LeNet like the one that is built in. Of other images, and other sizes, it is the
/// residual network that a run on them trains for itself.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan features train folder --dir pictures --size 64 --out pictures.safetensors
  effgan features train fashion-mnist --dir data --epochs 20 --out fashion.safetensors")]
pub(super) struct Train {
    /// mnist-mini, mnist, fashion-mnist, cifar10, folder, npz or idx; or a config file, for its [dataset] table
    #[arg(value_name = "DATASET|CONFIG")]
    dataset: String,
    /// The folder with the files of a data set that is neither built in nor fetched
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Side of all images in pixels, cut from the middle, as by `dataset.size`
    #[arg(long, value_name = "PIXELS")]
    size: Option<usize>,
    /// 1 for grey, 3 for colour, as by `dataset.channels`
    #[arg(long, value_name = "1|3")]
    channels: Option<usize>,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Passes over the training images [default: 12; of a residual network 1,500 steps of 64 images]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    epochs: Option<u16>,
    /// Seed of the initial weights and of the order of the images
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Features {
    pub(super) fn run(self) -> Result<()> {
        let Self::Train(train) = self;
        train.run()
    }
}

impl Train {
    fn run(self) -> Result<()> {
        let stop = stop_flag()?;
        check_new_file(&self.out)?;
        let (dataset, device) = (self.dataset()?, Device::cpu()?);
        let is_of_digits = FeatureNet::of_dataset(dataset.name, device).is_some();
        let quality = if is_of_digits && dataset.train.shape() == SmallNet::SHAPE {
            self.train_lenet(&dataset, device)?
        } else {
            self.train_resnet(&dataset, device, &stop)?
        };
        let (right, of) = (100.0 * quality.accuracy, quality.num_test);
        say(format!(
            "test accuracy {right:.2} % of {of} images (the largest class has {:.2} %)",
            100.0 * quality.chance
        ));
        say(self.out.display());
        Ok(())
    }

    fn dataset(&self) -> Result<Dataset> {
        let bar = ReadingBar::default();
        let report = |report: Report<'_>| bar.report(report, advise);
        let asked = dataset_named(&self.dataset, self.dir.clone())?;
        let (size, channels) = (self.size.or(asked.size), self.channels.or(asked.channels));
        let config = DatasetConfig { size, channels, ..asked };
        let dataset = config.with_absolute_dir().read(None, &Reading::reported_to(&report).with_cache_of_user())?;
        dataset.notes.iter().for_each(|note| advise(note));
        Ok(dataset)
    }

    fn train_lenet(&self, dataset: &Dataset, device: Device) -> Result<Quality> {
        let train = &dataset.train;
        classifier::check(train.shape(), train.len()).map_err(Failure::data)?;
        let on_epoch = |epoch, loss| say(format!("epoch {epoch:>2}: cross-entropy {loss:.4}"));
        // On one thread, so that the weights are the same on any number of cores.
        let params = effgan_nn::on_one_thread(|| {
            let epochs = usize::from(self.epochs.unwrap_or(EPOCHS));
            classifier::train(train.pixels(), train.labels(), epochs, self.seed, device, on_epoch)
        })?;
        let trained = NetworkFile::of_lenet(params, dataset, device, machine::cores())?;
        trained.save(&self.out)?;
        Ok(trained.quality())
    }

    fn train_resnet(&self, dataset: &Dataset, device: Device, stop: &AtomicBool) -> Result<Quality> {
        let bar = bar();
        let progress = shown_on(&bar);
        let how = Training { device, jobs: machine::cores(), progress: &progress, stop };
        let steps_in = |epochs: u16| (usize::from(epochs) * dataset.train.len()).div_ceil(OwnNet::BATCH).max(1);
        let steps = self.epochs.map_or(Recipe::default().steps, steps_in);
        let trained = NetworkFile::train(dataset, Recipe { steps, seed: self.seed }, how);
        bar.finish_and_clear();
        let trained = trained?;
        trained.save(&self.out)?;
        Ok(trained.quality())
    }
}
