//! The verdict on a finished run: what its own numbers say went wrong, and what to try.
//!
//! The bounds are far from what the runs of this repository have: docs/verdict.md has them, and the measurements behind them.

use std::collections::BTreeMap;

use effgan_fl::message::STEPS;
use effgan_fl::{ClientRecord, Refusal, RoundRecord};
use effgan_metrics::metric::Unit;
use serde::{Deserialize, Serialize};

use super::events::{Event, Score, Scored};
use super::loss_key;
use crate::units::count;

/// How much the samples of a generator differ from one another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The client whose member the generator is; absent for a generator of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The spread of 128 samples, in grey levels, 0..128.
    pub samples: f64,
    /// The spread of the real images that the generator was trained on; absent where they are not known or all equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<f64>,
}

/// What the numbers of a finished run say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The verdict in a word.
    pub verdict: Outcome,
    /// The numbers behind it, and their bounds.
    pub reason: String,
    /// What to try; empty for a run that is fine.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// A verdict in a word. The first that applies is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// A loss has left the range of a training that works.
    Diverged,
    /// The generators had too few steps to have learned much.
    Short,
    /// Samples hardly differ, or most classes are missing.
    Collapsed,
    /// Sites withheld their generators, since their audits did not allow them to leave.
    Memorising,
    /// None of the above.
    Fine,
}

/// A loss beyond this has diverged: a discriminator that gives an image a probability of e⁻¹⁰⁰ computes with rounding errors.
const MAX_LOSS: f64 = 100.0;
/// Generators with fewer training steps are at their beginning.
const MIN_STEPS: f64 = 300.0;
/// Samples of the median generator that are less spread than this share of its real images have collapsed.
const MIN_SPREAD: f64 = 0.75;
/// The same in grey levels, where real images are not known.
const MIN_LEVELS: f64 = 5.0;
/// A generator that draws fewer than this share of the classes that as many real images have has collapsed.
const MIN_CLASSES: f64 = 0.5;

impl Verdict {
    /// The verdict on the run that recorded `events`; `None` when no client has trained.
    pub(crate) fn on(events: &[Event]) -> Option<Self> {
        let seen = Seen::of(events)?;
        let unwell =
            seen.diverged().or_else(|| seen.short()).or_else(|| seen.collapsed()).or_else(|| seen.memorising());
        Some(unwell.unwrap_or_else(|| seen.fine()))
    }

    /// The verdict as a line: `the run has collapsed: …; try …`.
    pub fn line(&self) -> String {
        let Self { verdict, reason, advice } = self;
        let advice = if advice.is_empty() { String::new() } else { format!("; {advice}") };
        format!("the run {}: {reason}{advice}", verdict.clause())
    }
}

impl Outcome {
    fn clause(self) -> &'static str {
        match self {
            Self::Diverged => "has diverged",
            Self::Short => "was too short",
            Self::Collapsed => "has collapsed",
            Self::Memorising => "may have learned images by heart",
            Self::Fine => "is fine",
        }
    }
}

/// The numbers that a verdict rests on.
struct Seen<'a> {
    /// The largest of the clients' last losses: client, loss, value.
    loss: (String, String, f64),
    /// Training steps of a generator: the sum over the rounds of the median client's.
    steps: f64,
    /// The spread of the median generator.
    spread: Option<&'a Spread>,
    /// The last score of the images that the run is for, and that of real images.
    scores: Option<(&'a Score, &'a Score)>,
    /// The clients of the last round that withheld their generators, and the number of all that were asked.
    withheld: (Vec<&'a str>, usize),
}

