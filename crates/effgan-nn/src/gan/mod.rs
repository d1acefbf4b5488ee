//! Training a generator against a discriminator, and drawing images from it (Goodfellow et al. 2014, arXiv:1406.2661).

mod ema;
mod local_discriminator;
mod loss;
mod sampler;
mod server_generator;
mod step;

pub use ema::Ema;
pub use local_discriminator::LocalDiscriminator;
pub use sampler::{BATCH, Sampler, recompute_statistics};
pub use server_generator::{ServerGenerator, generator_loss};
pub use step::{Adam, Gan, Losses};
