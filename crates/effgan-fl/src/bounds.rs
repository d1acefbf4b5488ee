//! What a server believes: how large an update may be, and how much one client may count.
//!
//! Bounds of updates are checked by the [`Intake`](crate::Intake), in whose records a client that breaks one is named. n_k is what a
//! client says of itself, so it has a cap too: one that says more counts as the cap, and its record has both numbers.

use effgan_nn::Params;

use crate::update_vector::norm;
use crate::{FlError, Result};

/// No training comes to such values, and sums, squares and norms of smaller ones stay finite for any number of clients.
const MOST_VALUE: f64 = 1e15;

/// Bounds that a config sets; without one there is none, but that nothing infinite may come out of a round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Largest L2 norm of an update.
    pub max_norm: Option<f64>,
    /// Largest absolute value of an answer's tensors.
    pub max_value: Option<f64>,
    /// Largest share of a mean that one client has, 0..=1.
    pub max_weight: Option<f64>,
    /// Largest n_k that counts.
    pub max_examples: Option<u64>,
}

impl Bounds {
    /// Checks an answer's tensors, and the norm of its update where it is one.
    ///
    /// # Errors
    /// A line with the value and the bound.
    pub fn check(&self, params: &Params, norm: Option<f64>) -> std::result::Result<(), String> {
        let (most, whose) = match self.max_value {
            Some(most) => (most, format!("aggregation.max_value = {most}")),
            None => (MOST_VALUE, format!("{MOST_VALUE:e}, which no training comes to")),
        };
        for (name, array) in params {
            if let Some(index) = array.values.iter().position(|value| f64::from(value.abs()) > most) {
                let value = array.values[index];
                return Err(format!("tensor `{name}` has the value {value:e} at index {index}, beyond {whose}"));
            }
        }
        match (norm, self.max_norm) {
            (Some(norm), Some(most)) if norm > most => {
                Err(format!("its update has the norm {norm:.3e}, beyond aggregation.max_norm = {most}"))
            }
            _ => Ok(()),
        }
    }

    /// As [`check`](Self::check), of what a client made of what it was `sent`.
    ///
    /// # Errors
    /// As there, and when it was not sent one of the tensors.
    pub fn check_update(&self, sent: &Params, params: &Params) -> std::result::Result<(), String> {
        let norm = norm(sent, params).map_err(|error| error.to_string())?;
        self.check(params, Some(norm))
    }

    /// Checks that the bounds make sense.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub(crate) fn check_config(&self) -> Result<()> {
        let bounds = [("max_norm", self.max_norm), ("max_value", self.max_value)];
        let set = bounds.into_iter().filter_map(|(key, bound)| Some((key, bound?)));
        for (key, bound) in set {
            if !(bound > 0.0 && bound <= MOST_VALUE) {
                let line = format!("aggregation.{key} = {bound} must be above 0 and at most {MOST_VALUE:e}");
                return Err(FlError::Config(line));
            }
        }
        match self.max_weight.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            Some(share) => {
                Err(FlError::Config(format!("aggregation.max_weight = {share} must be above 0 and at most 1")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::Array;

    use super::*;

    fn params(value: f32) -> Params {
        [("w".to_owned(), Array::new([2], vec![0.0, value]))].into_iter().collect()
    }

    #[test]
    fn values_and_norms_beyond_their_bound_are_told_with_both() {
        let bounds = Bounds { max_norm: Some(10.0), max_value: Some(100.0), ..Bounds::default() };
        assert_eq!(bounds.check(&params(-100.0), Some(10.0)), Ok(()));
        let error = bounds.check(&params(-101.0), None).unwrap_err();
        assert_eq!(error, "tensor `w` has the value -1.01e2 at index 1, beyond aggregation.max_value = 100");
        let error = bounds.check(&params(1.0), Some(10.5)).unwrap_err();
        assert_eq!(error, "its update has the norm 1.050e1, beyond aggregation.max_norm = 10");
    }

    #[test]
    fn values_that_no_training_comes_to_are_refused_without_any_key() {
        let error = Bounds::default().check(&params(3.4e38), Some(3.4e38)).unwrap_err();
        assert_eq!(error, "tensor `w` has the value 3.4e38 at index 1, beyond 1e15, which no training comes to");
        assert_eq!(Bounds::default().check(&params(1e12), Some(1e12)), Ok(()));
    }
}
