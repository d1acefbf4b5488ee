//! The `[aggregation]` table: how the server folds the replies of a round, and what it does with the members of the ensemble.

use serde::{Deserialize, Serialize};

use super::{ClientNoise, Rule};
use crate::bounds::Bounds;
use crate::failure_policy::{FailurePolicy, OnFailure};
use crate::{FlError, Result};

/// The `[aggregation]` table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AggregationConfig {
    /// The rule that folds the replies of a round into one set of parameters.
    pub kind: AggregationKind,
    /// For `trimmed-mean`: number of clients that are cut on each side, per value, ≥ 1; a round needs more than twice as many replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trim: Option<usize>,
    /// For `norm-clipped-mean` and `private-mean`: L2 norm to which larger updates are scaled down, > 0; for `norm-clipped-mean` the median norm of
    /// the round's updates when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// For `private-mean`: σ, 0.05..=1e6, the noise's standard deviation in units of `clip`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_multiplier: Option<f64>,
    /// For `private-mean`: δ for which ε of each client is stated, above 0 and below 1; 1e-5 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// Largest L2 norm of an update over its trainable tensors, above 0; a client with a larger update has failed. The bound is
    /// absolute, so it also holds with few clients, where a median norm says little.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_norm: Option<f64>,
    /// Largest absolute value in the tensors of a reply, above 0; a client that sends a larger one has failed. When absent,
    /// values beyond 1e15 are refused all the same, so that no sum or norm becomes infinite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_value: Option<f64>,
    /// Largest share of one client in a round's mean, above 0 and at most 1; a larger n_k counts as less. With fewer than 1 /
    /// `max_weight` replies, all clients count equally. All replies of a round are then in memory at once. `max_share` is the
    /// bound for ensembles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_weight: Option<f64>,
    /// Largest share of the samples that are drawn from one member of the ensemble, at most 1 and at least 1 / number of clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_share: Option<f64>,
    /// What happens to members whose samples are outliers.
    pub flagged: Flagged,
    /// What happens when a client fails or sends an unusable reply (NaN in a loss or an update, wrong names or shapes). When
    /// absent, a simulation stops, so that bugs are noticed, and a federation leaves the client out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_failure: Option<OnFailure>,
    /// Minimum number of usable replies of a round, ≥ 1; with fewer, the run stops. When absent, one usable reply is enough, and a round
    /// with no participants is skipped.
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
    /// [`Rule::PrivateMean`]
    PrivateMean,
}

/// What happens to a member of the ensemble that is flagged as an outlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flagged {
    /// It keeps its weight; the run and the manifest say that it is flagged.
    #[default]
    Keep,
    /// Its weight becomes 0; its file stays.
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
            Self::PrivateMean => "private-mean",
        }
    }
}

