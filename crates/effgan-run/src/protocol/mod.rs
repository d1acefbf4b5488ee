//! A federation over many machines: what the server and a site do. Flower carries the messages between them.
//!
//! `message` is what both sides read and write, `server` is how the server reaches its sites, `site` is what a site checks, answers
//! and refuses, and [`ledger`] is a site's record of it.

pub mod ledger;
mod message;
pub mod retention;
mod server;
mod site;

pub use self::message::{Content, Introduction, RequestId};
pub use self::server::{Grid, MessageId, NodeId, Pulled, SiteConnections, SiteList};
#[cfg(test)]
pub(crate) use self::server::{LEDGERS, LedgerHead, test_servers};
pub use self::site::{
    JOIN_CONFIG, LateGenerator, NETWORKS, POLICY, Rehearsal, SiteImages, SiteSettings, answer, approval, asked_of,
    class_labels, fine_tune, hold_out, last_run_request, networks, policy_file, privacy_statement, rehearse,
    run_request_of, split, with_noise, write_refusal,
};
