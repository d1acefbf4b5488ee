//! `effgan ensemble fine-tune`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::{self, POLICY, SiteImages, SiteSettings};
use effgan_run::record::machine;

use crate::commands::interrupt::stop_flag;
use crate::commands::site_images::site_images;
use crate::output::say;

/// At a site that missed the collection of generators: fine-tune from the run's join/ folder, and write a file for the server operator
#[derive(Args)]
#[command(after_help = "Examples:
  effgan ensemble fine-tune join --client north --data images --site kits/north --out north.generator
  effgan ensemble fine-tune runs/first/join --partition-id 2 --out client-2.generator")]
pub(crate) struct FineTune {
    /// The run's join/ folder
    #[arg(value_name = "JOIN")]
    join: PathBuf,
    /// The site's name
    #[arg(long, required_unless_present = "partition_id")]
    client: Option<String>,
    /// The folder of the site's images
    #[arg(long, value_name = "DIR", required_unless_present = "partition_id")]
    data: Option<PathBuf>,
    /// For experiments: use the images that the config assigns to client number N, counted from 0
    #[arg(long, conflicts_with = "client", value_name = "N")]
    partition_id: Option<usize>,
    /// The site's kit, with its policy, ledger and hold-out
    #[arg(long, value_name = "DIR", default_value = ".")]
    site: PathBuf,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Threads; no result depends on them [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
}

impl FineTune {
    pub(super) fn run(self) -> Result<()> {
        let images = site_images(self.client, self.data, self.partition_id)?;
        let policy = self.site.join(POLICY);
        let has_files = !matches!(images, SiteImages::Assigned { data_dir: None, .. });
        if has_files && !policy.is_file() {
            let line = format!("{} does not exist; name the site's kit with --site", policy.display());
            return Err(Failure::usage(anyhow!(line)));
        }
        let state = tempfile::tempdir().map_err(anyhow::Error::from)?;
        let jobs = self.jobs.map_or_else(machine::cores, usize::from);
        let policy = policy.is_file().then_some(policy);
        let at_site = SiteSettings { images, state_dir: state.path().into(), policy, jobs };
        let site = protocol::fine_tune(&self.join, &at_site, &self.out, &*stop_flag()?)?;
        say(format!(
            "{} holds the generator of {}, trained on {} images",
            self.out.display(),
            site.name,
            site.num_examples
        ));
        Ok(())
    }
}