impl<'a> Seen<'a> {
    fn of(events: &'a [Event]) -> Option<Self> {
        // Of two records of one round the later one counts.
        let rounds: BTreeMap<u32, &RoundRecord> = events
            .iter()
            .filter_map(|event| if let Event::Round(round) = event { Some(round) } else { None })
            .map(|round| (round.round, round))
            .collect();
        let spreads =
            events.iter().filter_map(|event| if let Event::Spread(spread) = event { Some(spread) } else { None });
        let spreads: BTreeMap<_, &Spread> = spreads.map(|spread| (&spread.client, spread)).collect();
        // Beside members whose images are known, one of a client with a single image says nothing.
        let (known, unknown): (Vec<_>, Vec<_>) = spreads.into_values().partition(|spread| spread.real.is_some());
        let spreads = if known.is_empty() { unknown } else { known };
        Some(Self {
            loss: largest_loss(rounds.values().copied())?,
            steps: rounds.values().map(|round| median_steps(round)).sum(),
            spread: median(spreads, |spread| spread.samples / spread.real.unwrap_or(1.0)),
            scores: last_score(events).zip(floor(events)),
            withheld: rounds.values().last().map(|round| withheld(round)).unwrap_or_default(),
        })
    }

    fn diverged(&self) -> Option<Verdict> {
        let (client, key, value) = &self.loss;
        (value.abs() > MAX_LOSS).then(|| Verdict {
            verdict: Outcome::Diverged,
            reason: format!("{key} of {client} is {value:.4e} in its last round, beyond {MAX_LOSS}"),
            advice: "try a tenth of local.learning_rate".into(),
        })
    }

    fn short(&self) -> Option<Verdict> {
        (self.steps < MIN_STEPS).then(|| Verdict {
            verdict: Outcome::Short,
            reason: format!("a generator had {} training steps, fewer than {MIN_STEPS}", self.steps),
            advice: "try more epochs (local.epochs, algorithm.fine_tune_epochs), or a smaller local.batch_size".into(),
        })
    }

    fn collapsed(&self) -> Option<Verdict> {
        let reason = self.spread.and_then(little_spread).or_else(|| self.few_classes())?;
        let advice =
            "try network.norm = \"batch\" if it is another (without [privacy]), another local.learning_rate, or more images per client"
                .into();
        Some(Verdict { verdict: Outcome::Collapsed, reason, advice })
    }

    fn memorising(&self) -> Option<Verdict> {
        let (names, asked) = &self.withheld;
        (!names.is_empty()).then(|| Verdict {
            verdict: Outcome::Memorising,
            reason: format!("{} of {asked} sites withheld their generators: {}", names.len(), names.join(", ")),
            advice:
                "try fewer epochs of fine-tuning, more images per site, more of them held out, or a [privacy] table"
                    .into(),
        })
    }

    fn few_classes(&self) -> Option<String> {
        let (score, floor) = self.scores?;
        let (found, of) = (classes_of(score)?, classes_of(floor)?);
        (found < MIN_CLASSES * of).then(|| {
            format!("the {} draws {found} classes, fewer than half of the {of} that real images have", score.of.title())
        })
    }

    fn fine(&self) -> Verdict {
        let mut numbers = vec![format!("losses up to {:.1} in size", self.loss.2.abs())];
        numbers.push(format!("{} training steps", count(self.steps as u64)));
        numbers.extend(self.spread.map(|spread| match spread.real {
            Some(real) => format!("samples are spread {:.2} times as much as real images", spread.samples / real),
            None => format!("samples are spread by {:.0} grey levels", spread.samples),
        }));
        let classes = self.scores.and_then(|(score, floor)| Some((classes_of(score)?, classes_of(floor)?)));
        numbers.extend(classes.map(|(found, of)| format!("{found} of {of} classes")));
        Verdict { verdict: Outcome::Fine, reason: numbers.join(", "), advice: String::new() }
    }
}

