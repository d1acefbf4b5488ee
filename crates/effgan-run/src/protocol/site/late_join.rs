//! A site that missed the collection: it fine-tunes from the run's `join/` folder, and writes its generator to a file for the server.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_fl::{Broadcast, ExchangeKind, RunPosition, SiteMessage};
use effgan_nn::gan::{DISCRIMINATOR, GENERATOR};
use effgan_nn::{ArithmeticVersion, Params, checkpoint, sealed};
use serde::{Deserialize, Serialize};

use super::{SiteSettings, answer};
use crate::config::{self, Config};
use crate::failure::{Failure, Result};
use crate::protocol::message::{QUERY, message_type};
use crate::protocol::{Content, Introduction};
use crate::record::run_dir::check_new_file;

/// The header of such a file; the file's tensors are the generator's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct LateGenerator {
    /// The site whose generator it is.
    pub client: ClientName,
    /// n_k: how many images it was fine-tuned on.
    pub num_examples: u64,
    /// [`Config::identity`] of the run.
    pub config: String,
    /// The version of the arithmetic that fine-tuned it.
    #[serde(default)]
    pub arithmetic_version: ArithmeticVersion,
}

/// The config's name in `join/`.
pub const CONFIG: &str = "config.toml";
/// The networks in `join/`, as `generator.safetensors` and `discriminator.safetensors`.
pub const NETWORKS: [&str; 2] = [GENERATOR, DISCRIMINATOR];

/// Seconds that no work exceeds: 30 years.
const NO_DEADLINE: f64 = 1e9;

/// Fine-tunes from the folder `join` on the site's images, and writes the generator to the new file `out`. Its bits are those that the site
/// would have sent at the collection.
///
/// # Errors
/// A run that collects no generators; a refusal of the site; what is wrong with the images or the work.
pub fn fine_tune(join: &Path, settings: &SiteSettings, out: &Path, stop: &AtomicBool) -> Result<Introduction> {
    check_new_file(out)?;
    let not_join = || format!("{} is not the join/ folder of a run", join.display());
    let text = config::read(&join.join(CONFIG)).with_context(not_join).map_err(Failure::usage)?;
    let config = Config::parse(&text, &[])?;
    let Some(rounds) = config.algorithm.rounds().filter(|_| config.algorithm.has_members()) else {
        let name = config.algorithm.name();
        return Err(Failure::usage(anyhow!("algorithm.kind = \"{name}\" collects no generators after its rounds")));
    };
    let params = networks(join).with_context(not_join).map_err(Failure::data)?;
    let broadcast = Broadcast { round: rounds + 1, kind: ExchangeKind::Collect, iteration: 0, iterations: 1, params };
    let now = RunPosition { round: rounds, exchanges: 0 };
    // The ledger records it under an id of its own, but under the run's config.
    let run = format!("late{}", &config.identity()[..16]);
    let request = |message: Content| message.of_run(&text, &run, NO_DEADLINE);
    let failure = |error: String| Failure::from(anyhow!(error));
    let introduction = answer(settings, QUERY, request(Content::query()), stop)?;
    if let Some(refusal) = introduction.refusal().map_err(failure)? {
        return Err(Failure::usage(anyhow!("this site refuses the run: {refusal}")));
    }
    let site = Introduction::of(&introduction).map_err(failure)?;
    let exchange = broadcast.id();
    let message = request(Content::of_site_message(&SiteMessage { broadcast, now, oldest: now }));
    let id = message.request_id();
    let kind = message_type(ExchangeKind::Collect);
    let reply = answer(settings, kind, message.packed(), stop)?.unpacked().map_err(failure)?;
    let update = reply.into_reply(site.name.clone(), exchange, &id).outcome.map_err(failure)?;
    let header = LateGenerator {
        client: site.name.clone(),
        num_examples: update.num_examples,
        config: config.identity(),
        arithmetic_version: ArithmeticVersion::OURS,
    };
    sealed::save(out, &header, &update.params.under(GENERATOR))?;
    Ok(site)
}

/// Reads both networks of the last averaged round from the folder `join`; their tensors are named with their networks' prefixes.
///
/// # Errors
/// A file that cannot be read or holds no tensors.
pub fn networks(join: &Path) -> anyhow::Result<Params> {
    NETWORKS.iter().try_fold(Params::new(), |params, network| {
        let tensors = checkpoint::load(&join.join(format!("{network}.safetensors")))?;
        Ok(params.merged_with(tensors.named_under(network)))
    })
}
