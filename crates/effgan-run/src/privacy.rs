//! What private training costs, before it begins: the noise and ε of each client.

mod counts;
mod of_clients;

use std::collections::BTreeMap;

use anyhow::anyhow;
use effgan_data::{Partition, Person};
use effgan_fl::{Algorithm, Roster, planned_steps};
use effgan_nn::gan::Privacy;
use effgan_privacy::{Composition, SampledGaussian, epsilon, noise_multiplier};
use serde::{Deserialize, Serialize};

pub use self::counts::Counts;
pub use self::of_clients::ClientPrivacyStatement;
use crate::config::{Config, PrivacyConfig};
use crate::failure::{Failure, Result};
use crate::units::{count, probability};

/// What a run costs all clients that have one number of images, and of persons.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacyStatement {
    /// Number of these clients.
    pub clients: u64,
    /// n, the number of images of each.
    pub images: u64,
    /// How many persons these are of, where persons are hidden: then ε is for a person with all images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons: Option<u64>,
    /// q = B/n: the probability with which an update sees an image; or B over the number of persons, with which it sees one of a person.
    pub sample_rate: f64,
    /// σ: the noise's standard deviation in units of the clip.
    pub noise_multiplier: f64,
    /// Updates of the discriminator in the whole run.
    pub updates: u64,
    /// δ of `epsilon`.
    pub delta: f64,
    /// ε, for one image that is added or removed, or one person.
    pub epsilon: f64,
    /// The accountant that found ε, `rdp` or `pld`.
    pub accountant: String,
    /// Whether samples and noise can be repeated from the config: then nothing is private, whatever ε is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
}

impl PrivacyStatement {
    /// ε with three decimals, none of which is too small.
    pub fn rounded_epsilon(&self) -> String {
        rounded_up(self.epsilon)
    }

    fn counts(&self) -> Counts {
        Counts { images: self.images, persons: self.persons }
    }

    /// One line for people.
    pub fn line(&self) -> String {
        let Self { clients, sample_rate, noise_multiplier, updates, delta, epsilon, accountant, insecure, .. } = self;
        let (counts, unit) = (self.counts(), self.counts().unit());
        let article = if unit == "image" { "an" } else { "a" };
        let who = if *clients == 1 { "a client".to_owned() } else { format!("each of {clients} clients") };
        let line = format!(
            "privacy: ε = {} at δ = {delta:e} for {who} with {counts} ({accountant}; one {unit} added or removed): {} updates with σ = \
             {noise_multiplier}, in each {article} {unit} with probability {}",
            rounded_up(*epsilon),
            count(*updates),
            probability(*sample_rate)
        );
        if *insecure {
            return "privacy: NONE, since privacy.insecure_seed makes samples and noise repeatable; remove it".into();
        }
        line
    }
}

/// Statements that differ in nothing but the clients are one.
pub(crate) fn merged(mut statements: Vec<PrivacyStatement>) -> Vec<PrivacyStatement> {
    statements.sort_by_key(PrivacyStatement::counts);
    statements.dedup_by(|later, kept| {
        let is_same = later.counts() == kept.counts();
        kept.clients += if is_same { later.clients } else { 0 };
        is_same
    });
    statements
}

/// Lines for people: one for each of a few statements, one for all of many.
pub(crate) fn lines(statements: &[PrivacyStatement]) -> Vec<String> {
    let is_mixed = statements.iter().any(|of| of.counts().unit() != statements[0].counts().unit());
    if statements.len() <= MAX_LINES || is_mixed || statements.iter().any(|statement| statement.insecure) {
        let mut lines: Vec<String> = statements.iter().map(PrivacyStatement::line).collect();
        lines.dedup();
        return lines;
    }
    let range = |of: &dyn Fn(&PrivacyStatement) -> f64| {
        let values = statements.iter().map(of);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(0.0, f64::max))
    };
    let span = |least: String, most: String| {
        if least == most { format!("= {most}") } else { format!("from {least} to {most}") }
    };
    let (clients, (least, most)) = (statements.iter().map(|of| of.clients).sum::<u64>(), range(&|of| of.epsilon));
    let ((least_noise, most_noise), delta) = (range(&|of| of.noise_multiplier), statements[0].delta);
    let unit = statements[0].counts().unit();
    vec![format!(
        "privacy: ε {} at δ = {delta:e} for {clients} clients (one {unit} added or removed), with σ {}; run.json says it of each number of images",
        span(rounded_up(least), rounded_up(most)),
        span(least_noise.to_string(), most_noise.to_string())
    )]
}

/// Statements that are printed one by one.
const MAX_LINES: usize = 3;

/// Three decimals, at least the value: what is stated is a bound.
pub(crate) fn rounded_up(epsilon: f64) -> String {
    format!("{:.3}", (1000.0 * epsilon).ceil() / 1000.0)
}

