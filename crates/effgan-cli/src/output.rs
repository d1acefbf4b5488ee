//! Standard output. A reader that has gone (`effgan run … | head`) is no reason to stop or to panic.

use std::fmt::Display;
use std::io::{Write, stdout};

use effgan_data::control_chars::is_control;

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
    text.replace(|c| is_control(c) && c != '\n' && c != '\t', "\u{fffd}")
}

/// `1 pass`, `2 passes`, `3 images`: a number of things whose name, in the singular, is `what`.
pub fn counted(n: u64, what: &str) -> String {
    let ending = match n {
        1 => "",
        _ if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{n} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_in_the_singular() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "image")), ["0 images", "1 image", "2 images"]);
        assert_eq!([1, 3].map(|n| counted(n, "class")), ["1 class", "3 classes"]);
    }
}
