//! Downloading one file from one address, resuming where a connection broke off.

use super::{DownloadError, Progress, RemoteFile};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

/// Maximum number of requests per file; a broken connection is only repeated while each one brings more bytes.
const MAX_REQUESTS: usize = 50;
/// Timeout for connecting, for the response, and between two reads.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Downloads `file` into `part`, continuing with what `part` already holds. The bytes are not verified here.
pub(super) fn download(
    url: &str,
    file: &RemoteFile,
    part: &Path,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let agent = agent();
    let mut reason = String::new();
    for _ in 0..MAX_REQUESTS {
        let have = length(part)?;
        if have == file.len {
            return Ok(());
        }
        match request(&agent, url, have, file, part, on_progress) {
            Err(DownloadError::Mirror(why)) => reason = why,
            outcome => outcome?,
        }
        let now = length(part)?;
        if now != file.len && now <= have {
            break;
        }
    }
    if length(part)? == file.len { Ok(()) } else { Err(DownloadError::Mirror(reason)) }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(TIMEOUT))
        .timeout_recv_response(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT))
        // Files are compressed already, and ranges count the bytes that are sent.
        .accept_encoding("identity");
    Agent::new_with_config(config.build())
}

/// Length of `part`; 0 when it does not exist.
fn length(part: &Path) -> Result<u64, DownloadError> {
    match fs::symlink_metadata(part) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(DownloadError::Disk(error)),
    }
}

/// Requests the bytes from `have` on and writes those that arrive.
fn request(
    agent: &Agent,
    url: &str,
    have: u64,
    file: &RemoteFile,
    part: &Path,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let mut request = agent.get(url);
    if (1..file.len).contains(&have) {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| DownloadError::Mirror(format!("fails: {error}")))?;
    let start = start(&response, have, file)?;
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    // Never write through a symbolic link.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_NOFOLLOW.bits());
    let to = options.open(part).map_err(DownloadError::Disk)?;
    to.set_len(start).map_err(DownloadError::Disk)?;
    copy(response, to, start, file, on_progress)
}

/// The offset of a response's body: `have`, or 0 when the server sends the whole file.
fn start(response: &Response<Body>, have: u64, file: &RemoteFile) -> Result<u64, DownloadError> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let continues = header("content-range").starts_with(&format!("bytes {have}-"));
    match (response.status().as_u16(), response.body().content_length()) {
        (206, _) if continues => Ok(have),
        (200, Some(len)) if len != file.len => {
            Err(DownloadError::Mirror(format!("has a file of {len} bytes, expected {}", file.len)))
        }
        (200, _) => Ok(0),
        (status, _) => Err(DownloadError::Mirror(format!("answers with status {status}"))),
    }
}

fn copy(
    response: Response<Body>,
    mut to: File,
    start: u64,
    file: &RemoteFile,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<(), DownloadError> {
    let mut body = response.into_body().into_reader().take(file.len - start);
    let (mut have, mut piece) = (start, vec![0; 1 << 16]);
    loop {
        on_progress(Progress { file: file.name, have, len: file.len });
        match body.read(&mut piece) {
            Ok(0) if have < file.len => return Err(DownloadError::Mirror(format!("broke off after {have} bytes"))),
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&piece[..n]).map_err(DownloadError::Disk)?,
            Err(error) => return Err(DownloadError::Mirror(format!("broke off after {have} bytes: {error}"))),
        }
        have = to.metadata().map_err(DownloadError::Disk)?.len();
    }
}
