//! The run that a site is checked for, as far as it is known: from a config that was given, or from the last run in the ledger.

use std::path::Path;

use anyhow::anyhow;
use effgan_data::datasets::PersonKey;
use effgan_data::{ClientName, DatasetConfig, DatasetName};
use effgan_fl::policy::{Approve, Spent};
use effgan_fl::{Policy, Refusal, RunRequest};
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::privacy::Counts;
use effgan_run::protocol::hold_out::num_held_out;
use effgan_run::protocol::{Rehearsal, last_run_request, run_request_of, with_noise};
use effgan_run::scores::MIN_AUDITED;

use super::{Target, image_headers, right, wrong};

/// A run that the site should be ready for.
pub(super) struct PlannedRun {
    /// The config that was given.
    pub(super) config: Option<Config>,
    /// What that config requests, or else what the last run requested.
    run_request: Option<RunRequest>,
    spent: Spent,
    /// Training images and held-out images, once they have been counted.
    images: Option<[u64; 2]>,
    /// Whether a rehearsal found that the site would take part in a run of the config.
    is_rehearsed: bool,
    /// Where the site's own images name persons.
    person: Option<PersonKey>,
}

impl PlannedRun {
    /// The run of `target.config`, or else the last one in the site's ledger.
    pub(super) fn of(target: &Target, site: &ClientName, policy: &Policy) -> Result<Self> {
        let person = policy.person().cloned();
        if let Some(path) = &target.config {
            let mut config = config_for(path, site)?;
            if target.data.is_some() {
                config.dataset.person.clone_from(&person);
            }
            let (run_request, spent) = run_request_of(&target.folder, &config)?;
            return Ok(Self {
                config: Some(config),
                run_request: Some(run_request),
                spent,
                images: None,
                is_rehearsed: false,
                person,
            });
        }
        let last = last_run_request(&target.folder).map_err(|failure| failure.context("ledger"))?;
        let (run_request, spent) =
            last.map_or_else(Default::default, |(run_request, spent)| (Some(run_request), spent));
        Ok(Self { config: None, run_request, spent, images: None, is_rehearsed: false, person })
    }

    /// Checks the images in the folder that was given, or the data set of an experiment's config. Returns false when there is neither.
    pub(super) fn check_images(&mut self, target: &Target) -> Result<bool> {
        match (&target.data, &self.config) {
            (Some((data, name)), _) => {
                let by_class = image_headers::check(
                    data,
                    &self.dataset(*name),
                    self.classes(),
                    self.run_request.is_some(),
                    self.config.is_none(),
                )?;
                self.count(&by_class);
                Ok(true)
            }
            (None, Some(config)) if config.dataset.name != DatasetName::Folder => {
                image_headers::of_experiment(&config.dataset)?;
                Ok(true)
            }
            (None, _) => Ok(false),
        }
    }

    /// The data set as the run reads it; of the kind `name` where the run does not tell.
    fn dataset(&self, name: DatasetName) -> DatasetConfig {
        match (&self.config, &self.run_request) {
            (Some(config), _) => config.dataset.clone(),
            (None, Some(run_request)) => {
                let [size, channels] =
                    [run_request.image_size, run_request.channels].map(|known| known.map(|n| n as usize));
                DatasetConfig { size, channels, person: self.person.clone(), ..DatasetConfig::of(name) }
            }
            (None, None) => DatasetConfig { person: self.person.clone(), ..DatasetConfig::of(name) },
        }
    }

    /// The run's names of the classes, in the order of their labels.
    fn classes(&self) -> Option<&[String]> {
        self.config.as_ref()?.federation.classes.as_deref()
    }

    /// Notes the images per class, before any is held out.
    fn count(&mut self, by_class: &[usize]) {
        let held_out = self.run_request.as_ref().map_or(0.0, |run_request| run_request.held_out);
        let held_out = by_class.iter().map(|&num| num_held_out(num, held_out) as u64).sum();
        let images = by_class.iter().sum::<usize>() as u64 - held_out;
        self.images = Some([images, held_out]);
        self.run_request = self.run_request.take().map(|run_request| match &self.config {
            // How many images train depends on which persons are held out, which a rehearsal knows.
            _ if self.person.is_some() => run_request,
            Some(config) => with_noise(run_request, Counts { images, persons: None }, config),
            None => RunRequest { images: Some(images), ..run_request },
        });
    }

