//! What a metric is: its name, unit, direction, format and cost, and how it is computed.

use serde::Serialize;

use crate::{Comparison, Memorisation, Result, Settings, TrainOnSynthetic};

/// A metric: a row of the table [`METRICS`](crate::METRICS).
#[derive(Debug)]
pub struct Metric {
    /// The name in files: the key in JSON, the column in CSV, the tag in TensorBoard.
    pub name: &'static str,
    /// The name for people.
    pub label: &'static str,
    /// The unit.
    pub unit: Unit,
    /// The direction.
    pub better: Better,
    /// Decimals in the text of `effgan evaluate`.
    pub decimals: usize,
    /// The only network whose features the metric is computed from; `None` for all networks.
    pub network: Option<Network>,
    /// Whether the metric needs classes, which nothing predicts without a network.
    pub needs_classes: bool,
    /// When the metric is computed.
    pub cost: Cost,
    /// The column in the table of a sweep for people; absent where the table leaves the metric out.
    pub summary: Option<Summary>,
    /// The name of the column next to the metric in the table of a sweep for programs, and what it holds.
    pub beside: Option<(&'static str, Beside)>,
    /// The part of [`Settings`] that is recorded right after the metric. Of metrics that share one, the last has it.
    pub setting: Option<Setting>,
    /// How to read the number, in place of its unit and direction.
    pub remark: Option<fn(&Settings) -> String>,
    /// Where the number comes from.
    pub source: Source,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number without a unit.
    None,
    /// Nats.
    Nats,
    /// A number of classes, of as many as the classifier knows: a whole number.
    Classes,
}

/// The direction of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Better {
    /// Lower is closer to the real images.
    Lower,
    /// Higher is better.
    Higher,
    /// This value is best, and others on both sides of it are worse.
    Near(f64),
}

impl Better {
    /// The direction in a word or two: `lower`, `higher` or `nearer to 0.5`.
    pub fn word(self) -> String {
        match self {
            Self::Lower => "lower".into(),
            Self::Higher => "higher".into(),
            Self::Near(best) => format!("nearer to {best}"),
        }
    }

    /// The direction as a clause: `lower is closer` or `higher is better`.
    pub fn phrase(self) -> String {
        format!("{} is {}", self.word(), if self == Self::Lower { "closer" } else { "better" })
    }

    /// The best of `values`; `None` without any. NaN is never the best.
    pub fn best(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        let badness = |value: &f64| match self {
            Self::Lower => *value,
            Self::Higher => -value,
            Self::Near(best) => (value - best).abs(),
        };
        values.filter(|value| !value.is_nan()).min_by(|a, b| badness(a).total_cmp(&badness(b)))
    }
}

/// A kind of feature network. Another one has another scale, so that distances on its features have another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A LeNet: [`SmallNet`](crate::SmallNet).
    Small,
    /// A residual classifier of the data set's own classes: [`OwnNet`](crate::OwnNet).
    Own,
    /// None: the image's own pixels, by its [low-pass](crate::low_pass) and its [`Patches`](crate::Patches).
    LowPass,
    /// Inception-2015: [`Inception`](crate::Inception).
    Inception,
}

impl Network {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Small, Self::Own, Self::LowPass, Self::Inception];
}

/// When a metric is computed.
#[derive(Debug)]
pub enum Cost {
    /// Cheap enough for the scored rounds of a run, and how a run shows it.
    EveryRound(InRun),
    /// The same in runs that are scored with this network; with any other, computed by `effgan evaluate` alone.
    EveryRoundWith(Network, InRun),
    /// Computed by `effgan evaluate` alone, since it would take longer than a round.
    Evaluation,
}

/// How a run and its report show a metric.
#[derive(Debug)]
pub struct InRun {
    /// Decimals in the lines of a run and in the table of its report.
    pub decimals: usize,
    /// The place in the line of a score, which has 80 columns; `None` leaves the metric out of it.
    pub line: Option<Line>,
    /// One or more sentences for the report that say what the metric is.
    pub about: &'static str,
}

/// A metric in the line of a score.
#[derive(Debug)]
pub struct Line {
    /// The name.
    pub label: &'static str,
    /// Columns of the number.
    pub width: usize,
}

