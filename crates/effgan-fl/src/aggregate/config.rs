//! The `[aggregation]` table: what the server does with the replies of a round, and with the members of the ensemble.

use serde::{Deserialize, Serialize};

use super::Rule;
use crate::intake::{FailurePolicy, OnFailure};
use crate::{FlError, Result};

/// The `[aggregation]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregationConfig {
    /// How the replies of a round become one set of parameters.
    pub kind: AggregationKind,
    /// For `trimmed-mean`: clients cut on each side of each value, ≥ 1; a round needs more than twice as many replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trim: Option<usize>,
    /// For `norm-clipped-mean`: L2 norm to which longer updates are shortened, > 0; the median norm of the round's
    /// updates when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// Largest share of the samples that one member of the ensemble draws, above 0 and at most 1, and at least one in as
    /// many as there are clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_share: Option<f64>,
    /// What becomes of members whose samples lie far outside of the others'.
    pub flagged: Flagged,
    /// What becomes of the run when a client fails or sends what cannot be used: NaN in a loss or an update, wrong
    /// names or shapes. A simulation stops when absent, a federation leaves the client out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Fewest usable replies of a round, ≥ 1; with fewer the run stops. One of those that were asked when absent; a
    /// round to which nobody comes is then skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_clients: Option<usize>,
}

/// `aggregation.kind`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AggregationKind {
    /// [`Rule::Mean`]
    #[default]
    Mean,
    /// [`Rule::Median`]
    Median,
    /// [`Rule::TrimmedMean`]
    TrimmedMean,
    /// [`Rule::NormClippedMean`]
    NormClippedMean,
}

/// What becomes of a member of the ensemble that is flagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flagged {
    /// It keeps its share; the run and the manifest say that it is flagged.
    #[default]
    Keep,
    /// Its share is 0; its file stays.
    LeaveOut,
}

impl AggregationKind {
    /// Its name in a config.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::TrimmedMean => "trimmed-mean",
            Self::NormClippedMean => "norm-clipped-mean",
        }
    }
}

