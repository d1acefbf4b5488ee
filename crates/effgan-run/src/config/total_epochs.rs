//! `algorithm.total_epochs`: the local epochs of each client in all, in place of those of a round and of the fine-tuning.
//!
//! The keys are replaced when a config is read, by those that they stand for. Everything else, such as a site or a run folder, knows
//! `local.epochs`, `algorithm.rounds` and `algorithm.fine_tune_epochs` alone.

use anyhow::anyhow;
use effgan_fl::algorithms::{Division, check_total};
use effgan_fl::{AlgorithmConfig, LocalWork};
use toml::{Table, Value};

use super::Config;
use super::typed::shown;
use crate::failure::{Failure, Result};

/// The keys of `[algorithm]` that are replaced, for the list of keys in an error.
pub(super) const KEYS: [&str; 3] = ["total_epochs", "share", "turns"];
/// The keys that follow from them.
const REPLACED: [(&str, &str); 4] =
    [("local", "epochs"), ("local", "steps"), ("algorithm", "fine_tune_epochs"), ("algorithm", "fine_tune_steps")];
const RECOMMENDED: &str = "recommended";

impl Config {
    /// How the epochs of each of so many clients are divided between rounds, or turns, and fine-tuning; `None` where an algorithm has not both,
    /// clients take part in different numbers of rounds, or a part is given in steps.
    pub fn division(&self, clients: usize) -> Option<Division> {
        if self.algorithm.cohort() < 1.0 {
            return None;
        }
        let (rounds, local) = (self.algorithm.rounds()?, self.local.work().ok()?);
        let turns = u32::try_from(clients)
            .ok()
            .and_then(|clients| Some(rounds / clients).filter(|_| rounds.is_multiple_of(clients)));
        let rounds = if self.algorithm.takes_turns() { turns? } else { rounds };
        match (local, self.algorithm.fine_tuning(local).ok()??) {
            (LocalWork::Epochs(epochs), LocalWork::Epochs(fine_tune_epochs)) => {
                Some(Division { rounds, epochs, fine_tune_epochs })
            }
            _ => None,
        }
    }
}

/// Replaces `algorithm.total_epochs` and `algorithm.share` by the keys that follow from them.
pub(super) fn resolve(table: &mut Table) -> Result<()> {
    let Some(algorithm) = table.get_mut("algorithm").and_then(Value::as_table_mut) else { return Ok(()) };
    let [total, share, turns] = KEYS.map(|key| algorithm.remove(key));
    let kind = algorithm.get("kind").cloned();
    let Some(kind) = AlgorithmConfig::one_of_each().into_iter().find(|known| kind == Some(known.name().into())) else {
        // Reading the table says what is wrong with the kind.
        return Ok(());
    };
    match (total, share) {
        (_, _) if turns.is_some() && !kind.takes_turns() => Err(usage(format!(
            "algorithm.turns = {} is for cyclic-effgan, whose clients take turns; remove it",
            turns.as_ref().map(shown).unwrap_or_default()
        ))),
        (None, None) => turns.map_or(Ok(()), |turns| {
            let turns = shown(&turns);
            Err(usage(format!(
                "algorithm.turns = {turns} needs algorithm.total_epochs; without it, set algorithm.rounds"
            )))
        }),
        (None, Some(share)) => {
            let share = shown(&share);
            Err(usage(format!(
                "algorithm.share = {share} needs algorithm.total_epochs, the epochs that it is a share of"
            )))
        }
        (Some(total), share) if kind.takes_turns() => divide_into_turns(table, &total, share, turns.as_ref()),
        (Some(total), share) => divide(table, &total, share, kind.name() == "effgan"),
    }
}

