//! `effgan privacy plan`

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use effgan_run::config::Config;
use effgan_run::failure::{Failure, Result};
use effgan_run::pipeline;
use effgan_run::privacy::{Counts, PrivacyStatement};
use effgan_run::protocol::privacy_statement;
use effgan_run::units::{count, probability};

use crate::output::say;

/// Say what a config with [privacy] would cost each client: epsilon, noise and updates, without training
///
/// For the clients of the config's data; or, with --images, for sites with so many training images (after the hold-out) that take part in
/// every round.
#[derive(Args)]
#[command(after_help = "Examples:
  effgan privacy plan configs/privacy/central.toml
  effgan privacy plan configs/privacy/central.toml --images 6000,20000 --json")]
pub(crate) struct Plan {
    /// The config file
    config: PathBuf,
    /// Override a value of the config; repeatable
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
    /// Numbers of training images of sites, instead of the config's data
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    images: Vec<u64>,
    /// How many persons these images are of, where the config has dataset.person: as many numbers as of --images
    #[arg(long, value_name = "N,…", value_delimiter = ',', requires = "images")]
    persons: Vec<u64>,
    /// Print a JSON list instead of text
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub(super) fn run(self) -> Result<()> {
        let config = Config::load(&self.config, &self.settings)?;
        let named = |failure: Failure| failure.of_config(&self.config);
        if config.privacy.is_none() {
            return Err(named(Failure::usage(anyhow!("there is no [privacy] table, so nothing is private; add one"))));
        }
        let sites = self.sites(&config)?;
        let statements = if sites.is_empty() {
            pipeline::privacy_plan(&config).map_err(named)?
        } else {
            let of_sites = sites.into_iter().map(|counts| privacy_statement(&config, counts));
            of_sites.filter_map(Result::transpose).collect::<Result<_>>().map_err(named)?
        };
        if self.json {
            say(serde_json::to_string(&statements).expect("statements are plain data"));
        } else {
            say(table(&statements).trim_end());
        }
        Ok(())
    }

    /// The sites of --images.
    fn sites(&self, config: &Config) -> Result<Vec<Counts>> {
        let Self { images, persons, .. } = self;
        let wrong = |line: String| Err(Failure::usage(anyhow!(line)));
        if let Some((name, _)) = [("--images", images), ("--persons", persons)].iter().find(|(_, of)| of.contains(&0)) {
            return wrong(format!("{name} has 0, and each number must be at least 1"));
        }
        if config.dataset.person.is_none() {
            return match persons.first() {
                Some(_) => wrong("--persons is for a config with dataset.person, and this one has none".into()),
                None => Ok(images.iter().map(|&images| Counts { images, persons: None }).collect()),
            };
        }
        if persons.len() != images.len() {
            return wrong(format!(
                "--persons must have as many numbers as --images, {} and not {}, since the config has dataset.person",
                images.len(),
                persons.len()
            ));
        }
        if let Some((images, persons)) = images.iter().zip(persons).find(|(images, persons)| persons > images) {
            return wrong(format!("--persons has {persons} for {images} images; each person has one at least"));
        }
        let sites = images.iter().zip(persons);
        Ok(sites.map(|(&images, &persons)| Counts { images, persons: Some(persons) }).collect())
    }
}

fn table(statements: &[PrivacyStatement]) -> String {
    let of_persons = statements.iter().any(|statement| statement.persons.is_some());
    let persons = |text: String| if of_persons { format!(" {text:>10}") } else { String::new() };
    let mut text = format!(
        "{:>10}{} {:>8} {:>12} {:>10} {:>10} {:>10}  accountant\n",
        "images",
        persons("persons".into()),
        "clients",
        "in an update",
        "noise",
        "updates",
        "epsilon"
    );
    for statement in statements {
        if statement.insecure {
            return statement.line();
        }
        let PrivacyStatement { images, clients, sample_rate, noise_multiplier, updates, accountant, .. } = statement;
        let epsilon = statement.rounded_epsilon();
        text += &format!(
            "{:>10}{} {clients:>8} {:>12} {noise_multiplier:>10} {:>10} {epsilon:>10}  {accountant}\n",
            count(*images),
            persons(statement.persons.map(count).unwrap_or_default()),
            probability(*sample_rate),
            count(*updates)
        );
    }
    let delta = statements.first().map_or(0.0, |statement| statement.delta);
    let unit = if of_persons { "person with all images" } else { "image" };
    text + &format!(
        "at delta {delta:e}, for one {unit} added or removed; each {} is in an update with the given probability\n",
        if of_persons { "person" } else { "image" }
    )
}
