//! The one way out of a site: tensors with numbers and words of a closed list, or the code of a refusal.
//!
//! Whatever goes wrong at a site becomes an [`Unanswered`]: its code leaves, its words go to the site's own log and ledger.

use effgan_data::DataError;
use effgan_fl::policy::Policy;
use effgan_fl::{FlError, Refusal};
use effgan_nn::NnError;

use super::content::REFUSED;
use super::ledger::LedgerError;
use super::{Content, classes};
use crate::failure::{Failure, Kind};

/// Why a site has no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// What the server is told.
    pub(super) refusal: Refusal,
    /// What it is not told: one line.
    pub(super) why: String,
    /// Whether somebody wants the process to end.
    pub(super) is_interrupted: bool,
}

impl Unanswered {
    pub(super) fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        Self { refusal, why: why.into(), is_interrupted: false }
    }

    /// A message that contradicts itself.
    pub(super) fn other_question(why: impl Into<String>) -> Self {
        Self::new(Refusal::OtherQuestion, why)
    }

    /// As the site's own log has it.
    pub(super) fn line(&self) -> String {
        format!("{} ({})", self.why, self.refusal.code())
    }
}

impl Content {
    /// An answer that says why there is none.
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self { words: [(REFUSED.to_owned(), refusal.code().to_owned())].into(), ..Self::default() }
    }
}

/// A rule of the policy.
impl From<Refusal> for Unanswered {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal, format!("policy.toml of this site does not allow it: {}", refusal.advice()))
    }
}

impl From<DataError> for Unanswered {
    fn from(error: DataError) -> Self {
        let refusal = classes::refusal(&error);
        Self::new(refusal, Failure::from(error).line())
    }
}

impl From<FlError> for Unanswered {
    fn from(error: FlError) -> Self {
        let is_interrupted = matches!(error, FlError::Interrupted);
        Self { is_interrupted, ..Self::new(Refusal::WorkFailed, Failure::from(error).line()) }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        let is_interrupted = failure.kind() == Kind::Interrupted;
        Self { is_interrupted, ..Self::new(Refusal::WorkFailed, failure.line()) }
    }
}

impl From<NnError> for Unanswered {
    fn from(error: NnError) -> Self {
        FlError::from(error).into()
    }
}

impl From<LedgerError> for Unanswered {
    fn from(error: LedgerError) -> Self {
        Self::new(Refusal::WorkFailed, error.to_string())
    }
}

/// Whether every tensor that leaves is finite and bounded.
pub(super) fn check_leaving(policy: &Policy, content: &Content) -> Result<(), Unanswered> {
    policy.check_params(&content.params).map_err(|refusal| {
        Unanswered::new(
            refusal,
            format!("the parameters after training are above max_parameter = {}", policy.max_parameter),
        )
    })
}