/// The statements of a run in which `algorithm` trains the clients of `partition`, by number of images, of these `persons` where they are named;
/// none without `[privacy]`.
///
/// A client takes part in the rounds whose cohort it is in, and the server's seed draws the cohorts: they are no secret, and make
/// nothing more private.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when δ is not below 1/n for a client, or no noise is enough for the target.
pub(crate) fn statements(
    config: &Config,
    algorithm: &dyn Algorithm,
    partition: &Partition,
    persons: Option<&[Person]>,
) -> Result<Vec<PrivacyStatement>> {
    let Some(privacy) = &config.privacy else { return Ok(Vec::new()) };
    // Clients with equally many images may be drawn for different numbers of rounds: the most of them counts.
    let mut updates = BTreeMap::<Counts, (u64, u64)>::new();
    let roster = Roster::of(partition);
    for (name, steps) in roster.names().iter().zip(planned_steps(algorithm, &roster, config.seed)) {
        let place = partition.clients.binary_search_by(|share| share.name.cmp(name));
        let share = &partition.clients[place.expect("the roster is the partition's, sorted by name")];
        let (clients, most) = updates.entry(Counts::of(&share.train, persons)).or_default();
        *clients += 1;
        *most = (*most).max(steps * config.local.discriminator_steps.per_step() as u64);
    }
    let statement = |(counts, (clients, updates))| statement(config, privacy, counts, clients, updates);
    updates.into_iter().map(statement).collect()
}

/// The statement of a site with so many training images, which plans `updates` of the discriminator in the whole run; none without
/// `[privacy]`.
///
/// # Errors
/// As [`statements`].
pub(crate) fn statement_at_site(config: &Config, counts: Counts, updates: u64) -> Result<Option<PrivacyStatement>> {
    config.privacy.as_ref().map(|privacy| statement(config, privacy, counts, 1, updates)).transpose()
}

fn statement(
    config: &Config,
    privacy: &PrivacyConfig,
    counts: Counts,
    clients: u64,
    updates: u64,
) -> Result<PrivacyStatement> {
    let wrong = |line: String| Failure::usage(anyhow!(line));
    let (delta, num_hidden) = (privacy.delta, counts.num_hidden());
    if delta >= 1.0 / num_hidden as f64 {
        let unit = counts.unit();
        return Err(wrong(format!(
            "privacy.delta = {delta:?} must be below 1/n for a client with n = {num_hidden} {unit}s: otherwise giving away one of them at \
             random would count as private"
        )));
    }
    let sample_rate = (config.local.batch_size as f64 / num_hidden as f64).min(1.0);
    let noise_multiplier = match (privacy.noise_multiplier, privacy.target_epsilon) {
        (Some(sigma), _) => sigma,
        (None, target) => noise_multiplier(target.unwrap_or_default(), delta, sample_rate, updates)
            .map_err(|error| wrong(format!("[privacy] for a client with {counts}: {error}")))?,
    };
    let cost = || {
        let updates = Composition::of(SampledGaussian::new(noise_multiplier, sample_rate)?, updates)?;
        epsilon(&updates, delta)
    };
    let cost = cost().map_err(|error| wrong(format!("[privacy] for a client with {counts}: {error}")))?;
    Ok(PrivacyStatement {
        clients,
        images: counts.images,
        persons: counts.persons,
        sample_rate,
        noise_multiplier,
        updates,
        delta,
        epsilon: cost.value,
        accountant: cost.accountant.name().into(),
        insecure: privacy.insecure_seed.is_some(),
    })
}

/// The private training that costs what `statements` say.
pub(crate) fn training(config: &Config, statements: &[PrivacyStatement]) -> Option<Privacy> {
    let PrivacyConfig { clip, insecure_seed, .. } = *config.privacy.as_ref()?;
    let noise_multipliers =
        statements.iter().map(|of| ([of.images, of.counts().num_hidden()], of.noise_multiplier)).collect();
    Some(Privacy { clip, batch: config.local.batch_size, noise_multipliers, insecure_seed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(images: u64, epsilon: f64, insecure: bool) -> PrivacyStatement {
        let (noise_multiplier, accountant) = (images as f64, "pld".into());
        let (clients, sample_rate, updates, delta) = (2, 0.5, 10, 1e-5);
        PrivacyStatement {
            clients,
            images,
            persons: None,
            sample_rate,
            noise_multiplier,
            updates,
            delta,
            epsilon,
            accountant,
            insecure,
        }
    }

    #[test]
    fn what_is_printed_is_never_below_the_bound() {
        assert_eq!([7.3241, 0.0004, 2.0, 9.999_97].map(rounded_up), ["7.325", "0.001", "2.000", "10.000"]);
    }

    #[test]
    fn a_person_is_said_to_be_what_is_hidden() {
        let of_persons = PrivacyStatement { persons: Some(12), ..statement(100, 2.0, false) };
        let line = of_persons.line();
        assert!(
            line.contains("for each of 2 clients with 100 images of 12 persons (pld; one person added or removed)"),
            "{line}"
        );
        assert!(line.ends_with("in each a person with probability 0.500"), "{line}");
        let many = vec![of_persons; 4];
        assert!(lines(&many)[0].contains("(one person added or removed)"));
    }

    #[test]
    fn many_statements_are_one_line_and_an_insecure_one_is_never_hidden() {
        let few = [statement(100, 1.0, false), statement(200, 2.0, false)];
        assert_eq!(lines(&few).len(), 2);
        let mut many: Vec<_> = (1..=9).map(|n| statement(n, n as f64, false)).collect();
        let line = "privacy: ε from 1.000 to 9.000 at δ = 1e-5 for 18 clients (one image added or removed), with σ from 1 to 9; run.json \
                    says it of each number of images";
        assert_eq!(lines(&many), [line]);
        for statement in &mut many {
            statement.epsilon = 3.0;
        }
        assert!(lines(&many)[0].starts_with("privacy: ε = 3.000 at δ = 1e-5 for 18 clients "), "{:?}", lines(&many));
        for statement in &mut many {
            statement.insecure = true;
        }
        assert_eq!(lines(&many), [many[0].line()]);
        assert!(many[0].line().starts_with("privacy: NONE"));
    }
}
