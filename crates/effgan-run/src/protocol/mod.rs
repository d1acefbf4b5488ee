//! A federation over many machines: what the server and a site do, but for the carrying itself, which is Flower's.

mod answer;
pub mod approval;
pub mod classes;
mod content;
mod grid;
mod heads;
pub mod hold_out;
mod house;
mod introduction;
mod late;
pub mod ledger;
mod post;
mod question;
pub mod retention;
pub mod roll;
mod site;
mod wishes;

pub use self::content::{Content, Tie};
pub use self::grid::{Grid, MessageId, NodeId, Pulled};
#[cfg(test)]
pub(crate) use self::heads::{HeadLine, LEDGERS};
pub use self::house::POLICY;
pub use self::introduction::Introduction;
pub use self::late::{CONFIG as JOIN_CONFIG, Late, NETWORKS, fine_tune, networks};
pub use self::ledger::Question as LedgerQuestion;
pub use self::post::Post;
pub use self::roll::Roll;
pub use self::site::{AtSite, Rehearsal, SiteImages, answer, policy_file, question_of, rehearse, split, write_refusal};
pub use self::wishes::{last_wishes, wishes_of};
