//! The one public port of a federation, and the site's half of it.
//!
//! Flower's `SuperLink` listens on 127.0.0.1. What the network reaches is the gate ([`Gate`]): mutual TLS in which a site is its key, as
//! the list ([`Sites`]) has it, and behind that the ten requests that a node needs ([`Call`]), each checked by [`decide()`]. At a site the
//! forwarder ([`Forwarder`]) takes what its `SuperNode` asks on 127.0.0.1 and calls the gate; it lets no other app in than effgan's.

#![forbid(unsafe_code)]

mod body;
mod book;
pub mod call;
pub mod count;
pub mod decide;
mod destination;
mod dial;
mod error;
mod file;
mod forward;
mod gate;
mod identity;
mod key;
pub mod limits;
mod listen;
mod member;
mod news;
pub mod node;
mod pass;
mod proxy;
mod question;
mod sites;
mod state;
mod tls;
mod waiting;
#[expect(missing_docs, reason = "they are Flower's names")]
pub mod wire;

pub use body::{SILENCE, WHOLE};
pub use call::Call;
pub use decide::decide;
pub use destination::{Destination, probe};
pub use dial::Place;
pub use error::GateError;
pub use forward::{ForwardConfig, Forwarder, HARMLESS, MAX_QUESTION};
pub use gate::{Gate, GateConfig, Say};
pub use identity::{ClientIdentity, client_identity, loopback_certificate};
pub use key::{fingerprint, public_key};
pub use limits::Limits;
pub use proxy::Proxy;
pub use question::{Bundle, is_our_fab, is_our_run};
pub use sites::{SITES, Site, Sites};
pub use state::{GATE_STATE, GateState, Question, SiteState};
pub use tls::{CertificateTrouble, Trouble};
