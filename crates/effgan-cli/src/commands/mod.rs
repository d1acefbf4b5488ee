//! The command line. `a/b.rs` is the command `effgan a b`.

mod audit;
mod bench;
mod completions;
mod data;
mod devices;
mod ensemble;
mod evaluate;
mod features;
mod federation;
mod images_out;
mod interrupt;
mod man;
mod partition;
mod privacy;
mod report;
mod resume;
mod run;
mod sample;
mod site_images;
mod sweep;

use std::ffi::OsString;

use anyhow::anyhow;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use effgan_run::api;
use effgan_run::failure::{EXIT_CODES, Failure, Result};

use crate::output::say;

/// Train one image generator across sites that cannot share their data.
#[derive(Parser)]
#[command(
    name = "effgan",
    version,
    after_help = "Examples:
  effgan run configs/quickstart.toml
  effgan sample runs/quickstart --out grid.png

Exit codes: effgan help exit-codes"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Run(run::Run),
    Resume(resume::Resume),
    Sample(sample::Sample),
    Evaluate(evaluate::Evaluate),
    Audit(audit::Audit),
    #[command(subcommand)]
    Ensemble(ensemble::Ensemble),
    Partition(partition::Partition),
    Sweep(sweep::Sweep),
    #[command(subcommand)]
    Data(data::Data),
    #[command(subcommand)]
    Features(features::Features),
    #[command(subcommand)]
    Federation(federation::Federation),
    #[command(subcommand)]
    Privacy(privacy::Privacy),
    Report(report::Report),
    #[command(subcommand)]
    Bench(bench::Bench),
    Devices(devices::Devices),
    Completions(completions::Completions),
    Man(man::Man),
    /// Explain the exit codes
    #[command(hide = true, long_about = EXIT_CODES)]
    ExitCodes,
}

impl Cli {
    /// Parses a command line, which begins with the program's name. Help and version are printed, and end the program.
    ///
    /// # Errors
    /// [`Kind::Usage`](effgan_run::Kind::Usage), in one line.
    pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        use ErrorKind as E;
        Self::try_parse_from(arguments).map_err(|error| match error.kind() {
            E::DisplayHelp | E::DisplayVersion | E::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Failure::usage(anyhow!(one_line(&error.render().to_string()))),
        })
    }

    /// Runs the command.
    ///
    /// # Errors
    /// The failure, whose kind is the exit code.
    pub(crate) fn run(self) -> Result<()> {
        api::check_environment()?;
        match self.verb {
            Verb::Run(run) => run.run(),
            Verb::Resume(resume) => resume.run(),
            Verb::Sample(sample) => sample.run(),
            Verb::Evaluate(evaluate) => evaluate.run(),
            Verb::Audit(audit) => audit.run(),
            Verb::Ensemble(ensemble) => ensemble.run(),
            Verb::Partition(partition) => partition.run(),
            Verb::Sweep(sweep) => sweep.run(),
            Verb::Data(data) => data.run(),
            Verb::Features(features) => features.run(),
            Verb::Federation(federation) => federation.run(),
            Verb::Privacy(privacy) => privacy.run(),
            Verb::Report(report) => report.run(),
            Verb::Bench(bench) => bench.run(),
            Verb::Devices(devices) => devices.run(),
            Verb::Completions(completions) => completions.run(),
            Verb::Man(man) => man.run(),
            Verb::ExitCodes => {
                say(EXIT_CODES);
                Ok(())
            }
        }
    }
}

/// clap's "0 is not in 1..=1024" in the words in which the bounds of a config are stated.
fn with_bounds_in_words(line: &str) -> String {
    let range = |line: &str| -> Option<String> {
        let (value, bounds) = line.split_once(" is not in ")?;
        let (least, max) = bounds.split_once("..=")?;
        Some(format!("{value} must be from {least} to {max}"))
    };
    range(line).unwrap_or_else(|| line.into())
}

/// clap's message of several paragraphs as one line: the error, a suggestion, and the usage.
fn one_line(message: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in message.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (parts.last_mut(), line.split_once(": ")) {
            (_, Some(("error" | "tip", what))) => parts.push(with_bounds_in_words(what)),
            (_, Some(("Usage", usage))) => parts.push(format!("usage: {usage}")),
            (_, _) if line.starts_with("For more information") => {}
            // An item in a list of missing arguments.
            (Some(part), _) => *part += &format!(" {line}"),
            (None, _) => parts.push(line.into()),
        }
    }
    if parts.len() == 1 {
        parts.push("try --help".into());
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn error_of(line: &str) -> String {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let error = Cli::try_parse_from(["effgan"].into_iter().chain(words)).err().unwrap();
        one_line(&error.render().to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// The words of an example, up to a redirection; single quotes keep blanks together.
    fn words(example: &str) -> Vec<String> {
        let command = example.split(" > ").next().unwrap_or_default();
        let parts = command.split('\'').enumerate();
        let words = |(i, part): (usize, &str)| match i % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        };
        parts.flat_map(words).collect()
    }

    /// The examples in the help of `command`, whose full name is `name`, and of its subcommands.
    fn check_examples(command: &clap::Command, name: &str) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = help.strip_prefix("Examples:\n").unwrap_or_else(|| panic!("{name} has no examples"));
        let examples: Vec<&str> = examples.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        assert!(examples.len() >= 2, "{name} has fewer than two examples");
        for example in examples {
            let is_own = name == "effgan" || words(example).join(" ").starts_with(name);
            assert!(is_own, "{example:?} is not an example of {name}");
            if let Err(error) = Cli::try_parse_from(words(example)) {
                panic!("{example:?}: {error}");
            }
        }
        for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
            check_examples(inner, &format!("{name} {}", inner.get_name()));
        }
    }

    #[test]
    fn every_command_has_two_examples_that_parse() {
        check_examples(&Cli::command(), "effgan");
    }

    #[test]
    fn a_usage_error_is_one_line() {
        assert_eq!(
            error_of("run x --job 3"),
            "unexpected argument '--job' found; a similar argument exists: '--jobs'; usage: effgan run --jobs <JOBS> <CONFIG>"
        );
        assert_eq!(
            error_of("sample"),
            "the following required arguments were not provided: --out <PATH> <MODEL>; usage: effgan sample --out <PATH> <MODEL>"
        );
        assert_eq!(
            error_of("run x --jobs 0"),
            "invalid value '0' for '--jobs <JOBS>': 0 must be from 1 to 1024; try --help"
        );
        assert_eq!(
            error_of("sampel"),
            "unrecognized subcommand 'sampel'; a similar subcommand exists: 'sample'; usage: effgan <COMMAND>"
        );
        assert!(
            error_of("completions tcsh")
                .starts_with("invalid value 'tcsh' for '<SHELL>' [possible values: bash, elvish, fish,")
        );
    }
}
