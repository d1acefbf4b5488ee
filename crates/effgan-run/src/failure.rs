//! How the program ends when it does not end well: one line on standard error, and an exit code that scripts can tell apart.

use effgan_data::DataError;
use effgan_data::control_chars::is_control;
use effgan_fl::FlError;
use effgan_nn::NnError;

/// What `effgan help exit-codes` says.
pub const EXIT_CODES: &str = "\
0    done
2    the command line or the config is wrong; nothing was written
3    a data file is missing or damaged; nothing was written
4    the run failed; its folder says why, and when the cause is gone effgan resume goes on
130  interrupted by Ctrl-C or SIGTERM; effgan resume goes on";

/// Longest message: some quote what a file holds.
const MOST_CHARS: usize = 2000;

/// Why the program ends.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: anyhow::Error,
}

/// What went wrong, as far as an exit code tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line, the config or an argument.
    Usage = 2,
    /// A data file or a model.
    Data = 3,
    /// The run itself.
    Run = 4,
    /// Somebody asked it to end.
    Interrupted = 130,
}

impl Failure {
    /// The command line or the config is wrong.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Usage, error: error.into() }
    }

    /// A data file is missing or damaged.
    pub fn data(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Data, error: error.into() }
    }

    /// Somebody asked it to end.
    pub fn interrupted(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Interrupted, error: error.into() }
    }

    /// What went wrong, as far as an exit code tells.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// One line of at most 2,000 characters: the error and its causes. What a hostile file says of itself moves no cursor of a terminal.
    pub fn line(&self) -> String {
        let line = format!("{:#}", self.error).replace(is_control, " ");
        match line.char_indices().nth(MOST_CHARS) {
            Some((end, _)) => format!("{}…", &line[..line.floor_char_boundary(end - 1)]),
            None => line,
        }
    }

    /// The same failure, with what was being done before it.
    #[must_use]
    pub fn context(self, doing: impl std::fmt::Display + Send + Sync + 'static) -> Self {
        Self { error: self.error.context(doing), ..self }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<FlError>() {
            Ok(error) => error.into(),
            Err(error) => Self { kind: Kind::Run, error },
        }
    }
}

impl From<FlError> for Failure {
    fn from(error: FlError) -> Self {
        let kind = match &error {
            FlError::Interrupted => Kind::Interrupted,
            FlError::Config(_)
            | FlError::OneImage { .. }
            | FlError::UnknownMember { .. }
            | FlError::Nn(NnError::Config(_)) => Kind::Usage,
            FlError::Model { .. } | FlError::ForeignCheckpoint { .. } | FlError::NoCheckpoint { .. } => Kind::Data,
            _ => Kind::Run,
        };
        Self { kind, error: error.into() }
    }
}

impl From<NnError> for Failure {
    fn from(error: NnError) -> Self {
        FlError::from(error).into()
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        if error.is_in_a_file() { Self::data(error) } else { Self::usage(error) }
    }
}

/// Result of a command.
pub type Result<T> = std::result::Result<T, Failure>;

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_message_is_one_line_that_does_nothing_to_a_terminal() {
        let failure = Failure::usage(anyhow!("unknown field `\u{1b}[2J\r\n\u{202e}`")).context("a.toml");
        assert_eq!(failure.line(), "a.toml: unknown field ` [2J   `");
    }

    #[test]
    fn a_message_that_quotes_a_whole_file_is_cut() {
        let line = Failure::usage(anyhow!("é".repeat(5000))).line();
        assert_eq!((line.chars().count(), line.ends_with("é…")), (MOST_CHARS, true));
        let whole = "é".repeat(MOST_CHARS);
        assert_eq!(Failure::usage(anyhow!(whole.clone())).line(), whole);
    }
}
