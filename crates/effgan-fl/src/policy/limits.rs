//! Whether a site's policy allows a run, a piece of work, or a set of parameters.

use effgan_nn::Params;

use super::{Amount, Policy, RunRequest, Spent};
use crate::Refusal;

impl Policy {
    /// Checks a whole run against the policy, given what the site has `spent` before.
    ///
    /// # Errors
    /// The refusal of the first clause that does not hold.
    pub fn check(&self, request: &RunRequest, spent: &Spent) -> Result<(), Refusal> {
        self.clauses(request, spent).into_iter().find_map(|clause| clause.refusal).map_or(Ok(()), Err)
    }

    /// Checks one more piece of `work`. A run that repeats rounds, because its server lost them, may train up to twice the amount that it
    /// announced, as long as the policy allows that; private training never costs more than the policy's ε.
    ///
    /// # Errors
    /// The refusal of the bound that would be exceeded.
    pub fn check_work(&self, request: &RunRequest, spent: &Spent, work: &Amount) -> Result<(), Refusal> {
        let run = spent.run.clone().plus(work);
        let all = run.clone().plus(&spent.others);
        // A server that trains its own generator takes as many batches per round as all sites need on average, which no single site knows.
        let is_planned = !request.single_batch_replies;
        let twice =
            |planned: Option<f64>| planned.filter(|_| is_planned).map_or(f64::INFINITY, |planned| 2.0 * planned);
        let wrong = [
            (
                run.rounds as f64,
                twice(Some(request.last_round().into())).min(self.max_rounds as f64),
                Refusal::TooManyRounds,
            ),
            (
                run.steps as f64,
                twice(request.total_steps().map(|n| n as f64)).min(self.max_steps as f64),
                Refusal::TooManySteps,
            ),
            (run.passes, twice(request.total_passes()).min(self.max_passes), Refusal::TooManyPasses),
            (all.rounds as f64, self.total_rounds as f64, Refusal::BudgetSpent),
            (all.steps as f64, self.total_steps as f64, Refusal::BudgetSpent),
            (all.passes, self.total_passes, Refusal::BudgetSpent),
        ];
        if let Some((.., refusal)) = wrong.into_iter().find(|(value, max, _)| value > max) {
            return Err(refusal);
        }
        // Training whose noise is not known would be charged for nothing.
        let is_charged = !work.private.is_empty() && self.share_of(&all.private) <= 1.0;
        if request.privacy.is_none() || is_charged { Ok(()) } else { Err(Refusal::PrivacyBudgetSpent) }
    }

    /// Checks that parameters, received or sent, are finite and within `max_parameter`.
    ///
    /// # Errors
    /// [`Refusal::ParametersOutOfBounds`].
    pub fn check_params(&self, params: &Params) -> Result<(), Refusal> {
        // A comparison with NaN is false, so NaN is refused too.
        let is_within = |value: &f32| value.abs() <= self.max_parameter;
        let all = params.iter().all(|(_, array)| array.values().iter().all(is_within));
        if all { Ok(()) } else { Err(Refusal::ParametersOutOfBounds) }
    }
}

#[cfg(test)]
mod tests {
    use effgan_nn::Array;

    use super::*;

    #[test]
    fn parameters_beyond_the_bound_or_not_finite_are_refused() {
        let params =
            |value: f32| -> Params { [("w".to_owned(), Array::new([2], vec![0.0, value]))].into_iter().collect() };
        let policy = Policy { max_parameter: 10.0, ..Policy::default() };
        assert_eq!([1.0, -10.0].map(|value| policy.check_params(&params(value))), [Ok(()); 2]);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 10.1, -3.4e38] {
            assert_eq!(policy.check_params(&params(value)), Err(Refusal::ParametersOutOfBounds));
        }
    }
}
