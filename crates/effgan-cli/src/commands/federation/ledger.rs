//! `effgan federation ledger`

use std::io::{BufWriter, stdout};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use crate::output::say;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::ledger::{self, Ledger};
use effgan_run::units::counted;

use super::{check_site, write_private};

/// At a site: what it was asked, what left it, and what it refused
#[derive(Args)]
pub(crate) struct Show {
    /// The site's kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// Only say whether every line is as it was written
    #[arg(long)]
    verify: bool,
    /// Also that this hash is of one of its lines: the head that the server has, of ledgers.jsonl in a run's folder
    #[arg(long, value_name = "HASH", requires = "verify")]
    head: Option<String>,
    /// Write it as a page, without scripts, for a browser
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    html: Option<PathBuf>,
}

impl Show {
    pub(crate) fn run(self) -> Result<()> {
        check_site(&self.kit)?;
        let ledger = Ledger::of(&self.kit);
        if self.verify {
            let known = self.head.as_deref().map(hash_of).transpose()?;
            return verify(&ledger, known.as_deref());
        }
        if let Some(path) = self.html {
            return write_private(&path, |out| Ok(ledger::page(&ledger, out)??));
        }
        // A reader that has gone is no reason to stop.
        let _ = ledger::table(&ledger, &mut BufWriter::new(stdout().lock())).map_err(anyhow::Error::from)?;
        Ok(())
    }
}

/// A hash as somebody copied it.
fn hash_of(text: &str) -> Result<String> {
    let hash: String = text.split_whitespace().collect::<String>().to_ascii_lowercase();
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hash);
    }
    Err(Failure::usage(anyhow!("{text:?} has {} of the 64 hexadecimal digits of a head; give all of them", hash.len())))
}

/// Checks the chain, and that the line whose hash is `known` is in it.
fn verify(ledger: &Ledger, known: Option<&str>) -> Result<()> {
    let mut found = None;
    let head = ledger.read(|number, line| {
        // The hash of a line is in the one after it.
        if number > 1 && known == Some(line.previous.as_str()) {
            found = Some(number - 1);
        }
    });
    let head = head.map_err(anyhow::Error::from)?;
    say(format!("{}, each as it was written; head {}", counted(head.lines, "line"), head.hash));
    if head.torn > 0 {
        let bytes = counted(head.torn, "byte");
        say(format!(
            "after them {bytes} of a line that a crash has left, or somebody: the site's next line says that they were cut off"
        ));
    }
    let Some(known) = known else { return Ok(()) };
    let Some(number) = found.or_else(|| (head.lines > 0 && known == head.hash).then_some(head.lines)) else {
        let line =
            format!("no line has the hash {known}: it is of another site's ledger, or this one was written anew");
        return Err(Failure::from(anyhow!(line)));
    };
    say(format!("line {number} has the hash {known}"));
    Ok(())
}
