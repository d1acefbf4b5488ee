//! Events: what a run records while it works, one line of `metrics.jsonl` each.
//!
//! The report is made from these lines, `run.json`, the config and the pictures, so it can be made again from the folder
//! alone. Fields that hold times are named `seconds`; all others are equal for equal runs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{Flagged, RoundRecord};
use effgan_metrics::Scores;
use effgan_metrics::metric::Metric;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::loss_key::is_loss;
pub use super::verdict::{Outcome, Spread, Verdict};

/// One line of `metrics.jsonl`. [`read_events`](super::run_dir::read_events) reads those of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Event {
    /// A round of exchanges is done.
    Round(RoundRecord),
    /// A client's losses within a round.
    Losses(LossCurve),
    /// A set of images was scored.
    Score(Score),
    /// A remark about the data or the scores.
    Note(Note),
    /// A member of the ensemble is an outlier.
    Flag(Flag),
    /// Samples of a member of the ensemble were classified.
    Member(MemberClasses),
    /// Samples of a generator were compared with one another.
    Spread(Spread),
    /// A stage of the run is done.
    Stage(Stage),
    /// The run is done: what its numbers say of it.
    Verdict(Verdict),
}

/// A round beyond this, one more than a config may ask for, is taken for damage.
const MAX_ROUNDS: u32 = 1_000_001;

impl Event {
    /// Reads the text of a `metrics.jsonl`: the events, and the numbers (from 1) of the lines that are not events.
    ///
    /// Such a line was cut off by a kill, or has `null` in place of a number. Callers skip it and report its number.
    pub fn all(text: &str) -> (Vec<Self>, Vec<usize>) {
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            match serde_json::from_str::<Self>(line) {
                Ok(event) if event.round() <= MAX_ROUNDS => events.push(event),
                _ => unreadable.push(number),
            }
        }
        (events, unreadable)
    }

    /// The event as it is recorded, and its line of JSON without a line break.
    ///
    /// JSON has no NaN and no infinity: an event with a number that is not finite becomes a [`Note`] that says so, since its
    /// own line could not be read back.
    ///
    /// # Errors
    /// When the event does not serialise.
    pub(super) fn recorded(&self) -> serde_json::Result<(Cow<'_, Self>, String)> {
        let line = serde_json::to_string(self)?;
        if serde_json::from_str::<Self>(&line).is_ok() {
            return Ok((Cow::Borrowed(self), line));
        }
        let event = serde_json::to_value(self)?;
        let name = event["event"].as_str().unwrap_or_default();
        let note =
            format!("the event `{name}` of round {} had a number that is not finite and was left out", self.round());
        let note = Self::Note(Note { note });
        let line = serde_json::to_string(&note)?;
        Ok((Cow::Owned(note), line))
    }

    /// The round of a round, of losses or of a score; 0 for the score of real images and for all other events.
    pub fn round(&self) -> u32 {
        match self {
            Self::Round(round) => round.round,
            Self::Losses(curve) => curve.round,
            Self::Score(score) => score.round,
            Self::Flag(_) | Self::Member(_) | Self::Note(_) | Self::Spread(_) | Self::Stage(_) | Self::Verdict(_) => 0,
        }
    }
}

/// A remark about the data or the scores, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// One line of plain text.
    pub note: String,
}

/// A member of the ensemble whose samples differ strongly from those of all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    /// The member's client.
    pub client: String,
    /// Why it is flagged, with the measured number and the bound.
    pub reason: String,
    /// Whether it stays in the ensemble.
    pub flagged: Flagged,
}

impl Flag {
    /// The flag as a sentence.
    pub fn sentence(&self) -> String {
        let outcome = match self.flagged {
            Flagged::Keep => {
                "is flagged as an outlier and keeps its share (aggregation.flagged = \"leave-out\" would remove it)"
            }
            Flagged::LeaveOut => "is flagged as an outlier and left out of the ensemble",
        };
        format!("{} {outcome}: {}", self.client, self.reason)
    }
}

/// A client's losses in a round, each value the mean over an equal part of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    /// The round, from 1.
    pub round: u32,
    /// The client.
    pub client: String,
    /// Training steps of the client in the round.
    pub steps: u64,
    /// The mean of each part for every loss, by the [key](super::loss_key) of the loss.
    #[serde(flatten, deserialize_with = "losses_among")]
    pub losses: BTreeMap<String, Vec<f64>>,
}

/// The losses among the fields of a curve; all others are ignored.
fn losses_among<'de, D: Deserializer<'de>>(fields: D) -> Result<BTreeMap<String, Vec<f64>>, D::Error> {
    let losses = BTreeMap::<String, Value>::deserialize(fields)?.into_iter().filter(|(key, _)| is_loss(key));
    losses.map(|(key, means)| Ok((key, Vec::deserialize(means).map_err(D::Error::custom)?))).collect()
}

/// Scores of one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The round after which the images were generated; 0 for real images.
    pub round: u32,
    /// What was scored.
    pub of: Scored,
    /// How the batch-norm statistics were made, for an averaged generator with batch norm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_statistics: Option<NormStatistics>,
    /// The scores, of which the main metric is one.
    #[serde(flatten, deserialize_with = "with_main_metric")]
    pub scores: Scores,
    /// Wall time of generating and scoring, in seconds.
    pub seconds: f64,
}

impl Score {
    /// The main metric of the network that the images were scored with.
    pub fn main_metric(&self) -> &'static Metric {
        self.with_main().0
    }

    /// The value of the main metric.
    pub fn main(&self) -> f64 {
        self.with_main().1
    }

    fn with_main(&self) -> (&'static Metric, f64) {
        self.scores.main().expect("a run computes the main metric, and its score is not read without it")
    }

    /// What was scored, and the main metric: `ensemble fd_small 21.34`.
    pub fn headline(&self) -> String {
        let (metric, value) = self.with_main();
        format!("{} {} {}", self.of.title(), metric.label, metric.text_in_run(value))
    }
}

