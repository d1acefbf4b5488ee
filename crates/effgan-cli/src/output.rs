//! Standard output. A reader that has gone (`effgan run … | head`) is no reason to stop or to panic.

use std::fmt::Display;
use std::io::{Write, stdout};

use effgan_data::steering::steers;

/// Writes a line.
pub fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{}", plain(&line.to_string()));
}

/// Writes what has its own ends of lines.
pub fn write(text: &[u8]) {
    let _ = stdout().write_all(text);
}

/// A line on standard error for a person, about something that ends nothing.
pub fn warn(line: &str) {
    eprintln!("effgan: {}", plain(line));
}

/// Text in its lines, in which nothing moves a cursor or turns the letters around: parts of it may be somebody else's.
pub fn plain(text: &str) -> String {
    text.replace(|c| steers(c) && c != '\n' && c != '\t', "\u{fffd}")
}
