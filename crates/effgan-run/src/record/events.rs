//! What a run writes down while it works: the lines of `metrics.jsonl`, and `run.json`.
//!
//! The report is made from these, the config and the pictures, so it can be made again from the folder alone. Fields that hold times are called `seconds`
//! or `started`; all others are equal for equal runs.

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{Flagged, RoundRecord};
use effgan_metrics::Scores;
use effgan_nn::Precision;
use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An exchange of messages is done.
    Round(RoundRecord),
    /// How a client's losses went within a round.
    Losses(LossCurve),
    /// Something was scored.
    Score(Score),
    /// Something that a person has to know of the data or the scores.
    Note(Note),
    /// A member of the ensemble lies far outside of the others.
    Flag(Flag),
    /// A member of the ensemble was drawn from.
    Member(MemberClasses),
    /// A stage of the run is done.
    Stage(Stage),
}

/// A line of a later round than any run has is damaged.
const MOST_ROUNDS: u32 = 1_000_001;

impl Event {
    /// The events in the text of a `metrics.jsonl`, and the numbers, from 1, of the lines that are none: a last one that was cut off, or
    /// one that holds `null` where a number belongs. Whoever reads goes on without these, and says which.
    pub fn all(text: &str) -> (Vec<Self>, Vec<usize>) {
        let (mut events, mut unreadable) = (Vec::new(), Vec::new());
        for (line, number) in text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty()) {
            match serde_json::from_str::<Self>(line) {
                Ok(event) if event.round() <= MOST_ROUNDS => events.push(event),
                _ => unreadable.push(number),
            }
        }
        (events, unreadable)
    }

    /// As a line without its end. JSON has no infinity: an event with a number that is not finite becomes a note that says so, since its
    /// own line could not be read again.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn line(&self) -> serde_json::Result<String> {
        let line = serde_json::to_string(self)?;
        if serde_json::from_str::<Self>(&line).is_ok() {
            return Ok(line);
        }
        let event = serde_json::to_value(self)?;
        let name = event["event"].as_str().unwrap_or_default();
        let note = format!("a {name} of round {} held a number that is not finite, and is left out", self.round());
        serde_json::to_string(&Self::Note(Note { note }))
    }

    /// 0 for what belongs to none.
    fn round(&self) -> u32 {
        match self {
            Self::Round(round) => round.round,
            Self::Losses(curve) => curve.round,
            Self::Score(score) => score.round,
            Self::Flag(_) | Self::Member(_) | Self::Note(_) | Self::Stage(_) => 0,
        }
    }
}

/// A line for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub note: String,
}

/// A member of the ensemble whose samples lie far outside of the others'.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flag {
    pub client: String,
    /// With its number and the bound.
    pub reason: String,
    /// What became of it.
    pub flagged: Flagged,
}

impl Flag {
    /// What a person has to know of it.
    pub fn sentence(&self) -> String {
        let outcome = match self.flagged {
            Flagged::Keep => "is flagged and keeps its share (aggregation.flagged = \"leave-out\" takes it)",
            Flagged::LeaveOut => "is flagged and left out of the ensemble",
        };
        format!("{} {outcome}: {}", self.client, self.reason)
    }
}

/// A client's losses in a round, as means over equal stretches of its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    pub round: u32,
    pub client: String,
    /// Steps of the round.
    pub steps: u64,
    /// Mean discriminator loss of each stretch, in nats.
    pub loss_d: Vec<f64>,
    /// Mean generator loss of each stretch, in nats.
    pub loss_g: Vec<f64>,
}

/// Scores of one set of images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// Round after which it was scored; 0 for real images.
    pub round: u32,
    /// What was scored.
    pub of: Scored,
    /// How batch-norm statistics were made, where there is a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm_statistics: Option<NormStatistics>,
    #[serde(flatten)]
    pub scores: Scores,
    pub seconds: f64,
}

