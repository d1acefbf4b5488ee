//! How far a run is, and the file names that carry it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::state::ServerState;

/// How far a run is: finished rounds, and finished exchanges of the next round. Positions are ordered in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunPosition {
    /// Number of finished rounds.
    pub round: u32,
    /// Number of finished exchanges of the round that follows them.
    pub exchanges: u64,
}

impl RunPosition {
    /// The position of a server's state.
    pub fn of(state: &ServerState) -> Self {
        Self { round: state.round, exchanges: state.exchanges }
    }

    pub(super) fn file_name(self) -> String {
        let Self { round, exchanges } = self;
        let inside = if exchanges > 0 { format!("+{exchanges:06}") } else { String::new() };
        format!("{}{inside}.safetensors", round_name(round))
    }

    /// The position of a file that is named by [`file_name`](Self::file_name); `None` for other files.
    pub(super) fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_prefix("round_")?.strip_suffix(".safetensors")?;
        let (round, exchanges) = name.split_once('+').unwrap_or((name, "0"));
        Some(Self { round: round.parse().ok()?, exchanges: exchanges.parse().ok()? })
    }
}

pub(super) fn round_name(round: u32) -> String {
    format!("round_{round:04}")
}
