//! Networks, their training steps and random streams: the only crate that uses a tensor library (Burn), which
//! a [`Device`] hides from the others.
//!
//! Its interface is plain data: [`Params`] are named `f32` arrays with PyTorch's names and layouts, images are `u8`
//! `[n, c, h, w]`, losses are numbers. Readers of the other crates need not know Burn.

#![forbid(unsafe_code)]

mod arithmetic_version;
pub mod checkpoint;
pub mod classifier;
mod device;
mod error;
mod fault;
pub mod file;
mod fused;
pub mod gan;
pub mod model;
pub mod networks;
mod optim;
pub mod params;
pub mod pixels;
pub mod rng;
pub mod sealed;
pub mod state_dict;
mod threads;

pub use arithmetic_version::ArithmeticVersion;
pub use device::{Device, DeviceName, GpuInfo, HAS_GPUS, gpus};
pub use effgan_kernels::{Isa, Precision};
pub use error::NnError;
pub use model::{Model, Trainer};
pub use optim::Adam;
pub use params::{Array, Params};
pub use rng::{Purpose, Streams};
pub use threads::{Threads, on_one_thread, on_threads, parallel_map, threads_of_workers};

/// Result of this crate.
pub type Result<T> = std::result::Result<T, NnError>;
