//! Why a site refuses what it is asked to do, as one code of a closed list.
//!
//! The server learns the code and nothing else, because an error message may name files, folders and people. The details are in
//! the site's own log and ledger.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A site's reason for a refusal. Messages and files hold its [`code`](Self::code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The run has not been approved at the site yet.
    WaitingForApproval,
    /// Kind, type, round and config hash of the message contradict each other.
    OtherQuestion,
    /// The server's effgan is another version.
    OtherVersion,
    /// The policy does not allow the algorithm.
    AlgorithmNotAllowed,
    /// Fewer images are left after the hold-out than the policy asks for.
    TooFewImages,
    /// The config holds out a larger share than the policy allows.
    HoldOutTooLarge,
    /// The site's hold-out was drawn in an earlier run, with another share.
    HoldOutDiffers,
    /// The config's batches are smaller than the policy asks for.
    BatchTooSmall,
    /// A reply would be made of less than a whole pass over the images.
    LessThanAPass,
    /// The run has more rounds than the policy allows.
    TooManyRounds,
    /// The run has more training steps than the policy allows.
    TooManySteps,
    /// The run has more passes over the images than the policy allows.
    TooManyPasses,
    /// What the policy allows over all runs is used up.
    BudgetSpent,
    /// The policy allows private training alone.
    PrivacyRequired,
    /// δ is larger than the policy allows, or not below 1 over the number of images.
    DeltaTooLarge,
    /// The ε that the policy allows over all private runs is used up, or would be.
    PrivacyBudgetSpent,
    /// The site's ledger is older than the server knows it: it was restored from a backup, and the ε that is missing there was spent.
    LedgerRestored,
    /// The config asks for larger images than the policy allows.
    ImageTooLarge,
    /// The networks are larger than the policy allows.
    ModelTooLarge,
    /// Parameters that were sent are not finite or exceed the policy's bound.
    ParametersOutOfBounds,
    /// The work would take more memory than the policy allows.
    TooMuchMemory,
    /// The work would take longer than the policy allows.
    TooMuchTime,
    /// The policy does not allow label counts to leave the site.
    LabelCountsNotAllowed,
    /// The policy does not allow class names to leave the site.
    ClassNamesNotAllowed,
    /// A folder at the site is not a class of the config.
    UnknownClass,
    /// The site has already handed in its fine-tuned generator, and does no other work for this run.
    AlreadyFineTuned,
    /// The site's audit of the generator does not allow it to leave.
    Withheld,
    /// The site's images are missing, damaged or of different sizes.
    DataUnusable,
    /// The work was stopped at the deadline.
    Deadline,
    /// The work failed; the site's log says why.
    WorkFailed,
}

impl Refusal {
    /// All refusals, in the order in which documents list them.
    pub const ALL: [Self; 30] = [
        Self::WaitingForApproval,
        Self::OtherQuestion,
        Self::OtherVersion,
        Self::AlgorithmNotAllowed,
        Self::TooFewImages,
        Self::HoldOutTooLarge,
        Self::HoldOutDiffers,
        Self::BatchTooSmall,
        Self::LessThanAPass,
        Self::TooManyRounds,
        Self::TooManySteps,
        Self::TooManyPasses,
        Self::BudgetSpent,
        Self::PrivacyRequired,
        Self::DeltaTooLarge,
        Self::PrivacyBudgetSpent,
        Self::LedgerRestored,
        Self::ImageTooLarge,
        Self::ModelTooLarge,
        Self::ParametersOutOfBounds,
        Self::TooMuchMemory,
        Self::TooMuchTime,
        Self::LabelCountsNotAllowed,
        Self::ClassNamesNotAllowed,
        Self::UnknownClass,
        Self::AlreadyFineTuned,
        Self::Withheld,
        Self::DataUnusable,
        Self::Deadline,
        Self::WorkFailed,
    ];

