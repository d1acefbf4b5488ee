//! `effgan features`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use effgan_data::{DatasetConfig, DatasetName};
use effgan_metrics::SmallNet;
use effgan_nn::{Device, checkpoint, classifier};
use effgan_run::failure::{Failure, Result};
use effgan_run::record::machine;
use effgan_run::record::run_dir::check_new_file;

use crate::output::say;

/// Train feature networks for scores
#[derive(Subcommand)]
#[command(after_help = "Examples:
  effgan features train mnist-mini --out mini.safetensors
  effgan features train fashion-mnist --dir data --out fashion.safetensors")]
pub(super) enum Features {
    Train(Train),
}

/// Train the small feature network on a data set of 28 × 28 grey images
#[derive(Args)]
#[command(after_help = "Examples:
  effgan features train mnist-mini --out mini.safetensors
  effgan features train fashion-mnist --dir data --epochs 20 --out fashion.safetensors")]
pub(super) struct Train {
    /// mnist-mini, mnist, fashion-mnist, or another data set of 28 × 28 grey images
    dataset: DatasetName,
    /// The folder with the files of a data set that is neither built in nor fetched
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The safetensors file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Passes over the training images
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=1000))]
    epochs: u16,
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
        check_new_file(&self.out)?;
        let dataset = DatasetConfig { dir: self.dir, ..DatasetConfig::of(self.dataset) }.load()?;
        let (train, test) = (&dataset.train, &dataset.test);
        classifier::check(train.shape(), train.len()).map_err(Failure::data)?;
        let on_epoch = |epoch, loss| say(format!("epoch {epoch:>2}: cross-entropy {loss:.4}"));
        let device = Device::cpu()?;
        // On one thread, so that the weights are the same on any number of cores.
        let params = effgan_nn::on_one_thread(|| {
            let epochs = usize::from(self.epochs);
            classifier::train(train.pixels(), train.labels(), epochs, self.seed, device, on_epoch)
        })?;
        let net = SmallNet::new(&params, device).map_err(anyhow::Error::from)?;
        let classified = net.classify(test.pixels(), test.shape(), machine::cores()).map_err(Failure::usage)?;
        let right = classified.classes.iter().zip(test.labels()).filter(|(ours, label)| ours == label).count();
        checkpoint::save(&self.out, &params)?;
        say(format!("test accuracy {:.2} % of {} images", 100.0 * right as f64 / test.len() as f64, test.len()));
        say(self.out.display());
        Ok(())
    }
}
