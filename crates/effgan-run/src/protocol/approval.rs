//! Somebody at the site says yes to a run: what it wants, in plain words, and the yes as a line of the ledger.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::control_chars;
use effgan_fl::RunRequest;
use effgan_fl::local::LocalWork;
use effgan_fl::policy::{Clause, Policy};

use super::house::POLICY;
use super::ledger::{Entry, History, Ledger, Request};
use crate::failure::{Failure, Result};

/// Fewest digits of a hash that name a run. Whoever makes two configs finds 16 digits that they share by 2^32 tries, and 32 by none.
const LEAST_DIGITS: usize = 32;

/// The runs that wait for a yes at the site in this folder, the oldest first.
///
/// # Errors
/// A ledger that is broken.
pub fn waiting(site: &Path) -> Result<Vec<Request>> {
    Ok(History::yeses(&Ledger::of(site)).map_err(anyhow::Error::from)?.waiting)
}

/// What a run wants and how it stands against the site's policy, for a person.
///
/// # Errors
/// A policy or a ledger that cannot be read.
pub fn shown(site: &Path, request: &Request) -> Result<String> {
    let policy = Policy::read(&site.join(POLICY))?;
    let history = History::of_config(&Ledger::of(site), &request.identity).map_err(anyhow::Error::from)?;
    let Request { config, since, wishes, .. } = request;
    let mut text = format!("{} has waited for a yes since {since}\n", wishes.name);
    for (name, what) in [
        ("wants", wants(wishes)),
        ("in all", in_all(wishes)),
        ("images", images(wishes)),
        ("sends", sends(wishes)),
        ("config", format!("SHA-256 {}", in_groups(config))),
    ] {
        text += &format!("  {name:<8}{what}\n");
    }
    text += "  policy.toml of this site:\n";
    let clauses = policy.clauses(wishes, &history.spent);
    text.extend(clauses.iter().map(|clause| {
        let Clause { what, wanted, allowed, refusal } = clause;
        let mark = if refusal.is_some() { "REFUSED" } else { "ok" };
        format!("    {mark:<8}{what}: {wanted}   ({allowed})\n")
    }));
    Ok(text.lines().map(|line| control_chars::without_control(line) + "\n").collect())
}

/// Writes a yes to `request` into the ledger.
///
/// # Errors
/// When it cannot be written.
pub fn approve(site: &Path, request: &Request) -> Result<()> {
    let Request { config, wishes, .. } = request;
    let (name, last_round) = (wishes.name.clone(), wishes.last_round());
    write(site, Entry::Approved { config: config.clone(), name, last_round, images: wishes.images })
}

/// Takes back the yes to the run whose config's hash begins with `digits`, and answers with the hash.
///
/// # Errors
/// No such run, or more than one.
pub fn withdraw(site: &Path, digits: &str) -> Result<String> {
    let approved = History::yeses(&Ledger::of(site)).map_err(anyhow::Error::from)?.approved;
    let config = named(digits, approved.keys().cloned(), "a yes to")?;
    write(site, Entry::Withdrawn { config: config.clone() })?;
    Ok(config)
}

/// The waiting request whose config's hash begins with `digits`.
///
/// # Errors
/// No such run, or more than one.
pub fn request_of(waiting: &[Request], digits: &str) -> Result<Request> {
    let config = named(digits, waiting.iter().map(|request| request.config.clone()), "a request of")?;
    Ok(waiting.iter().find(|request| request.config == config).expect("it is one of them").clone())
}

fn write(site: &Path, entry: Entry) -> Result<()> {
    Ledger::of(site).append(entry).map_err(anyhow::Error::from)?;
    Ok(())
}

/// The one hash that begins with `digits`, which may stand in groups.
fn named(digits: &str, hashes: impl Iterator<Item = String>, what: &str) -> Result<String> {
    let digits: String = digits.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
    if digits.len() < LEAST_DIGITS {
        return Err(Failure::usage(anyhow!(
            "{digits:?} is too short: a run is named by {LEAST_DIGITS} digits or more of its config's hash"
        )));
    }
    let mut found = hashes.filter(|hash| hash.starts_with(&digits));
    match (found.next(), found.next()) {
        (Some(hash), None) => Ok(hash),
        (None, _) => {
            Err(Failure::usage(anyhow!("there is not {what} a run whose config's hash begins with {digits:?}")))
        }
        (Some(_), Some(_)) => {
            Err(Failure::usage(anyhow!("more than one run's hash begins with {digits:?}; give more digits")))
        }
    }
}

fn work(work: LocalWork) -> String {
    match work {
        LocalWork::Epochs(1) => "1 pass over the images".into(),
        LocalWork::Epochs(epochs) => format!("{epochs} passes over the images"),
        LocalWork::Steps(steps) => format!("{steps} training steps"),
    }
}

fn wants(wishes: &RunRequest) -> String {
    let RunRequest { algorithm, rounds, local, fine_tune, .. } = wishes;
    let rounds = (*rounds > 0).then(|| match rounds {
        1 => format!("1 round of {}", work(*local)),
        rounds => format!("{rounds} rounds, each of {}", work(*local)),
    });
    let fine_tune = fine_tune.map(|fine_tune| format!("fine-tuning of {}", work(fine_tune)));
    let parts: Vec<String> = rounds.into_iter().chain(fine_tune).collect();
    format!("{algorithm}: {}", parts.join(", then "))
}

fn in_all(wishes: &RunRequest) -> String {
    let passes =
        wishes.total_passes().map(|passes| format!("{} passes over the images", (passes * 10.0).round() / 10.0));
    let steps = wishes
        .total_steps()
        .map(|steps| format!("{steps} training steps of {} images", wishes.batch_size * wishes.batches_per_step));
    let parts: Vec<String> = passes.into_iter().chain(steps).collect();
    parts.join(", ")
}

fn images(wishes: &RunRequest) -> String {
    let size = match (wishes.image_size, wishes.channels) {
        (Some(size), Some(channels)) => {
            format!("{size} pixels a side, {}", if channels == 1 { "grey" } else { "in colour" })
        }
        _ => "as they are".into(),
    };
    let number = wishes.images.map(|images| format!("; {images} train")).unwrap_or_default();
    format!("{size}{number}; a share of {} is kept from training", wishes.held_out)
}

fn sends(wishes: &RunRequest) -> String {
    let size = wishes.model.map(|bytes| format!(" ({bytes} bytes)")).unwrap_or_default();
    let networks = match (wishes.rounds, wishes.single_batch_replies) {
        (0, _) => None,
        (_, true) => Some("after each batch gradients or logits, and the discriminator".to_owned()),
        (_, false) => Some(format!("after each round both networks{size}")),
    };
    let generator = wishes.fine_tune.map(|_| "in the end the generator, fine-tuned on this site's images".to_owned());
    let counts = wishes.label_counts.then(|| "how many images of each class there are".to_owned());
    let names = wishes.class_names.then(|| "the names of the classes".to_owned());
    let about = "the number of images, and mean losses".to_owned();
    let parts: Vec<String> = networks.into_iter().chain(generator).chain(counts).chain(names).chain([about]).collect();
    parts.join("; ")
}

/// A hash that two people can read to each other.
fn in_groups(hash: &str) -> String {
    let digits: Vec<char> = hash.chars().collect();
    digits.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(" ")
}
