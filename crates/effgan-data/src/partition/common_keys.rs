//! The keys that all kinds of partition share: number of clients, smallest client, held-out fraction.

use crate::DataError;
use serde::{Deserialize, Serialize};

/// The keys of `[partition]` that all kinds share.
// No `deny_unknown_fields` here: serde passes the keys of the outer struct to a flattened one too, and the outer one denies unknown keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommonKeys {
    /// Number of clients, ≥ 1.
    pub clients: usize,
    /// Minimum number of training images per client (of persons, where the data set names them), after `held_out` is taken, ≥ 1; default 16.
    #[serde(default = "default_min_examples")]
    pub min_examples: usize,
    /// Fraction of each client's images (or persons) that is held out from training, stratified by class, 0 ≤ fraction < 1; default 0.1.
    #[serde(default = "default_held_out")]
    pub held_out: f64,
}

const fn default_min_examples() -> usize {
    16
}

const fn default_held_out() -> f64 {
    0.1
}

impl CommonKeys {
    /// `clients` clients with the defaults: at least 16 training images each, and a tenth held out.
    pub fn of(clients: usize) -> Self {
        Self { clients, min_examples: default_min_examples(), held_out: default_held_out() }
    }

    /// Checks everything that can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if self.clients == 0 {
            return Err(DataError::Zero { key: "partition.clients" });
        }
        if self.min_examples == 0 {
            return Err(DataError::NoMinExamples);
        }
        if !(0.0..1.0).contains(&self.held_out) {
            return Err(DataError::HeldOut { held_out: self.held_out });
        }
        Ok(())
    }

    /// Number of held-out images of a client with `num_images`: the nearest whole number that leaves at least one to train on.
    pub(super) fn num_held_out(&self, num_images: usize) -> usize {
        let nearest = (self.held_out * num_images as f64).round() as usize;
        nearest.min(num_images.saturating_sub(1))
    }

    /// Number of training images of a client with `num_images`.
    pub(super) fn num_train(&self, num_images: usize) -> usize {
        num_images - self.num_held_out(num_images)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_out_is_the_nearest_whole_number() {
        let common = CommonKeys::of(1);
        assert_eq!([0, 4, 5, 10, 14, 15].map(|n| common.num_held_out(n)), [0, 0, 1, 1, 1, 2]);
        assert_eq!([0, 4, 5, 10, 14, 15].map(|n| common.num_train(n)), [0, 4, 4, 9, 13, 13]);
    }

    #[test]
    fn one_image_is_always_left_to_train_on() {
        let common = CommonKeys { held_out: 0.999, ..CommonKeys::of(1) };
        assert_eq!([1, 2, 10].map(|n| common.num_train(n)), [1, 1, 1]);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let message = |common: CommonKeys| common.check().unwrap_err().to_string();
        assert_eq!(message(CommonKeys::of(0)), "partition.clients = 0 must be at least 1");
        assert!(
            message(CommonKeys { min_examples: 0, ..CommonKeys::of(1) })
                .starts_with("partition.min_examples = 0 must be at least 1")
        );
        for held_out in [1.0, -0.1, f64::NAN] {
            let message = message(CommonKeys { held_out, ..CommonKeys::of(1) });
            assert!(
                message.starts_with(&format!("partition.held_out = {held_out:?} must be at least 0 and below 1")),
                "{message}"
            );
        }
    }
}
