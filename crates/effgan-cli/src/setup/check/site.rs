//! What `check` looks at in a site's kit.

use std::path::Path;

use anyhow::Context;
use effgan_data::{DatasetConfig, DatasetName};
use effgan_fl::policy::Spent;
use effgan_fl::{Policy, Wishes};

use super::super::SUPEREXEC_SECRET;
use super::super::keys::{KEY, LOCAL};
use super::super::kit::Kit;
use super::{Side, files, gate, images, right, versions, wrong};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::federation::hold_out::{SECRET as HOLD_OUT_SECRET, num_held_out};
use crate::federation::{POLICY, last_wishes, wishes_of};
use crate::output::counted;

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
    let mut run = Run::known(side)?;
    let are_seen = run.look_at_images(side)?;
    let model =
        run.check(&Policy::read(&folder.join(POLICY)).map_err(|error| Failure::usage(error).context("policy"))?)?;
    files::room(folder, KEPT * model)?;
    gate::admits(folder, kit)?;
    if are_seen { Ok(()) } else { wrong("data", "not looked at; say where this site's images lie: --data DIR") }
}

/// Checks that `join` was there.
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

/// The run that the site is to be ready for, as far as it is known.
struct Run {
    /// The config that was given.
    config: Option<Config>,
    /// What that one wants, or else what was asked last.
    wishes: Option<Wishes>,
    spent: Spent,
    /// Images for training, of which so many are held out, once they were looked at.
    images: Option<[u64; 2]>,
}

impl Run {
    fn known(side: &Side) -> Result<Self> {
        if let Some(path) = &side.config {
            let config = Config::load(path, &[])?;
            let (wishes, spent) = wishes_of(&side.folder, &config)?;
            return Ok(Self { config: Some(config), wishes: Some(wishes), spent, images: None });
        }
        let last = last_wishes(&side.folder).map_err(|failure| failure.context("ledger"))?;
        let (wishes, spent) = last.map_or_else(Default::default, |(wishes, spent)| (Some(wishes), spent));
        Ok(Self { config: None, wishes, spent, images: None })
    }

    /// Whether it is known where the images lie: in the folder that is given, or where an experiment's config finds a data set.
    fn look_at_images(&mut self, side: &Side) -> Result<bool> {
        match (&side.data, &self.config) {
            (Some((data, name)), _) => {
                let by_class = images::check(data, &self.dataset(*name), self.classes(), self.wishes.is_some())?;
                self.count(&by_class);
                Ok(true)
            }
            (None, Some(config)) if config.dataset.name != DatasetName::Folder => {
                images::of_experiment(&config.dataset)?;
                Ok(true)
            }
            (None, _) => Ok(false),
        }
    }

    /// How the run reads the images, which are `name` where it does not say.
    fn dataset(&self, name: DatasetName) -> DatasetConfig {
        match (&self.config, &self.wishes) {
            (Some(config), _) => config.dataset.clone(),
            (None, Some(wishes)) => {
                let [size, channels] = [wishes.image_size, wishes.channels].map(|known| known.map(|n| n as usize));
                DatasetConfig { size, channels, ..DatasetConfig::of(name) }
            }
            (None, None) => DatasetConfig::of(name),
        }
    }

    /// What the run calls the classes.
    fn classes(&self) -> Option<&[String]> {
        self.config.as_ref()?.federation.classes.as_deref()
    }

    /// With so many images of each class to train on, before any is held out.
    fn count(&mut self, by_class: &[usize]) {
        let held_out = self.wishes.as_ref().map_or(0.0, |wishes| wishes.held_out);
        let held_out = by_class.iter().map(|&num| num_held_out(num, held_out) as u64).sum();
        let images = by_class.iter().sum::<usize>() as u64 - held_out;
        self.images = Some([images, held_out]);
        if let Some(wishes) = &mut self.wishes {
            wishes.images = Some(images);
        }
    }

    /// Holds the run to the site's policy, and answers with how large both networks may be.
    fn check(&self, policy: &Policy) -> Result<u64> {
        let Some(wishes) = &self.wishes else {
            if let Some([images, _]) = self.images.filter(|[images, _]| *images < policy.min_images) {
                let why = format!("{images} images for training are fewer than min_images = {}", policy.min_images);
                return wrong("policy", &format!("it refuses every run: {why} of policy.toml"));
            }
            right("policy", "can be read; no run has asked yet, and --config FILE says whether it allows one");
            return Ok(policy.max_model.bytes());
        };
        let refused =
            policy.clauses(wishes, &self.spent).into_iter().find_map(|clause| Some((clause.refusal?, clause)));
        if let Some((refusal, clause)) = refused {
            let why = format!(
                "it refuses the run {:?} ({}): {}: {}, and policy.toml has {}",
                wishes.name,
                refusal.code(),
                clause.what,
                clause.wanted,
                clause.allowed
            );
            return wrong("policy", &why);
        }
        let of = |[train, held_out]: [u64; 2]| {
            format!(": {} here train, and {held_out} are held out", counted(train, "image"))
        };
        right("policy", &format!("allows the run {:?}{}", wishes.name, self.images.map(of).unwrap_or_default()));
        Ok(wishes.model.unwrap_or(policy.max_model.bytes()))
    }
}
