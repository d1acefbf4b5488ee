//! The command line: one file a verb.

mod bench;
mod completions;
mod data;
mod ensemble;
mod evaluate;
mod features;
mod federation;
mod man;
mod partition;
mod report;
mod resume;
mod run;
mod sample;
mod sweep;

use std::ffi::OsString;

use anyhow::anyhow;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::output::say;
use effgan_run::api;
use effgan_run::failure::{EXIT_CODES, Failure, Result};

/// Learn one image generator from data that cannot leave its owners, and sample from it in one place.
#[derive(Parser)]
#[command(name = "effgan", version, after_help = "Exit codes: effgan help exit-codes")]
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
    Report(report::Report),
    #[command(subcommand)]
    Bench(bench::Bench),
    Completions(completions::Completions),
    Man(man::Man),
    /// What the exit codes mean
    #[command(hide = true, long_about = EXIT_CODES)]
    ExitCodes,
}

impl Cli {
    /// Reads the command line, the program's name first. Help and the version are printed at once, and end the program.
    ///
    /// # Errors
    /// [`Kind::Usage`](effgan_run::Kind::Usage).
    pub(crate) fn read(arguments: impl Iterator<Item = OsString>) -> Result<Self> {
        use ErrorKind as E;
        Self::try_parse_from(arguments).map_err(|error| match error.kind() {
            E::DisplayHelp | E::DisplayVersion | E::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
            _ => Failure::usage(anyhow!(one_line(&error.render().to_string()))),
        })
    }

    /// Does what the command line says.
    ///
    /// # Errors
    /// What went wrong, with its exit code.
    pub(crate) fn run(self) -> Result<()> {
        api::check_environment()?;
        match self.verb {
            Verb::Run(run) => run.run(),
            Verb::Resume(resume) => resume.run(),
            Verb::Sample(sample) => sample.run(),
            Verb::Evaluate(evaluate) => evaluate.run(),
            Verb::Ensemble(ensemble) => ensemble.run(),
            Verb::Partition(partition) => partition.run(),
            Verb::Sweep(sweep) => sweep.run(),
            Verb::Data(data) => data.run(),
            Verb::Features(features) => features.run(),
            Verb::Federation(federation) => federation.run(),
            Verb::Report(report) => report.run(),
            Verb::Bench(bench) => bench.run(),
            Verb::Completions(completions) => completions.run(),
            Verb::Man(man) => man.run(),
            Verb::ExitCodes => {
                say(EXIT_CODES);
                Ok(())
            }
        }
    }
}

/// What clap says in several paragraphs: what is wrong, what may have been meant, and how it is used.
fn one_line(said: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in said.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (parts.last_mut(), line.split_once(": ")) {
            (_, Some(("error" | "tip", what))) => parts.push(what.into()),
            (_, Some(("Usage", usage))) => parts.push(format!("usage: {usage}")),
            (_, _) if line.starts_with("For more information") => {}
            // The list of what is missing.
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

    fn said(line: &str) -> String {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let error = Cli::try_parse_from(["effgan"].into_iter().chain(words)).err().unwrap();
        one_line(&error.render().to_string())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_mistake_in_the_command_line_is_one_line() {
        assert_eq!(
            said("run x --job 3"),
            "unexpected argument '--job' found; a similar argument exists: '--jobs'; usage: effgan run --jobs <JOBS> <CONFIG>"
        );
        assert_eq!(
            said("sample"),
            "the following required arguments were not provided: --out <PATH> <MODEL>; usage: effgan sample --out <PATH> <MODEL>"
        );
        assert_eq!(said("run x --jobs 0"), "invalid value '0' for '--jobs <JOBS>': 0 is not in 1..=1024; try --help");
        assert_eq!(
            said("sampel"),
            "unrecognized subcommand 'sampel'; a similar subcommand exists: 'sample'; usage: effgan <COMMAND>"
        );
        assert!(
            said("completions tcsh")
                .starts_with("invalid value 'tcsh' for '<SHELL>' [possible values: bash, elvish, fish,")
        );
    }
}
