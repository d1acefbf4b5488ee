//! Approving a run at a site: what the run requests, in plain words, and the approval as a line of the ledger.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::control_chars;
use effgan_fl::local::LocalWork;
use effgan_fl::policy::{Clause, Policy, PrivacyRequest, PrivateUpdates};
use effgan_fl::{AlgorithmConfig, RunRequest};
use effgan_privacy::{Composition, SampledGaussian, epsilon};

use super::context::POLICY;
use crate::failure::{Failure, Result};
use crate::privacy::{Counts, rounded_up};
use crate::protocol::ledger::{Entry, History, Ledger, PendingRun};

/// Minimum number of digits of a hash that name a run. An attacker finds two configs whose hashes share 16 hex digits within 2^32 tries; for 32 digits
/// it would take 2^64.
const LEAST_DIGITS: usize = 32;

/// The runs that are waiting for approval at the site in this folder, the oldest first.
///
/// # Errors
/// A ledger that is broken.
pub fn waiting(site: &Path) -> Result<Vec<PendingRun>> {
    Ok(History::approvals(&Ledger::of(site)).map_err(anyhow::Error::from)?.waiting)
}

/// What a run requests, and what the site's policy says about each point, as text for a person.
///
/// # Errors
/// A policy or a ledger that cannot be read.
pub fn shown(site: &Path, pending: &PendingRun) -> Result<String> {
    let policy = Policy::read(&site.join(POLICY))?;
    let history = History::of_config(&Ledger::of(site), &pending.identity).map_err(anyhow::Error::from)?;
    let PendingRun { config, since, run_request, .. } = pending;
    let mut text = format!("{} has been waiting for approval since {since}\n", run_request.name);
    for (name, what) in [
        ("wants", training(run_request)),
        ("in all", in_all(run_request)),
        ("images", images(run_request)),
        ("sends", sends(run_request)),
        ("privacy", privacy(run_request)),
        ("config", format!("SHA-256 {}", in_groups(config))),
    ] {
        text += &format!("  {name:<8}{what}\n");
    }
    if run_request.privacy.is_some() && history.has_plain_answers {
        text += "          answers without noise have left this site before: no ε bounds what these gave away\n";
    }
    text += "  this site's policy.toml:\n";
    let clauses = policy.clauses(run_request, &history.spent);
    text.extend(clauses.iter().map(|clause| {
        let Clause { what, wanted, allowed, refusal } = clause;
        let mark = if refusal.is_some() { "REFUSED" } else { "ok" };
        format!("    {mark:<8}{what}: {wanted}   ({allowed})\n")
    }));
    Ok(text.lines().map(|line| control_chars::without_control(line) + "\n").collect())
}

/// Writes the approval of a run into the ledger.
///
/// # Errors
/// When it cannot be written.
pub fn approve(site: &Path, pending: &PendingRun) -> Result<()> {
    let PendingRun { config, run_request, .. } = pending;
    let (name, last_round) = (run_request.name.clone(), run_request.last_round());
    write(
        site,
        Entry::Approved {
            config: config.clone(),
            name,
            last_round,
            images: run_request.images,
            persons: run_request.persons,
        },
    )
}

/// Withdraws the approval of the run whose config's hash begins with `digits`, and returns the hash.
///
/// # Errors
/// When no approved run, or more than one, has such a hash.
pub fn withdraw(site: &Path, digits: &str) -> Result<String> {
    let approved = History::approvals(&Ledger::of(site)).map_err(anyhow::Error::from)?.approved;
    let config = named(digits, approved.keys().cloned(), "approved")?;
    write(site, Entry::Withdrawn { config: config.clone() })?;
    Ok(config)
}

/// The waiting run whose config's hash begins with `digits`.
///
/// # Errors
/// When no waiting run, or more than one, has such a hash.
pub fn pending_run(waiting: &[PendingRun], digits: &str) -> Result<PendingRun> {
    let config = named(digits, waiting.iter().map(|pending| pending.config.clone()), "waiting")?;
    Ok(waiting.iter().find(|pending| pending.config == config).expect("it is one of them").clone())
}

fn write(site: &Path, entry: Entry) -> Result<()> {
    Ledger::of(site).append(entry).map_err(anyhow::Error::from)?;
    Ok(())
}

/// The one hash that begins with `digits`, which may contain spaces; the runs are those that are `state`.
fn named(digits: &str, hashes: impl Iterator<Item = String>, state: &str) -> Result<String> {
    let digits: String = digits.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    if digits.len() < LEAST_DIGITS {
        return Err(Failure::usage(anyhow!(
            "{digits:?} is too short; give at least {LEAST_DIGITS} digits of the SHA-256 of the run's config"
        )));
    }
    let mut found = hashes.filter(|hash| hash.starts_with(&digits));
    match (found.next(), found.next()) {
        (Some(hash), None) => Ok(hash),
        (None, _) => Err(Failure::usage(anyhow!("no {state} run has a config whose SHA-256 begins with {digits:?}"))),
        (Some(_), Some(_)) => Err(Failure::usage(anyhow!(
            "more than one {state} run has a config whose SHA-256 begins with {digits:?}; give more digits"
        ))),
    }
}

