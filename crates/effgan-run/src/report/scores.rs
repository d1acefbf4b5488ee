//! The scores in the report: the result in one sentence, the table, and the curves over rounds and over bytes.

use effgan_fl::ensemble::NormStatistics;
use serde::Serialize;

use super::chart::Chart;
use super::chart_axis::Axis;
use super::plot::{Label, Plot, Series, Shape};
use super::run_folder::Folder;
use crate::record::events::{Score, Scored};
use crate::units::{byte_unit, count, three_digits};

/// The result in one sentence.
pub(super) fn headline(folder: &Folder) -> String {
    let fd = |of| folder.latest(of).map(|score| three_digits(score.scores.fd_small));
    let average = average_name(folder);
    let generators = match (fd(Scored::Ensemble), fd(Scored::Average)) {
        (Some(fd), Some(of_average)) => {
            format!("{} scores fd_small {fd}; {average} {of_average}", ensemble_name(folder))
        }
        (Some(fd), None) => format!("{} scores fd_small {fd}", ensemble_name(folder)),
        (None, Some(fd)) => format!("T{} scores fd_small {fd}", &average[1..]),
        (None, None) => return no_headline(folder),
    };
    let real = folder.latest(Scored::Floor).map(|floor| {
        let (fd, n) = (three_digits(floor.scores.fd_small), count(floor.scores.n as u64));
        format!("; real images {fd} (floor, n\u{a0}=\u{a0}{n})")
    });
    format!("{generators}{}.", real.unwrap_or_default())
}

fn no_headline(folder: &Folder) -> String {
    let line = folder.no_scores().unwrap_or_else(|| "no generator has been scored yet".into());
    format!("{}{}.", line[..1].to_uppercase(), &line[1..])
}

fn ensemble_name(folder: &Folder) -> String {
    let members = folder.rounds.values().last().map_or(0, |round| round.clients.len());
    match (members, folder.info.algorithm.as_str()) {
        (0, _) => "The ensemble".into(),
        (_, "effgan") => format!("The ensemble of {members} fine-tuned generators"),
        _ => format!("The ensemble of {members} generators"),
    }
}

/// What the server's generator is called: `central` trains on all images and averages nothing.
pub(super) fn average_name(folder: &Folder) -> &'static str {
    if folder.info.algorithm == "central" { "the central generator" } else { "the averaged generator" }
}

/// A row of the table: the latest score of one thing.
#[derive(Serialize)]
pub(super) struct Row {
    class: &'static str,
    what: String,
    statistics: &'static str,
    round: String,
    fd: String,
    kl: String,
    modes: String,
    n: String,
    best: bool,
}

/// The latest score of everything, generators first, then the floor.
pub(super) fn rows(folder: &Folder) -> Vec<Row> {
    let groups = groups(folder);
    let generated = groups.iter().filter(|group| group.of != Scored::Floor);
    let best = generated.map(|group| group.last().scores.fd_small).fold(f64::INFINITY, f64::min);
    let row = |group: &Group| {
        let score = group.last();
        Row {
            class: group.class(),
            what: group.name(folder).into(),
            statistics: group.statistics(),
            round: if score.round == 0 { "–".into() } else { score.round.to_string() },
            fd: format!("{:.2}", score.scores.fd_small),
            kl: format!("{:.3}", score.scores.class_kl),
            modes: score.scores.modes.to_string(),
            n: count(score.scores.n as u64),
            best: group.of != Scored::Floor && score.scores.fd_small <= best,
        }
    };
    groups.iter().map(row).collect()
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
        let points = self.scores.iter().map(|score| (x(score.round), score.scores.fd_small));
        let shape = match self.of {
            Scored::Average | Scored::Floor => Shape::Circle,
            Scored::MeanOfMembers => Shape::Diamond,
            Scored::Ensemble => Shape::Square,
        };
        let short = if self.averaged() { "with averaged statistics" } else { name };
        let label = Label { value: three_digits(self.last().scores.fd_small), name: short.into() };
        let pieces = vec![points.filter(|(_, fd)| fd.is_finite()).collect()];
        Series { class: self.class(), name: format!("{name}{statistics}"), pieces, shape, label: Some(label) }
    }
}

/// The scores over the rounds with the floor as a level; none before the first score.
pub(super) fn by_round(folder: &Folder) -> Option<Chart> {
    let (first, last) = rounds(folder)?;
    chart(folder, "fd_small after each round", folder.axis(first, last, 0.25), f64::from)
}

/// The scores against the bytes that were sent until then; none before the first score and before anything was sent.
pub(super) fn by_bytes(folder: &Folder) -> Option<Chart> {
    let total = folder.bytes_until(rounds(folder)?.1);
    let (size, unit) = byte_unit(total);
    let sent = |round: u32| folder.bytes_until(round) as f64 / size;
    let x = Axis::from_zero(&format!("{unit} of tensors sent so far, both directions"), 0.0, total as f64 / size);
    (total > 0).then(|| chart(folder, "fd_small against bytes sent", x, sent)).flatten()
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
    let scores = generated.iter().flat_map(|group| &group.scores).map(|score| score.scores.fd_small);
    let floor = floor.first().map(|group| group.last().scores.fd_small).filter(|floor| floor.is_finite());
    let mut y = Axis::of_sizes("fd_small", scores.chain(floor));
    y.label += if y.log { " (log scale), lower is closer" } else { ", lower is closer" };
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
