//! What a site allows: its `policy.toml`, against which the request of a run is checked before any image is opened.
//!
//! A [`Policy`] belongs to the site; a [`RunRequest`] holds the numbers of the server's config that matter to it. Comparing them
//! gives a list of [`Clause`]s: a person at the site reads it before approving the run, and its first refusal is the site's
//! answer. A site without the file has the defaults.

mod clauses;
mod limits;
mod policy_file;
mod privacy_budget;
mod release;
mod run_request;

pub use self::clauses::Clause;
pub use self::policy_file::{Approve, Policy};
pub use self::release::{IfUnsure, OnFail, Release};
pub use self::run_request::{Amount, PrivacyRequest, PrivateUpdates, RunRequest, Spent};
