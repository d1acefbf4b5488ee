//! Failures: one line for standard error, and a kind that becomes the exit code.

use std::path::Path;

use effgan_data::DataError;
use effgan_data::control_chars::is_control;
use effgan_fl::FlError;
use effgan_metrics::MetricError;
use effgan_nn::NnError;

/// The text of `effgan help exit-codes`.
pub const EXIT_CODES: &str = "\
0    done
2    the command line or the config is wrong; nothing was written
3    a data file is missing or damaged; nothing was written
4    the run failed; its folder says why, and effgan resume continues once the cause is fixed
130  interrupted by Ctrl-C or SIGTERM; effgan resume continues";

/// Maximum number of characters of a message: some quote the content of a file.
const MAX_CHARS: usize = 2000;

/// Why an operation failed: its kind, and an error with its causes.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: anyhow::Error,
}

/// What kind of thing went wrong; the number is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The command line, the config or an argument is wrong.
    Usage = 2,
    /// A data file or a model is missing or damaged.
    Data = 3,
    /// The run itself failed.
    Run = 4,
    /// It was stopped from outside, as by Ctrl-C.
    Interrupted = 130,
}

impl Failure {
    /// A failure of kind [`Kind::Usage`].
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Usage, error: error.into() }
    }

    /// A failure of kind [`Kind::Data`], and [`Kind::Run`] where it was the device that failed.
    pub fn data(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let is_of_device = matches!(error.downcast_ref(), Some(MetricError::Device(_)));
        Self { kind: if is_of_device { Kind::Run } else { Kind::Data }, error }
    }

    /// A failure of kind [`Kind::Interrupted`].
    pub fn interrupted(error: impl Into<anyhow::Error>) -> Self {
        Self { kind: Kind::Interrupted, error: error.into() }
    }

    /// The kind of the failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// One line of at most 2,000 characters: the error and its causes. Control characters, which a hostile file could contain, are
    /// replaced by spaces.
    pub fn line(&self) -> String {
        let line = format!("{:#}", self.error).replace(is_control, " ");
        match line.char_indices().nth(MAX_CHARS) {
            Some((end, _)) => format!("{}…", &line[..line.floor_char_boundary(end - 1)]),
            None => line,
        }
    }

    /// The same failure with `doing`, what was being done, in front of its message.
    #[must_use]
    pub fn context(self, doing: impl std::fmt::Display + Send + Sync + 'static) -> Self {
        Self { error: self.error.context(doing), ..self }
    }

    /// The same failure with the `file` of the config in front of its message, where it is the config that is wrong.
    #[must_use]
    pub fn of_config(self, file: &Path) -> Self {
        if self.kind == Kind::Usage { self.context(file.display().to_string()) } else { self }
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
            | FlError::Nn(NnError::Config(_) | NnError::Device(_)) => Kind::Usage,
            FlError::Model { .. }
            | FlError::ForeignCheckpoint { .. }
            | FlError::OtherArithmetic { .. }
            | FlError::NoCheckpoint { .. } => Kind::Data,
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

/// A result whose error is a [`Failure`].
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
    fn a_message_that_quotes_a_whole_file_is_cut_off() {
        let line = Failure::usage(anyhow!("é".repeat(5000))).line();
        assert_eq!((line.chars().count(), line.ends_with("é…")), (MAX_CHARS, true));
        let whole = "é".repeat(MAX_CHARS);
        assert_eq!(Failure::usage(anyhow!(whole.clone())).line(), whole);
    }
}