fn little_spread(spread: &Spread) -> Option<String> {
    let of =
        spread.client.as_ref().map_or_else(|| "the generator".into(), |client| format!("the median member, {client},"));
    let samples = spread.samples;
    match spread.real {
        Some(real) => (samples < MIN_SPREAD * real).then(|| {
            format!("samples of {of} are spread {:.2} times as much as the images that it was trained on, less than {MIN_SPREAD}", samples / real)
        }),
        None => (samples < MIN_LEVELS)
            .then(|| format!("samples of {of} are spread by {samples:.1} grey levels, less than {MIN_LEVELS}")),
    }
}

/// The clients that withheld their generators in this round, and the number of all that were asked.
fn withheld(round: &RoundRecord) -> (Vec<&str>, usize) {
    let reason = Refusal::Withheld.to_string();
    let names = round.missing.iter().filter(|missing| missing.reason == reason).map(|missing| missing.name.as_str());
    (names.collect(), round.clients.len() + round.missing.len())
}

/// The largest last loss of all clients.
fn largest_loss<'a>(rounds: impl Iterator<Item = &'a RoundRecord>) -> Option<(String, String, f64)> {
    let last: BTreeMap<_, &ClientRecord> =
        rounds.flat_map(|round| &round.clients).map(|client| (&client.name, client)).collect();
    let losses = last.values().flat_map(|client| {
        loss_key::losses(&client.metrics).map(|(key, value)| (client.name.to_string(), key.to_owned(), value))
    });
    losses.max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()))
}

fn median_steps(round: &RoundRecord) -> f64 {
    let steps = round.clients.iter().map(|client| client.metrics.get(STEPS).copied().unwrap_or_default());
    median(steps.collect(), |&steps| steps).unwrap_or_default()
}

/// The lower median of `values` by `key`.
fn median<T>(mut values: Vec<T>, key: impl Fn(&T) -> f64) -> Option<T> {
    values.sort_by(|a, b| key(a).total_cmp(&key(b)));
    let middle = values.len().checked_sub(1)? / 2;
    Some(values.swap_remove(middle))
}

/// The last score of the ensemble, or of the averaged generator where there is none.
fn last_score(events: &[Event]) -> Option<&Score> {
    let scores = events.iter().filter_map(|event| if let Event::Score(score) = event { Some(score) } else { None });
    scores
        .filter(|score| matches!(score.of, Scored::Ensemble | Scored::Average))
        .max_by_key(|score| (score.of, score.round))
}

fn floor(events: &[Event]) -> Option<&Score> {
    events.iter().find_map(|event| match event {
        Event::Score(score) if score.of == Scored::Floor => Some(score),
        _ => None,
    })
}

