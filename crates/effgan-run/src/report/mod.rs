//! `report.html`: a run on one page without external files; and its numbers as CSV, its rounds as a GIF.
//!
//! Everything is read from the run folder, so a report can be made again at any time, also of a run that was interrupted or
//! failed. The page contains its pictures and styles and loads nothing. Without scripts the rounds lie side by side; `player.js`
//! makes an animation of them. Rust turns data into texts and coordinates, `template.html` turns these into markup, `style.css`
//! formats it.

mod attendance;
mod by_client;
pub(crate) mod chart;
pub(crate) mod chart_axis;
mod client_matrix;
mod clients;
mod drift;
mod losses;
mod page;
mod partition;
pub(crate) mod plot;
pub(crate) mod run_folder;
mod samples;
mod scores;
mod tables;
#[cfg(test)]
mod tests;
mod traffic;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use effgan_nn::file::{check_no_links, write_file};

use self::run_folder::Folder;

/// Writes `report.html`, `metrics.csv`, `clients.csv` and `samples/rounds.gif` into the run folder, each to a temporary file that is
/// renamed, and returns the path of the page.
///
/// # Errors
/// When `run.json` is missing, another file cannot be read, or one cannot be written.
pub fn write(run_dir: &Path) -> anyhow::Result<PathBuf> {
    check_no_links(run_dir, "samples")?;
    let folder = Folder::read(run_dir)?;
    let put = |name: &str, bytes: &[u8]| -> anyhow::Result<PathBuf> {
        let path = run_dir.join(name);
        write_file(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    };
    put("metrics.csv", &tables::metrics(&folder)?)?;
    put("clients.csv", &tables::clients(&folder)?)?;
    if let Some(gif) = samples::rounds_gif(&folder)? {
        put("samples/rounds.gif", &gif)?;
    }
    put("report.html", page::render(&folder).context("filling in the report's template")?.as_bytes())
}
