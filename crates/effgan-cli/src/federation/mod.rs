//! A federation over many machines: what the server and a site do, but for the carrying itself, which is Flower's.

mod config;
mod content;
mod grid;
mod heads;
mod introduction;
mod late;
mod post;
mod roll;
mod site;

pub use self::config::{FederationConfig, StrategyConfig};
pub use self::content::{Content, Tie};
pub use self::grid::{Grid, MessageId, NodeId, Pulled};
pub use self::introduction::Introduction;
pub use self::late::{CONFIG as JOIN_CONFIG, Late, NETWORKS, fine_tune, networks};
pub use self::post::Post;
pub use self::roll::Roll;
pub use self::site::{AtSite, SiteImages, answer};
