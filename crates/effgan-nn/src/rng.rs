//! Random numbers as a function of (seed, purpose, round, client, step), without a position to save.
//!
//! A run that is interrupted and resumed, or whose clients reply in another order, draws the same numbers. The stream
//! of a client is keyed by its *name*, so that a site that joins or leaves does not change the numbers of any other.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use sha2::{Digest, Sha256};

/// What random numbers are used for; each purpose has an independent stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Purpose {
    /// Splitting images among clients.
    Partition = 1,
    /// Initial parameters of the networks.
    Init = 2,
    /// Which clients take part in a round.
    Cohort = 3,
    /// Order of a client's images; the step counts the shuffles.
    Shuffle = 4,
    /// z of a training step.
    Latent = 5,
    /// z of a sample; the step is the sample's index.
    SampleLatent = 6,
    /// The member that draws a sample; the step is the sample's index.
    SampleMember = 7,
    /// z for recomputing the running statistics of an averaged generator; the step is the batch.
    Statistics = 8,
    /// Classes of the generated images of a private training step.
    FakeClass = 9,
    /// What is secret in private training, where a test wants to repeat it; the step is the training step.
    InsecureNoise = 10,
    /// Class of a sample of a conditional network; the step is the sample's index.
    SampleClass = 20,
    /// Whether a client drops out of a round.
    Dropout = 32,
    /// Speed of a client.
    Speed = 33,
    /// Which client gets which discriminator in a swap.
    Swap = 34,
    /// Which clients attack, and the noise that they send.
    Attack = 35,
    /// Images of a subset for a kernel distance; the step is the subset.
    Subset = 48,
    /// Images of a feature network's training, and how they are moved; the step is the training step.
    Augment = 49,
    /// Where the patches of an image are; the step is the image.
    Patch = 50,
    /// Directions onto which patches are projected.
    Direction = 51,
}

/// The random streams of one client in one round of a run with one seed.
#[derive(Clone, Debug)]
pub struct Streams {
    key: [u8; 32],
}

impl Streams {
    /// Streams of the whole run, for what belongs to no round or client.
    pub fn of_run(seed: u64) -> Self {
        Self::new(seed, 0, "")
    }

    /// Streams of the server in `round`.
    pub fn of_round(seed: u64, round: u32) -> Self {
        Self::new(seed, round, "")
    }

    /// Streams of `client` (its name, never empty) in `round`.
    pub fn of_client(seed: u64, round: u32, client: &str) -> Self {
        Self::new(seed, round, client)
    }

    fn new(seed: u64, round: u32, client: &str) -> Self {
        let digest = Sha256::new().chain_update(seed.to_le_bytes()).chain_update(round.to_le_bytes());
        Self { key: digest.chain_update(client).finalize().into() }
    }

    /// The random generator for `purpose` at `step` (below 2^56).
    pub fn at(&self, purpose: Purpose, step: u64) -> ChaCha8Rng {
        debug_assert!(step < 1 << 56, "the step shares 64 bits with the purpose");
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(u64::from(purpose as u8) << 56 | step);
        rng
    }

    /// `n` standard normal numbers for `purpose` at `step`.
    pub fn normal(&self, purpose: Purpose, step: u64, n: usize) -> Vec<f32> {
        StandardNormal.sample_iter(self.at(purpose, step)).take(n).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_seed_round_client_purpose_and_step_changes_the_numbers() {
        let draw = |streams: Streams, purpose, step| streams.normal(purpose, step, 4);
        let base = draw(Streams::of_client(1, 2, "north"), Purpose::Latent, 3);
        assert_eq!(base, draw(Streams::of_client(1, 2, "north"), Purpose::Latent, 3));
        for other in [
            draw(Streams::of_client(2, 2, "north"), Purpose::Latent, 3),
            draw(Streams::of_client(1, 3, "north"), Purpose::Latent, 3),
            draw(Streams::of_client(1, 2, "south"), Purpose::Latent, 3),
            draw(Streams::of_round(1, 2), Purpose::Latent, 3),
            draw(Streams::of_client(1, 2, "north"), Purpose::Shuffle, 3),
            draw(Streams::of_client(1, 2, "north"), Purpose::Latent, 4),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn normal_numbers_have_mean_0_and_variance_1() {
        let n = 100_000;
        let draws = Streams::of_run(1).normal(Purpose::Init, 0, n);
        let mean = draws.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64;
        let variance = draws.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / n as f64;
        // Five standard errors: 1/sqrt(n) for the mean, sqrt(2/n) for the variance.
        assert!(mean.abs() < 5.0 / (n as f64).sqrt(), "mean {mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / n as f64).sqrt(), "variance {variance}");
    }
}