fn divide(table: &mut Table, total: &Value, share: Option<Value>, fine_tunes: bool) -> Result<()> {
    check_replaced(table, total)?;
    check_cohort(table, total)?;
    let rounds = table["algorithm"].get("rounds").map(|rounds| whole("rounds", rounds)).transpose()?;
    let total = whole("total_epochs", total)?;
    match share {
        _ if fine_tunes => {
            let Division { rounds, epochs, fine_tune_epochs } = Division::of(total, share_of(share)?, rounds)?;
            set(table, "algorithm", "rounds", rounds);
            set(table, "algorithm", "fine_tune_epochs", fine_tune_epochs);
            set(table, "local", "epochs", epochs);
            Ok(())
        }
        Some(share) => {
            let share = shown(&share);
            Err(usage(format!("algorithm.share = {share} is for effgan, whose clients fine-tune; remove it")))
        }
        None => set_equal_rounds(table, total, rounds),
    }
}

fn divide_into_turns(table: &mut Table, total: &Value, share: Option<Value>, turns: Option<&Value>) -> Result<()> {
    check_replaced(table, total)?;
    if let Some(rounds) = table["algorithm"].get("rounds").map(shown) {
        let total = shown(total);
        let line = format!(
            "algorithm.rounds = {rounds} would follow from algorithm.total_epochs = {total}; remove one of them"
        );
        return Err(usage(line));
    }
    let Some(clients) = num_clients(table) else {
        return Err(usage(format!(
            "algorithm.total_epochs = {} needs the number of clients, as they take turns; set federation.sites or partition.clients, or else \
             algorithm.rounds, local.epochs and algorithm.fine_tune_epochs",
            shown(total)
        )));
    };
    let turns = turns.map(|turns| whole("turns", turns)).transpose()?;
    let Division { rounds: turns, epochs, fine_tune_epochs } =
        Division::of_turns(whole("total_epochs", total)?, share_of(share)?, turns)?;
    let Some(rounds) = turns.checked_mul(clients) else {
        return Err(usage(format!("algorithm.turns = {turns} of {clients} clients are too many rounds; lower it")));
    };
    set(table, "algorithm", "rounds", rounds);
    set(table, "algorithm", "fine_tune_epochs", fine_tune_epochs);
    set(table, "local", "epochs", epochs);
    Ok(())
}

/// The number of clients, where the config says it: sites that are listed, or else clients of the partition.
fn num_clients(table: &Table) -> Option<u32> {
    let sites = table.get("federation").and_then(|federation| federation.get("sites")?.as_array());
    let clients = || u32::try_from(table.get("partition")?.get("clients")?.as_integer()?).ok();
    let clients = sites.map_or_else(clients, |sites| u32::try_from(sites.len()).ok());
    clients.filter(|&clients| clients > 0)
}

/// With a part of the clients in each round, no number of epochs would be that of each client.
fn check_cohort(table: &Table, total: &Value) -> Result<()> {
    let cohort = table["algorithm"].get("cohort");
    match cohort.filter(|cohort| cohort.as_float() != Some(1.0) && cohort.as_integer() != Some(1)) {
        None => Ok(()),
        Some(cohort) => Err(usage(format!(
            "algorithm.total_epochs = {} needs every client in each round, and algorithm.cohort = {} draws some; remove one of them",
            shown(total),
            shown(cohort)
        ))),
    }
}

/// Refuses the keys that are replaced: one of two numbers would be passed over.
fn check_replaced(table: &Table, total: &Value) -> Result<()> {
    let found = REPLACED.iter().find_map(|(of, key)| Some((of, key, table.get(*of)?.get(key)?)));
    found.map_or(Ok(()), |(of, key, value)| {
        let (value, total) = (shown(value), shown(total));
        let line =
            format!("{of}.{key} = {value} would follow from algorithm.total_epochs = {total}; remove one of them");
        Err(usage(line))
    })
}

fn share_of(share: Option<Value>) -> Result<f64> {
    match share {
        None => Ok(Division::RECOMMENDED_SHARE),
        Some(Value::String(text)) if text == RECOMMENDED => Ok(Division::RECOMMENDED_SHARE),
        Some(Value::Float(share)) => Ok(share),
        Some(Value::Integer(share)) => Ok(share as f64),
        Some(other) => Err(usage(format!(
            "algorithm.share = {}, expected a number or {RECOMMENDED:?}, which is {}",
            shown(&other),
            Division::RECOMMENDED_SHARE
        ))),
    }
}