/// Scores that have the main metric.
fn with_main_metric<'de, D: Deserializer<'de>>(fields: D) -> Result<Scores, D::Error> {
    let scores = Scores::deserialize(fields)?;
    if scores.main().is_none() {
        return Err(D::Error::missing_field("fd_small"));
    }
    Ok(scores)
}

/// What was scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scored {
    /// Real training images: the score of a perfect generator.
    Floor,
    /// The averaged generator.
    Average,
    /// The mean of the members, which is FedGAN at equal work where
    /// [`RunInfo::mean_is_fedgan`](super::run_info::RunInfo::mean_is_fedgan) is set.
    MeanOfMembers,
    /// The ensemble of the fine-tuned generators.
    Ensemble,
}

impl Scored {
    /// The name in files: `floor`, `average`, `mean-of-members` or `ensemble`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Average => "average",
            Self::MeanOfMembers => "mean-of-members",
            Self::Ensemble => "ensemble",
        }
    }

    /// The name in logs and captions.
    pub fn title(self) -> &'static str {
        match self {
            Self::Floor => "real images (floor)",
            Self::Average => "averaged generator",
            Self::MeanOfMembers => "mean of members",
            Self::Ensemble => "ensemble",
        }
    }
}

/// The classes of a member's samples, as the built-in classifier predicts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberClasses {
    /// The member's client.
    pub client: String,
    /// Samples per predicted class.
    pub class_counts: Vec<u64>,
}

/// Wall time of one stage of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// `prepare`, `train`, `score` or `pictures`.
    pub stage: String,
    /// Wall time, in seconds.
    pub seconds: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn losses(losses: &[(&str, &[f64])]) -> Event {
        let losses = losses.iter().map(|(key, means)| ((*key).to_owned(), means.to_vec())).collect();
        Event::Losses(LossCurve { round: 3, client: "north".into(), steps: 80, losses })
    }

    fn line_of(event: &Event) -> String {
        event.recorded().unwrap().1
    }

    #[test]
    fn losses_are_fields_of_their_line_under_their_own_keys() {
        let line = r#"{"event":"losses","round":3,"client":"north","steps":80,"loss_d":[1.5,0.1],"loss_g":[2.0]}"#;
        let gan = losses(&[("loss_g", &[2.0]), ("loss_d", &[1.5, 0.1])]);
        assert_eq!(gan.recorded().unwrap(), (Cow::Borrowed(&gan), line.to_owned()));
        assert_eq!(Event::all(line), (vec![gan], vec![]));

        let three = losses(&[("loss_kl", &[0.25]), ("loss_pixels", &[4.0]), ("loss_z", &[])]);
        assert_eq!(Event::all(&line_of(&three)), (vec![three], vec![]));
    }

    #[test]
    fn fields_of_a_curve_that_are_not_losses_are_ignored() {
        let curve =
            |more| format!(r#"{{"event":"losses","round":3,"client":"north","steps":80,"loss_d":[1.5]{more}}}"#);
        let read = |more| Event::all(&curve(more));
        let with_others = read(r#","loss_<b>":[1.0],"=cmd":[2.0],"note":"x","Loss_g":null"#);
        assert_eq!(with_others, (vec![losses(&[("loss_d", &[1.5])])], vec![]));
        for wrong in [r#","loss_g":null"#, r#","loss_g":[null]"#, r#","loss_g":"high""#] {
            assert_eq!(read(wrong), (vec![], vec![1]), "{wrong}");
        }
    }

    #[test]
    fn an_event_with_nan_or_infinity_is_written_as_a_note_that_reads_back() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let losses = losses(&[("loss_d", &[seconds]), ("loss_g", &[0.5])]);
            let (recorded, line) = losses.recorded().unwrap();
            let note = "the event `losses` of round 3 had a number that is not finite and was left out".to_owned();
            assert_eq!(*recorded, Event::Note(Note { note }));
            assert_eq!(Event::all(&line), (vec![recorded.into_owned()], vec![]));
        }
        let stage = Event::Stage(Stage { stage: "null".into(), seconds: 1.5 });
        assert_eq!(Event::all(&line_of(&stage)), (vec![stage], vec![]));
    }

    #[test]
    fn a_score_is_read_with_metrics_that_are_missing_but_not_without_the_main_one() {
        let read = |metrics: &str| {
            Event::all(&format!(r#"{{"event":"score","round":2,"of":"average","n":9,{metrics}"seconds":1.5}}"#))
        };
        let (events, unreadable) = read(r#""fd_small":8.5,"#);
        let [Event::Score(score)] = &events[..] else { panic!("{events:?}, {unreadable:?}") };
        assert_eq!((score.main(), score.scores.n, score.seconds), (8.5, 9, 1.5));
        assert_eq!(score.headline(), "averaged generator fd_small 8.50");
        for wrong in ["", r#""class_kl":0.5,"#, r#""fd_small":null,"#, r#""fd_small":8.5,"class_kl":null,"#] {
            assert_eq!(read(wrong), (vec![], vec![1]), "{wrong}");
        }
    }

    #[test]
    fn lines_that_are_not_events_are_reported_by_number() {
        let good = Event::Note(Note { note: "good".into() });
        let line = line_of(&good);
        let text = format!(
            "{line}\nnull\n\n{{\"event\":\"stage\",\"stage\":\"train\",\"seconds\":null}}\n{line}\n{{\"event\":\"no"
        );
        assert_eq!(Event::all(&text), (vec![good.clone(), good], vec![2, 4, 6]));
    }
}
