//! Flower's own commands, run for a person who need not know them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use effgan_nn::checkpoint::write_file;
use serde_json::Value;

use super::server;
use crate::output::say;
use effgan_run::failure::{Failure, Result};
use effgan_run::pipeline::info_of;

/// The version of Flower that kits pin, in pip's words.
pub(super) const FLWR: &str = "flwr==1.41.0";
/// All versions that effgan was tested with.
const TESTED: [&str; 2] = ["1.41.0", "1.42.0"];

/// How long a Ctrl-C may wait.
const POLL: Duration = Duration::from_millis(100);

/// The connection's name in Flower's configuration.
pub(super) const CONNECTION: &str = "federation";

/// What `effgan federation run` is told.
#[derive(Debug)]
pub(crate) struct Launch {
    /// The config, a path at the server.
    pub config: PathBuf,
    /// The run folder, a path at the server.
    pub out: PathBuf,
    /// The server's folder.
    pub server: PathBuf,
}

/// Runs a config over the federation, prints a line a round, and ends when the run does.
///
/// # Errors
/// The run's failure, which Flower's own command does not tell by its exit status.
pub(crate) fn launch(launch: &Launch, stop: &AtomicBool) -> Result<()> {
    server::read(&launch.server)?;
    let [config, out] =
        [&launch.config, &launch.out].map(std::path::absolute).map(|path| path.map_err(anyhow::Error::from));
    let (config, out) = (config?, out?);
    if !config.is_file() {
        return Err(Failure::usage(anyhow!("{} is no file", config.display())));
    }
    let app = tempfile::tempdir().map_err(anyhow::Error::from)?;
    fs::write(app.path().join("pyproject.toml"), include_str!("app.toml")).map_err(anyhow::Error::from)?;
    let server = std::path::absolute(&launch.server).map_err(anyhow::Error::from)?;
    let settings = format!("config={} out={} server={}", quoted(&config)?, quoted(&out)?, quoted(&server)?);
    let app_path = app.path().display().to_string();
    let arguments = ["run", &app_path, CONNECTION, "--stream", "--run-config", &settings];
    let (id, reason) = stream(&launch.server, &arguments, stop)?;
    let listed = flwr(&launch.server, &["ls", CONNECTION, "--format", "json"])?;
    let status = status_of(&listed, id.as_deref()).unwrap_or_else(|| "unknown".into());
    if status == "finished:completed" {
        say(format!("model {}", info_of(&out)?.model_hash.unwrap_or_default()));
        return Ok(());
    }
    let reason = reason.unwrap_or_else(|| "it ended without saying why, as when the server is stopped; run the same command again: it goes on after the last finished round".into());
    Err(Failure::from(anyhow!("the run is {status}: {reason}")))
}

/// As Flower's settings take it.
fn quoted(path: &Path) -> Result<String> {
    let text = path.display().to_string();
    if text.contains(['\'', '"', '\\']) {
        return Err(Failure::usage(anyhow!("{text} has quotes in its name, which flwr cannot be told")));
    }
    Ok(format!("'{text}'"))
}

/// Prints what `flwr` says, line by line, and answers with the id of the run that it started, and the exception that ended it.
fn stream(server: &Path, arguments: &[&str], stop: &AtomicBool) -> Result<(Option<String>, Option<String>)> {
    let mut child = command(server, arguments)?.stdout(Stdio::piped()).spawn().map_err(not_there)?;
    let lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
    let (child, is_over) = (Mutex::new(child), AtomicBool::new(false));
    let (id, exception) = thread::scope(|scope| {
        scope.spawn(|| end_with(stop, &is_over, &child));
        let said = told(lines.map_while(std::io::Result::ok), &mut |line| say(line));
        is_over.store(true, Ordering::Relaxed);
        said
    });
    let status = lock(&child).wait().map_err(anyhow::Error::from)?;
    if stop.load(Ordering::Relaxed) && !status.success() {
        let home = home(server)?;
        return Err(Failure::interrupted(match id {
            Some(id) => anyhow!(
                "the run goes on at the server: FLWR_HOME={} flwr log {id} {CONNECTION} follows it, and flwr stop {id} {CONNECTION} ends it",
                home.display()
            ),
            None => anyhow!("stopped before the run had begun"),
        }));
    }
    if id.is_none() || !status.success() {
        return Err(Failure::from(anyhow!(
            "flwr run ended with {status}; is the SuperLink running? effgan federation check says"
        )));
    }
    Ok((id, exception))
}

