//! The one public port of a federation, and the site's half of it.
//!
//! Flower's SuperLink listens on 127.0.0.1. What the network reaches is the gate ([`Gate`]): mutual TLS in which a site is its key, as
//! the list ([`Sites`]) has it, and behind that the ten requests that a node needs ([`Call`]), each checked by [`decide`]. At a site the
//! forwarder ([`Forwarder`]) takes what its SuperNode asks on 127.0.0.1 and calls the gate; it lets no other app in than effgan's.

mod error;
mod file;
mod identity;
mod key;
mod sites;
mod state;

pub use error::GateError;
pub use identity::{ClientIdentity, client_identity, loopback_certificate};
pub use key::{fingerprint, public_key};
pub use sites::{Site, Sites};
pub use state::{GATE_STATE, GateState, Question, SiteState};
