//! What a config wants of a site, in the numbers that a policy knows.

use std::path::Path;

use effgan_data::partition::CommonKeys;
use effgan_fl::local::LocalWork;
use effgan_fl::policy::Spent;
use effgan_fl::{AlgorithmConfig, LocalConfig, RunRequest};
use effgan_nn::networks::{self, Network, NetworkConfig};

use super::ledger::{History, Ledger};
use crate::config::Config;
use crate::failure::Result;

/// What the run that asked the site in this folder last wanted, and what the site had trained; `None` where nobody asked.
///
/// # Errors
/// A ledger that is broken.
pub fn last_wishes(site: &Path) -> Result<Option<(RunRequest, Spent)>> {
    let ledger = Ledger::of(site);
    let Some((wishes, identity)) = History::last_wishes(&ledger).map_err(anyhow::Error::from)? else { return Ok(None) };
    let history = History::of_config(&ledger, &identity).map_err(anyhow::Error::from)?;
    Ok(Some((wishes, history.spent)))
}

/// What a run of the `config` would want of the site in this folder, and what the site has trained.
///
/// # Errors
/// A config without work or with networks that cannot be; a ledger that is broken.
pub fn wishes_of(site: &Path, config: &Config) -> Result<(RunRequest, Spent)> {
    let history = History::of_config(&Ledger::of(site), &config.identity()).map_err(anyhow::Error::from)?;
    Ok((of_config(config, config.federation.deadline)?, history.spent))
}

/// Before an image is known; the server waits `seconds` for each answer.
///
/// # Errors
/// When the work of the config is not given, or its networks cannot be.
pub(super) fn of_config(config: &Config, seconds: f64) -> Result<RunRequest> {
    let LocalConfig { batch_size, discriminator_steps, epochs, steps, .. } = config.local;
    let local = LocalWork::one_of(epochs, steps, "local.")?;
    let single_batch_replies = matches!(config.algorithm, AlgorithmConfig::MdGan(_) | AlgorithmConfig::UaGan(_));
    let (rounds, fine_tune) = match &config.algorithm {
        AlgorithmConfig::Effgan(effgan) => {
            let work = LocalWork::one_of(effgan.fine_tune_epochs, effgan.fine_tune_steps, "algorithm.fine_tune_")?;
            (effgan.rounds, Some(work))
        }
        AlgorithmConfig::LocalEnsemble(ensemble) => (0, Some(local.times(ensemble.rounds))),
        algorithm => (algorithm.rounds().unwrap_or_default(), None),
    };
    let wishes = RunRequest {
        name: config.name.clone(),
        algorithm: config.algorithm.name().into(),
        rounds,
        local,
        fine_tune,
        single_batch_replies,
        held_out: shares(config).held_out,
        images: None,
        batch_size: batch_size as u64,
        batches_per_step: discriminator_steps as u64,
        image_size: config.dataset.size.map(|size| size as u64),
        channels: config.dataset.channels.map(|channels| channels as u64),
        model: None,
        memory: None,
        seconds,
        label_counts: config.federation.label_counts,
        // Without the list each site would have to tell the names of its folders.
        class_names: config.check_classes().is_err(),
        conditional: config.network.is_conditional(),
    };
    match (config.dataset.size, config.dataset.channels) {
        (Some(size), Some(channels)) => of_shape(wishes, config, [channels, size, size], 1, 0),
        _ => Ok(wishes),
    }
}

/// With what hangs on the shape of the images, of which there are `num_images` with those for tests.
///
/// # Errors
/// When the networks cannot have images of this shape.
pub(super) fn of_shape(
    wishes: RunRequest,
    config: &Config,
    shape: [usize; 3],
    num_classes: usize,
    num_images: usize,
) -> Result<RunRequest> {
    let network = Network::of_classes(config.network.clone(), shape, num_classes)?;
    let model =
        networks::num_bytes(&network.generator_tensors()) + networks::num_bytes(&network.discriminator_tensors());
    let image = shape.iter().map(|&n| n as u64).product::<u64>();
    let batch = wishes.images_per_step(wishes.images.unwrap_or(u64::MAX));
    let training = training_bytes(&config.network, shape, batch).saturating_add(COPIES.saturating_mul(model));
    Ok(RunRequest {
        image_size: Some(shape[1].max(shape[2]) as u64),
        channels: Some(shape[0] as u64),
        model: Some(model),
        memory: Some(image.saturating_mul(num_images as u64).saturating_add(training)),
        ..wishes
    })
}

/// Parameters are there as they came, as they are trained, their gradients, two moments, a moving average, the answer and its file.
const COPIES: u64 = 8;

/// Bytes that a training step of a `batch` takes, about: what layers give, and its gradients, which grow with their channels and pixels.
fn training_bytes(network: &NetworkConfig, [_, h, w]: [usize; 3], batch: u64) -> u64 {
    // Bytes for each channel of the widest layer and pixel of an image: 15 to 16 and 75 to 86 were measured at 32 and 64 pixels.
    let (channels, bytes) = match network {
        NetworkConfig::Dcgan(dcgan) => (dcgan.base_channels, 20),
        NetworkConfig::Resnet(resnet) => (resnet.base_channels, 90),
    };
    [channels as u64, h as u64, w as u64, bytes].into_iter().fold(batch, u64::saturating_mul)
}

/// What a partition says of a site's own images; the defaults where a file deals them.
pub(super) fn shares(config: &Config) -> CommonKeys {
    config.partition.common_keys().cloned().unwrap_or_else(|| CommonKeys::of(1))
}
