//! Standard output and standard error. A reader that has gone (`effgan run … | head`) is no reason to stop or to panic.

use std::fmt::Display;
use std::io::{Write, stdout};

use effgan_data::control_chars::plain;
use log::{LevelFilter, Log, Metadata, Record};

/// Writes a line.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{}", plain(&line.to_string()));
}

/// Writes what has its own ends of lines.
pub(crate) fn write(text: &[u8]) {
    let _ = stdout().write_all(text);
}

/// A line on standard error for a person, about something that ends nothing.
pub(crate) fn warn(line: &str) {
    eprintln!("effgan: {}", plain(line));
}

/// Shows the warnings of effgan's crates on standard error; those of other crates are not for its users.
pub fn log_to_stderr() {
    // A second call finds the logger of the first one, which is the same.
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
