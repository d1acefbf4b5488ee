//! Why a site does not answer. Whatever goes wrong at a site becomes a [`SiteError`]: its code leaves, its words go to the site's log and
//! ledger.

use effgan_data::DataError;
use effgan_fl::policy::Policy;
use effgan_fl::{FlError, Refusal};
use effgan_nn::NnError;

use super::class_labels;
use crate::failure::{Failure, Kind};
use crate::protocol::Content;
use crate::protocol::ledger::LedgerError;

/// Why a site does not answer a request.
#[derive(Debug)]
pub(super) struct SiteError {
    /// What the server learns.
    pub(super) refusal: Refusal,
    /// The reason, in one line, which does not leave the site.
    pub(super) why: String,
    /// Whether the work was interrupted from outside.
    pub(super) is_interrupted: bool,
}

impl SiteError {
    pub(super) fn new(refusal: Refusal, why: impl Into<String>) -> Self {
        Self { refusal, why: why.into(), is_interrupted: false }
    }

    /// A message whose parts contradict each other.
    pub(super) fn inconsistent(why: impl Into<String>) -> Self {
        Self::new(Refusal::OtherQuestion, why)
    }

    /// The line in the site's log.
    pub(super) fn line(&self) -> String {
        format!("{} ({})", self.why, self.refusal.code())
    }
}

/// A refusal by the site's policy.
impl From<Refusal> for SiteError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal, format!("this site's policy.toml does not allow it: {}", refusal.advice()))
    }
}

impl From<DataError> for SiteError {
    fn from(error: DataError) -> Self {
        let refusal = class_labels::refusal(&error);
        Self::new(refusal, Failure::from(error).line())
    }
}

impl From<FlError> for SiteError {
    fn from(error: FlError) -> Self {
        let is_interrupted = matches!(error, FlError::Interrupted);
        Self { is_interrupted, ..Self::new(Refusal::WorkFailed, Failure::from(error).line()) }
    }
}

impl From<Failure> for SiteError {
    fn from(failure: Failure) -> Self {
        let is_interrupted = failure.kind() == Kind::Interrupted;
        Self { is_interrupted, ..Self::new(Refusal::WorkFailed, failure.line()) }
    }
}

impl From<NnError> for SiteError {
    fn from(error: NnError) -> Self {
        FlError::from(error).into()
    }
}

impl From<LedgerError> for SiteError {
    fn from(error: LedgerError) -> Self {
        Self::new(Refusal::WorkFailed, error.to_string())
    }
}

/// Checks that every value that leaves is finite and within the policy's bound.
///
/// # Errors
/// [`Refusal::ParametersOutOfBounds`].
pub(super) fn check_leaving(policy: &Policy, content: &Content) -> Result<(), SiteError> {
    policy.check_params(&content.params).map_err(|refusal| {
        SiteError::new(
            refusal,
            format!("the parameters after training exceed max_parameter = {}, or are not finite", policy.max_parameter),
        )
    })
}
