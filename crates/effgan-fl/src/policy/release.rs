//! `[release]` of a policy: when a generator that has trained on the site's images may leave.

use serde::{Deserialize, Serialize};

/// What the site's audit of a generator must find before the generator leaves. Of a figure with a 95 % interval, the whole interval counts: a
/// generator leaves when it lies within the limit, stays when it lies beyond, and where it contains the limit `if_unsure` decides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Release {
    /// Largest area under the ROC curve with which an attack tells training images from held-out ones, 0.5..=1; default 1, any.
    pub max_auc: f64,
    /// Largest share of the training images that an attack recognises while it mistakes one in a hundred held-out images, 0..=1; default 1, any.
    pub max_tpr_at_1: f64,
    /// Smallest ratio of the distance from samples to training images to that from held-out images to training images, 0..=1; default 0, any.
    pub min_copy_ratio: f64,
    /// Whether a generator stays that cannot be audited, since too few images train or are held out; default false.
    pub require_audit: bool,
    /// What happens where the audit cannot tell whether a limit is kept; default [`IfUnsure::Withhold`].
    pub if_unsure: IfUnsure,
    /// What leaves in place of a fine-tuned generator that stays; default [`OnFail::Withhold`], nothing.
    pub on_fail: OnFail,
    /// Whether the generator of each averaged round is audited before it leaves, and not the collected one alone; default false.
    pub audit_rounds: bool,
}

/// What happens to a generator of which the audit cannot tell whether a limit is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IfUnsure {
    /// It stays.
    #[default]
    Withhold,
    /// It leaves.
    Release,
}

/// What leaves in place of a fine-tuned generator that stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFail {
    /// Nothing.
    #[default]
    Withhold,
    /// The generator after half of the fine-tuning, a quarter, and so on: the latest that may leave and has seen every image.
    Earlier,
}

impl Default for Release {
    fn default() -> Self {
        Self {
            max_auc: 1.0,
            max_tpr_at_1: 1.0,
            min_copy_ratio: 0.0,
            require_audit: false,
            if_unsure: IfUnsure::default(),
            on_fail: OnFail::default(),
            audit_rounds: false,
        }
    }
}

impl Release {
    /// Whether a generator stays that cannot be audited.
    pub fn withholds_unaudited(&self) -> bool {
        self.require_audit || (self.has_limit() && self.if_unsure == IfUnsure::Withhold)
    }

    /// Whether there is a limit that an audit could find exceeded.
    pub fn has_limit(&self) -> bool {
        self.max_auc < 1.0 || self.max_tpr_at_1 < 1.0 || self.min_copy_ratio > 0.0
    }

    /// Checks the values.
    ///
    /// # Errors
    /// One line with the key, the value and its bounds.
    pub(super) fn check_values(&self) -> Result<(), String> {
        let shares = [
            ("max_auc", self.max_auc, 0.5),
            ("max_tpr_at_1", self.max_tpr_at_1, 0.0),
            ("min_copy_ratio", self.min_copy_ratio, 0.0),
        ];
        match shares.into_iter().find(|(_, value, least)| !(*least..=1.0).contains(value)) {
            None => Ok(()),
            Some((key, value, least)) => {
                Err(format!("release.{key} = {} must be from {least} to 1", format!("{value:?}").to_lowercase()))
            }
        }
    }
}
