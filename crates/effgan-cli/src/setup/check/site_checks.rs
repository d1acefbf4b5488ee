//! The checks of a site's kit.

use std::fs;
use std::path::Path;

use anyhow::Context;
use effgan_data::ClientName;
use effgan_fl::Policy;
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::hold_out::{self, SECRET as HOLD_OUT_SECRET};
use effgan_run::protocol::{POLICY, Rehearsal, SiteImages, SiteSettings, rehearse};

use super::planned_run::PlannedRun;
use super::{Target, certificate_checks, file_access, gate_probe, right, versions, wrong};
use crate::setup::SUPEREXEC_SECRET;
use crate::setup::site_keys::{KEY, LOCAL};
use crate::setup::site_kit::SiteKit;

/// What a site keeps of a run, in multiples of the size of both networks: a reply, interrupted work with its optimiser state, client state, and
/// the networks as they were earlier in the fine-tuning.
const KEPT_MODELS: u64 = 13;

pub(super) fn check(target: &Target, kit: &SiteKit) -> Result<()> {
    let folder = &target.folder;
    versions(&kit.effgan)?;
    if let Some(wheel) = &kit.wheel {
        wheel.check(folder).context("wheel")?;
    }
    joined(folder)?;
    key_is_of_kit(folder, kit)?;
    own_files(folder)?;
    let policy = Policy::read(&folder.join(POLICY)).map_err(|error| Failure::usage(error).context("policy"))?;
    let mut run = PlannedRun::of(target, &kit.name, &policy)?;
    let images_checked = run.check_images(target)?;
    run.check_policy(&policy)?;
    if let Some(config) = run.config.clone().filter(|_| images_checked) {
        let rehearsal = rehearsal(target, &kit.name, &config);
        run.check_rehearsal(rehearsal, &policy)?;
    }
    let model = run.report(&policy);
    run.check_audit(&policy)?;
    file_access::room(folder, KEPT_MODELS * model)?;
    gate_probe::accepts_site(folder, kit)?;
    if images_checked {
        Ok(())
    } else {
        wrong("data", "not checked; pass the folder of this site's images: --data DIR")
    }
}

/// Checks that `join` has made all of its files.
fn joined(kit: &Path) -> Result<()> {
    let missing =
        [KEY, LOCAL[0], LOCAL[1], SUPEREXEC_SECRET, HOLD_OUT_SECRET].into_iter().find(|name| !kit.join(name).is_file());
    match missing {
        Some(KEY) => wrong("key", &format!("there is none; effgan federation join {} makes it", kit.display())),
        Some(name) => {
            let path = kit.join(name);
            wrong("key", &format!("{} is missing; move key away and run effgan federation join again", path.display()))
        }
        None => Ok(()),
    }
}

/// Checks that the key was made for the site of this kit: the server identifies a site by its key.
fn key_is_of_kit(folder: &Path, kit: &SiteKit) -> Result<()> {
    let Ok(public) = fs::read_to_string(folder.join("key.pub")) else { return Ok(()) };
    match public.split_whitespace().nth(2) {
        Some(name) if name != kit.name.as_str() => wrong(
            "key",
            &format!("it was made for {name}, and site.toml is for {}; put the kit's own site.toml back", kit.name),
        ),
        _ => Ok(()),
    }
}

/// Checks that the kit's files are readable by their owner alone, usable by this account, and valid.
fn own_files(folder: &Path) -> Result<()> {
    let (secrets, kept) = ([KEY, LOCAL[1], SUPEREXEC_SECRET, HOLD_OUT_SECRET], ["state", "ledger.jsonl", "flower"]);
    file_access::private(folder, &[&secrets[..], &kept].concat())?;
    file_access::usable(folder, &[&secrets[..], &[LOCAL[0], POLICY]].concat(), &kept)?;
    file_access::secret(&folder.join(SUPEREXEC_SECRET))?;
    let secret = hold_out::secret(folder).map_err(anyhow::Error::from);
    secret.with_context(|| format!("files: {}", folder.join(HOLD_OUT_SECRET).display()))?;
    certificate_checks::of_loopback(folder)?;
    right("files", "readable by their owner alone");
    Ok(())
}

/// The site's reply to a run of this config, with its own images or, in an experiment, with the share of one of the config's clients.
fn rehearsal(target: &Target, name: &ClientName, config: &Config) -> Rehearsal {
    let folder = &target.folder;
    let of = |images| {
        let at_site =
            SiteSettings { images, state_dir: folder.join("state"), policy: Some(folder.join(POLICY)), jobs: 1 };
        rehearse(&at_site, config)
    };
    if let Some((data_dir, _)) = &target.data {
        return of(SiteImages::Own { data_dir: data_dir.clone(), client: name.clone() });
    }
    let with_share = |partition_id| of(SiteImages::Assigned { partition_id, data_dir: None });
    // Which client the site will be is an option of start.sh.
    let first = with_share(0);
    let others = 1..config.partition.common_keys().map_or(1, |shares| shares.clients);
    if first.outcome.is_ok() {
        first
    } else {
        others.map(with_share).find(|other| other.outcome.is_ok()).unwrap_or(first)
    }
}
