//! A block of lines at the end of a terminal's screen, drawn over again in place: one write a frame, and no line is empty in between, so nothing
//! flickers. The cursor rests below the block, where the `^C` of a Ctrl-C does no harm.

use std::io::{Write, stderr};

/// What stands on the screen.
#[derive(Debug, Default)]
pub(super) struct Screen {
    lines: Vec<String>,
    columns: usize,
}

impl Screen {
    /// Draws `lines`, none wider than `columns`, in place of those that were drawn last.
    pub(super) fn draw(&mut self, lines: Vec<String>, columns: usize) {
        self.columns = columns;
        let frame: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
        write(&format!("{}{frame}\x1b[J", self.home()));
        self.lines = lines;
    }

    /// The block goes away.
    pub(super) fn clear(&mut self) {
        write(&format!("{}\x1b[J", self.home()));
        self.lines.clear();
    }

    /// Does `print`, whose lines go above the block.
    pub(super) fn above(&mut self, print: impl FnOnce()) {
        let (lines, columns) = (self.lines.clone(), self.columns);
        self.clear();
        print();
        self.draw(lines, columns);
    }

    /// To the first character of the block. Where the terminal became narrower since, a line became several.
    fn home(&self) -> String {
        let rows: usize = self.lines.iter().map(|line| width(line).div_ceil(self.columns.max(1)).max(1)).sum();
        if rows == 0 { "\r".into() } else { format!("\r\x1b[{rows}A") }
    }
}

/// Columns of a line, without the codes of its colours.
fn width(line: &str) -> usize {
    let mut in_code = false;
    let shown = |c: &char| {
        let shown = !in_code && *c != '\x1b';
        in_code = *c == '\x1b' || in_code && *c != 'm';
        shown
    };
    line.chars().filter(shown).count()
}

/// A terminal that is gone is no reason to stop.
fn write(text: &str) {
    let _ = stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_home_counts_lines_as_the_terminal_wraps_them() {
        let coloured = format!("\x1b[36m{}\x1b[0m", "━".repeat(80));
        let mut screen = Screen { lines: vec!["a".repeat(80), coloured, String::new()], columns: 80 };
        assert_eq!(screen.home(), "\r\x1b[3A");
        screen.columns = 60;
        assert_eq!(screen.home(), "\r\x1b[5A");
        screen.lines.clear();
        assert_eq!(screen.home(), "\r");
    }
}
