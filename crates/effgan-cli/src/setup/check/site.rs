//! What `check` looks at in a site's kit.

use std::path::Path;

use anyhow::Context;
use effgan_data::DatasetConfig;
use effgan_fl::Policy;

use super::super::SUPEREXEC_SECRET;
use super::super::keys::{HOLD_OUT_SECRET, KEY, LOCAL};
use super::super::kit::{Kit, POLICY};
use super::{Side, files, gate, images, right, versions, wrong};
use crate::config::Config;
use crate::failure::{Failure, Result};

/// What a site keeps of a run, in sizes of both networks: an answer, work that was cut off with its optimiser's state, memories.
const KEPT: u64 = 8;

pub(super) fn check(side: &Side, kit: &Kit) -> Result<()> {
    let folder = &side.folder;
    versions(&kit.effgan)?;
    if let Some(wheel) = &kit.wheel {
        wheel.check(folder).context("wheel")?;
    }
    joined(folder)?;
    files::private(folder, &[KEY, LOCAL[1], SUPEREXEC_SECRET, HOLD_OUT_SECRET, "state", "ledger.jsonl", "flower"])?;
    let policy = Policy::read(&folder.join(POLICY)).map_err(|error| Failure::usage(error).context("policy"))?;
    let config = side.config.as_deref().map(|path| Config::load(path, &[])).transpose()?;
    if let Some((data, name)) = &side.data {
        let guess = DatasetConfig::of(*name);
        images::check(data, config.as_ref().map_or(&guess, |config| &config.dataset), config.is_some())?;
    }
    right("policy", &format!("{} is understood", folder.join(POLICY).display()));
    files::room(folder, KEPT * policy.max_model.0)?;
    gate::admits(folder, kit)
}

/// Checks that `join` was there.
fn joined(kit: &Path) -> Result<()> {
    let missing =
        [KEY, LOCAL[0], LOCAL[1], SUPEREXEC_SECRET, HOLD_OUT_SECRET].into_iter().find(|name| !kit.join(name).is_file());
    match missing {
        Some(KEY) => wrong("key", &format!("there is none; effgan federation join {} makes it", kit.display())),
        Some(name) => wrong(
            "key",
            &format!("{} is missing; move key away and run effgan federation join again", kit.join(name).display()),
        ),
        None => Ok(()),
    }
}
