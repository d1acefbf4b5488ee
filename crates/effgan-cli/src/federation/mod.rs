//! A federation over many machines: what the server and a site do, but for the carrying itself, which is Flower's.

mod config;
mod content;
mod grid;
pub mod hold_out;
mod introduction;
mod late;
mod post;
mod site;

pub use self::config::{FederationConfig, StrategyConfig};
pub use self::content::{Content, Tie};
pub use self::grid::{Grid, MessageId, NodeId};
pub use self::introduction::Introduction;
pub use self::late::{CONFIG as JOIN_CONFIG, Late, NETWORKS, fine_tune, networks};
pub use self::post::Post;
pub use self::site::{AtSite, SiteImages, answer};