fn work(work: LocalWork) -> String {
    match work {
        LocalWork::Epochs(1) => "1 pass over the images".into(),
        LocalWork::Epochs(epochs) => format!("{epochs} passes over the images"),
        LocalWork::Steps(steps) => format!("{steps} training steps"),
    }
}

fn training(run_request: &RunRequest) -> String {
    let RunRequest { algorithm, rounds, local, fine_tune, .. } = run_request;
    let rounds = (*rounds > 0).then(|| match rounds {
        1 => format!("1 round of {}", work(*local)),
        rounds => format!("{rounds} rounds, each of {}", work(*local)),
    });
    let fine_tune = fine_tune.map(|fine_tune| format!("fine-tuning of {}", work(fine_tune)));
    let parts: Vec<String> = rounds.into_iter().chain(fine_tune).collect();
    format!("{algorithm}: {}", parts.join(", then "))
}

fn in_all(run_request: &RunRequest) -> String {
    let passes =
        run_request.total_passes().map(|passes| format!("{} passes over the images", (passes * 10.0).round() / 10.0));
    let steps = run_request.total_steps().map(|steps| {
        format!("{steps} training steps of {} images", run_request.batch_size * run_request.batches_per_step)
    });
    let parts: Vec<String> = passes.into_iter().chain(steps).collect();
    parts.join(", ")
}

fn images(run_request: &RunRequest) -> String {
    let size = match (run_request.image_size, run_request.channels) {
        (Some(size), Some(channels)) => {
            format!("{size} pixels per side, {}", if channels == 1 { "grey" } else { "in colour" })
        }
        _ => "of their own size".into(),
    };
    let number = Counts::of_request(run_request).map(|counts| format!("; {counts} train")).unwrap_or_default();
    format!("{size}{number}; a share of {} is held out", run_request.held_out)
}

fn sends(run_request: &RunRequest) -> String {
    let size = run_request.model.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
    let networks = match (run_request.rounds, run_request.single_batch_replies) {
        (0, _) => None,
        (_, true) => Some("after each batch gradients or logits, and the discriminator".to_owned()),
        (_, false) if takes_turns(run_request) => {
            Some(format!("after each of its turns both networks{size}, which the next site receives as they are"))
        }
        (_, false) => Some(format!("after each round both networks{size}")),
    };
    let generator =
        run_request.fine_tune.map(|_| "at the end the generator, fine-tuned on this site's images".to_owned());
    let counts = run_request.label_counts.then(|| "the number of images of each class".to_owned());
    let names = run_request.class_names.then(|| "the names of the classes".to_owned());
    let is_hidden = run_request.person.is_some() && run_request.privacy.is_some();
    let persons = if is_hidden { "s of images and of persons" } else { " of images" };
    let about = format!("the number{persons}, and mean losses");
    let parts: Vec<String> = networks.into_iter().chain(generator).chain(counts).chain(names).chain([about]).collect();
    parts.join("; ")
}

/// What differential privacy promises each image or person; ε is that of this run alone.
fn privacy(run_request: &RunRequest) -> String {
    let Some(PrivacyRequest { delta, .. }) = run_request.privacy else {
        return "none: no ε bounds what the answers give away".into();
    };
    let unit = run_request
        .person
        .as_ref()
        .map_or_else(|| "image".into(), |person| format!("person (policy.toml: person = {person}) with all images"));
    let Some(PrivateUpdates { noise_multiplier, sample_rate, updates }) = run_request.total_private_updates() else {
        return format!("differential privacy for each {unit} at δ = {delta:e}; ε follows once the images are counted");
    };
    let cost = || {
        let step = SampledGaussian::new(noise_multiplier, sample_rate)?;
        epsilon(&Composition::of(step, updates)?, delta)
    };
    match cost() {
        Ok(cost) => format!(
            "differential privacy: ε = {} at δ = {delta:e} for each {unit}, if every round is answered once ({})",
            rounded_up(cost.value),
            cost.accountant
        ),
        Err(error) => format!("none: no ε bounds what the answers give away, since {error}"),
    }
}

fn takes_turns(RunRequest { algorithm, .. }: &RunRequest) -> bool {
    AlgorithmConfig::one_of_each().iter().any(|kind| kind.name() == algorithm && kind.takes_turns())
}

/// A hash in groups of four digits, for two people to compare aloud.
fn in_groups(hash: &str) -> String {
    let digits: Vec<char> = hash.chars().collect();
    digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}