/// The epochs of each round of an algorithm that has nothing but rounds, if it says how many.
fn set_equal_rounds(table: &mut Table, total: u32, rounds: Option<u32>) -> Result<()> {
    check_total(total)?;
    let Some(rounds) = rounds else { return Ok(()) };
    if rounds == 0 || !total.is_multiple_of(rounds) {
        let line = format!(
            "algorithm.total_epochs = {total} is not a multiple of algorithm.rounds = {rounds}, and rounds are equally long; change one of them"
        );
        return Err(usage(line));
    }
    set(table, "local", "epochs", total / rounds);
    Ok(())
}

fn set(table: &mut Table, of: &str, key: &str, value: u32) {
    let of = table.entry(of).or_insert_with(|| Value::Table(Table::new()));
    if let Some(of) = of.as_table_mut() {
        of.insert(key.into(), i64::from(value).into());
    }
}

fn whole(key: &str, value: &Value) -> Result<u32> {
    let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
    number.ok_or_else(|| {
        let value = shown(value);
        usage(format!("algorithm.{key} = {value}, expected a whole number from 1 to {}", Division::MAX_EPOCHS))
    })
}

fn usage(line: String) -> Failure {
    Failure::usage(anyhow!(line))
}

#[cfg(test)]
mod tests {
    use super::super::tests::QUICKSTART;
    use super::*;

