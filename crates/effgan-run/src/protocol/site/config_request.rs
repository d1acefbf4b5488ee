//! What a config requests of a site, in the numbers that a policy limits.

use std::path::Path;

use effgan_data::partition::CommonKeys;
use effgan_fl::policy::{PrivacyRequest, Spent};
use effgan_fl::{LocalConfig, RunRequest};
use effgan_nn::Model;
use effgan_nn::networks::{NetworkConfig, num_bytes};

use crate::config::Config;
use crate::failure::Result;
use crate::privacy::{self, Counts, PrivacyStatement};
use crate::protocol::ledger::{History, Ledger};

/// What the run that last asked the site in this folder requests, and what the site has trained; `None` when no run has asked.
///
/// # Errors
/// When the ledger is broken or cannot be read.
pub fn last_run_request(site: &Path) -> Result<Option<(RunRequest, Spent)>> {
    let ledger = Ledger::of(site);
    let last = History::last_run_request(&ledger).map_err(anyhow::Error::from)?;
    let Some((run_request, identity)) = last else { return Ok(None) };
    let history = History::of_config(&ledger, &identity).map_err(anyhow::Error::from)?;
    Ok(Some((run_request, history.spent)))
}

/// What a run of `config` would request of the site in this folder, and what the site has trained.
///
/// # Errors
/// A config without local work, or with networks that cannot be built; a ledger that is broken or cannot be read.
pub fn run_request_of(site: &Path, config: &Config) -> Result<(RunRequest, Spent)> {
    let history = History::of_config(&Ledger::of(site), &config.identity()).map_err(anyhow::Error::from)?;
    Ok((from_config(config, config.federation.deadline)?, history.spent))
}

/// What `config` requests before any image is known, when the server waits `seconds` for each answer.
///
/// # Errors
/// A config without local work, or with networks that cannot be built.
pub(super) fn from_config(config: &Config, seconds: f64) -> Result<RunRequest> {
    let LocalConfig { batch_size, discriminator_steps, .. } = config.local;
    let local = config.local.work()?;
    let run_request = RunRequest {
        name: config.name.clone(),
        algorithm: config.algorithm.name().into(),
        rounds: config.algorithm.rounds().unwrap_or_default(),
        local,
        fine_tune: config.algorithm.fine_tuning(local)?,
        single_batch_replies: config.algorithm.has_single_batch_replies(),
        held_out: shares(config).held_out,
        images: None,
        person: config.dataset.person.clone(),
        persons: None,
        batch_size: batch_size as u64,
        batches_per_step: discriminator_steps.per_step() as u64,
        image_size: config.dataset.size.map(|size| size as u64),
        channels: config.dataset.channels.map(|channels| channels as u64),
        model: None,
        memory: None,
        seconds,
        label_counts: config.federation.label_counts,
        // Without a list of classes, each site would have to send the names of its folders.
        class_names: config.check_classes().is_err(),
        conditional: config.network.is_conditional(),
        privacy: config.privacy.as_ref().map(|privacy| PrivacyRequest { noise_multiplier: None, delta: privacy.delta }),
    };
    match (config.dataset.size, config.dataset.channels) {
        (Some(size), Some(channels)) => with_image_shape(run_request, config, [channels, size, size], 1, 0),
        _ => Ok(run_request),
    }
}

/// What private training costs a site with so many training images that takes part in every round: it cannot know in which it will not.
/// `None` without `[privacy]`.
///
/// # Errors
/// δ that is not below 1/n, or a target that no noise reaches.
pub fn privacy_statement(config: &Config, counts: Counts) -> Result<Option<PrivacyStatement>> {
    if config.privacy.is_none() {
        return Ok(None);
    }
    let run_request = RunRequest { images: Some(counts.images), ..from_config(config, config.federation.deadline)? };
    let steps = run_request.total_steps().unwrap_or(u64::MAX);
    privacy::statement_at_site(config, counts, steps.saturating_mul(run_request.batches_per_step))
}

/// Adds the numbers of images and persons, and the noise of private training that follows from them. Where none can be planned, the policy refuses
/// the run.
pub fn with_noise(run_request: RunRequest, counts: Counts, config: &Config) -> RunRequest {
    let statement = privacy_statement(config, counts).ok().flatten();
    let noise_multiplier = statement.map(|statement| statement.noise_multiplier);
    let privacy = run_request.privacy.map(|privacy| PrivacyRequest { noise_multiplier, ..privacy });
    let Counts { images, persons } = counts;
    RunRequest { images: Some(images), persons, privacy, ..run_request }
}

/// Adds what depends on the images: their shape `[c, h, w]`, and their number, with test images.
///
/// # Errors
/// Networks that do not fit images of this shape.
pub(super) fn with_image_shape(
    run_request: RunRequest,
    config: &Config,
    shape: [usize; 3],
    num_classes: usize,
    num_images: usize,
) -> Result<RunRequest> {
    let networks = config.model_without_noise(shape, num_classes)?.networks();
    let model = networks.iter().map(|network| num_bytes(&network.tensors)).sum();
    let image = shape.iter().map(|&n| n as u64).product::<u64>();
    let batch = run_request.images_per_step(run_request.images.unwrap_or(u64::MAX));
    let training = training_bytes(&config.network, shape, batch).saturating_add(COPIES.saturating_mul(model));
    Ok(RunRequest {
        image_size: Some(shape[1].max(shape[2]) as u64),
        channels: Some(shape[0] as u64),
        model: Some(model),
        memory: Some(image.saturating_mul(num_images as u64).saturating_add(training)),
        ..run_request
    })
}

/// How many copies of the networks a site holds at most: the broadcast, the trained parameters, their gradients, Adam's two moments, the
/// moving average, the reply and its file.
const COPIES: u64 = 8;

/// About how many bytes a training step on `batch` images takes: the layers' outputs and their gradients, which grow with channels and pixels.
fn training_bytes(network: &NetworkConfig, [_, h, w]: [usize; 3], batch: u64) -> u64 {
    // Bytes per channel of the widest layer, pixel and image, more than were measured from 28 to 64 pixels: 17 to 19 for a DCGAN, with
    // gradients and moments, and 51 to 55 for a ResNet, which took up to 86 in an earlier version.
    let (channels, bytes) = match network {
        NetworkConfig::Dcgan(dcgan) => (dcgan.base_channels, 20),
        NetworkConfig::Resnet(resnet) => (resnet.base_channels, 90),
    };
    [channels as u64, h as u64, w as u64, bytes].into_iter().fold(batch, u64::saturating_mul)
}

/// What the config's partition says about a site's own images; the defaults where the partition is a file.
pub(super) fn shares(config: &Config) -> CommonKeys {
    config.partition.common_keys().cloned().unwrap_or_else(|| CommonKeys::of(1))
}
