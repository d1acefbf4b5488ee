//! The one public port of a federation (the gate), and the site's end of it (the forwarder).
//!
//! Flower's `SuperLink` listens on 127.0.0.1 only. The network reaches the gate ([`Gate`]): mutual TLS, in which a site is identified by its
//! key on the list ([`Sites`]), and behind it the ten endpoints that a node needs ([`Endpoint`]), each request checked by [`check_request()`].
//! At a site, the forwarder ([`Forwarder`]) accepts the requests of the `SuperNode` on 127.0.0.1 and sends them to the gate; it lets no app
//! into the site other than effgan's.

#![forbid(unsafe_code)]

mod address;
mod body;
mod client_identity;
mod connect_error;
mod connection_count;
mod connector;
pub mod endpoint;
pub mod entry_count;
mod error;
mod forwarder;
mod gate;
pub mod gate_limits;
mod gate_state;
mod headers;
mod listener;
mod loopback;
mod object_body;
mod proxy;
mod rate_limited_log;
pub mod request_check;
mod site_key;
mod sites;
mod small_file;
mod tls;
mod watched_sites;
#[expect(missing_docs, reason = "the names are Flower's")]
pub mod wire;

use std::sync::Arc;

pub use address::ServerAddress;
pub use body::{MAX_BODY_TIME, MAX_SILENCE};
pub use client_identity::{ClientIdentity, client_identity};
pub use connect_error::{CertificateProblem, ConnectError};
pub use endpoint::Endpoint;
pub use error::GateError;
pub use forwarder::{
    ALLOWED_ERRORS, Bundle, Destination, Forwarder, ForwarderConfig, MAX_MESSAGE, check_fab, check_run, probe,
};
pub use gate::{Gate, GateConfig};
pub use gate_limits::Limits;
pub use gate_state::{GATE_STATE, GateState, PulledMessage, SiteState};
pub use loopback::loopback_certificate;
pub use proxy::Proxy;
pub use request_check::check_request;
pub use site_key::{fingerprint, public_key};
pub use sites::{SITES, Site, Sites};

/// Receives the lines that the gate or the forwarder logs.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;
