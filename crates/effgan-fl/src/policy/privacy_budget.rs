//! The rules about private training: whether it is required, and what ε all runs together may cost each image of the site.
//!
//! A server may let the settings of a run follow from what earlier runs gave, so ε of all runs is that of a privacy [`Filter`].

use effgan_privacy::{Composition, Filter, SampledGaussian};

use super::clauses::clause;
use super::{Amount, Clause, Policy, PrivateUpdates, RunRequest, Spent};
use crate::Refusal;

impl Policy {
    /// The rules that need no image.
    pub(super) fn privacy_clauses(&self, request: &RunRequest) -> Vec<Clause> {
        let is_private = request.privacy.is_some();
        let wanted = if is_private { "yes" } else { "no" }.to_owned();
        let allowed = format!("require_privacy = {}", self.require_privacy);
        let holds = is_private || !self.require_privacy;
        vec![clause("private training", wanted, allowed, holds, Refusal::PrivacyRequired)]
    }

    /// The rules of a private run about δ and ε, as far as the number of images is known; none of another run.
    pub(super) fn privacy_work_clauses(&self, request: &RunRequest, spent: &Spent) -> Vec<Clause> {
        let Some(privacy) = &request.privacy else { return Vec::new() };
        let n = request.num_hidden();
        let below = n.map_or_else(String::new, |n| format!(", and below 1/{n}"));
        let is_small = |delta: f64| n.is_none_or(|n| delta * (n as f64) < 1.0);
        let holds = privacy.delta <= self.max_delta && is_small(self.max_delta);
        let allowed = format!("max_delta = {:e}{below}", self.max_delta);
        let delta = clause("δ", format!("{:e}", privacy.delta), allowed, holds, Refusal::DeltaTooLarge);
        let Some(planned) = request.images.map(|_| request.total_private_updates()) else { return vec![delta] };
        let others = &spent.others;
        let before = self.share_of(&others.private);
        let this = Amount { private: planned.into_iter().collect(), ..Amount::default() };
        // Where the run's noise could not be planned, nothing bounds what it would cost.
        let after = planned.map_or(f64::INFINITY, |_| self.share_of(&others.clone().plus(&this).private));
        let budget = clause(
            "ε of all private runs, of the budget",
            format!("{} after {}", percent(after), percent(before)),
            format!("max_epsilon = {} at max_delta = {:e}", self.max_epsilon, self.max_delta),
            after <= 1.0,
            Refusal::PrivacyBudgetSpent,
        );
        vec![delta, budget]
    }

    /// The share of the budget that all these updates together use, 1 for all of it; infinite where nothing bounds their ε.
    pub fn share_of(&self, private: &[PrivateUpdates]) -> f64 {
        let all = private.iter().try_fold(Composition::default(), |all, updates| {
            all.and(SampledGaussian::new(updates.noise_multiplier, updates.sample_rate)?, updates.updates)
        });
        let filter = Filter::new(self.max_epsilon, self.max_delta);
        all.and_then(|all| Ok(filter?.share(&all))).unwrap_or(f64::INFINITY)
    }
}

/// At least the share.
fn percent(share: f64) -> String {
    if share.is_finite() { format!("{} %", (1000.0 * share).ceil() / 10.0) } else { "no bound".into() }
}

#[cfg(test)]
mod tests {
    use effgan_data::datasets::PersonKey;

    use super::*;
    use crate::local::LocalWork;
    use crate::policy::PrivacyRequest;

    /// 40 steps of two updates of 50 of 1,000 images.
    fn request(noise_multiplier: Option<f64>) -> RunRequest {
        RunRequest {
            name: "private".into(),
            algorithm: "fedgan".into(),
            rounds: 4,
            local: LocalWork::Steps(10),
            fine_tune: None,
            single_batch_replies: false,
            held_out: 0.0,
            images: Some(1_000),
            person: None,
            persons: None,
            batch_size: 50,
            batches_per_step: 2,
            image_size: None,
            channels: None,
            model: None,
            memory: None,
            seconds: 600.0,
            label_counts: false,
            class_names: false,
            conditional: false,
            privacy: Some(PrivacyRequest { noise_multiplier, delta: 1e-5 }),
        }
    }

    fn after(updates: u64) -> Spent {
        let private = vec![PrivateUpdates { noise_multiplier: 1.0, sample_rate: 0.05, updates }];
        Spent { others: Amount { private, ..Amount::default() }, run: Amount::default() }
    }

    /// A policy whose other rules allow all of these runs.
    fn allowing() -> Policy {
        Policy { whole_pass: false, ..Policy::default() }
    }

    fn refusal(policy: &Policy, request: &RunRequest, spent: &Spent) -> Option<Refusal> {
        policy.check(request, spent).err()
    }

