//! What each fuzz target does with hostile bytes: read them as the program would, and check the result.
//!
//! The bodies are here, and not in `fuzz_targets/`, so that the crates' own tests include them and replay `seeds/` in `make test`.

#![forbid(unsafe_code)]

#[cfg(feature = "models")]
pub mod checkpoint;
pub mod cifar_batch;
pub mod cifar_tar;
#[cfg(feature = "models")]
pub mod config;
pub mod gate;
pub mod idx;
#[cfg(feature = "models")]
pub mod ledger;
#[cfg(feature = "models")]
pub mod manifest;
#[cfg(feature = "models")]
pub mod message;
pub mod mutate;
pub mod numpy;
pub mod partition;
pub mod picture;
#[cfg(feature = "models")]
pub mod policy;
#[cfg(feature = "models")]
pub mod safetensors;
pub mod scratch;
#[cfg(feature = "models")]
pub mod state_dict;
