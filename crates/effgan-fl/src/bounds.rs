//! How large an update may be, and how much one client may count.
//!
//! The [`Intake`](crate::Intake) checks every update against the bounds, and records the clients that exceed one by name.

use effgan_nn::Params;

use crate::update_vector::norm;
use crate::{FlError, Result};

/// No training reaches such values, and sums, squares and norms of smaller ones stay finite for any number of clients.
const MAX_VALUE: f64 = 1e15;

/// The bounds that a config sets. A bound that is `None` is not checked, except that no value may exceed 1e15, so that no sum or
/// norm becomes infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Largest L2 norm of an update.
    pub max_norm: Option<f64>,
    /// Largest absolute value in the tensors of a reply.
    pub max_value: Option<f64>,
    /// Largest share of one client in a mean, above 0 and at most 1.
    pub max_weight: Option<f64>,
    /// Largest n_k that counts: a client that reports more counts as this many.
    pub max_examples: Option<u64>,
}

impl Bounds {
    /// Checks the tensors of a reply, and the `norm` of its update where it has one.
    ///
    /// # Errors
    /// A line of text with the value and the bound.
    pub fn check(&self, params: &Params, norm: Option<f64>) -> std::result::Result<(), String> {
        let (max, bound) = match self.max_value {
            Some(max) => (max, format!("aggregation.max_value = {max:?}")),
            None => (MAX_VALUE, format!("{MAX_VALUE:e}, which no training reaches")),
        };
        for (name, array) in params {
            if let Some(index) = array.values().iter().position(|value| f64::from(value.abs()) > max) {
                let value = array.values()[index];
                return Err(format!("tensor `{name}` has the value {value:e} at index {index}, beyond {bound}"));
            }
        }
        match (norm, self.max_norm) {
            (Some(norm), Some(max)) if norm > max => {
                Err(format!("its update has the norm {norm:.3e}, beyond aggregation.max_norm = {max:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks the `params` that a client trained from those it was `sent`, including the norm of the difference.
    ///
    /// # Errors
    /// As [`check`](Self::check), and when `sent` lacks one of the tensors.
    pub fn check_update(&self, sent: &Params, params: &Params) -> std::result::Result<(), String> {
        let norm = norm(sent, params).map_err(|error| error.to_string())?;
        self.check(params, Some(norm))
    }

    /// Checks that the bounds themselves are within their limits.
    ///
    /// # Errors
    /// [`FlError::Config`], naming the key.
    pub(crate) fn check_config(&self) -> Result<()> {
        let bounds = [("max_norm", self.max_norm), ("max_value", self.max_value)];
        let set = bounds.into_iter().filter_map(|(key, bound)| Some((key, bound?)));
        for (key, bound) in set {
            if !(bound > 0.0 && bound <= MAX_VALUE) {
                let line = format!("aggregation.{key} = {bound:?} must be above 0 and at most {MAX_VALUE:e}");
                return Err(FlError::Config(line));
            }
        }
        match self.max_weight.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            Some(share) => {
                Err(FlError::Config(format!("aggregation.max_weight = {share:?} must be above 0 and at most 1")))
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
    fn errors_name_the_value_and_the_bound() {
        let bounds = Bounds { max_norm: Some(10.0), max_value: Some(100.0), ..Bounds::default() };
        assert_eq!(bounds.check(&params(-100.0), Some(10.0)), Ok(()));
        let error = bounds.check(&params(-101.0), None).unwrap_err();
        assert_eq!(error, "tensor `w` has the value -1.01e2 at index 1, beyond aggregation.max_value = 100.0");
        let error = bounds.check(&params(1.0), Some(10.5)).unwrap_err();
        assert_eq!(error, "its update has the norm 1.050e1, beyond aggregation.max_norm = 10.0");
    }

    #[test]
    fn values_that_no_training_reaches_are_refused_by_default() {
        let error = Bounds::default().check(&params(3.4e38), Some(3.4e38)).unwrap_err();
        assert_eq!(error, "tensor `w` has the value 3.4e38 at index 1, beyond 1e15, which no training reaches");
        assert_eq!(Bounds::default().check(&params(1e12), Some(1e12)), Ok(()));
    }
}
