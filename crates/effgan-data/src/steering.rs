//! Text of others on a terminal or a page: what would move a cursor, turn lines around or hide is not shown.

/// Whether a character does something to how the text around it is shown: control characters, and those of Unicode that set the
/// direction of writing, join, tag or have no width.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with U+FFFD in the place of what [`steers`].
pub fn shown(text: &str) -> String {
    text.replace(steers, "\u{fffd}")
}

/// Text in its lines, in which nothing moves a cursor or turns the letters around: parts of it may be somebody else's.
pub fn plain(text: &str) -> String {
    text.replace(|c| steers(c) && c != '\n' && c != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_turns_or_hides_text_is_shown_as_replaced_and_letters_stay() {
        let hostile = [
            "\u{1b}[2J",
            "\r\n",
            "\u{85}",
            "\u{202e}gpj.exe",
            "\u{2066}",
            "\u{200f}",
            "\u{61c}",
            "\u{feff}",
            "a\u{e0041}",
        ];
        for text in hostile {
            assert!(shown(text).contains('\u{fffd}') && !shown(text).contains(steers), "{text:?}");
        }
        for text in ["Straße 7, naïve, 猫, قطة, 😀", " \u{301}é\u{a0}"] {
            assert_eq!(shown(text), text);
        }
    }
}
