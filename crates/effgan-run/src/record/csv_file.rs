//! CSV files, which people open in spreadsheets: no cell is a formula, whoever wrote the text in it.
//!
//! A spreadsheet computes a cell that begins with `=`, `+`, `-` or `@`, some also behind spaces, quotes, or a `;` that parts cells in half of
//! Europe. Text that does so gets a `'` before the character, which makes it text (OWASP, CSV injection). Numbers stay what they are.

use effgan_data::control_chars::is_control;

/// What a spreadsheet begins to compute at, as on a keyboard and in its full-width form.
const BEGINNINGS: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// The bytes of the table that `fill` writes, each cell made harmless.
///
/// # Errors
/// When a row does not serialise.
#[allow(clippy::disallowed_methods, reason = "the one place that is meant")]
pub fn write(fill: impl FnOnce(&mut csv::Writer<Vec<u8>>) -> csv::Result<()>) -> csv::Result<Vec<u8>> {
    let mut raw = csv::Writer::from_writer(Vec::new());
    fill(&mut raw)?;
    let raw = raw.into_inner().expect("a vector takes all");
    let mut table = csv::Writer::from_writer(Vec::new());
    for record in csv::ReaderBuilder::new().has_headers(false).from_reader(raw.as_slice()).into_records() {
        table.write_record(record?.iter().map(harmless))?;
    }
    Ok(table.into_inner().expect("a vector takes all"))
}

/// A cell that is a number or a text.
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
    fn text_that_would_be_computed_is_text_and_numbers_stay() {
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