impl AggregationConfig {
    /// Checks that the values are within their bounds.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check(&self) -> Result<()> {
        let max_share = self.max_share.filter(|share| !(*share > 0.0 && *share <= 1.0));
        if self.min_clients == Some(0) {
            return Err(FlError::Config("aggregation.min_clients = 0 must be at least 1".into()));
        }
        if let Some(share) = max_share {
            return Err(FlError::Config(format!("aggregation.max_share = {share:?} must be above 0 and at most 1")));
        }
        self.bounds().check_config()?;
        let is_mean = matches!(self.kind, AggregationKind::Mean | AggregationKind::NormClippedMean);
        if self.max_weight.is_some() && !is_mean {
            let kind = self.kind.name();
            let line = format!(
                "aggregation.max_weight is for weighted means, but kind = \"{kind}\" weights all clients equally"
            );
            return Err(FlError::Config(line));
        }
        self.rule().map(drop)
    }

    /// Checks the bounds that depend on the number of clients, of whom a round asks `in_round`.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub fn check_clients(&self, clients: usize, in_round: usize) -> Result<()> {
        let (whom, or_raise) = if in_round < clients {
            (" that algorithm.cohort draws for a round", " or raise algorithm.cohort")
        } else {
            ("", "")
        };
        if let Some(least) = self.min_clients.filter(|least| *least > in_round) {
            let line = format!(
                "aggregation.min_clients = {least} must be at most {in_round}, the number of clients{whom}; lower it{or_raise}"
            );
            return Err(FlError::Config(line));
        }
        let least = 1.0 / clients as f64;
        // 1e-9: a user may write exactly 1 / clients, such as 0.1 for 10, which f64 rounds.
        let too_low = |share: &f64| *share < least * (1.0 - 1e-9);
        let wrong = |line: String| Err(FlError::Config(line));
        let shares = [("max_weight", self.max_weight), ("max_share", self.max_share)];
        let too_low =
            shares.into_iter().find_map(|(key, share)| Some((key, share.filter(too_low)?))).filter(|_| clients > 1);
        match (self.rule()?, too_low) {
            (Rule::TrimmedMean { trim }, _) if trim.saturating_mul(2) >= in_round => wrong(format!(
                "aggregation.trim = {trim} cuts {} of {in_round} clients{whom}, and must leave at least one; lower it{or_raise}",
                trim.saturating_mul(2)
            )),
            (_, Some((key, share))) => wrong(format!(
                "aggregation.{key} = {share:?} is below {least:.4}, an equal share of {clients} clients; raise it"
            )),
            _ => Ok(()),
        }
    }

    /// The rule that the keys name.
    ///
    /// # Errors
    /// [`FlError::Config`] when a key is missing, out of its bounds, or belongs to another kind.
    pub fn rule(&self) -> Result<Rule> {
        let Self { kind, trim, clip, noise_multiplier, delta, .. } = *self;
        let wrong = |line: String| Err(FlError::Config(line));
        let other_kind = |key: &str, of: AggregationKind| {
            wrong(format!("aggregation.{key} is for kind = \"{}\", but kind is \"{}\"", of.name(), kind.name()))
        };
        if trim.is_some() && kind != AggregationKind::TrimmedMean {
            return other_kind("trim", AggregationKind::TrimmedMean);
        }
        let has_clip = matches!(kind, AggregationKind::NormClippedMean | AggregationKind::PrivateMean);
        if clip.is_some() && !has_clip {
            return other_kind("clip", AggregationKind::NormClippedMean);
        }
        for (key, value) in [("noise_multiplier", noise_multiplier), ("delta", delta)] {
            if value.is_some() && kind != AggregationKind::PrivateMean {
                return other_kind(key, AggregationKind::PrivateMean);
            }
        }
        if let Some(clip) = clip.filter(|clip| !(*clip > 0.0 && clip.is_finite())) {
            return wrong(format!("aggregation.clip = {clip:?} must be above 0 and finite"));
        }
        match (kind, trim, clip) {
            (AggregationKind::Mean, ..) => Ok(Rule::Mean),
            (AggregationKind::Median, ..) => Ok(Rule::Median),
            (AggregationKind::TrimmedMean, None, _) => {
                wrong("aggregation.trim is missing; set it to the number of clients that trimmed-mean cuts on each side, at least 1".into())
            }
            (AggregationKind::TrimmedMean, Some(0), _) => wrong("aggregation.trim = 0 must be at least 1".into()),
            (AggregationKind::TrimmedMean, Some(trim), _) => Ok(Rule::TrimmedMean { trim }),
            (AggregationKind::NormClippedMean, _, clip) => Ok(Rule::NormClippedMean { clip }),
            (AggregationKind::PrivateMean, _, None) => {
                wrong("aggregation.clip is missing; set it to the largest norm of a client's update that private-mean lets through".into())
            }
            (AggregationKind::PrivateMean, _, Some(clip)) => self.client_noise(clip).map(Rule::PrivateMean),
        }
    }

    fn client_noise(&self, clip: f64) -> Result<ClientNoise> {
        let wrong = |line: String| Err(FlError::Config(line));
        let delta = self.delta();
        if !(delta > 0.0 && delta < 1.0) {
            return wrong(format!("aggregation.delta = {delta:?} must be above 0 and below 1"));
        }
        let Self { max_norm, max_value, min_clients, on_failure, .. } = *self;
        let reveals = [
            ("max_norm", max_norm.is_some()),
            ("max_value", max_value.is_some()),
            ("min_clients", min_clients.is_some()),
            ("on_failure = \"stop\"", on_failure == Some(OnFailure::Stop)),
        ];
        if let Some((key, _)) = reveals.into_iter().find(|(_, is_set)| *is_set) {
            return wrong(format!(
                "aggregation.{key} is not for kind = \"private-mean\": whether the run goes on would tell something of one client; remove it"
            ));
        }
        match self.noise_multiplier {
            None => wrong("aggregation.noise_multiplier is missing; set it to the noise of private-mean in units of clip, such as 1.0".into()),
            Some(sigma) if !(0.05..=1e6).contains(&sigma) => {
                wrong(format!("aggregation.noise_multiplier = {sigma:?} must be from 0.05 to 1e6"))
            }
            Some(noise_multiplier) => Ok(ClientNoise { clip, noise_multiplier }),
        }
    }

    /// δ for which `private-mean` states ε of each client.
    pub fn delta(&self) -> f64 {
        self.delta.unwrap_or(1e-5)
    }

    /// What happens when clients fail; `default` where the config does not say.
    pub fn failures(&self, default: OnFailure) -> FailurePolicy {
        // Whether a run goes on must not depend on one client.
        let default = if self.kind == AggregationKind::PrivateMean { OnFailure::LeaveOut } else { default };
        let on_failure = self.on_failure.unwrap_or(default);
        FailurePolicy { on_failure, min_clients: self.min_clients, bounds: self.bounds() }
    }

    /// Bounds of an update, and of how much a client may count.
    pub fn bounds(&self) -> Bounds {
        let Self { max_norm, max_value, max_weight, .. } = *self;
        Bounds { max_norm, max_value, max_weight, max_examples: None }
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
    fn a_key_of_another_kind_is_an_error_that_names_both_kinds() {
        use AggregationKind as Kind;
        let error = |config: AggregationConfig| config.check().unwrap_err().to_string();
        let trim = AggregationConfig { trim: Some(1), ..of_kind(Kind::Median) };
        assert_eq!(error(trim), "aggregation.trim is for kind = \"trimmed-mean\", but kind is \"median\"");
        let clip = AggregationConfig { clip: Some(1.0), ..trimmed(1) };
        assert_eq!(error(clip), "aggregation.clip is for kind = \"norm-clipped-mean\", but kind is \"trimmed-mean\"");
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let error = |config: AggregationConfig| config.check().unwrap_err().to_string();
        assert_eq!(error(trimmed(0)), "aggregation.trim = 0 must be at least 1");
        assert!(error(of_kind(AggregationKind::TrimmedMean)).starts_with("aggregation.trim is missing"));
        let clip = |clip| AggregationConfig { clip: Some(clip), ..of_kind(AggregationKind::NormClippedMean) };
        assert_eq!(error(clip(0.0)), "aggregation.clip = 0.0 must be above 0 and finite");
        assert!(clip(1e30).check().is_ok());
        let share = |share| AggregationConfig { max_share: Some(share), ..AggregationConfig::default() };
        assert_eq!(error(share(0.0)), "aggregation.max_share = 0.0 must be above 0 and at most 1");
        assert_eq!(error(share(f64::NAN)), "aggregation.max_share = NaN must be above 0 and at most 1");
        let private = |clip, noise_multiplier, delta| {
            error(AggregationConfig { clip, noise_multiplier, delta, ..of_kind(AggregationKind::PrivateMean) })
        };
        assert!(private(None, Some(1.0), None).starts_with("aggregation.clip is missing; "));
        assert!(private(Some(1.0), None, None).starts_with("aggregation.noise_multiplier is missing; "));
        assert_eq!(private(Some(-1.0), Some(1.0), None), "aggregation.clip = -1.0 must be above 0 and finite");
        assert_eq!(private(Some(1.0), Some(0.0), None), "aggregation.noise_multiplier = 0.0 must be from 0.05 to 1e6");
        assert_eq!(private(Some(1.0), Some(1.0), Some(1.0)), "aggregation.delta = 1.0 must be above 0 and below 1");
        let stops =
            AggregationConfig { clip: Some(1.0), min_clients: Some(2), ..of_kind(AggregationKind::PrivateMean) };
        assert!(error(stops).starts_with("aggregation.min_clients is not for kind = \"private-mean\": "));
        let noise = AggregationConfig { noise_multiplier: Some(1.0), ..of_kind(AggregationKind::Mean) };
        assert_eq!(error(noise), "aggregation.noise_multiplier is for kind = \"private-mean\", but kind is \"mean\"");
        let norm = AggregationConfig { max_norm: Some(f64::INFINITY), ..AggregationConfig::default() };
        assert_eq!(error(norm), "aggregation.max_norm = inf must be above 0 and at most 1e15");
        let value = AggregationConfig { max_value: Some(f64::NAN), ..AggregationConfig::default() };
        assert_eq!(error(value), "aggregation.max_value = NaN must be above 0 and at most 1e15");
        let weight = AggregationConfig { max_weight: Some(1.5), ..AggregationConfig::default() };
        assert_eq!(error(weight), "aggregation.max_weight = 1.5 must be above 0 and at most 1");
        let median = AggregationConfig { max_weight: Some(0.5), ..of_kind(AggregationKind::Median) };
        assert_eq!(
            error(median),
            "aggregation.max_weight is for weighted means, but kind = \"median\" weights all clients equally"
        );
        let min_clients = AggregationConfig { min_clients: Some(0), ..AggregationConfig::default() };
        assert_eq!(error(min_clients), "aggregation.min_clients = 0 must be at least 1");
    }

    #[test]
    fn bounds_that_depend_on_the_number_of_clients_are_checked() {
        let error =
            |config: AggregationConfig, clients| config.check_clients(clients, clients).unwrap_err().to_string();
        assert_eq!(
            error(trimmed(3), 6),
            "aggregation.trim = 3 cuts 6 of 6 clients, and must leave at least one; lower it"
        );
        assert!(trimmed(3).check_clients(7, 7).is_ok());
        let min_clients = AggregationConfig { min_clients: Some(4), ..AggregationConfig::default() };
        assert_eq!(
            error(min_clients.clone(), 3),
            "aggregation.min_clients = 4 must be at most 3, the number of clients; lower it"
        );
        assert!(min_clients.check_clients(4, 4).is_ok());
        let share = |share| AggregationConfig { max_share: Some(share), ..AggregationConfig::default() };
        assert_eq!(
            error(share(0.2), 4),
            "aggregation.max_share = 0.2 is below 0.2500, an equal share of 4 clients; raise it"
        );
        for clients in 1..100 {
            assert!(share(1.0 / clients as f64).check_clients(clients, clients).is_ok());
        }
    }

    #[test]
    fn a_round_that_asks_a_cohort_has_no_more_replies_than_its_clients() {
        let error = |config: AggregationConfig, in_round| config.check_clients(5, in_round).unwrap_err().to_string();
        let min_clients = AggregationConfig { min_clients: Some(3), ..AggregationConfig::default() };
        assert_eq!(
            error(min_clients.clone(), 2),
            "aggregation.min_clients = 3 must be at most 2, the number of clients that algorithm.cohort draws for a round; \
             lower it or raise algorithm.cohort"
        );
        assert!(min_clients.check_clients(5, 3).is_ok());
        assert_eq!(
            error(trimmed(1), 2),
            "aggregation.trim = 1 cuts 2 of 2 clients that algorithm.cohort draws for a round, and must leave at least one; \
             lower it or raise algorithm.cohort"
        );
        assert!(trimmed(1).check_clients(5, 3).is_ok());
    }
}
