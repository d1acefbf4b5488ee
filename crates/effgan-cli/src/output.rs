//! Standard output and standard error: the one module that prints.
//!
//! A closed pipe (`effgan run … | head`) neither ends the program nor makes it panic: failed writes are ignored.
#![expect(clippy::disallowed_methods, reason = "the one file that prints")]

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stderr, Write, stderr, stdin, stdout};

use effgan_data::control_chars::plain;
use log::{LevelFilter, Log, Metadata, Record};

/// Writes a line to standard output.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{}", plain(&line.to_string()));
}

/// Writes text that brings its own line ends to standard output.
pub(crate) fn write(text: &[u8]) {
    let _ = stdout().write_all(text);
}

/// Standard output, locked and buffered, for a command that writes many lines.
pub(crate) fn buffered() -> impl Write {
    BufWriter::new(stdout().lock())
}

/// Writes `question` to standard output and returns the line that the user types, trimmed.
///
/// # Errors
/// When either stream is closed.
pub(crate) fn ask(question: &str) -> io::Result<String> {
    let mut answer = String::new();
    stdout().write_all(question.as_bytes())?;
    stdout().flush()?;
    stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// Writes a line to standard error: an error that ends the program, or a warning.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(stderr(), "effgan: {}", plain(line));
}

/// Writes a line to standard error that says what to do next, so that standard output holds the result alone.
pub(crate) fn advise(line: &str) {
    let _ = writeln!(stderr(), "{}", plain(line));
}

/// Standard error, for what is redrawn in place on a terminal.
pub(crate) fn error_stream() -> Stderr {
    stderr()
}

/// Whether standard error is a terminal, on which a progress bar can be drawn.
pub(crate) fn can_draw() -> bool {
    stderr().is_terminal()
}

/// Logs the warnings of effgan's crates to standard error; those of other crates do not concern its users.
pub fn log_to_stderr() {
    // A second call finds the logger of the first, which is the same.
    if log::set_logger(&StandardError).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("effgan")
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            warn(&record.args().to_string());
        }
    }

    fn flush(&self) {}
}
