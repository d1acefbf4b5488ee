//! Standard output. A reader that has gone (`effgan run … | head`) is no reason to stop or to panic.

use std::fmt::Display;
use std::io::{Write, stdout};

/// Writes a line.
pub fn say(line: impl Display) {
    let _ = writeln!(stdout(), "{line}");
}

/// Writes what has its own ends of lines.
pub fn write(text: &[u8]) {
    let _ = stdout().write_all(text);
}

/// A line on standard error for a person, about something that ends nothing.
pub fn warn(line: &str) {
    eprintln!("effgan: {line}");
}