    #[test]
    fn a_run_is_charged_for_all_updates_of_its_steps() {
        let planned = request(Some(1.0)).total_private_updates();
        assert_eq!(planned, Some(PrivateUpdates { noise_multiplier: 1.0, sample_rate: 0.05, updates: 80 }));
        let round = request(Some(1.0)).amount(LocalWork::Steps(10)).unwrap();
        assert_eq!(round.private, [PrivateUpdates { noise_multiplier: 1.0, sample_rate: 0.05, updates: 20 }]);
        let few = RunRequest { images: Some(20), ..request(Some(1.0)) };
        assert_eq!(few.total_private_updates().unwrap().sample_rate, 1.0);
        assert_eq!(RunRequest { privacy: None, ..request(Some(1.0)) }.total_private_updates(), None);
    }

    #[test]
    fn a_site_that_requires_privacy_refuses_plain_training() {
        let (policy, plain) =
            (Policy { require_privacy: true, ..allowing() }, RunRequest { privacy: None, ..request(None) });
        assert_eq!(refusal(&policy, &plain, &Spent::default()), Some(Refusal::PrivacyRequired));
        assert_eq!(refusal(&policy, &request(Some(1.0)), &Spent::default()), None);
        assert_eq!(refusal(&allowing(), &plain, &Spent::default()), None);
    }

    #[test]
    fn epsilon_adds_up_over_runs_until_the_budget_is_spent() {
        let policy = allowing();
        let share = |updates: u64| policy.share_of(&after(updates).others.private);
        assert!(share(80) > 0.05 && share(500) < 0.9, "{} {}", share(80), share(500));
        assert_eq!(refusal(&policy, &request(Some(1.0)), &after(400)), None);
        let most = (400..2000).find(|&updates| share(updates + 80) > 1.0).unwrap();
        assert_eq!(refusal(&policy, &request(Some(1.0)), &after(most)), Some(Refusal::PrivacyBudgetSpent));
        assert_eq!(refusal(&policy, &request(Some(1.0)), &after(most - 1)), None);
        // A plain run costs no ε, whatever is left of the budget.
        let plain = RunRequest { privacy: None, ..request(None) };
        let work = plain.amount(LocalWork::Steps(10)).unwrap();
        assert_eq!(refusal(&policy, &plain, &after(5_000)), None);
        assert_eq!(policy.check_work(&plain, &after(5_000), &work), Ok(()));
        let doubled = Policy { max_epsilon: 20.0, ..policy };
        assert_eq!(refusal(&doubled, &request(Some(1.0)), &after(most)), None);
    }

    #[test]
    fn a_reply_beyond_the_budget_is_refused_although_the_run_was_allowed() {
        // A server that repeats rounds.
        let (policy, run) = (Policy { max_epsilon: 4.0, ..allowing() }, request(Some(1.0)));
        let round = run.amount(LocalWork::Steps(10)).unwrap();
        let mut spent = Spent::default();
        let mut answered = 0;
        while policy.check_work(&run, &spent, &round) == Ok(()) {
            spent.run = spent.run.plus(&round);
            answered += 1;
        }
        assert_eq!(policy.check_work(&run, &spent, &round), Err(Refusal::PrivacyBudgetSpent));
        assert!((1..8).contains(&answered), "{answered}");
        assert!(policy.share_of(&spent.run.private) <= 1.0);
    }

    #[test]
    fn what_nothing_bounds_is_refused() {
        let policy = Policy { max_epsilon: 1e6, ..allowing() };
        for noise in [None, Some(0.01), Some(f64::NAN), Some(-1.0)] {
            let run = request(noise);
            assert_eq!(refusal(&policy, &run, &Spent::default()), Some(Refusal::PrivacyBudgetSpent), "{noise:?}");
            let work = run.amount(LocalWork::Steps(10)).unwrap();
            assert_eq!(
                policy.check_work(&run, &Spent::default(), &work),
                Err(Refusal::PrivacyBudgetSpent),
                "{noise:?}"
            );
        }
    }

    #[test]
    fn delta_must_be_small_enough_for_the_policy_and_for_the_number_of_images() {
        let with = |delta| RunRequest {
            privacy: Some(PrivacyRequest { noise_multiplier: Some(2.0), delta }),
            ..request(None)
        };
        assert_eq!(refusal(&allowing(), &with(1e-4), &Spent::default()), Some(Refusal::DeltaTooLarge));
        assert_eq!(refusal(&allowing(), &with(1e-6), &Spent::default()), None);
        let many = RunRequest { images: Some(100_001), ..with(1e-6) };
        assert_eq!(
            refusal(&allowing(), &many, &Spent::default()),
            Some(Refusal::DeltaTooLarge),
            "max_delta is above 1/n"
        );
        assert_eq!(refusal(&Policy { max_delta: 1e-6, ..allowing() }, &many, &Spent::default()), None);
        let person = Some(PersonKey::Folder(2));
        let of_few_persons = RunRequest { person, persons: Some(1_000), ..many };
        assert_eq!(refusal(&allowing(), &of_few_persons, &Spent::default()), None, "each of them is one of 1,000");
        // Until they are counted, images do not count in their place.
        assert_eq!(RunRequest { persons: None, ..of_few_persons }.total_private_updates(), None);
    }
}
