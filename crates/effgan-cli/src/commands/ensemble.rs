//! `effgan ensemble`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::{Args, Subcommand};

use super::federation::site_images;
use super::run::interrupt;
use crate::output::say;
use crate::terminal;
use effgan_run::failure::{Failure, Result};
use effgan_run::pipeline;
use effgan_run::protocol::{self, POLICY, SiteImages, SiteSettings};
use effgan_run::record::machine;

/// The members of an ensemble
#[derive(Subcommand)]
pub(super) enum Ensemble {
    FineTune(FineTune),
    Add(Add),
}

/// At a site that missed the collection: fine-tune from the run's join/ folder, into a file to hand in
#[derive(Args)]
pub(super) struct FineTune {
    /// The folder join/ of the run
    kit: PathBuf,
    /// The site's name
    #[arg(long, required_unless_present = "partition_id")]
    client: Option<String>,
    /// The folder of the site's images
    #[arg(long, value_name = "DIR", required_unless_present = "partition_id")]
    data: Option<PathBuf>,
    /// For experiments: what the config deals to the client with this number, from 0
    #[arg(long, conflicts_with = "client", value_name = "N")]
    partition_id: Option<usize>,
    /// The site's kit: its policy, its ledger and its hold-out
    #[arg(long, value_name = "DIR", default_value = ".")]
    site: PathBuf,
    /// The file to hand in
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Threads; changes no result [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

/// At the server: take a generator that was handed in into the ensemble of a federation's run
#[derive(Args)]
pub(super) struct Add {
    /// The run folder
    run_dir: PathBuf,
    /// The file
    file: PathBuf,
    /// Threads; changes no result [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl Ensemble {
    pub(super) fn run(self) -> Result<()> {
        match self {
            Self::FineTune(fine_tune) => fine_tune.run(),
            Self::Add(add) => add.run(),
        }
    }
}

impl FineTune {
    fn run(self) -> Result<()> {
        let images = site_images(self.client, self.data, self.partition_id)?;
        let policy = self.site.join(POLICY);
        let has_files = !matches!(images, SiteImages::Assigned { data_dir: None, .. });
        if has_files && !policy.is_file() {
            let line = format!("{} is not there; name the site's kit by --site", policy.display());
            return Err(Failure::usage(anyhow!(line)));
        }
        let state = tempfile::tempdir().map_err(anyhow::Error::from)?;
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let policy = policy.is_file().then_some(policy);
        let settings = SiteSettings { images, state_dir: state.path().into(), policy, jobs };
        let site = protocol::fine_tune(&self.kit, &settings, &self.out, &*interrupt()?)?;
        say(format!(
            "{} holds the generator of {}, trained on {} images",
            self.out.display(),
            site.name,
            site.num_examples
        ));
        Ok(())
    }
}

impl Add {
    fn run(self) -> Result<()> {
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let name =
            pipeline::add_late_member(&self.run_dir, &self.file, jobs, &terminal::progress(false), &*interrupt()?)?;
        say(format!("{name} is in the ensemble"));
        Ok(())
    }
}
