//! `effgan federation run`: starts a run over Flower, shows its output, and fails when the run fails.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::pipeline::info_of;
use serde_json::Value;

use super::flwr::{self, CONNECTION};
use super::server_folder::ServerFolder;
use crate::output::say;

/// Time between two checks for Ctrl-C.
const POLL: Duration = Duration::from_millis(100);

/// The arguments of `effgan federation run`.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The config file.
    pub config: PathBuf,
    /// The run folder.
    pub out: PathBuf,
    /// The server folder.
    pub server: PathBuf,
}

/// Runs a config over the federation, prints a line per round, and returns when the run ends.
///
/// # Errors
/// The run's failure.
// `flwr run --stream` ends with status 0 even when the run has failed, so `flwr ls` says how it ended.
pub(crate) fn launch(launch: &Launch, stop: &AtomicBool) -> Result<()> {
    let [config, out] =
        [&launch.config, &launch.out].map(std::path::absolute).map(|path| path.map_err(anyhow::Error::from));
    let (config, out) = (config?, out?);
    if !config.is_file() {
        return Err(Failure::usage(anyhow!("{} is not a file", config.display())));
    }
    // The run, which Flower starts, reads the config again; a mistake is reported here at once.
    Config::load_for(&config, &[], Config::check_federated)?;
    ServerFolder::read(&launch.server)?;
    let app = tempfile::tempdir().map_err(anyhow::Error::from)?;
    fs::write(app.path().join("pyproject.toml"), include_str!("app.toml")).map_err(anyhow::Error::from)?;
    let server = std::path::absolute(&launch.server).map_err(anyhow::Error::from)?;
    let settings = format!("config={} out={} server={}", quoted(&config)?, quoted(&out)?, quoted(&server)?);
    let app_path = app.path().display().to_string();
    let arguments = ["run", &app_path, CONNECTION, "--stream", "--run-config", &settings];
    let (id, reason) = stream_run(&launch.server, &arguments, stop)?;
    let listed = flwr::output(&launch.server, &["ls", CONNECTION, "--format", "json"])?;
    let status = status_of(&listed, id.as_deref()).unwrap_or_else(|| "unknown".into());
    if status == "finished:completed" {
        say(format!("model {}", info_of(&out)?.model_hash.unwrap_or_default()));
        return Ok(());
    }
    let reason = reason.unwrap_or_else(|| "it ended without a reason, as when the server is stopped; run the same command again to resume after the last finished round".into());
    Err(Failure::from(anyhow!("the run is {status}: {reason}")))
}

/// A path as a value of `flwr run --run-config`.
fn quoted(path: &Path) -> Result<String> {
    let text = path.display().to_string();
    if text.contains(['\'', '"', '\\']) {
        return Err(Failure::usage(anyhow!(
            "{text} has a quote or a backslash in its name, which flwr does not accept"
        )));
    }
    Ok(format!("'{text}'"))
}

/// Runs `flwr` and prints its output line by line. Returns the id of the run that it started, and the exception that ended the run.
fn stream_run(server: &Path, arguments: &[&str], stop: &AtomicBool) -> Result<(Option<String>, Option<String>)> {
    let mut child = flwr::command(server, arguments)?.stdout(Stdio::piped()).spawn().map_err(flwr::not_found)?;
    let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let (child, is_over) = (Mutex::new(child), AtomicBool::new(false));
    let (id, exception) = thread::scope(|scope| {
        scope.spawn(|| kill_on(stop, &is_over, &child));
        let outcome = relay_output(lines.map_while(std::io::Result::ok), &mut |line| say(line));
        is_over.store(true, Ordering::Relaxed);
        outcome
    });
    let status = lock(&child).wait().map_err(anyhow::Error::from)?;
    if stop.load(Ordering::Relaxed) && !status.success() {
        let home = flwr::home(server)?;
        return Err(Failure::interrupted(match id {
            Some(id) => anyhow!(
                "the run continues at the server: FLWR_HOME={} flwr log {id} {CONNECTION} follows it, and flwr stop {id} {CONNECTION} ends it",
                home.display()
            ),
            None => anyhow!("interrupted before the run began"),
        }));
    }
    if id.is_none() || !status.success() {
        return Err(Failure::from(anyhow!(
            "flwr run ended with {status}; is the SuperLink running? effgan federation check tells"
        )));
    }
    Ok((id, exception))
}

/// Kills `child` once `stop` is set, unless it has ended by itself.
fn kill_on(stop: &AtomicBool, is_over: &AtomicBool, child: &Mutex<Child>) {
    while !is_over.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) {
            // The child may have ended meanwhile.
            let _ = lock(child).kill();
            return;
        }
        thread::sleep(POLL);
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().expect("no thread panics while it holds the child")
}

/// Passes the lines of `flwr`'s output to `say`, without empty lines and the prefix `INFO :`. Returns the run's id, and the message of
/// effgan's exception if one ended the run. Flower's traceback is then left out, since the caller reports the reason.
fn relay_output(lines: impl Iterator<Item = String>, say: &mut dyn FnMut(&str)) -> (Option<String>, Option<String>) {
    let (mut id, mut exception, mut failure) = (None, None, None::<Vec<String>>);
    for line in lines.map(|line| flwr::without_colours(&line)) {
        if let Some((_, run)) = line.split_once("started run ") {
            id = Some(run.trim().to_owned());
        }
        if let Some((_, reason)) = line.strip_prefix("effgan.").and_then(|error| error.split_once(": ")) {
            exception = Some(reason.to_owned());
        }
        if line.contains("ServerApp raised an exception") {
            failure.get_or_insert_default();
        }
        let text = line.trim_start().strip_prefix("INFO :").unwrap_or(&line).trim();
        match &mut failure {
            _ if text.is_empty() => {}
            Some(lines) => lines.push(text.to_owned()),
            None => say(text),
        }
    }
    if exception.is_none() {
        failure.iter().flatten().for_each(|line| say(line));
    }
    (id, exception)
}

/// The status of the run `id` in the output of `flwr ls --format json`.
fn status_of(listed: &str, id: Option<&str>) -> Option<String> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let runs = listed["runs"].as_array()?;
    let run = runs.iter().find(|run| run["run-id"].as_str() == id)?;
    Some(run["status"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effgans_own_exception_is_reported_without_flowers_traceback_and_any_other_with_it() {
        let ended_by = |exception: &str| {
            let lines = [
                "Successfully started run 7",
                "INFO :      round 1",
                "ERROR :     ServerApp raised an exception",
                "Traceback (most recent call last):",
                exception,
                "ERROR :     Exit Code: 201",
            ];
            let mut text = Vec::new();
            let ended = relay_output(lines.map(String::from).into_iter(), &mut |line| text.push(line.to_owned()));
            (ended, text.len())
        };
        let id = Some("7".to_owned());
        assert_eq!(ended_by("effgan.RunFailed: 2 of 3 sites"), ((id.clone(), Some("2 of 3 sites".into())), 2));
        assert_eq!(ended_by("KeyError: 'what'"), ((id, None), 6));
    }

    #[test]
    fn a_run_is_found_by_its_id() {
        let listed =
            r#"{"runs": [{"run-id": "7", "status": "running"}, {"run-id": "8", "status": "finished:failed"}]}"#;
        assert_eq!(status_of(listed, Some("8")).as_deref(), Some("finished:failed"));
        assert_eq!(status_of(listed, Some("9")), None);
        assert_eq!(status_of("no JSON", Some("9")), None);
    }
}
