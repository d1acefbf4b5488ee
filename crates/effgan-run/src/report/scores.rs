//! The scores in the report: the result in one sentence, the table of all metrics of a run, and the curves of the main metric over rounds
//! and over bytes.

use effgan_fl::ExchangeKind;
use effgan_fl::ensemble::NormStatistics;
use effgan_metrics::metric::Network;
use effgan_metrics::{Metric, Scores, main_metric, metrics_in_run};
use serde::Serialize;

use super::chart::Chart;
use super::chart_axis::Axis;
use super::plot::{Label, Plot, Series, Shape};
use super::run_folder::Folder;
use crate::Config;
use crate::record::events::{Score, Scored};
use crate::units::{byte_unit, count, three_digits};

/// The result in one sentence.
pub(super) fn headline(folder: &Folder) -> String {
    let main = |of| folder.latest(of).map(|score| three_digits(score.main()));
    let average = average_name(folder);
    let label = main_metric(folder.network()).label;
    let generators = match (main(Scored::Ensemble), main(Scored::Average)) {
        (Some(value), Some(of_average)) => {
            format!("{} scores {label} {value}; {average} {of_average}", ensemble_name(folder))
        }
        (Some(value), None) => format!("{} scores {label} {value}", ensemble_name(folder)),
        (None, Some(value)) => format!("T{} scores {label} {value}", &average[1..]),
        (None, None) => return no_headline(folder),
    };
    let real = folder.latest(Scored::Floor).map(|floor| {
        let (value, n) = (three_digits(floor.main()), count(floor.scores.n as u64));
        format!("; real images {value} (floor, n\u{a0}=\u{a0}{n})")
    });
    format!("{generators}{}.", real.unwrap_or_default())
}

fn no_headline(folder: &Folder) -> String {
    let line = folder.no_scores().unwrap_or_else(|| "no generator has been scored yet".into());
    format!("{}{}.", line[..1].to_uppercase(), &line[1..])
}

fn ensemble_name(folder: &Folder) -> String {
    let members = folder.rounds.values().last().map_or(0, |round| round.clients.len());
    // Members that never start from an average are trained, but not fine-tuned.
    let averages = |config: &Config| config.algorithm.exchanges().contains(&ExchangeKind::Average);
    let fine_tuned = folder.settings.as_ref().is_some_and(averages);
    match members {
        0 => "The ensemble".into(),
        _ if fine_tuned => format!("The ensemble of {members} fine-tuned generators"),
        _ => format!("The ensemble of {members} generators"),
    }
}

/// What the server's generator is called: `central` trains on all images and averages nothing.
pub(super) fn average_name(folder: &Folder) -> &'static str {
    if folder.settings.as_ref().is_some_and(|config| config.algorithm.pools_data()) {
        "the central generator"
    } else {
        "the averaged generator"
    }
}

/// A row of the table: the latest score of one thing.
#[derive(Serialize)]
pub(super) struct Row {
    class: &'static str,
    what: String,
    statistics: &'static str,
    round: String,
    /// Values of the metrics; empty where one was not computed.
    cells: Vec<String>,
    n: String,
    best: bool,
}

/// A column of the table that has a metric.
#[derive(Serialize)]
pub(super) struct Heading {
    label: &'static str,
    is_main: bool,
}

/// The headings of the columns of the metrics.
pub(super) fn headings(network: Network) -> Vec<Heading> {
    let heading = |metric: &Metric| Heading { label: metric.label, is_main: metric == main_metric(network) };
    metrics_in_run(network).map(heading).collect()
}

/// Paragraphs that say what the metrics are, the main one, then all others, and which network of the data set's own they are by.
pub(super) fn about(folder: &Folder) -> Vec<String> {
    let network = folder.network();
    let (main, others): (Vec<&Metric>, Vec<&Metric>) =
        metrics_in_run(network).partition(|metric| *metric == main_metric(network));
    let about = |metrics: Vec<&Metric>| -> Vec<&str> {
        metrics.iter().filter_map(|metric| metric.in_run()).map(|in_run| in_run.about).collect()
    };
    let own = folder.own_networks().into_iter().map(|own| {
        format!(
            "The network has {:.1} % of the test images right. The SHA-256 of its weights is {}: scores by another one are not comparable.",
            100.0 * own.test_accuracy,
            own.sha256
        )
    });
    [main, others].map(|metrics| about(metrics).join(" ")).into_iter().chain(own).collect()
}

/// All metrics of a run but the main one, each as a phrase.
pub(super) fn others(scores: &Scores) -> Vec<String> {
    let main = scores.main().map(|(metric, _)| metric);
    let others = scores.all().filter(|(metric, _)| metric.in_run().is_some() && Some(*metric) != main);
    others.map(|(metric, value)| metric.phrase(value, &scores.settings)).collect()
}

/// The latest score of everything, generators first, then the floor.
pub(super) fn rows(folder: &Folder) -> Vec<Row> {
    let groups = groups(folder);
    let generated = groups.iter().filter(|group| group.of != Scored::Floor);
    let best = main_metric(folder.network()).better.best(generated.map(|group| group.last().main()));
    let row = |group: &Group| {
        let score = group.last();
        Row {
            class: group.class(),
            what: group.name(folder).into(),
            statistics: group.statistics(),
            round: if score.round == 0 { "–".into() } else { score.round.to_string() },
            cells: metrics_in_run(folder.network()).map(|metric| value(score, metric)).collect(),
            n: count(score.scores.n as u64),
            best: group.of != Scored::Floor && Some(score.main()) == best,
        }
    };
    groups.iter().map(row).collect()
}

