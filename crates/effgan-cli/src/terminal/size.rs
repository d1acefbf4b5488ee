//! The terminal behind standard error, if there is one.

use std::env;
use std::io::{IsTerminal, stderr};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

/// Columns and lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub columns: usize,
    pub lines: usize,
}

impl Size {
    /// What a terminal has that does not say.
    const USUAL: Self = Self { columns: 80, lines: 24 };

    /// Of the terminal behind standard error. The question needs a system call that Rust has only as unsafe code, so POSIX's `stty` asks it.
    pub(super) fn ask() -> Self {
        ask_stty().filter(|size| size.columns > 0 && size.lines > 0).unwrap_or(Self::USUAL)
    }
}

fn ask_stty() -> Option<Size> {
    let terminal = stderr().as_fd().try_clone_to_owned().ok()?;
    let answer = Command::new("stty").arg("size").stdin(Stdio::from(terminal)).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (lines, columns) = text.trim().split_once(' ')?;
    Some(Size { columns: columns.parse().ok()?, lines: lines.parse().ok()? })
}

/// Whether lines can be drawn over again: standard error is a terminal, and no `dumb` one.
pub(super) fn can_redraw() -> bool {
    stderr().is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Whether colours are welcome (<https://no-color.org>).
pub(super) fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
