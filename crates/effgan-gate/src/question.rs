//! What a site takes of the server's runs and apps: effgan's own app, in a run of a server app.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::error::GateError;
use crate::wire::{GetFabResponse, GetRunResponse};

/// Flower's word for the runs that `effgan federation run` starts.
const SERVER_APP: &str = "flwr-serverapp";

/// SHA-256 of the app bundle that belongs to the wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle(String);

impl Bundle {
    /// From 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`GateError::Address`].
    pub fn new(hash: &str) -> Result<Self, GateError> {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let wrong = || GateError::Address {
            what: "the bundle",
            value: hash.into(),
            expected: "SHA-256 in lower-case hexadecimal",
        };
        is_hash.then(|| Self(hash.to_owned())).ok_or_else(wrong)
    }
}

/// Whether a `get-fab` answer holds the bundle, by its bytes and by its name.
///
/// # Errors
/// What it is instead.
pub fn is_our_fab(answer: &[u8], bundle: &Bundle) -> Result<(), &'static str> {
    let answer = GetFabResponse::decode(answer).map_err(|_| "an app that cannot be read")?;
    let fab = answer.fab.unwrap_or_default();
    let digest: String = Sha256::digest(&fab.content).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest == bundle.0 && fab.hash_str == bundle.0 {
        Ok(())
    } else {
        Err("the server's app is not effgan's own of this version")
    }
}

/// Whether a `get-run` answer is of a run of a server app. An agent's would be run by another executor than effgan's.
///
/// # Errors
/// What it is instead.
pub fn is_our_run(answer: &[u8]) -> Result<(), &'static str> {
    let answer = GetRunResponse::decode(answer).map_err(|_| "a run that cannot be read")?;
    let is_ours = answer.run.is_some_and(|run| run.primary_task_type == SERVER_APP);
    if is_ours { Ok(()) } else { Err("the server's run is of another kind than effgan's") }
}
