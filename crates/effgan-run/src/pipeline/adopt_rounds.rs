//! Starting a run from the rounds of another run.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use effgan_fl::{Checkpoints, RunId};
use effgan_nn::file::{make_private_folder, read_file, write_file};

use crate::config::Config;
use crate::failure::Result;
use crate::record::grid_name::round_of_grid;
use crate::record::run_dir::{MAX_BYTES, beside, check_new, make_new_folder};
use crate::record::run_info::{RunInfo, Status};

/// Creates the run folder `out` as if a run of `config` had been interrupted after the rounds that the run in `donor` has finished, and
/// returns whether there were any that this program's arithmetic computed. [`resume`](super::resume) then continues it to the same bits as a run of its own. The caller makes sure
/// that both configs have the same first rounds.
///
/// # Errors
/// When `out` exists; when a file cannot be read or written.
pub fn adopt_rounds(donor: &Path, config: &Config, out: &Path) -> Result<bool> {
    check_new(out)?;
    let max_rounds = rounds_of(&Config::load(&donor.join("config.toml"), &[])?).min(rounds_of(config));
    let beside = beside(out);
    let made = adopt_beside(donor, max_rounds, config, &beside).and_then(|adopted| {
        if adopted {
            fs::rename(&beside, out)?;
        }
        Ok(adopted)
    });
    if !matches!(made, Ok(true)) {
        // An error of the removal is ignored: the first error is the one to report.
        let _ = fs::remove_dir_all(&beside);
    }
    Ok(made.with_context(|| format!("starting {} from the rounds of {}", out.display(), donor.display()))?)
}

/// Fills the folder `beside`, which is renamed once it is whole.
fn adopt_beside(donor: &Path, max_rounds: u32, config: &Config, beside: &Path) -> anyhow::Result<bool> {
    make_new_folder(beside, 0o777)?;
    let run = RunId::new(config.identity(), String::new());
    let checkpoints =
        Checkpoints::new(beside.join("checkpoints"), run, config.checkpoint.clone(), |line| log::warn!("{line}"));
    if !checkpoints.adopt(&donor.join("checkpoints"), max_rounds)? {
        return Ok(false);
    }
    write_file(&beside.join("config.toml"), config.to_toml().as_bytes())?;
    let info: RunInfo = serde_json::from_slice(&read_file(&donor.join("run.json"), MAX_BYTES)?)?;
    let info = RunInfo { name: config.name.clone(), status: Status::Interrupted, model_hash: None, resumed: 0, ..info };
    write_file(&beside.join("run.json"), &serde_json::to_vec_pretty(&info)?)?;
    copy(donor, beside, |name| name == "metrics.jsonl" || name.starts_with("events."))?;
    make_private_folder(&beside.join("join"))?;
    copy(&donor.join("join"), &beside.join("join"), |_| true)?;
    let is_of_round = |name: &str| round_of_grid(name.trim_end_matches(".png")).is_some();
    copy(&donor.join("samples"), &beside.join("samples"), |name| name == "real.png" || is_of_round(name))?;
    Ok(true)
}

fn rounds_of(config: &Config) -> u32 {
    config.algorithm.rounds().unwrap_or_default()
}

/// Copies those files of the folder `from` that are `wanted`; nothing when there is no such folder.
fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    fs::create_dir_all(to)?;
    let names: Vec<OsString> = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<_>>()?;
    for name in names.iter().filter(|name| name.to_str().is_some_and(&wanted)) {
        fs::copy(from.join(name), to.join(name))?;
    }
    Ok(())
}
