//! The terminal on standard error, if there is one: its size and what it can show.

use std::env;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use crate::output::{can_draw, error_stream};

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub columns: usize,
    pub lines: usize,
}

impl Size {
    /// The size assumed when the terminal reports none.
    const DEFAULT: Self = Self { columns: 80, lines: 24 };

    /// The size of the terminal on standard error.
    // `stty` instead of the ioctl: Rust has that one only as unsafe code, which this crate forbids.
    pub(super) fn current() -> Self {
        size_by_stty().filter(|size| size.columns > 0 && size.lines > 0).unwrap_or(Self::DEFAULT)
    }
}

fn size_by_stty() -> Option<Size> {
    let terminal = error_stream().as_fd().try_clone_to_owned().ok()?;
    let answer = Command::new("stty").arg("size").stdin(Stdio::from(terminal)).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let (lines, columns) = text.trim().split_once(' ')?;
    Some(Size { columns: columns.parse().ok()?, lines: lines.parse().ok()? })
}

/// Whether lines can be redrawn: standard error is a terminal, and not a `dumb` one.
pub(super) fn can_redraw() -> bool {
    can_draw() && env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// Whether to use colours (<https://no-color.org>).
pub(super) fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
