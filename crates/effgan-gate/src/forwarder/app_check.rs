//! What a site accepts of the server's runs and apps: effgan's own bundle, in a run of a `ServerApp`.

use prost::Message;
use sha2::{Digest, Sha256};

use crate::error::GateError;
use crate::wire::{GetFabResponse, GetRunResponse};

/// Flower's type of the runs that `effgan federation run` starts.
const SERVER_APP: &str = "flwr-serverapp";

/// SHA-256 of the app bundle that belongs to this version of effgan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle(String);

impl Bundle {
    /// The bundle with this SHA-256, 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`GateError::Address`].
    pub fn new(hash: &str) -> Result<Self, GateError> {
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let wrong = || GateError::Address {
            what: "the bundle",
            value: hash.into(),
            expected: "a SHA-256 in lower-case hexadecimal",
        };
        is_hash.then(|| Self(hash.to_owned())).ok_or_else(wrong)
    }
}

/// Checks that a `get-fab` response holds the bundle, by its bytes and by its hash.
///
/// # Errors
/// What is wrong with it.
pub fn check_fab(response: &[u8], bundle: &Bundle) -> Result<(), &'static str> {
    let response = GetFabResponse::decode(response).map_err(|_| "an app that cannot be parsed")?;
    let fab = response.fab.unwrap_or_default();
    let digest: String = Sha256::digest(&fab.content).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest == bundle.0 && fab.hash_str == bundle.0 {
        Ok(())
    } else {
        Err("the server's app is not the one of this version of effgan")
    }
}

/// Checks that a `get-run` response describes the run of a `ServerApp`. An agent's run would not go to effgan's executor.
///
/// # Errors
/// What is wrong with it.
pub fn check_run(response: &[u8]) -> Result<(), &'static str> {
    let response = GetRunResponse::decode(response).map_err(|_| "a run that cannot be parsed")?;
    let is_ours = response.run.is_some_and(|run| run.primary_task_type == SERVER_APP);
    if is_ours { Ok(()) } else { Err("the server's run is not one of effgan's") }
}
