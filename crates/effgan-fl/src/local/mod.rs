//! A client's work: training a copy of both networks on its own images.

mod batches;
mod local_config;
mod local_training;
mod local_work;
mod shard;

pub(crate) use self::batches::Batches;
pub use self::local_config::LocalConfig;
pub use self::local_training::LocalTraining;
pub(crate) use self::local_training::check_finite;
pub use self::local_work::LocalWork;
pub use self::shard::{Shard, check_shard};
