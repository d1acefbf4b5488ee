//! A site that missed the collection: it fine-tunes from the `join/` kit of the run, and hands its generator in as a file.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_fl::{Broadcast, ExchangeKind, Moment, SiteMessage};
use effgan_nn::{Params, checkpoint, sealed};
use serde::{Deserialize, Serialize};

use super::content::QUERY;
use super::introduction::VERSION;
use super::{AtSite, Content, Introduction, answer};
use crate::config::{self, Config};
use crate::failure::{Failure, Result};
use crate::record::run_dir::check_new_file;

/// The head of a file that is handed in; its tensors are the generator's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Late {
    /// Whose generator it is.
    pub client: ClientName,
    /// n_k
    pub num_examples: u64,
    /// [`Config::identity`] of the run that it is for.
    pub config: String,
}

/// The config in the folder `join/`.
pub const CONFIG: &str = "config.toml";
/// Both networks there.
pub const NETWORKS: [&str; 2] = ["generator", "discriminator"];

/// More than any work takes, in seconds.
const NO_DEADLINE: f64 = 1e9;

/// Fine-tunes from the folder `kit` on the site's images and writes the file `out`. The bits are those that the site would have sent.
///
/// # Errors
/// A kit of another kind of run; what is wrong with the images or the work.
pub fn fine_tune(kit: &Path, at_site: &AtSite, out: &Path, stop: &AtomicBool) -> Result<Introduction> {
    check_new_file(out)?;
    let about = || format!("{} is no join/ folder of a run", kit.display());
    let text = config::read(&kit.join(CONFIG)).with_context(about).map_err(Failure::usage)?;
    let config = Config::parse(&text, &[])?;
    let (effgan_fl::AlgorithmConfig::Effgan(_), Some(rounds)) = (&config.algorithm, config.algorithm.rounds()) else {
        let name = config.algorithm.name();
        return Err(Failure::usage(anyhow!("algorithm.kind = \"{name}\" collects no generators after its rounds")));
    };
    let params = networks(kit).with_context(about).map_err(Failure::data)?;
    let broadcast = Broadcast { round: rounds + 1, kind: ExchangeKind::Collect, iteration: 0, iterations: 1, params };
    let now = Moment { round: rounds, exchanges: 0 };
    let asked = |mut message: Content| {
        message.numbers.insert("deadline".into(), NO_DEADLINE);
        // A run of its own to the ledger, but of the same config.
        let run = format!("late{}", &config.identity()[..16]);
        for (name, word) in [("run", run.as_str()), (VERSION, env!("CARGO_PKG_VERSION"))] {
            message.words.insert(name.into(), word.into());
        }
        message.with_config(&text)
    };
    let said = |error: String| Failure::from(anyhow!(error));
    let query = asked(Content::query());
    let introduction = answer(at_site, QUERY, query, stop)?;
    if let Some(refusal) = introduction.refusal().map_err(said)? {
        return Err(Failure::usage(anyhow!("this site answers: {refusal}")));
    }
    let site = Introduction::of(&introduction).map_err(said)?;
    let message = asked(Content::of_letter(&SiteMessage { broadcast, now, oldest: now }));
    let tie = message.tie();
    let answered = answer(at_site, "train.finetune", message.packed(), stop)?.unpacked().map_err(said)?;
    let answered = answered.into_answer(site.name.clone(), &tie);
    let update = match answered.reply {
        effgan_fl::Reply::Update(update) => update,
        effgan_fl::Reply::Failed(reason) => return Err(said(reason)),
    };
    let head = Late { client: site.name.clone(), num_examples: update.num_examples, config: config.identity() };
    sealed::save(out, &head, &update.params.under("generator"))?;
    Ok(site)
}

/// Both networks of the last averaged round, by their prefixes.
pub fn networks(join: &Path) -> anyhow::Result<Params> {
    NETWORKS.iter().try_fold(Params::new(), |params, network| {
        let tensors = checkpoint::load(&join.join(format!("{network}.safetensors")))?;
        Ok(params.merged_with(tensors.named_under(network)))
    })
}
