//! What a run writes down while it works: the lines of `metrics.jsonl`, and `run.json`.
//!
//! The report is made from these, the config and the pictures, so it can be made again from the folder alone. Fields that hold times are called `seconds`
//! or `started`; all others are equal for equal runs.

use effgan_fl::ensemble::NormStatistics;
use effgan_fl::{Flagged, RoundRecord};
use effgan_metrics::Scores;
use effgan_nn::kernels::Precision;
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