/// How many classes the images of a score have.
fn classes_of(score: &Score) -> Option<f64> {
    score.scores.all().find(|(metric, _)| metric.unit == Unit::Classes).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round(round: u32, clients: &[(&str, f64, f64)]) -> Event {
        let client = |&(name, loss, steps): &(&str, f64, f64)| json!({"name": name, "num_examples": 9, "metrics": {"loss_d": loss, "loss_g": 1.5, "steps": steps}, "seconds": 1.0});
        let clients: Vec<_> = clients.iter().map(client).collect();
        let line = json!({"event": "round", "round": round, "kind": "average", "clients": clients, "bytes_down": 1, "bytes_up": 1, "seconds": 1.0});
        serde_json::from_value(line).unwrap()
    }

    fn spread(client: &str, samples: f64, real: Option<f64>) -> Event {
        Event::Spread(Spread { client: Some(client.into()), samples, real })
    }

    fn score(of: &str, modes: u64) -> Event {
        let line = json!({"event": "score", "round": 3, "of": of, "n": 90, "fd_small": 5.0, "modes": modes, "class_counts": [], "seconds": 1.0});
        serde_json::from_value(line).unwrap()
    }

    /// A run that is fine, and what is recorded after it.
    fn line(more: Vec<Event>) -> String {
        let fine = vec![
            round(1, &[("a", 0.5, 100.0), ("b", 400.0, 150.0), ("c", 0.5, 900.0)]),
            round(2, &[("a", -2.25, 200.0), ("b", 0.5, 250.0), ("c", 0.5, 900.0)]),
            score("floor", 10),
            score("ensemble", 8),
            spread("a", 10.0, Some(60.0)),
            spread("b", 48.0, Some(60.0)),
            spread("c", 66.0, Some(60.0)),
        ];
        Verdict::on(&fine.into_iter().chain(more).collect::<Vec<_>>()).unwrap().line()
    }

    #[test]
    fn losses_are_the_last_ones_steps_and_spread_those_of_the_median_client() {
        assert_eq!(
            line(vec![]),
            "the run is fine: losses up to 2.2 in size, 400 training steps, samples are spread 0.80 times as much as real images, 8 of 10 classes"
        );
    }

    #[test]
    fn a_loss_beyond_the_bound_in_the_last_round_has_diverged() {
        assert_eq!(
            line(vec![round(3, &[("b", -7.7e13, 200.0)])]),
            "the run has diverged: loss_d of b is -7.7000e13 in its last round, beyond 100; try a tenth of local.learning_rate"
        );
    }

    #[test]
    fn a_round_that_was_done_again_counts_once() {
        let line = line(vec![round(2, &[("a", 0.5, 20.0), ("b", 0.5, 20.0)])]);
        assert!(
            line.starts_with("the run was too short: a generator had 170 training steps, fewer than 300; try "),
            "{line}"
        );
    }

    #[test]
    fn samples_that_hardly_differ_have_collapsed() {
        let line = line(vec![spread("b", 12.0, Some(60.0)), spread("c", 29.0, Some(60.0))]);
        let expected = "the run has collapsed: samples of the median member, b, are spread 0.20 times as much as the images that it was trained on, less than 0.75; try ";
        assert!(line.starts_with(expected), "{line}");
    }

    #[test]
    fn fewer_than_half_of_the_classes_have_collapsed() {
        assert!(line(vec![score("ensemble", 5)]).starts_with("the run is fine: "));
        let line = line(vec![score("ensemble", 4), score("average", 9)]);
        let expected = "the run has collapsed: the ensemble draws 4 classes, fewer than half of the 10 that real images have; try ";
        assert!(line.starts_with(expected), "{line}");
    }

    #[test]
    fn sites_that_withhold_their_generators_say_that_they_have_learned_images_by_heart() {
        let mut last = serde_json::to_value(round(3, &[("a", 0.5, 200.0)])).unwrap();
        last["missing"] = json!([
            {"name": "b", "reason": Refusal::Withheld.to_string()},
            {"name": "c", "reason": "no answer within 5 s"}
        ]);
        let line = line(vec![serde_json::from_value(last).unwrap()]);
        assert_eq!(
            line,
            "the run may have learned images by heart: 1 of 3 sites withheld their generators: b; try fewer epochs of fine-tuning, more images per site, more of them held out, or a [privacy] table"
        );
    }

    #[test]
    fn without_real_images_the_spread_is_in_grey_levels() {
        let on = |samples| {
            let events = [round(1, &[("a", 0.5, 300.0)]), spread("a", samples, None)];
            Verdict::on(&events).unwrap().line()
        };
        assert_eq!(
            on(5.0),
            "the run is fine: losses up to 1.5 in size, 300 training steps, samples are spread by 5 grey levels"
        );
        assert!(on(4.9).starts_with(
            "the run has collapsed: samples of the median member, a, are spread by 4.9 grey levels, less than 5; try "
        ));
    }

    #[test]
    fn clients_whose_images_do_not_differ_have_no_say() {
        let plain = line(vec![]);
        assert_eq!(line(vec![spread("d", 70.0, None), spread("e", 80.0, None), spread("f", 0.0, None)]), plain);
    }

    #[test]
    fn a_run_that_trained_nothing_has_no_verdict() {
        assert_eq!(Verdict::on(&[score("floor", 10)]), None);
    }
}
