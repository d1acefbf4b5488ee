//! Many steps, one after the other.

use crate::bounds::MAX_STEPS;
use crate::error::{PrivacyError, Result};
use crate::mechanism::SampledGaussian;

/// Steps of one or several sampled Gaussians on the same records, in any order: each may depend on what the earlier ones gave, but for its
/// noise multiplier and its sample rate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Composition {
    /// Different mechanisms, each with the number of its steps, above 0.
    parts: Vec<(SampledGaussian, u64)>,
}

impl Composition {
    /// `steps` steps of one mechanism.
    ///
    /// # Errors
    /// [`PrivacyError::Steps`] for more than 10⁹.
    pub fn of(mechanism: SampledGaussian, steps: u64) -> Result<Self> {
        Self::default().and(mechanism, steps)
    }

    /// The same with `steps` steps more.
    ///
    /// # Errors
    /// [`PrivacyError::Steps`] where they are more than 10⁹ together.
    pub fn and(mut self, mechanism: SampledGaussian, steps: u64) -> Result<Self> {
        let total = self.num_steps().saturating_add(steps);
        if total > MAX_STEPS {
            return Err(PrivacyError::Steps { value: total });
        }
        match self.parts.iter_mut().find(|(known, _)| *known == mechanism) {
            Some((_, count)) => *count += steps,
            // A step that takes no record reveals nothing.
            None if steps == 0 || mechanism.sample_rate() == 0.0 => {}
            None => self.parts.push((mechanism, steps)),
        }
        Ok(self)
    }

    /// The different mechanisms that reveal something, each with the number of its steps.
    pub fn parts(&self) -> &[(SampledGaussian, u64)] {
        &self.parts
    }

    /// Number of all steps that take records.
    pub fn num_steps(&self) -> u64 {
        self.parts.iter().map(|(_, steps)| steps).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_mechanisms_are_one_part_and_those_without_records_none() {
        let [step, other, none] =
            [(1.0, 0.1), (2.0, 0.1), (1.0, 0.0)].map(|(s, q)| SampledGaussian::new(s, q).unwrap());
        let all = [(step, 3), (none, 7), (other, 0), (other, 2), (step, 4)];
        let all = all.into_iter().try_fold(Composition::default(), |sum, (step, n)| sum.and(step, n)).unwrap();
        assert_eq!((all.parts(), all.num_steps()), (&[(step, 7), (other, 2)][..], 9));
    }

    #[test]
    fn more_steps_than_can_be_added_up_are_refused() {
        let step = SampledGaussian::new(1.0, 0.1).unwrap();
        let error = Composition::of(step, 1_000_000_000).unwrap().and(step, u64::MAX).unwrap_err();
        assert_eq!(error, PrivacyError::Steps { value: u64::MAX });
        let error = Composition::of(step, 1_000_000_001).unwrap_err().to_string();
        assert_eq!(
            error,
            "1000000001 steps are more than 1000000000, the most that can be composed; lower the number of steps"
        );
    }
}