    /// The quick start without its own division of the epochs, with `algorithm` and further `settings`.
    fn config(algorithm: &str, settings: &[&str]) -> Result<Config> {
        let lines = QUICKSTART.lines().filter(|line| !line.starts_with("epochs = "));
        let text = lines.collect::<Vec<_>>().join("\n");
        let settings = [&[algorithm], settings].concat();
        Config::parse(&text, &settings.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn effgan(keys: &str) -> Result<Config> {
        config(&format!("algorithm={{ kind = \"effgan\", {keys} }}"), &[])
    }

    fn division(keys: &str) -> (u32, u32, u32) {
        let division = effgan(keys).unwrap_or_else(|failure| panic!("{}", failure.line())).division(5).unwrap();
        (division.rounds, division.epochs, division.fine_tune_epochs)
    }

    #[test]
    fn epochs_are_divided_by_the_share_and_none_is_lost() {
        for (keys, expected) in [
            ("total_epochs = 100, share = 0.2, rounds = 2", (2, 10, 80)),
            ("total_epochs = 100, share = 0.2, rounds = 10", (10, 2, 80)),
            ("total_epochs = 100, share = 0.3, rounds = 4", (4, 8, 68)),
            ("total_epochs = 100, share = 0.001, rounds = 5", (5, 1, 95)),
            ("total_epochs = 100, share = 0.0", (0, 100, 100)),
            ("total_epochs = 100, share = 0", (0, 100, 100)),
            ("total_epochs = 2, share = 0.9", (1, 1, 1)),
        ] {
            assert_eq!(division(keys), expected, "{keys}");
        }
    }

    #[test]
    fn without_a_share_or_rounds_the_recommended_ones_are_taken() {
        let recommended = Division::of(100, Division::RECOMMENDED_SHARE, Some(Division::RECOMMENDED_ROUNDS)).unwrap();
        let Division { rounds, epochs, fine_tune_epochs } = recommended;
        for keys in
            ["total_epochs = 100", "total_epochs = 100, share = \"recommended\"", "total_epochs = 100, cohort = 1"]
        {
            assert_eq!(division(keys), (rounds, epochs, fine_tune_epochs), "{keys}");
        }
    }

    #[test]
    fn a_config_is_the_same_as_with_the_keys_that_follow() {
        let written_out =
            config("algorithm={ kind = \"effgan\", rounds = 2, fine_tune_epochs = 80 }", &["local.epochs=10"]);
        let written_out = written_out.unwrap();
        let divided = effgan("total_epochs = 100, share = 0.2, rounds = 2").unwrap();
        assert_eq!(divided, written_out);
        assert_eq!(divided.identity(), written_out.identity());
    }

    /// The quick start has five clients.
    #[test]
    fn turns_are_divided_likewise_and_each_client_has_all_epochs() {
        let turns = |keys: &str, settings: &[&str]| {
            let config = config(&format!("algorithm={{ kind = \"cyclic-effgan\", {keys} }}"), settings);
            let config = config.unwrap_or_else(|failure| panic!("{}", failure.line()));
            let clients = config.federation.sites.as_ref().map_or(5, Vec::len);
            let division = config.division(clients).unwrap();
            assert_eq!(division.total(), 100, "{keys}");
            (config.algorithm.rounds().unwrap(), division.rounds, division.epochs, division.fine_tune_epochs)
        };
        assert_eq!(turns("total_epochs = 100", &[]), (10, 2, 10, 80));
        assert_eq!(turns("total_epochs = 100, share = 0.5, turns = 5", &[]), (25, 5, 10, 50));
        let sites = r#"federation={ sites = ["east", "north", "south"] }"#;
        assert_eq!(turns("total_epochs = 100, share = \"recommended\"", &[sites]), (6, 2, 10, 80));
    }

    #[test]
    fn every_other_algorithm_divides_its_epochs_equally_among_its_rounds() {
        for kind in AlgorithmConfig::one_of_each()
            .iter()
            .map(|algorithm| algorithm.name())
            .filter(|kind| !kind.contains("effgan"))
        {
            let mu = if kind == "fedprox" { ", mu = 0.1" } else { "" };
            let config = config(&format!("algorithm={{ kind = \"{kind}\", rounds = 5, total_epochs = 100{mu} }}"), &[]);
            assert_eq!(config.unwrap_or_else(|failure| panic!("{}", failure.line())).local.epochs, Some(20), "{kind}");
        }
    }

    #[test]
    fn a_division_that_is_impossible_or_said_twice_is_refused_in_one_line() {
        let line = |algorithm: &str, settings: &[&str]| config(algorithm, settings).unwrap_err().line();
        for (keys, said) in [
            (
                "share = 0.2, rounds = 2",
                "algorithm.share = 0.2 needs algorithm.total_epochs, the epochs that it is a share of",
            ),
            (
                "total_epochs = 100, share = 1.0",
                "algorithm.share = 1.0 must be at least 0 and below 1; fedgan is the algorithm that shares everything",
            ),
            (
                "total_epochs = 100, share = \"best\"",
                "algorithm.share = \"best\", expected a number or \"recommended\", which is 0.2",
            ),
            (
                "total_epochs = 100, share = 0.0, rounds = 2",
                "algorithm.share = 0.0 leaves no epochs for algorithm.rounds = 2; remove it, or raise the share",
            ),
            (
                "total_epochs = 4, rounds = 4",
                "algorithm.rounds = 4 of at least one epoch leave none of algorithm.total_epochs = 4 for the fine-tuning; lower rounds or \
                 raise total_epochs",
            ),
            (
                "total_epochs = 9, rounds = 0",
                "algorithm.rounds = 0 leaves none of algorithm.total_epochs = 9 to share; raise it, or set algorithm.share = 0.0",
            ),
            (
                "total_epochs = 1",
                "algorithm.total_epochs = 1 is too few to share some and fine-tune; raise it, or set algorithm.share = 0.0",
            ),
            ("total_epochs = 0", "algorithm.total_epochs = 0 must be from 1 to 1000000"),
            ("total_epochs = -1", "algorithm.total_epochs = -1, expected a whole number from 1 to 1000000"),
            ("total_epochs = 9, rounds = 0.5", "algorithm.rounds = 0.5, expected a whole number from 1 to 1000000"),
            (
                "total_epochs = 9, fine_tune_epochs = 3",
                "algorithm.fine_tune_epochs = 3 would follow from algorithm.total_epochs = 9; remove one of them",
            ),
        ] {
            assert_eq!(line(&format!("algorithm={{ kind = \"effgan\", {keys} }}"), &[]), said);
        }
        assert_eq!(
            line("algorithm={ kind = \"effgan\", total_epochs = 9 }", &["local.epochs=3"]),
            "local.epochs = 3 would follow from algorithm.total_epochs = 9; remove one of them"
        );
        assert_eq!(
            line("algorithm={ kind = \"effgan\", total_epochs = 9, cohort = 0.5 }", &[]),
            "algorithm.total_epochs = 9 needs every client in each round, and algorithm.cohort = 0.5 draws some; remove one of them"
        );
        assert_eq!(
            line("algorithm={ kind = \"fedgan\", total_epochs = 9, rounds = 3, share = 0.2 }", &[]),
            "algorithm.share = 0.2 is for effgan, whose clients fine-tune; remove it"
        );
        assert_eq!(
            line("algorithm={ kind = \"fedgan\", total_epochs = 10, rounds = 3 }", &[]),
            "algorithm.total_epochs = 10 is not a multiple of algorithm.rounds = 3, and rounds are equally long; change one of them"
        );
        assert_eq!(
            line("algorithm={ kind = \"fedgan\", total_epochs = 4, rounds = 2, cohort = 0.5 }", &[]),
            "algorithm.total_epochs = 4 needs every client in each round, and algorithm.cohort = 0.5 draws some; remove one of them"
        );
        let turns = |keys: &str, settings: &[&str]| {
            line(&format!("algorithm={{ kind = \"cyclic-effgan\", {keys} }}"), settings)
        };
        assert!(turns("total_epochs = 9", &[r#"partition={ kind = "file", path = "p.json" }"#]).starts_with(
            "algorithm.total_epochs = 9 needs the number of clients, as they take turns; set federation.sites or"
        ));
        assert_eq!(
            turns("total_epochs = 9, rounds = 10", &[]),
            "algorithm.rounds = 10 would follow from algorithm.total_epochs = 9; remove one of them"
        );
        assert_eq!(
            turns("total_epochs = 9, turns = 9", &[]),
            "algorithm.turns = 9 of at least one epoch leave none of algorithm.total_epochs = 9 for the fine-tuning; lower turns or raise \
             total_epochs"
        );
        assert_eq!(
            turns("total_epochs = 9, share = 0", &[]),
            "algorithm.share = 0.0 leaves no epochs for turns; raise it, or take local-ensemble"
        );
        assert_eq!(
            turns("rounds = 10, turns = 2", &[]),
            "algorithm.turns = 2 needs algorithm.total_epochs; without it, set algorithm.rounds"
        );
        assert_eq!(
            line("algorithm={ kind = \"effgan\", total_epochs = 9, turns = 2 }", &[]),
            "algorithm.turns = 2 is for cyclic-effgan, whose clients take turns; remove it"
        );
        let typo = line("algorithm={ kind = \"efgan\", total_epochs = 9, share = 0.2 }", &[]);
        assert!(typo.starts_with("algorithm.kind = \"efgan\", expected one of `effgan`"), "{typo}");
        assert!(
            line("algorithm={ kind = \"effgan\", totl_epochs = 9 }", &[]).ends_with("`total_epochs`, `share`, `turns`")
        );
    }

    #[test]
    fn a_division_is_said_in_one_line() {
        let said = |keys: &str| effgan(keys).unwrap().division(5).unwrap().to_string();
        assert_eq!(
            said("total_epochs = 100, share = 0.2, rounds = 2"),
            "20 % shared in 2 × 10, then 80 of fine-tuning"
        );
        assert_eq!(said("total_epochs = 100, share = 0.0"), "100 of fine-tuning, none shared");
    }
}
