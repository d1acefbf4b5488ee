//! A budget for many trainings, of which each may depend on what the earlier ones gave.

use crate::accountant::check_delta;
use crate::budget::check_target;
use crate::composition::Composition;
use crate::error::Result;
use crate::rdp::{conversion, orders, renyi_divergence};

/// How much of what the best order admits, the chosen one admits at least.
const NEARLY: f64 = 0.9;

/// A privacy filter (Feldman, Zrnic 2021, arXiv:2008.11193): trainings that together use no more than the whole [`share`](Self::share) reveal
/// at most ε of a record, even where earlier outcomes decide which training comes next, with which noise and sample rate, and when it ends.
///
/// That holds for Rényi differential privacy of one order, fixed beforehand. The order here follows from ε and δ alone: it is the smallest of
/// Opacus' orders that admits nine tenths of the Gaussian mechanism that the best one does, since large orders may charge sampled steps of
/// little noise a hundred times too much. A single training that was planned as a whole has a smaller ε, by [`epsilon`](crate::epsilon).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    order: f64,
    /// The largest Rényi divergence of this order; not above 0 where ε is too small for any order.
    max_divergence: f64,
}

impl Filter {
    /// A budget of `max_epsilon`, above 0, at a `delta` from 10⁻⁵⁰ to below 1.
    ///
    /// # Errors
    /// [`PrivacyError::TargetEpsilon`](crate::PrivacyError::TargetEpsilon), [`PrivacyError::Delta`](crate::PrivacyError::Delta).
    pub fn new(max_epsilon: f64, delta: f64) -> Result<Self> {
        check_target(max_epsilon)?;
        check_delta(delta)?;
        let of_order = |order| Self { order, max_divergence: max_epsilon - conversion(order, delta) };
        // The Gaussian mechanism has a divergence of ρα at the order α.
        let largest_rho = |filter: &Self| filter.max_divergence / filter.order;
        let all = || orders().map(of_order);
        let best = all().map(|filter| largest_rho(&filter)).fold(f64::NEG_INFINITY, f64::max);
        let chosen = all().find(|filter| largest_rho(filter) >= best - (1.0 - NEARLY) * best.abs());
        Ok(chosen.expect("the best order is one of them"))
    }

    /// The order α > 1.
    pub fn order(&self) -> f64 {
        self.order
    }

    /// The share of the budget, ≥ 0, that `all` trainings together use; shares of trainings add up, and 1 is the whole budget.
    pub fn share(&self, all: &Composition) -> f64 {
        match renyi_divergence(all, self.order) {
            0.0 => 0.0,
            _ if self.max_divergence <= 0.0 => f64::INFINITY,
            divergence => divergence / self.max_divergence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accountant, SampledGaussian};

    fn composition(sigma: f64, q: f64, steps: u64) -> Composition {
        Composition::of(SampledGaussian::new(sigma, q).unwrap(), steps).unwrap()
    }

    /// The best order is 1 + √(ln(1/δ) / ρ) by the simpler conversion, ε = ρ + 2 √(ρ ln(1/δ)) (Bun, Steinke 2016, arXiv:1605.02065,
    /// proposition 1.3), and the chosen one is below it.
    #[test]
    fn the_order_is_near_the_best_one_of_a_gaussian_mechanism() {
        for (epsilon, delta) in [(1.0, 1e-5), (3.0, 1e-6), (10.0, 1e-5), (20.0, 1e-5)] {
            let log = -f64::ln(delta);
            let root_of_rho = (log + epsilon).sqrt() - log.sqrt();
            let expected = 1.0 + log.sqrt() / root_of_rho;
            let order = Filter::new(epsilon, delta).unwrap().order();
            assert!((0.45..1.0).contains(&(order / expected)), "epsilon {epsilon}: {order}, {expected}");
        }
    }

    #[test]
    fn a_budget_admits_nearly_a_training_whose_epsilon_by_the_best_order_is_the_budget() {
        for (sigma, q, steps) in [(1.0, 0.0085, 31_000), (1.5, 0.04, 2250), (2.0, 0.01, 5000), (4.0, 1.0, 10)] {
            let all = composition(sigma, q, steps);
            let best = Accountant::Rdp.epsilon(&all, 1e-5).unwrap();
            let share = Filter::new(best, 1e-5).unwrap().share(&all);
            assert!((1.0..1.2).contains(&share), "sigma {sigma}: {share}");
            // With the whole budget spent, ε by this order is the budget.
            let spent = composition(sigma, q, (steps as f64 / share) as u64);
            assert!(Accountant::Rdp.epsilon(&spent, 1e-5).unwrap() <= best);
        }
    }

    /// As docs/privacy.md says.
    #[test]
    fn a_run_that_was_planned_for_ten_needs_a_budget_of_about_eleven() {
        for (sigma, q, steps) in [(0.997_119, 512.0 / 60_000.0, 31_000), (7.54878, 512.0 / 6000.0, 31_000)] {
            let all = composition(sigma, q, steps);
            let share = |max_epsilon| Filter::new(max_epsilon, 1e-5).unwrap().share(&all);
            assert!(share(10.5) > 1.0 && share(11.5) < 1.0, "sigma {sigma}: {} {}", share(10.5), share(11.5));
        }
    }

    #[test]
    fn shares_add_up_over_trainings() {
        let filter = Filter::new(8.0, 1e-5).unwrap();
        let [first, second] = [composition(1.5, 0.04, 1000), composition(1.0, 0.01, 10_000)];
        let both = first.parts().iter().try_fold(second.clone(), |all, &(step, n)| all.and(step, n)).unwrap();
        assert!((filter.share(&both) - filter.share(&first) - filter.share(&second)).abs() < 1e-12);
        assert_eq!(filter.share(&Composition::default()), 0.0);
    }

    #[test]
    fn a_budget_too_small_for_any_order_admits_nothing() {
        let filter = Filter::new(0.01, 1e-5).unwrap();
        assert_eq!(filter.share(&composition(1e6, 1e-3, 1)), f64::INFINITY);
        assert_eq!(filter.share(&Composition::default()), 0.0);
    }
}