    /// The code in messages and files: lower case, with hyphens.
    pub fn code(self) -> &'static str {
        match self {
            Self::WaitingForApproval => "waiting-for-approval",
            Self::OtherQuestion => "other-question",
            Self::OtherVersion => "other-version",
            Self::AlgorithmNotAllowed => "algorithm-not-allowed",
            Self::TooFewImages => "too-few-images",
            Self::HoldOutTooLarge => "hold-out-too-large",
            Self::HoldOutDiffers => "hold-out-differs",
            Self::BatchTooSmall => "batch-too-small",
            Self::LessThanAPass => "less-than-a-pass",
            Self::TooManyRounds => "too-many-rounds",
            Self::TooManySteps => "too-many-steps",
            Self::TooManyPasses => "too-many-passes",
            Self::BudgetSpent => "budget-spent",
            Self::PrivacyRequired => "privacy-required",
            Self::DeltaTooLarge => "delta-too-large",
            Self::PrivacyBudgetSpent => "privacy-budget-spent",
            Self::LedgerRestored => "ledger-restored",
            Self::ImageTooLarge => "image-too-large",
            Self::ModelTooLarge => "model-too-large",
            Self::ParametersOutOfBounds => "parameters-out-of-bounds",
            Self::TooMuchMemory => "too-much-memory",
            Self::TooMuchTime => "too-much-time",
            Self::LabelCountsNotAllowed => "label-counts-not-allowed",
            Self::ClassNamesNotAllowed => "class-names-not-allowed",
            Self::UnknownClass => "unknown-class",
            Self::AlreadyFineTuned => "already-fine-tuned",
            Self::Withheld => "withheld",
            Self::DataUnusable => "data-unusable",
            Self::Deadline => "deadline",
            Self::WorkFailed => "work-failed",
        }
    }

    /// The refusal with this code; `None` for any other text.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }

    /// What the server's operator can do about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::WaitingForApproval => "somebody there must run effgan federation approve",
            Self::OtherQuestion => "the message or its config contradicts itself; its own log says how",
            Self::OtherVersion => "install the same effgan on all machines",
            Self::AlgorithmNotAllowed => "use an algorithm that its policy.toml lists under algorithms",
            Self::TooFewImages => "its policy.toml wants more images (min_images)",
            Self::HoldOutTooLarge => "lower partition.held_out to its policy's max_held_out",
            Self::HoldOutDiffers => "use the partition.held_out of its first run",
            Self::BatchTooSmall => "raise local.batch_size to its policy's min_batch_size",
            Self::LessThanAPass => "let each answer be a whole pass over its images: local.epochs ≥ 1",
            Self::TooManyRounds => "lower algorithm.rounds to its policy's max_rounds",
            Self::TooManySteps => "train fewer steps than its policy's max_steps",
            Self::TooManyPasses => "train fewer epochs than its policy's max_passes",
            Self::BudgetSpent => {
                "its policy allows no more training over all runs (total_rounds, total_steps, total_passes)"
            }
            Self::PrivacyRequired => "add a [privacy] table to the config: its policy allows no other training",
            Self::DeltaTooLarge => {
                "lower privacy.delta: its policy bounds it (max_delta, and 1 over its number of images)"
            }
            Self::PrivacyBudgetSpent => {
                "train less, or with more noise: its policy bounds the ε of all private runs (max_epsilon)"
            }
            Self::LedgerRestored => {
                "its ledger was restored from a backup and lacks what it answered later; its operator must restore the newest one"
            }
            Self::ImageTooLarge => "lower dataset.size to its policy's max_image_size",
            Self::ModelTooLarge => "lower network.base_channels: its policy bounds the bytes of a model",
            Self::ParametersOutOfBounds => "the parameters sent have diverged",
            Self::TooMuchMemory => "lower dataset.size or local.batch_size: its policy bounds memory",
            Self::TooMuchTime => "train less: its policy bounds the seconds of an answer",
            Self::LabelCountsNotAllowed => "set federation.label_counts = false",
            Self::ClassNamesNotAllowed => "name the classes in federation.classes",
            Self::UnknownClass => "one of its folders is not in federation.classes; ask its operator",
            Self::AlreadyFineTuned => {
                "it has finished this run; for another one change the seed, and to go on with the first one give its --out"
            }
            Self::Withheld => "its own audit of the generator did not allow it to leave; train less, or privately",
            Self::DataUnusable => "its operator must run effgan federation check",
            Self::Deadline => "raise federation.deadline, or train less",
            Self::WorkFailed => "its own log says why",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {} ({})", self.code(), self.advice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_code_and_is_found_by_it() {
        for refusal in Refusal::ALL {
            assert_eq!(Refusal::of_code(refusal.code()), Some(refusal));
            assert_eq!(serde_json::to_value(refusal).unwrap(), refusal.code());
        }
        assert_eq!(Refusal::of_code("no such code"), None);
    }
}