impl AggregationConfig {
    /// Checks the bounds.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        let max_share = self.max_share.filter(|share| !(*share > 0.0 && *share <= 1.0));
        if self.min_clients == Some(0) {
            return Err(FlError::Config("aggregation.min_clients = 0 must be at least 1".into()));
        }
        if let Some(share) = max_share {
            return Err(FlError::Config(format!("aggregation.max_share = {share} must be above 0 and at most 1")));
        }
        self.rule().map(drop)
    }

    /// Checks the bounds that hang on how many clients there are.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check_clients(&self, clients: usize) -> Result<()> {
        let least = 1.0 / clients as f64;
        let wrong = |line: String| Err(FlError::Config(line));
        match (self.rule()?, self.max_share) {
            (Rule::TrimmedMean { trim }, _) if 2 * trim >= clients => wrong(format!(
                "aggregation.trim = {trim} cuts {} of {clients} clients; it must leave one at least",
                2 * trim
            )),
            // An exact share, such as 0.1 of 10, is what a person writes.
            (_, Some(share)) if share < least * (1.0 - 1e-9) => wrong(format!(
                "aggregation.max_share = {share} is below {least:.4}, the share of each of {clients} clients when all \
                 have the same; raise it"
            )),
            _ => Ok(()),
        }
    }

    /// The rule that the keys name.
    ///
    /// # Errors
    /// [`FlError::Config`] when a key is missing, out of its bounds, or another kind's.
    pub fn rule(&self) -> Result<Rule> {
        let Self { kind, trim, clip, .. } = *self;
        let wrong = |line: String| Err(FlError::Config(line));
        let strange = |key: &str, of: AggregationKind| {
            wrong(format!("aggregation.{key} is for kind = \"{}\", and kind is \"{}\"", of.name(), kind.name()))
        };
        if trim.is_some() && kind != AggregationKind::TrimmedMean {
            return strange("trim", AggregationKind::TrimmedMean);
        }
        if clip.is_some() && kind != AggregationKind::NormClippedMean {
            return strange("clip", AggregationKind::NormClippedMean);
        }
        match (kind, trim, clip) {
            (AggregationKind::Mean, ..) => Ok(Rule::Mean),
            (AggregationKind::Median, ..) => Ok(Rule::Median),
            (AggregationKind::TrimmedMean, None, _) => {
                wrong("aggregation.trim is missing: how many clients trimmed-mean cuts on each side, at least 1".into())
            }
            (AggregationKind::TrimmedMean, Some(0), _) => wrong("aggregation.trim = 0 must be at least 1".into()),
            (AggregationKind::TrimmedMean, Some(trim), _) => Ok(Rule::TrimmedMean { trim }),
            (AggregationKind::NormClippedMean, _, Some(clip)) if !(clip > 0.0 && clip.is_finite()) => {
                wrong(format!("aggregation.clip = {clip} must be above 0 and finite"))
            }
            (AggregationKind::NormClippedMean, _, clip) => Ok(Rule::NormClippedMean { clip }),
        }
    }

    /// What is done about clients that fail; `otherwise` where the config does not say.
    pub fn failures(&self, otherwise: OnFailure) -> FailurePolicy {
        FailurePolicy { on_failure: self.on_failure.unwrap_or(otherwise), min_clients: self.min_clients }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(kind: AggregationKind) -> AggregationConfig {
        AggregationConfig { kind, ..AggregationConfig::default() }
    }

    fn trimmed(trim: usize) -> AggregationConfig {
        AggregationConfig { trim: Some(trim), ..of_kind(AggregationKind::TrimmedMean) }
    }

    #[test]
    fn a_key_of_another_kind_is_named_with_both_kinds() {
        use AggregationKind as Kind;
        let error = |config: AggregationConfig| config.check().unwrap_err().to_string();
        let trim = AggregationConfig { trim: Some(1), ..of_kind(Kind::Median) };
        assert_eq!(error(trim), "aggregation.trim is for kind = \"trimmed-mean\", and kind is \"median\"");
        let clip = AggregationConfig { clip: Some(1.0), ..trimmed(1) };
        assert_eq!(error(clip), "aggregation.clip is for kind = \"norm-clipped-mean\", and kind is \"trimmed-mean\"");
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let error = |config: AggregationConfig| config.check().unwrap_err().to_string();
        assert_eq!(error(trimmed(0)), "aggregation.trim = 0 must be at least 1");
        assert!(error(of_kind(AggregationKind::TrimmedMean)).starts_with("aggregation.trim is missing"));
        let clip = |clip| AggregationConfig { clip: Some(clip), ..of_kind(AggregationKind::NormClippedMean) };
        assert_eq!(error(clip(0.0)), "aggregation.clip = 0 must be above 0 and finite");
        assert!(clip(1e30).check().is_ok());
        let share = |share| AggregationConfig { max_share: Some(share), ..AggregationConfig::default() };
        assert_eq!(error(share(0.0)), "aggregation.max_share = 0 must be above 0 and at most 1");
        assert_eq!(error(share(f64::NAN)), "aggregation.max_share = NaN must be above 0 and at most 1");
        let min_clients = AggregationConfig { min_clients: Some(0), ..AggregationConfig::default() };
        assert_eq!(error(min_clients), "aggregation.min_clients = 0 must be at least 1");
    }

    #[test]
    fn some_bounds_are_known_with_the_clients() {
        let error = |config: AggregationConfig, clients| config.check_clients(clients).unwrap_err().to_string();
        assert_eq!(error(trimmed(3), 6), "aggregation.trim = 3 cuts 6 of 6 clients; it must leave one at least");
        assert!(trimmed(3).check_clients(7).is_ok());
        let share = |share| AggregationConfig { max_share: Some(share), ..AggregationConfig::default() };
        assert_eq!(
            error(share(0.2), 4),
            "aggregation.max_share = 0.2 is below 0.2500, the share of each of 4 clients when all have the same; raise it"
        );
        for clients in 1..100 {
            assert!(share(1.0 / clients as f64).check_clients(clients).is_ok());
        }
    }
}
