//! What `check` looks at in a site's kit.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_data::{ClientName, DatasetConfig, DatasetName};
use effgan_fl::policy::{Approve, Spent};
use effgan_fl::{Policy, Refusal, Wishes};

use super::super::SUPEREXEC_SECRET;
use super::super::keys::{KEY, LOCAL};
use super::super::kit::Kit;
use super::{Side, files, gate, images, right, tls, versions, wrong};
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::hold_out::{self, SECRET as HOLD_OUT_SECRET, num_held_out};
use effgan_run::protocol::{POLICY, Rehearsal, SiteImages, SiteSettings, last_run_request, rehearse, run_request_of};
use effgan_run::units::counted;

/// What a site keeps of a run, in sizes of both networks: an answer, work that was cut off with its optimiser's state, memories.
const KEPT: u64 = 8;

pub(super) fn check(side: &Side, kit: &Kit) -> Result<()> {
    let folder = &side.folder;
    versions(&kit.effgan)?;
    if let Some(wheel) = &kit.wheel {
        wheel.check(folder).context("wheel")?;
    }
    joined(folder)?;
    key_of(folder, kit)?;
    own_files(folder)?;
    let mut run = Run::known(side, &kit.name)?;
    let are_seen = run.look_at_images(side)?;
    let policy = Policy::read(&folder.join(POLICY)).map_err(|error| Failure::usage(error).context("policy"))?;
    run.hold_to(&policy)?;
    if let Some(config) = run.config.clone().filter(|_| are_seen) {
        let rehearsal = rehearsed(side, &kit.name, &config);
        run.rehearsed(rehearsal, &policy)?;
    }
    let model = run.allowed(&policy);
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

/// Checks that the key was made for the site that the kit is of: the server goes by the key.
fn key_of(folder: &Path, kit: &Kit) -> Result<()> {
    let Ok(public) = fs::read_to_string(folder.join("key.pub")) else { return Ok(()) };
    match public.split_whitespace().nth(2) {
        Some(name) if name != kit.name.as_str() => wrong(
            "key",
            &format!("it was made for {name}, and site.toml is of {}; put the kit's own site.toml back", kit.name),
        ),
        _ => Ok(()),
    }
}

/// Checks that what lies in the kit is its owner's alone, can be used by this account, and is what it should be.
fn own_files(folder: &Path) -> Result<()> {
    let (secrets, kept) = ([KEY, LOCAL[1], SUPEREXEC_SECRET, HOLD_OUT_SECRET], ["state", "ledger.jsonl", "flower"]);
    files::private(folder, &[&secrets[..], &kept].concat())?;
    files::usable(folder, &[&secrets[..], &[LOCAL[0], POLICY]].concat(), &kept)?;
    files::secret(&folder.join(SUPEREXEC_SECRET))?;
    let secret = hold_out::secret(folder).map_err(anyhow::Error::from);
    secret.with_context(|| format!("files: {}", folder.join(HOLD_OUT_SECRET).display()))?;
    tls::loopback(folder)?;
    right("files", "for their owner alone");
    Ok(())
}

/// What the site would say to a run of this config, of its own images or, in an experiment, of those that the config deals to some site.
fn rehearsed(side: &Side, name: &ClientName, config: &Config) -> Rehearsal {
    let folder = &side.folder;
    let of = |images| {
        let settings =
            SiteSettings { images, state_dir: folder.join("state"), policy: Some(folder.join(POLICY)), jobs: 1 };
        rehearse(&settings, config)
    };
    if let Some((data_dir, _)) = &side.data {
        return of(SiteImages::Own { data_dir: data_dir.clone(), client: name.clone() });
    }
    let dealt = |partition_id| of(SiteImages::Assigned { partition_id, data_dir: None });
    // Which of them the site will be, start.sh is told.
    let first = dealt(0);
    let others = 1..config.partition.shares().map_or(1, |shares| shares.clients);
    if first.outcome.is_ok() { first } else { others.map(dealt).find(|other| other.outcome.is_ok()).unwrap_or(first) }
}

/// The config in the file `path`, once it can be run over sites of which this one is one.
fn config_for(path: &Path, site: &ClientName) -> Result<Config> {
    let config = Config::load(path, &[])?;
    let check = || {
        config.check_federated()?;
        let Some(sites) = &config.federation.sites else { return Ok(()) };
        config.check_clients(sites.len())?;
        if sites.contains(site) {
            return Ok(());
        }
        let line = format!(
            "federation.sites names {}, and not {site}, the site of this kit; ask the server's operator to add it",
            sites.iter().map(ClientName::as_str).collect::<Vec<_>>().join(", ")
        );
        Err(Failure::usage(anyhow!(line)))
    };
    check().map_err(|failure: Failure| failure.context(path.display().to_string()))?;
    Ok(config)
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
    /// Whether the site has tried it out.
    is_rehearsed: bool,
}

impl Run {
    fn known(side: &Side, site: &ClientName) -> Result<Self> {
        if let Some(path) = &side.config {
            let config = config_for(path, site)?;
            let (wishes, spent) = run_request_of(&side.folder, &config)?;
            return Ok(Self { config: Some(config), wishes: Some(wishes), spent, images: None, is_rehearsed: false });
        }
        let last = last_run_request(&side.folder).map_err(|failure| failure.context("ledger"))?;
        let (wishes, spent) = last.map_or_else(Default::default, |(wishes, spent)| (Some(wishes), spent));
        Ok(Self { config: None, wishes, spent, images: None, is_rehearsed: false })
    }

    /// Whether it is known where the images lie: in the folder that is given, or where an experiment's config finds a data set.
    fn look_at_images(&mut self, side: &Side) -> Result<bool> {
        match (&side.data, &self.config) {
            (Some((data, name)), _) => {
                let by_class = images::check(
                    data,
                    &self.dataset(*name),
                    self.classes(),
                    self.wishes.is_some(),
                    self.config.is_none(),
                )?;
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

    /// Holds the run, as far as it is known, to the site's policy.
    fn hold_to(&self, policy: &Policy) -> Result<()> {
        let Some(wishes) = &self.wishes else {
            if let Some([images, _]) = self.images.filter(|[images, _]| *images < policy.min_images) {
                let why = format!("{images} images for training are fewer than min_images = {}", policy.min_images);
                return wrong("policy", &format!("it refuses every run: {why} of policy.toml"));
            }
            return Ok(());
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
        Ok(())
    }

    /// Takes what the site would say, which knows more than headers.
    fn rehearsed(&mut self, rehearsal: Rehearsal, policy: &Policy) -> Result<()> {
        self.wishes = rehearsal.run_request.or(self.wishes.take());
        let (refusal, why) = match rehearsal.outcome {
            Ok(images) => {
                self.images = self.images.map(|_| images);
                self.is_rehearsed = true;
                return Ok(());
            }
            Err(refused) => refused,
        };
        // Where it is the policy, its clause says more.
        self.hold_to(policy)?;
        match refusal {
            Refusal::DataUnusable | Refusal::UnknownClass => Err(Failure::data(anyhow!("data: {why}"))),
            _ => wrong("rehearsal", &format!("this site would refuse the run ({}): {why}", refusal.code())),
        }
    }

    /// Says that the policy allows the run, and answers with how large both networks may be.
    fn allowed(&self, policy: &Policy) -> u64 {
        let Some(wishes) = &self.wishes else {
            right("policy", "can be read; no run has asked yet, and --config FILE says whether it allows one");
            return policy.max_model.bytes();
        };
        let of = |[train, held_out]: [u64; 2]| {
            format!(": {} here train, and {held_out} are held out", counted(train, "image"))
        };
        right("policy", &format!("allows the run {:?}{}", wishes.name, self.images.map(of).unwrap_or_default()));
        if self.is_rehearsed {
            let once = if policy.approve == Approve::Any { "" } else { ", once somebody here says yes to it" };
            right("rehearsal", &format!("all images were decoded, and this site would take part in the run{once}"));
        }
        wishes.model.unwrap_or(policy.max_model.bytes())
    }
}
