//! CSV files, which people open in spreadsheets: no cell can become a formula, whoever wrote its text.
//!
//! A spreadsheet evaluates a cell that begins with `=`, `+`, `-` or `@`; some programs also skip spaces and quotes first, or
//! split cells at `;`. In such text a `'` is put before the character, which makes it plain text (OWASP, CSV injection).
//! Numbers are written unchanged.

use effgan_data::control_chars::is_control;

/// Characters that begin a formula, and their full-width forms.
const BEGINNINGS: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Returns the bytes of the table that `fill` writes, with every cell made harmless.
///
/// # Errors
/// When a row does not serialise.
#[allow(clippy::disallowed_methods, reason = "the one place that makes cells harmless")]
pub fn write(fill: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> csv::Result<Vec<u8>> {
    let mut raw = csv::Writer::from_writer(Vec::new());
    fill(&mut raw)?;
    let raw = raw.into_inner().expect("writing to a vector cannot fail");
    let mut table = csv::Writer::from_writer(Vec::new());
    for record in csv::ReaderBuilder::new().has_headers(false).from_reader(raw.as_slice()).into_records() {
        table.write_record(record?.iter().map(harmless))?;
    }
    Ok(table.into_inner().expect("writing to a vector cannot fail"))
}

/// The cell itself if it is a number, otherwise text that no spreadsheet evaluates.
fn harmless(cell: &str) -> String {
    if cell.parse::<f64>().is_ok() {
        return cell.into();
    }
    let (mut text, mut at_beginning) = (String::with_capacity(cell.len()), true);
    for c in cell.chars().map(|c| if is_control(c) { ' ' } else { c }) {
        if at_beginning && BEGINNINGS.contains(&c) {
            text.push('\'');
        }
        at_beginning = c == ';' || at_beginning && (c.is_whitespace() || matches!(c, '"' | '\''));
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_looks_like_a_formula_is_escaped_and_numbers_are_not() {
        for (cell, expected) in [
            ("=cmd|' /C calc'!A1", "'=cmd|' /C calc'!A1"),
            ("@SUM(1)", "'@SUM(1)"),
            ("+1+1", "'+1+1"),
            ("-2+3", "'-2+3"),
            (" \t\"=1", "  \"'=1"),
            ("\r=1", " '=1"),
            ("\u{feff}=1", " '=1"),
            ("\u{ff1d}1", "'\u{ff1d}1"),
            ("late; =1", "late; '=1"),
            ("-0.25", "-0.25"),
            ("+3e-5", "+3e-5"),
            ("a-b = c", "a-b = c"),
            ("$(calc)", "$(calc)"),
            ("", ""),
        ] {
            let table = write(|table| table.write_record(["head", cell])).unwrap();
            let read = csv::ReaderBuilder::new().has_headers(false).from_reader(&table[..]).into_records().next();
            assert_eq!(&read.unwrap().unwrap()[1], expected, "{cell:?}");
        }
    }
}
