//! `effgan federation ledger`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;

use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::ledger;
use effgan_run::units::counted;

use super::{check_site, write_private};
use crate::output::{buffered, say};

/// At a site: show what the server asked of it, what it sent, and what it refused
#[derive(Args)]
#[command(after_help = "Examples:
  effgan federation ledger kits/north
  effgan federation ledger kits/north --html ledger.html")]
pub(crate) struct Ledger {
    /// The site's kit
    #[arg(default_value = ".")]
    kit: PathBuf,
    /// Verify that every line is as it was written
    #[arg(long)]
    verify: bool,
    /// With --verify: check also that a line has this hash, which the server received as the ledger's head (ledgers.jsonl in its run folder)
    #[arg(long, value_name = "HASH", requires = "verify")]
    head: Option<String>,
    /// Write the ledger as an HTML page without scripts
    #[arg(long, value_name = "FILE", conflicts_with = "verify")]
    html: Option<PathBuf>,
}

impl Ledger {
    pub(super) fn run(self) -> Result<()> {
        check_site(&self.kit)?;
        let ledger = ledger::Ledger::of(&self.kit);
        if self.verify {
            let known = self.head.as_deref().map(hash_of).transpose()?;
            return verify(&ledger, known.as_deref());
        }
        if let Some(path) = self.html {
            return write_private(&path, |out| Ok(ledger::page(&ledger, out)??));
        }
        // A closed pipe is not an error.
        let _ = ledger::table(&ledger, &mut buffered()).map_err(anyhow::Error::from)?;
        Ok(())
    }
}

/// A head that was copied by hand: blanks and upper case are accepted.
fn hash_of(text: &str) -> Result<String> {
    let hash: String = text.split_whitespace().collect::<String>().to_ascii_lowercase();
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hash);
    }
    Err(Failure::usage(anyhow!("{text:?} has {} of the 64 hexadecimal digits of a head; pass all of them", hash.len())))
}

/// Verifies the chain of hashes, and that a line has the hash `known`.
fn verify(ledger: &ledger::Ledger, known: Option<&str>) -> Result<()> {
    let mut found = None;
    let head = ledger.read(|number, line| {
        // Each line holds the hash of the one before it.
        if number > 1 && known == Some(line.previous.as_str()) {
            found = Some(number - 1);
        }
    });
    let head = head.map_err(anyhow::Error::from)?;
    say(format!("{}, each as it was written; head {}", counted(head.lines, "line"), head.hash));
    if head.torn > 0 {
        let bytes = counted(head.torn, "byte");
        say(format!(
            "after them {bytes} of an incomplete line, left by a crash or by somebody; the site's next line will record that they were cut off"
        ));
    }
    let Some(known) = known else { return Ok(()) };
    let Some(number) = found.or_else(|| (head.lines > 0 && known == head.hash).then_some(head.lines)) else {
        let line =
            format!("no line has the hash {known}: it belongs to another site's ledger, or this one was rewritten");
        return Err(Failure::from(anyhow!(line)));
    };
    say(format!("line {number} has the hash {known}"));
    Ok(())
}
