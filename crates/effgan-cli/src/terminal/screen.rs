//! A block of lines at the bottom of a terminal, redrawn in place.
//!
//! Each frame is one write and no line is blank in between, so nothing flickers. The cursor rests below the block, where the `^C` of a Ctrl-C
//! overwrites nothing.

use std::io::Write;

use crate::output::error_stream;

/// The block as it was drawn last.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: Vec<String>,
    columns: usize,
}

impl Screen {
    /// Draws `lines`, none wider than `columns`, over the previous block.
    pub(super) fn draw(&mut self, lines: Vec<String>, columns: usize) {
        self.columns = columns;
        let frame: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        write(&format!("{}{frame}\x1b[J", self.to_first_row()));
        self.lines = lines;
    }

    /// Erases the block.
    pub(super) fn clear(&mut self) {
        write(&format!("{}\x1b[J", self.to_first_row()));
        self.lines.clear();
    }

    /// Calls `print` while the block is erased, so that its lines stay above the block.
    pub(super) fn above(&mut self, print: impl FnOnce()) {
        let (lines, columns) = (self.lines.clone(), self.columns);
        self.clear();
        print();
        self.draw(lines, columns);
    }

    /// The code that moves the cursor to the block's first character. A line takes several rows once the terminal has become narrower.
    fn to_first_row(&self) -> String {
        let rows: usize = self.lines.iter().map(|line| width(line).div_ceil(self.columns.max(1)).max(1)).sum();
        if rows == 0 { "\r".into() } else { format!("\r\x1b[{rows}A") }
    }
}

/// Columns of a line, not counting colour codes.
fn width(line: &str) -> usize {
    let mut in_code = false;
    let shown = |c: &char| {
        let shown = !in_code && *c != '\x1b';
        in_code = *c == '\x1b' || in_code && *c != 'm';
        shown
    };
    line.chars().filter(shown).count()
}

/// Writes to the terminal; a closed one does not stop the run.
fn write(text: &str) {
    let _ = error_stream().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_back_to_the_block_counts_wrapped_rows() {
        let coloured = format!("\x1b[36m{}\x1b[0m", "━".repeat(80));
        let mut screen = Screen { lines: vec!["a".repeat(80), coloured, String::new()], columns: 80 };
        assert_eq!(screen.to_first_row(), "\r\x1b[3A");
        screen.columns = 60;
        assert_eq!(screen.to_first_row(), "\r\x1b[5A");
        screen.lines.clear();
        assert_eq!(screen.to_first_row(), "\r");
    }
}
