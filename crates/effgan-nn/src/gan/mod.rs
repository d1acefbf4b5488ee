//! Training a generator against a discriminator, and sampling images from it (Goodfellow et al. 2014, arXiv:1406.2661).

mod adaptive_steps;
mod discriminator_logits;
mod dp_sgd;
mod ema;
mod gan_model;
mod kept_images;
mod local_discriminator;
mod loss;
mod sampler;
mod server_generator;
mod step;
mod train_config;
mod trainer;

pub use adaptive_steps::DiscriminatorSteps;
pub use discriminator_logits::discriminator_logits;
pub use dp_sgd::{DpSgd, Privacy, RealImages, SecretRng};
pub use ema::Ema;
pub use gan_model::{GanModel, LOSSES};
pub use local_discriminator::LocalDiscriminator;
pub use loss::Loss;
pub use sampler::recompute_statistics;
pub use server_generator::ServerGenerator;
pub use step::{Gan, Losses, PendingLosses};
pub use train_config::TrainConfig;

/// Name of the network that generates images.
pub const GENERATOR: &str = "generator";
/// Name of the network that tells real images from generated ones.
pub const DISCRIMINATOR: &str = "discriminator";
