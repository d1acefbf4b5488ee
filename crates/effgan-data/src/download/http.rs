//! One file from one address, continued where it broke off.

use super::{Progress, RemoteFile, Trouble};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
    time::Duration,
};
use ureq::{Agent, Body, http::Response};

/// How often a connection that broke is made again, as long as each brings something.
const MAX_REQUESTS: usize = 50;
/// Until a server is reached or answers, and between two pieces.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes `part` as long as `file` is, from what it holds on. The bytes are not checked.
pub(super) fn download(
    url: &str,
    file: &RemoteFile,
    part: &Path,
    watch: &mut dyn FnMut(Progress),
) -> Result<(), Trouble> {
    let agent = agent();
    let mut reason = String::new();
    for _ in 0..MAX_REQUESTS {
        let have = length(part)?;
        if have == file.len {
            return Ok(());
        }
        match request(&agent, url, have, file, part, watch) {
            Err(Trouble::Mirror(why)) => reason = why,
            outcome => outcome?,
        }
        let now = length(part)?;
        if now != file.len && now <= have {
            break;
        }
    }
    if length(part)? == file.len { Ok(()) } else { Err(Trouble::Mirror(reason)) }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        // Files are packed already, and ranges count the bytes that are sent.
        .accept_encoding("identity");
    Agent::new_with_config(config.build())
}

/// Bytes of `part`; a file that is too long to be continued counts as none once it is gone.
fn length(part: &Path) -> Result<u64, Trouble> {
    match fs::symlink_metadata(part) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Trouble::Disk(error)),
    }
}

/// Asks for the bytes from `have` on and writes those that come.
fn request(
    agent: &Agent,
    url: &str,
    have: u64,
    file: &RemoteFile,
    part: &Path,
    watch: &mut dyn FnMut(Progress),
) -> Result<(), Trouble> {
    let mut request = agent.get(url);
    if (1..file.len).contains(&have) {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| Trouble::Mirror(format!("fails: {error}")))?;
    let start = start(&response, have, file)?;
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    // Nothing is written to where a link leads.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, nix::fcntl::OFlag::O_NOFOLLOW.bits());
    let to = options.open(part).map_err(Trouble::Disk)?;
    to.set_len(start).map_err(Trouble::Disk)?;
    copy(response, to, start, file, watch)
}

/// Where the body of an answer starts: at `have`, or at 0 where the server sends the whole file.
fn start(response: &Response<Body>, have: u64, file: &RemoteFile) -> Result<u64, Trouble> {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let continues = header("content-range").starts_with(&format!("bytes {have}-"));
    match (response.status().as_u16(), response.body().content_length()) {
        (206, _) if continues => Ok(have),
        (200, Some(len)) if len != file.len => {
            Err(Trouble::Mirror(format!("has a file of {len} bytes, expected {}", file.len)))
        }
        (200, _) => Ok(0),
        (status, _) => Err(Trouble::Mirror(format!("answers with status {status}"))),
    }
}

fn copy(
    response: Response<Body>,
    mut to: File,
    start: u64,
    file: &RemoteFile,
    watch: &mut dyn FnMut(Progress),
) -> Result<(), Trouble> {
    let mut body = response.into_body().into_reader().take(file.len - start);
    let (mut have, mut piece) = (start, vec![0; 1 << 16]);
    loop {
        watch(Progress { file: file.name, have, len: file.len });
        match body.read(&mut piece) {
            Ok(0) if have < file.len => return Err(Trouble::Mirror(format!("broke off after {have} bytes"))),
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&piece[..n]).map_err(Trouble::Disk)?,
            Err(error) => return Err(Trouble::Mirror(format!("broke off after {have} bytes: {error}"))),
        }
        have = to.metadata().map_err(Trouble::Disk)?.len();
    }
}
