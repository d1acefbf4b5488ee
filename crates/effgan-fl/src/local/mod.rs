//! A client's work: training a copy of the model on its own images.

mod batches;
mod local_config;
mod local_training;
mod local_work;
mod shard;

pub(crate) use self::batches::batch;
pub use self::batches::{BatchSampler, ShuffledEpochs};
pub use self::local_config::LocalConfig;
pub use self::local_training::LocalTraining;
pub use self::local_work::LocalWork;
pub use self::shard::{Shard, check_shard};
