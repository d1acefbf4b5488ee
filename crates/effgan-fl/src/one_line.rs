//! Text that a client sent, made safe for a log.

use effgan_data::control_chars::is_control;

/// Text of a client as one line of at most 300 characters, without control characters.
#[must_use]
pub fn one_line(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut line: String = text.chars().map(|c| if is_control(c) { ' ' } else { c }).take(MAX_CHARS).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_text_are_one_short_line() {
        assert_eq!(one_line("a\u{1b}[2J\r\n\u{202e}b"), "a [2J   b");
        assert_eq!(one_line(&"x".repeat(301)).chars().count(), 301);
    }
}
