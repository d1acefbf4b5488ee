//! Words of others on a terminal or a page: nothing in them moves a cursor, turns a line around or hides.

/// `text` with every character replaced that is not shown as itself: control and bidirectional characters, and those without a width.
pub fn harmless(text: &str) -> String {
    text.replace(steers, "\u{fffd}")
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_turns_a_line_around_is_replaced() {
        assert_eq!(harmless("a\u{1b}[2J\n\u{202e}gnp.exe\u{2066}\u{200b}é"), "a�[2J��gnp.exe��é");
    }
}
