//! Ctrl-C and SIGTERM: the command at work stops at the next step boundary.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use effgan_run::failure::{Failure, Kind, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A flag that Ctrl-C and SIGTERM set; a second signal ends the program at once.
pub(super) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag that the first has set.
        flag::register_conditional_shutdown(signal, Kind::Interrupted as i32, Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .context("listening for Ctrl-C")?;
    }
    Ok(stop)
}

/// Adds to an interruption how the run in `dir` is resumed.
pub(super) fn with_resume_hint(outcome: Result<()>, dir: &Path) -> Result<()> {
    outcome.map_err(|failure| match failure.kind() {
        Kind::Interrupted if !dir.is_dir() => {
            Failure::interrupted(anyhow!("interrupted before the run began; nothing was written"))
        }
        Kind::Interrupted => {
            Failure::interrupted(anyhow!("interrupted; effgan resume {} continues the run", dir.display()))
        }
        _ => failure,
    })
}
