//! The `flwr` command, run for users who need not learn it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use effgan_nn::checkpoint::write_file;
use effgan_run::failure::{Failure, Result};

use super::server_folder::ServerFolder;

/// The version of Flower that kits pin, as pip writes it.
pub(super) const FLWR: &str = "flwr==1.41.0";
/// All versions that effgan is tested with.
const TESTED: [&str; 2] = ["1.41.0", "1.42.0"];

/// Name of the connection in Flower's configuration.
pub(super) const CONNECTION: &str = "federation";

/// Runs `flwr` and returns its standard output.
///
/// # Errors
/// Its message when it fails, as one line.
pub(super) fn output(server: &Path, arguments: &[&str]) -> Result<String> {
    let output =
        command(server, arguments)?.stdout(Stdio::piped()).stderr(Stdio::piped()).output().map_err(not_found)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let words =
        |text: &str| text.split(|c: char| c.is_whitespace() || "│╭╮╰╯─".contains(c)).collect::<Vec<_>>().join(" ");
    let line = words(&without_colours(&format!("{text} {errors}")));
    Err(Failure::from(anyhow!("flwr says: {}", line.split_whitespace().collect::<Vec<_>>().join(" "))))
}

/// The version of the installed `flwr`.
///
/// # Errors
/// When none is installed.
pub(super) fn version() -> Result<String> {
    let output = Command::new("flwr").arg("--version").output().map_err(not_found)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().last().unwrap_or_default().to_owned())
}

/// Whether effgan is tested with this version of `flwr`.
pub(super) fn is_tested(version: &str) -> bool {
    TESTED.contains(&version)
}

/// `flwr` with its configuration of the server in the folder `server`.
pub(super) fn command(server: &Path, arguments: &[&str]) -> Result<Command> {
    configure(server, ServerFolder::read(server)?.superlink_port)?;
    let mut command = Command::new("flwr");
    command.args(arguments).env("FLWR_HOME", home(server)?).stdin(Stdio::null());
    command.env("FLWR_TELEMETRY_ENABLED", "0").env("FLWR_DISABLE_UPDATE_CHECK", "1");
    // It calls only this machine.
    command.env("NO_PROXY", "127.0.0.1").env("no_proxy", "127.0.0.1");
    Ok(command)
}

/// Writes Flower's configuration of the server in `folder`; again before each command, since it needs absolute paths and the folder may have
/// been moved.
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

/// `FLWR_HOME` of the server in the folder `server`.
pub(super) fn home(server: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(server.join("flower"))?)
}

/// The failure to start `flwr`.
pub(super) fn not_found(error: std::io::Error) -> Failure {
    let failed = Err::<(), _>(error).with_context(|| format!("flwr cannot be run; pip install \"{FLWR}\""));
    Failure::usage(failed.expect_err("it is an error"))
}

/// `line` without colour codes.
pub(super) fn without_colours(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_codes_are_removed() {
        assert_eq!(without_colours("\u{1b}[92mINFO \u{1b}[0m:      round 1"), "INFO :      round 1");
        assert_eq!(without_colours("plain"), "plain");
    }

    #[test]
    fn only_tested_versions_of_flwr_are_accepted() {
        assert!(["1.41.0", "1.42.0"].into_iter().all(is_tested));
        assert!(!["1.40.2", "1.42.7", "1.43.0", "1.4.2", "2.1.41", ""].into_iter().any(is_tested));
    }
}
