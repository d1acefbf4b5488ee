//! Control characters in text of unknown origin, such as file names, before it is shown on a terminal or a page. They could move
//! the cursor, reverse the direction of text, or hide parts of it.

/// Whether `c` changes how the text around it is shown: control characters, and the Unicode characters that set the direction of
/// text, join, tag, or have no width.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` with U+FFFD in place of each character that [`is_control`].
pub fn without_control(text: &str) -> String {
    text.replace(is_control, "\u{fffd}")
}

/// `text` with U+FFFD in place of each control character but line ends and tabs: text in its lines, parts of which may be
/// somebody else's.
pub fn plain(text: &str) -> String {
    text.replace(|c| is_control(c) && c != '\n' && c != '\t', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_replaced_and_letters_stay() {
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
            assert!(
                without_control(text).contains('\u{fffd}') && !without_control(text).contains(is_control),
                "{text:?}"
            );
        }
        for text in ["Straße 7, naïve, 猫, قطة, 😀", " \u{301}é\u{a0}"] {
            assert_eq!(without_control(text), text);
        }
    }
}