/// Ends `child` when somebody wants this process to end, unless it is over by itself.
fn end_with(stop: &AtomicBool, is_over: &AtomicBool, child: &Mutex<Child>) {
    while !is_over.load(Ordering::Relaxed) {
        if stop.load(Ordering::Relaxed) {
            // One that has ended need not be.
            let _ = lock(child).kill();
            return;
        }
        thread::sleep(POLL);
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().expect("nobody panics with it")
}

/// Tells `say` what of these lines is for people, and answers with the run's id and our own exception that ended it, if one did. Of
/// Flower's traceback nothing is told then: the reason is told once, at the end.
fn told(lines: impl Iterator<Item = String>, say: &mut dyn FnMut(&str)) -> (Option<String>, Option<String>) {
    let (mut id, mut exception, mut failure) = (None, None, None::<Vec<String>>);
    for line in lines.map(|line| plain(&line)) {
        if let Some((_, run)) = line.split_once("started run ") {
            id = Some(run.trim().to_owned());
        }
        if let Some((_, reason)) = line.strip_prefix("effgan.").and_then(|error| error.split_once(": ")) {
            exception = Some(reason.to_owned());
        }
        if line.contains("ServerApp raised an exception") {
            failure.get_or_insert_default();
        }
        let said = line.trim_start().strip_prefix("INFO :").unwrap_or(&line).trim();
        match &mut failure {
            _ if said.is_empty() => {}
            Some(lines) => lines.push(said.to_owned()),
            None => say(said),
        }
    }
    if exception.is_none() {
        failure.iter().flatten().for_each(|line| say(line));
    }
    (id, exception)
}

/// Without colours.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

fn status_of(listed: &str, id: Option<&str>) -> Option<String> {
    let listed: Value = serde_json::from_str(listed).ok()?;
    let runs = listed["runs"].as_array()?;
    let run = runs.iter().find(|run| run["run-id"].as_str() == id)?;
    Some(run["status"].as_str()?.to_owned())
}

/// What `flwr` prints.
///
/// # Errors
/// What it says when it fails, in one line.
pub(super) fn flwr(server: &Path, arguments: &[&str]) -> Result<String> {
    let output =
        command(server, arguments)?.stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(not_there)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let words =
        |text: &str| text.split(|c: char| c.is_whitespace() || "│╭╮╰╯─".contains(c)).collect::<Vec<_>>().join(" ");
    let line = words(&plain(&format!("{said} {errors}")));
    Err(Failure::from(anyhow!("flwr says: {}", line.split_whitespace().collect::<Vec<_>>().join(" "))))
}

/// The version of the `flwr` that is installed.
///
/// # Errors
/// When there is none.
pub(super) fn version() -> Result<String> {
    let output = Command::new("flwr").arg("--version").output().map_err(not_there)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.split_whitespace().last().unwrap_or_default().to_owned())
}

/// Whether effgan was tested with this version of `flwr`.
pub(super) fn is_tested(version: &str) -> bool {
    TESTED.contains(&version)
}

fn command(server: &Path, arguments: &[&str]) -> Result<Command> {
    configure(server, server::read(server)?.superlink_port)?;
    let mut command = Command::new("flwr");
    command.args(arguments).env("FLWR_HOME", home(server)?).stdin(Stdio::null());
    command.env("FLWR_TELEMETRY_ENABLED", "0").env("FLWR_DISABLE_UPDATE_CHECK", "1");
    // It calls this machine alone.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    Ok(command)
}

/// Writes Flower's configuration of the server in `folder`. It wants absolute paths, and the folder may have been moved since.
pub(super) fn configure(folder: &Path, port: u16) -> anyhow::Result<()> {
    let (home, ca) = (home(folder)?, std::path::absolute(folder.join("ca.crt"))?);
    let connection = [("address", format!("127.0.0.1:{port}")), ("root-certificates", ca.display().to_string())];
    let table = |entries: &[(&str, toml::Value)]| {
        toml::Value::Table(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    };
    let connection = table(&connection.map(|(key, value)| (key, toml::Value::String(value))));
    let superlink = table(&[("default", toml::Value::String(CONNECTION.into())), (CONNECTION, connection)]);
    super::private_folder(&home)?;
    write_file(&home.join("config.toml"), toml::to_string(&table(&[("superlink", superlink)]))?.as_bytes())?;
    Ok(())
}

/// Flower's home at the server.
fn home(server: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(server.join("flower"))?)
}

fn not_there(error: std::io::Error) -> Failure {
    let said = Err::<(), _>(error).with_context(|| format!("flwr cannot be run; pip install \"{FLWR}\""));
    Failure::usage(said.expect_err("it is an error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out_of_what_flwr_says() {
        assert_eq!(plain("\u{1b}[92mINFO \u{1b}[0m:      round 1"), "INFO :      round 1");
        assert_eq!(plain("plain"), "plain");
    }

    #[test]
    fn the_versions_of_flwr_that_were_tested_are_known_and_no_others() {
        assert!(["1.41.0", "1.42.0"].into_iter().all(is_tested));
        assert!(!["1.40.2", "1.42.7", "1.43.0", "1.4.2", "2.1.41", ""].into_iter().any(is_tested));
    }

    #[test]
    fn a_reason_of_ours_is_told_without_flowers_traceback_and_anything_else_with_it() {
        let ended_by = |exception: &str| {
            let lines = [
                "Successfully started run 7",
                "INFO :      round 1",
                "ERROR :     ServerApp raised an exception",
                "Traceback (most recent call last):",
                exception,
                "ERROR :     Exit Code: 201",
            ];
            let mut said = Vec::new();
            let ended = told(lines.map(String::from).into_iter(), &mut |line| said.push(line.to_owned()));
            (ended, said.len())
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