/// What was scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scored {
    /// Real training images against the reference: what a perfect generator would get.
    Floor,
    /// The averaged generator.
    Average,
    /// The mean of the members; FedGAN at equal work where [`RunInfo::mean_is_fedgan`] says so.
    MeanOfMembers,
    /// The ensemble of the fine-tuned generators.
    Ensemble,
}

impl Scored {
    /// What files call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Average => "average",
            Self::MeanOfMembers => "mean-of-members",
            Self::Ensemble => "ensemble",
        }
    }

    /// What a person calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Floor => "real images (floor)",
            Self::Average => "averaged generator",
            Self::MeanOfMembers => "mean of members",
            Self::Ensemble => "ensemble",
        }
    }
}

/// Which classes a member of the ensemble draws, as the shipped classifier sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberClasses {
    pub client: String,
    /// Predicted classes of its samples.
    pub class_counts: Vec<u64>,
}

/// Wall time of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub stage: String,
    pub seconds: f64,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    Running,
    Done,
    Interrupted,
    Failed,
}

/// `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    pub name: String,
    pub status: Status,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub algorithm: String,
    pub seed: u64,
    /// Threads, shared out among the clients at work.
    pub jobs: usize,
    /// Of the large products of a training step.
    #[serde(default)]
    pub precision: Precision,
    pub version: String,
    pub machine: Machine,
    pub dataset: DatasetInfo,
    pub partition: PartitionInfo,
    pub network: NetworkInfo,
    /// Whether the mean of the members is what FedGAN would have made of the same work: everyone took part in all rounds, fine-tuned as
    /// long as in a round, and answered with raw parameters.
    pub mean_is_fedgan: bool,
    /// Model hash of the server's parameters and all members, once the run is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// Clients that the simulation has attack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attackers: Vec<String>,
    /// How often it was resumed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub resumed: u32,
    /// Seconds since 1970, UTC.
    pub started: u64,
    pub seconds: f64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// Where a run ran: equal bits are promised for equal machines and builds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub instruction_set: String,
    pub os: String,
}

/// What was learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetInfo {
    pub name: String,
    /// `[c, h, w]`.
    pub image_shape: [usize; 3],
    pub num_classes: usize,
    /// Training images dealt to clients.
    pub num_dealt: usize,
    /// Images of the test split; a federation has none in one place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_test: Option<usize>,
}

/// Who had what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionInfo {
    pub clients: Vec<String>,
    /// Training images by client, in order of name.
    pub num_examples: Vec<u64>,
    /// What they count as, where a cap lowers that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<Vec<u64>>,
    /// Training images by client and class, where sites told them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_counts: Option<Vec<Vec<u64>>>,
    /// Mean total variation distance between a client's classes and all: 0 is iid. Known where the classes are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_skew: Option<f64>,
}

/// Sizes of the networks, in trained and running values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkInfo {
    pub generator_values: u64,
    pub discriminator_values: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_a_number_that_is_not_finite_is_written_as_a_note_that_can_be_read() {
        for seconds in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let curve =
                LossCurve { round: 3, client: "north".into(), steps: 1, loss_d: vec![seconds], loss_g: vec![0.5] };
            let line = Event::Losses(curve).line().unwrap();
            let note = "a losses of round 3 held a number that is not finite, and is left out".to_owned();
            assert_eq!(Event::all(&line), (vec![Event::Note(Note { note })], vec![]));
        }
        let stage = Event::Stage(Stage { stage: "null".into(), seconds: 1.5 });
        assert_eq!(Event::all(&stage.line().unwrap()), (vec![stage], vec![]));
    }

    #[test]
    fn lines_that_are_no_events_are_told_by_their_numbers() {
        let good = Event::Note(Note { note: "good".into() });
        let line = good.line().unwrap();
        let text = format!(
            "{line}\nnull\n\n{{\"event\":\"stage\",\"stage\":\"train\",\"seconds\":null}}\n{line}\n{{\"event\":\"no"
        );
        assert_eq!(Event::all(&text), (vec![good.clone(), good], vec![2, 4, 6]));
    }
}
