//! `ledger.jsonl`: what a site was asked, answered and refused, one JSON object per line.
//!
//! Each line holds the SHA-256 of the line before it (the first holds 64 zeros), so no line can be changed or removed unnoticed. The hash
//! of the last line, the head, goes to the server with each reply. The server keeps the heads, so a file that was rewritten as a whole is
//! noticed too. A line is on the disk before its reply leaves. A line that a crash left incomplete is cut off, and a new line records that.

mod display;
mod history;
mod line;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use effgan_nn::params;
use nix::libc::O_NOFOLLOW;

pub use self::display::{page, table};
pub use self::history::{Approval, Approvals, History, PendingRun};
pub use self::line::{Answered, Array, Asked, Audited, AuditedGenerator, Began, Entry, Line, Refused};

/// The file's name in a site's folder.
pub const LEDGER: &str = "ledger.jsonl";
/// What the first line holds instead of a hash: 64 zeros.
const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Maximum number of bytes of a line; the lines that effgan writes have up to 3,000.
const MAX_LINE: usize = 1 << 20;

/// The ledger in a site's folder.
#[derive(Clone, Debug)]
pub struct Ledger {
    path: PathBuf,
}

/// Why a ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A line is not as it was written.
    #[error("{path}: {line} {why}; keep the file as evidence, and find out what changed it")]
    Broken {
        /// The ledger.
        path: String,
        /// Which line: `line 3`, counted from 1, or `the last line` when the others were not read.
        line: String,
        /// What is wrong with the line.
        why: &'static str,
    },
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The ledger.
        path: String,
        /// The system's error.
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, LedgerError>;

/// The end of a ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// How many whole lines the ledger has.
    pub lines: u64,
    /// SHA-256 of the last whole line, in hex; 64 zeros when there is none.
    pub hash: String,
    /// Bytes after the last whole line, which a crash left; [`Ledger::append`] cuts them off.
    pub torn: u64,
}

impl Ledger {
    /// The ledger in the folder `site`. The file is created with its first line.
    pub fn of(site: &Path) -> Self {
        Self { path: site.join(LEDGER) }
    }

    /// Calls `each` with every line and its number, from 1, and checks the chain of hashes. An incomplete last line is skipped. Only one line
    /// is in memory at a time.
    ///
    /// # Errors
    /// [`LedgerError::Broken`] with the number of the first line that is not as it was written; [`LedgerError::Io`].
    pub fn read(&self, mut each: impl FnMut(u64, Line)) -> Result<Head> {
        let mut head = Head { lines: 0, hash: GENESIS.into(), torn: 0 };
        let file = match options().open(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(head),
            file => file.map_err(|error| self.io(error))?,
        };
        file.lock_shared().map_err(|error| self.io(error))?;
        let (mut reader, mut bytes) = (BufReader::with_capacity(1 << 16, file), Vec::new());
        loop {
            bytes.clear();
            let max_bytes = MAX_LINE as u64 + 1;
            reader.by_ref().take(max_bytes).read_until(b'\n', &mut bytes).map_err(|error| self.io(error))?;
            if bytes.len() > MAX_LINE {
                return Err(self.broken(head.lines + 1, "is longer than any line that effgan writes"));
            }
            if bytes.last() != Some(&b'\n') {
                return Ok(Head { torn: bytes.len() as u64, ..head });
            }
            bytes.pop();
            head.lines += 1;
            let line: Line =
                serde_json::from_slice(&bytes).map_err(|_| self.broken(head.lines, "is not a line of a ledger"))?;
            if line.previous != head.hash {
                return Err(self.broken(head.lines, "does not follow the line before it"));
            }
            head.hash = params::sha256(&bytes);
            each(head.lines, line);
        }
    }