fn value(score: &Score, metric: &Metric) -> String {
    score.scores.get(metric).map(|value| metric.text_in_run(value)).unwrap_or_default()
}

/// Scores of one thing over the rounds; the last is the latest.
struct Group<'a> {
    of: Scored,
    norm: Option<NormStatistics>,
    scores: Vec<&'a Score>,
}

/// All scores by what they are of; the floor is last.
fn groups(folder: &Folder) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for (&(of, norm, _), score) in &folder.scores {
        match groups.last_mut() {
            Some(group) if (group.of, group.norm) == (of, norm) => group.scores.push(score),
            _ => groups.push(Group { of, norm, scores: vec![score] }),
        }
    }
    groups.sort_by_key(|group| group.of == Scored::Floor);
    groups
}

impl Group<'_> {
    fn last(&self) -> &Score {
        self.scores.last().expect("a group starts with a score")
    }

    fn averaged(&self) -> bool {
        self.norm == Some(NormStatistics::Average)
    }

    fn class(&self) -> &'static str {
        match (self.of, self.averaged()) {
            (Scored::Average, false) => "average",
            (Scored::Average, true) => "average-kept",
            (Scored::MeanOfMembers, false) => "mean",
            (Scored::MeanOfMembers, true) => "mean-kept",
            (Scored::Ensemble, _) => "ensemble",
            (Scored::Floor, _) => "level",
        }
    }

    fn name(&self, folder: &Folder) -> &'static str {
        match self.of {
            Scored::Average => average_name(folder).trim_start_matches("the "),
            Scored::MeanOfMembers => "mean of members",
            Scored::Ensemble => "ensemble",
            Scored::Floor => "real images (floor)",
        }
    }

    fn statistics(&self) -> &'static str {
        match self.norm {
            Some(NormStatistics::Recompute) => "recomputed",
            Some(NormStatistics::Average) => "averaged",
            None => "–",
        }
    }

    /// Its scores, each at the place `x` of its round.
    fn series(&self, folder: &Folder, x: &impl Fn(u32) -> f64) -> Series {
        let name = self.name(folder);
        let statistics = if self.averaged() { ", averaged statistics" } else { "" };
        let points = self.scores.iter().map(|score| (x(score.round), score.main()));
        let shape = match self.of {
            Scored::Average | Scored::Floor => Shape::Circle,
            Scored::MeanOfMembers => Shape::Diamond,
            Scored::Ensemble => Shape::Square,
        };
        let short = if self.averaged() { "with averaged statistics" } else { name };
        let label = Label { value: three_digits(self.last().main()), name: short.into() };
        let pieces = vec![points.filter(|(_, value)| value.is_finite()).collect()];
        Series { class: self.class(), name: format!("{name}{statistics}"), pieces, shape, label: Some(label) }
    }
}

/// The scores over the rounds with the floor as a level; none before the first score.
pub(super) fn by_round(folder: &Folder) -> Option<Chart> {
    let (first, last) = rounds(folder)?;
    chart(
        folder,
        &format!("{} after each round", main_metric(folder.network()).label),
        folder.axis(first, last, 0.25),
        f64::from,
    )
}

/// The scores against the bytes that were sent until then; none before the first score and before anything was sent.
pub(super) fn by_bytes(folder: &Folder) -> Option<Chart> {
    let total = folder.bytes_until(rounds(folder)?.1);
    let (size, unit) = byte_unit(total);
    let sent = |round: u32| folder.bytes_until(round) as f64 / size;
    let x = Axis::from_zero(&format!("{unit} of tensors sent so far, both directions"), 0.0, total as f64 / size);
    let title = format!("{} against bytes sent", main_metric(folder.network()).label);
    (total > 0).then(|| chart(folder, &title, x, sent)).flatten()
}

/// The first and the last round after which a generator was scored.
fn rounds(folder: &Folder) -> Option<(u32, u32)> {
    let rounds = || folder.scores.keys().filter(|key| key.0 != Scored::Floor).map(|key| key.2);
    Some((rounds().min()?, rounds().max()?))
}

/// A line for everything that is scored, each score at the place `place` of its round on the axis `x`, and the floor.
fn chart(folder: &Folder, title: &str, x: Axis, place: impl Fn(u32) -> f64) -> Option<Chart> {
    let groups = groups(folder);
    let (floor, generated): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.of == Scored::Floor);
    let scores = generated.iter().flat_map(|group| &group.scores).map(|score| score.main());
    let floor = floor.first().map(|group| group.last().main()).filter(|floor| floor.is_finite());
    let y = Axis::of_metric(main_metric(folder.network()), scores.chain(floor));
    let plot = Plot {
        title: title.into(),
        x,
        y,
        series: generated.iter().map(|group| group.series(folder, &place)).collect(),
        bars: Vec::new(),
        level: floor.map(|floor| (floor, Label { value: three_digits(floor), name: "real images (floor)".into() })),
        dividers: Vec::new(),
        height: 340.0,
    };
    (!generated.is_empty()).then(|| plot.draw())
}
