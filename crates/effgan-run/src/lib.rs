//! A run of a federated GAN, from its config to its report: in one process, or over sites that keep their images.
//!
//! The command line and the Python module are thin layers over this crate. It prints nothing: what happens is told to a
//! [`progress::Listener`], and what a person should know goes to the [`log`] facade.

#![forbid(unsafe_code)]

pub mod api;
pub mod config;
mod contract;
pub mod failure;
pub mod pipeline;
pub mod progress;
pub mod protocol;
pub mod record;
pub mod report;
pub mod scores;
pub mod sweep;
pub mod units;

pub use self::config::Config;
pub use self::failure::{Failure, Kind, Result};