    /// Checks the run against the site's policy, as far as the run is known.
    pub(super) fn check_policy(&self, policy: &Policy) -> Result<()> {
        let Some(run_request) = &self.run_request else {
            if let Some([images, _]) = self.images.filter(|[images, _]| *images < policy.min_images) {
                let why = format!("{images} images for training are fewer than min_images = {}", policy.min_images);
                return wrong("policy", &format!("it refuses every run: {why} of policy.toml"));
            }
            return Ok(());
        };
        let refused =
            policy.clauses(run_request, &self.spent).into_iter().find_map(|clause| Some((clause.refusal?, clause)));
        if let Some((refusal, clause)) = refused {
            let why = format!(
                "it refuses the run {:?} ({}): {}: {}, and policy.toml has {}",
                run_request.name,
                refusal.code(),
                clause.what,
                clause.wanted,
                clause.allowed
            );
            return wrong("policy", &why);
        }
        Ok(())
    }

    /// Takes over the outcome of a rehearsal, for which all images were decoded.
    pub(super) fn check_rehearsal(&mut self, rehearsal: Rehearsal, policy: &Policy) -> Result<()> {
        self.run_request = rehearsal.run_request.or(self.run_request.take());
        let (refusal, why) = match rehearsal.outcome {
            Ok(images) => {
                self.images = self.images.map(|_| images);
                self.is_rehearsed = true;
                return Ok(());
            }
            Err(refused) => refused,
        };
        // When the policy is the reason, its clause tells more.
        self.check_policy(policy)?;
        match refusal {
            Refusal::DataUnusable | Refusal::UnknownClass => Err(Failure::data(anyhow!("data: {why}"))),
            _ => wrong("rehearsal", &format!("this site would refuse the run ({}): {why}", refusal.code())),
        }
    }

    /// Prints whether a generator is audited before it leaves.
    ///
    /// # Errors
    /// Images too few for an audit, without which the policy lets no generator leave.
    pub(super) fn check_audit(&self, policy: &Policy) -> Result<()> {
        let (Some(run_request), Some([train, held_out])) = (&self.run_request, self.images) else { return Ok(()) };
        let limits = policy.release;
        if run_request.fine_tune.is_none() && !limits.audit_rounds {
            return Ok(());
        }
        let is_private = run_request.privacy.is_some();
        if train.min(held_out) < MIN_AUDITED as u64 {
            let numbers =
                format!("{train} images train and {held_out} are held out, and an audit needs {MIN_AUDITED} of both");
            if limits.withholds_unaudited() && !is_private {
                let what_to_do =
                    "ask the server operator for a larger partition.held_out, or change [release] of policy.toml";
                return wrong("audit", &format!("{numbers}, so the generator would not leave; {what_to_do}"));
            }
            right("audit", &format!("{numbers}, so the generator leaves without"));
        } else if limits.has_limit() && !is_private {
            right("audit", "the generator leaves when its audit keeps the limits of [release] in policy.toml");
        } else {
            right("audit", "the generator is audited, and leaves whatever is found; the ledger has it");
        }
        Ok(())
    }

    /// Prints that the policy allows the run, and returns the maximum number of bytes of both networks.
    pub(super) fn report(&self, policy: &Policy) -> u64 {
        let Some(run_request) = &self.run_request else {
            right("policy", "can be read; no run has been requested yet, --config FILE tells whether it allows one");
            return policy.max_model.bytes();
        };
        let of = |[images, held_out]: [u64; 2]| {
            let train = Counts { images, persons: run_request.persons.filter(|_| self.is_rehearsed) };
            format!(": {train} here train, {held_out} are held out")
        };
        right("policy", &format!("allows the run {:?}{}", run_request.name, self.images.map(of).unwrap_or_default()));
        if self.is_rehearsed {
            let once = if policy.approve == Approve::Any { "" } else { ", once someone here approves it" };
            right("rehearsal", &format!("all images were decoded, and this site would take part in the run{once}"));
        }
        run_request.model.unwrap_or(policy.max_model.bytes())
    }
}

/// Reads the config at `path` and checks that it can run over sites that include this one.
fn config_for(path: &Path, site: &ClientName) -> Result<Config> {
    let config = Config::load(path, &[])?;
    let check = || {
        config.check_federated()?;
        let Some(sites) = &config.federation.sites else { return Ok(()) };
        if sites.contains(site) {
            return Ok(());
        }
        let line = format!(
            "federation.sites names {}, but not {site}, the site of this kit; ask the server operator to add it",
            sites.iter().map(ClientName::as_str).collect::<Vec<_>>().join(", ")
        );
        Err(Failure::usage(anyhow!(line)))
    };
    check().map_err(|failure: Failure| failure.context(path.display().to_string()))?;
    Ok(config)
}