    /// Whether a line has this SHA-256.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn has_line(&self, hash: &str) -> Result<bool> {
        let mut is_there = false;
        let head = self.read(|_, line| is_there |= line.previous == hash)?;
        Ok(is_there || head.hash == hash)
    }

    /// Appends `entry`, syncs it to the disk, and returns the new head's hash. A request that is refused again for the same reason gets no
    /// second line, because the server repeats its request every 15 seconds while the run waits for the site's approval.
    ///
    /// # Errors
    /// [`LedgerError::Io`]; [`LedgerError::Broken`] when the last line is not one of a ledger.
    pub fn append(&self, entry: Entry) -> Result<String> {
        let is_new = !self.path.exists();
        let mut file =
            options().append(true).create(true).mode(0o600).open(&self.path).map_err(|error| self.io(error))?;
        file.lock().map_err(|error| self.io(error))?;
        self.mend(&mut file)?;
        let last = self.last_line(&mut file)?;
        let mut hash = GENESIS.to_owned();
        if let Some(bytes) = last {
            hash = params::sha256(&bytes);
            let line: Line =
                serde_json::from_slice(&bytes).map_err(|_| self.broken_end("is not a line of a ledger"))?;
            if line.entry.is_refused_again(&entry) {
                return Ok(hash);
            }
        }
        let hash = self.write(&mut file, &Line::now(hash, entry))?;
        if is_new {
            let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.io(error))?;
        }
        Ok(hash)
    }

    /// Cuts off a line that a crash left incomplete, and appends a line that records it.
    fn mend(&self, file: &mut File) -> Result<()> {
        let torn = self.tail(file, 0)?;
        if torn.is_empty() {
            return Ok(());
        }
        let whole = file.metadata().map_err(|error| self.io(error))?.size() - torn.len() as u64;
        file.set_len(whole).map_err(|error| self.io(error))?;
        let last = self.last_line(file)?;
        let hash = last.map_or_else(|| GENESIS.to_owned(), |bytes| params::sha256(&bytes));
        let entry = Entry::Mended { bytes: torn.len() as u64, sha256: params::sha256(&torn) };
        self.write(file, &Line::now(hash, entry)).map(drop)
    }

    fn write(&self, file: &mut File, line: &Line) -> Result<String> {
        let mut bytes = serde_json::to_vec(line).expect("a line is plain data");
        let hash = params::sha256(&bytes);
        bytes.push(b'\n');
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(|error| self.io(error))?;
        Ok(hash)
    }

    /// The last whole line, without its line feed.
    fn last_line(&self, file: &mut File) -> Result<Option<Vec<u8>>> {
        if file.metadata().map_err(|error| self.io(error))?.size() == 0 {
            return Ok(None);
        }
        self.tail(file, 1).map(Some)
    }

    /// The bytes after the last line feed, when the last `skipped` bytes of the file are ignored.
    fn tail(&self, file: &mut File, skipped: u64) -> Result<Vec<u8>> {
        let end = file.metadata().map_err(|error| self.io(error))?.size().saturating_sub(skipped);
        let (mut tail, mut start) = (Vec::new(), end);
        while start > 0 && tail.len() <= MAX_LINE {
            let from = start.saturating_sub(1 << 12);
            let mut block = vec![0; (start - from) as usize];
            file.seek(SeekFrom::Start(from))
                .and_then(|_| file.read_exact(&mut block))
                .map_err(|error| self.io(error))?;
            let after = block.iter().rposition(|&byte| byte == b'\n').map(|place| place + 1);
            block.drain(..after.unwrap_or(0));
            block.extend_from_slice(&tail);
            tail = block;
            if after.is_some() {
                return Ok(tail);
            }
            start = from;
        }
        if tail.len() > MAX_LINE {
            Err(self.broken_end("is longer than any line that effgan writes"))
        } else {
            Ok(tail)
        }
    }

    fn broken(&self, line: u64, why: &'static str) -> LedgerError {
        LedgerError::Broken { path: self.path.display().to_string(), line: format!("line {line}"), why }
    }

    fn broken_end(&self, why: &'static str) -> LedgerError {
        LedgerError::Broken { path: self.path.display().to_string(), line: "the last line".to_owned(), why }
    }

    fn io(&self, source: io::Error) -> LedgerError {
        LedgerError::Io { path: self.path.display().to_string(), source }
    }
}

/// Options that refuse to open a symbolic link. Otherwise, whoever can place a link chooses which file is read or written.
fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true).custom_flags(O_NOFOLLOW);
    options
}

/// Locks the site's folder, so that one process at a time works for the site; `None` while another process holds the lock.
///
/// # Errors
/// When the folder cannot be opened or locked.
pub fn lock_site(site: &Path) -> io::Result<Option<File>> {
    let folder = File::open(site)?;
    match folder.try_lock() {
        Ok(()) => Ok(Some(folder)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests;
