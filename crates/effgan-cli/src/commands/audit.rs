//! `effgan audit`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use effgan_data::from_home;
use effgan_run::failure::{Failure, Result};
use effgan_run::pipeline::{self, Execution};
use effgan_run::progress::Progress;

use super::interrupt::stop_flag;
use crate::output::{say, write};
use crate::terminal::{bar, shown_on};

/// Tell whether the images that generators were trained on can be told from images that they never saw
///
/// Each member of a simulated run is attacked by its samples (membership inference), on features and on pixels, among the training images and
/// the held-out images of its client; the averaged generator and the ensemble among those of all clients.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan audit runs/quickstart
  effgan audit runs/quickstart --num 20000 --json")]
pub(super) struct Audit {
    /// A run folder
    run: PathBuf,
    /// Samples of each generator
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    num: u32,
    /// Threads; no result depends on them [default: all cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Print one JSON object, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) fn run(self) -> Result<()> {
        let run = from_home(self.run);
        if !run.exists() {
            return Err(Failure::usage(anyhow!("{} does not exist; pass a run folder", run.display())));
        }
        let (stop, nothing, bar) = (stop_flag()?, Progress::events(|_| {}), bar());
        let shown = shown_on(&bar);
        let execution = Execution::new(self.jobs.map(usize::from), &nothing, &stop);
        let audit = pipeline::audit(&run, self.num as usize, execution, &|done, of| shown("members", done, of));
        bar.finish_and_clear();
        let audit = audit?;
        if self.json {
            write(&serde_json::to_vec_pretty(&audit).expect("an audit is plain data"));
            say("");
        } else {
            write(audit.to_string().as_bytes());
        }
        Ok(())
    }
}
