//! `effgan federation ledger`

use std::io::{BufWriter, stdout};
use std::path::PathBuf;

use clap::Args;

use crate::failure::Result;
use crate::federation::ledger::{self, Ledger};
use crate::output::{counted, say};

use super::write_private;

/// At a site: what it was asked, what left it, and what it refused
#[derive(Args)]
pub struct Show {
    /// The site's kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// Only say whether every line is as it was written
    #[arg(long)]
    verify: bool,
    /// Write it as a page, without scripts, for a browser
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    html: Option<PathBuf>,
}

impl Show {
    pub fn run(self) -> Result<()> {
        let ledger = Ledger::of(&self.kit);
        if self.verify {
            let head = ledger.read(|_, _| ()).map_err(anyhow::Error::from)?;
            say(format!("{}, each as it was written; head {}", counted(head.lines, "line"), head.hash));
            return Ok(());
        }
        if let Some(path) = self.html {
            return write_private(&path, |out| Ok(ledger::page(&ledger, out)??));
        }
        // A reader that has gone is no reason to stop.
        let _ = ledger::table(&ledger, &mut BufWriter::new(stdout().lock())).map_err(anyhow::Error::from)?;
        Ok(())
    }
}
