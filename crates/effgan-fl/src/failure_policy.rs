//! What the server does about clients that fail or send an unusable reply.

use serde::{Deserialize, Serialize};

use crate::bounds::Bounds;

/// What happens to the run when a client fails or sends an unusable reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The run ends with an error that names the client.
    #[default]
    Stop,
    /// The round continues without the client, and its record says why; the client is asked again in the next round.
    LeaveOut,
}

/// What happens when clients fail, and how many must remain.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FailurePolicy {
    /// What happens to the run.
    pub on_failure: OnFailure,
    /// The run ends when a round has fewer usable replies than this. When `None`, one usable reply is enough, and a round of which every
    /// client was absent beforehand is skipped.
    pub min_clients: Option<usize>,
    /// A client whose update exceeds these bounds has failed.
    pub bounds: Bounds,
}