/// A metric in the table of a sweep for people, and in captions: a mean over seeds with few decimals.
#[derive(Debug)]
pub struct Summary {
    /// The heading.
    pub heading: &'static str,
    /// Decimals.
    pub decimals: usize,
}

/// A number that helps to read a metric and stands next to it.
#[derive(Clone, Copy, Debug)]
pub enum Beside {
    /// The standard deviation of the kernel distance over subsets.
    Deviation,
    /// The value that real images reach.
    Floor,
    /// The value of the member that has the largest one.
    LargestOfMembers,
}

/// A part of [`Settings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Those of the kernel distance.
    Subsets,
    /// Nearest neighbours.
    NearestK,
    /// Images of each class.
    ClassCounts,
    /// The distance on each level of the pyramids.
    Levels,
}

/// Where the value of a metric comes from.
#[derive(Debug)]
pub enum Source {
    /// Features and classes of both sets; `None` where the classes are not known that it needs.
    Features(fn(&Comparison<'_>) -> Result<Option<f64>>),
    /// A classifier that was trained on the images.
    Classifier(fn(&TrainOnSynthetic) -> f64),
    /// Distances to training images, of the images and of each member of an ensemble.
    Memorisation(fn(&Memorisation) -> f64),
}

/// A value in a file: whole where it counts something.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Number {
    /// A number of something.
    Count(u64),
    /// Any other number.
    Real(f64),
}

impl PartialEq for Metric {
    /// A name stands for one metric.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Metric {
    /// How a run shows the metric; `None` where no run computes it.
    pub fn in_run(&self) -> Option<&InRun> {
        match &self.cost {
            Cost::EveryRound(in_run) | Cost::EveryRoundWith(_, in_run) => Some(in_run),
            Cost::Evaluation => None,
        }
    }

    /// Whether a run that is scored with `network` computes the metric.
    pub fn is_in_run(&self, network: Network) -> bool {
        match &self.cost {
            Cost::EveryRound(_) => self.is_of(network),
            Cost::EveryRoundWith(only, _) => *only == network,
            Cost::Evaluation => false,
        }
    }

    /// Whether the metric is computed from the features of `network`.
    pub fn is_of(&self, network: Network) -> bool {
        self.network.is_none_or(|only| only == network) && !(self.needs_classes && network == Network::LowPass)
    }

    /// `value` for a file.
    pub fn number(&self, value: f64) -> Number {
        if self.unit == Unit::Classes { Number::Count(value as u64) } else { Number::Real(value) }
    }

    /// `value` with all its decimals.
    pub fn text(&self, value: f64) -> String {
        format!("{value:.*}", self.decimals)
    }

    /// `value` with the decimals of the lines of a run and of the table of its report.
    pub fn text_in_run(&self, value: f64) -> String {
        format!("{value:.*}", self.in_run().map_or(self.decimals, |in_run| in_run.decimals))
    }

    /// `value`, a mean over seeds or the number in a caption, with few decimals.
    pub fn brief(&self, value: f64) -> String {
        let text = format!("{value:.*}", self.brief_decimals());
        if self.unit == Unit::Classes { text.trim_end_matches(".0").to_owned() } else { text }
    }

    /// The decimals of [`brief`](Self::brief).
    pub fn brief_decimals(&self) -> usize {
        self.summary.as_ref().map_or(self.decimals, |summary| summary.decimals)
    }

    /// `class KL 0.125` or `7 of 10 modes`.
    pub fn phrase(&self, value: f64, settings: &Settings) -> String {
        let (label, value) = (self.label, self.text_in_run(value));
        match self.unit {
            Unit::Classes => format!("{value} of {} {label}", settings.class_counts.len()),
            Unit::None | Unit::Nats => format!("{label} {value}"),
        }
    }

    /// How to read the number: unit, direction, and what it was computed with.
    pub fn remark(&self, settings: &Settings) -> String {
        match (self.remark, self.unit) {
            (Some(remark), _) => remark(settings),
            (None, Unit::Classes) => format!("of {} classes", settings.class_counts.len()),
            (None, Unit::Nats) => format!("nats, {}", self.better.phrase()),
            (None, Unit::None) => self.better.phrase(),
        }
    }
}
