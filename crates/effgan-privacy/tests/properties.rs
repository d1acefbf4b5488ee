//! What holds for every training, whatever it costs.

use effgan_privacy::{Accountant, Composition, PrivacyError, SampledGaussian, epsilon, noise_multiplier, steps};
use proptest::prelude::*;

/// Numbers between two bounds, as likely in each power of ten.
fn log_uniform(least: f64, most: f64) -> impl Strategy<Value = f64> {
    (least.ln()..most.ln()).prop_map(f64::exp)
}

/// A training of the sizes that people run.
fn training() -> impl Strategy<Value = (f64, f64, u64)> {
    (log_uniform(0.4, 8.0), log_uniform(1e-4, 0.3), (1_u64..20_000))
}

fn delta() -> impl Strategy<Value = f64> {
    log_uniform(1e-9, 1e-3)
}

fn composition(parts: &[(f64, f64, u64)]) -> Composition {
    parts.iter().fold(Composition::default(), |sum, &(sigma, q, steps)| {
        sum.and(SampledGaussian::new(sigma, q).unwrap(), steps).unwrap()
    })
}

fn cost(accountant: Accountant, parts: &[(f64, f64, u64)], delta: f64) -> f64 {
    accountant.epsilon(&composition(parts), delta).unwrap()
}

/// By how much ε may be off: RDP by the rounding of a thousand terms, PLD by its grid (twice the change at which it is fine enough, and what
/// the grid of an ε near 0 cannot resolve).
fn slack(accountant: Accountant, epsilon: f64) -> f64 {
    match accountant {
        Accountant::Rdp => 1e-12 * epsilon,
        Accountant::Pld => 1e-4 * epsilon + 1e-5,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn more_noise_costs_less((sigma, q, steps) in training(), delta in delta(), factor in 1.001_f64..2.0) {
        for accountant in Accountant::ALL {
            let (less, more) = (cost(accountant, &[(sigma * factor, q, steps)], delta), cost(accountant, &[(sigma, q, steps)], delta));
            prop_assert!(less <= more + slack(accountant, more), "{accountant}: {less}, {more}");
        }
    }

    #[test]
    fn a_higher_rate_more_steps_or_a_smaller_delta_cost_more(
        (sigma, q, steps) in training(), delta in delta(), factor in 1.001_f64..2.0,
    ) {
        for accountant in Accountant::ALL {
            let least = cost(accountant, &[(sigma, q, steps)], delta);
            for (what, more) in [
                ("rate", cost(accountant, &[(sigma, q * factor, steps)], delta)),
                ("steps", cost(accountant, &[(sigma, q, (steps as f64 * factor).ceil() as u64)], delta)),
                ("delta", cost(accountant, &[(sigma, q, steps)], delta / factor)),
            ] {
                prop_assert!(more >= least - slack(accountant, least), "{accountant}, {what}: {more}, {least}");
            }
        }
    }

    #[test]
    fn the_order_of_steps_does_not_matter(a in training(), b in training(), c in training(), delta in delta()) {
        for accountant in Accountant::ALL {
            let (forth, back) = (cost(accountant, &[a, b, c], delta), cost(accountant, &[c, a, b], delta));
            // 1e-9: sums in another order, on the same grids.
            prop_assert!((forth - back).abs() <= 1e-9 * forth + 1e-12, "{accountant}: {forth}, {back}");
        }
    }

    #[test]
    fn steps_that_are_split_cost_the_same((sigma, q, steps) in training(), part in 0_u64..20_000, delta in delta()) {
        let part = part.min(steps);
        for accountant in Accountant::ALL {
            let whole = cost(accountant, &[(sigma, q, steps)], delta);
            prop_assert_eq!(whole, cost(accountant, &[(sigma, q, part), (sigma, q, steps - part)], delta));
            // With noise that differs by 1e-12, which matters as little, they are two mechanisms to the accountant.
            let apart = cost(accountant, &[(sigma, q, part), (sigma * (1.0 + 1e-12), q, steps - part)], delta);
            prop_assert!((apart - whole).abs() <= slack(accountant, whole) + 1e-9 * whole, "{accountant}: {apart}, {whole}");
        }
    }

    #[test]
    fn more_steps_of_another_kind_cost_more(a in training(), b in training(), delta in delta()) {
        for accountant in Accountant::ALL {
            let (one, both) = (cost(accountant, &[a], delta), cost(accountant, &[a, b], delta));
            prop_assert!(both >= one - slack(accountant, one), "{accountant}: {both}, {one}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_noise_of_a_budget_costs_no_more_and_hardly_less(
        target in log_uniform(0.3, 30.0), q in log_uniform(1e-3, 0.2), steps in 10_u64..5_000, delta in delta(),
    ) {
        let sigma = noise_multiplier(target, delta, q, steps).unwrap();
        let found = epsilon(&composition(&[(sigma, q, steps)]), delta).unwrap().value;
        prop_assert!(found <= target, "{sigma}: {found}");
        if sigma > 0.05 {
            // Twice the tolerance of 1e-4, for the error of the grid.
            let more = epsilon(&composition(&[(sigma * (1.0 - 2e-4), q, steps)]), delta).unwrap().value;
            prop_assert!(more > target, "{sigma}: {more}");
        }
        prop_assert_eq!(format!("{sigma}").parse::<f64>(), Ok(sigma));
        prop_assert!(format!("{sigma:e}").split('e').next().unwrap().len() <= 7, "six digits, not {}", sigma);
    }

    #[test]
    fn the_steps_of_a_budget_cost_no_more_and_more_steps_would(
        target in log_uniform(0.3, 30.0), sigma in log_uniform(0.5, 5.0), q in log_uniform(1e-3, 0.2), delta in delta(),
    ) {
        let mechanism = SampledGaussian::new(sigma, q).unwrap();
        let found = steps(target, delta, mechanism).unwrap();
        let cost = |steps| epsilon(&Composition::of(mechanism, steps).unwrap(), delta).unwrap().value;
        prop_assert!(cost(found) <= target, "{found}");
        prop_assert!(cost(found + 1 + found / 2_500) > target, "{found}");
    }
}

/// Far outside of what anyone trains, and on every edge.
#[test]
fn every_cost_is_a_number_of_at_least_0() {
    let sigmas = [0.05, 0.3, 1.0, 1e3, 1e6];
    let rates = [0.0, 1e-300, 1e-12, 1e-4, 0.5, 1.0 - 1e-12, 1.0];
    for (at, sigma) in sigmas.into_iter().enumerate() {
        for (also, rate) in rates.into_iter().enumerate() {
            let steps = [0, 1, 1000, 1_000_000_000][(at + also) % 4];
            for delta in [1e-50, 1e-5, 0.9] {
                for accountant in Accountant::ALL {
                    let found = cost(accountant, &[(sigma, rate, steps)], delta);
                    let what =
                        format!("{accountant}, sigma {sigma}, rate {rate}, {steps} steps, delta {delta}: {found}");
                    assert!(found.is_finite() && found >= 0.0, "{what}");
                    assert!(found == 0.0 || (steps > 0 && rate > 0.0), "{what}");
                }
            }
        }
    }
}

/// One step without sampling: δ(ε) = Φ(1/2σ − εσ) − e^ε Φ(−1/2σ − εσ) (Balle, Wang 2018, arXiv:1805.06530, theorem 8). So are n steps with
/// σ √n.
#[test]
fn the_gaussian_mechanism_costs_its_closed_form() {
    let below = |z: f64| libm::erfc(-z / 2_f64.sqrt()) / 2.0;
    for (sigma, steps) in [(0.5_f64, 1_u64), (1.0, 1), (4.0, 1), (10.0, 100), (50.0, 1), (30.0, 10_000)] {
        let one = sigma / (steps as f64).sqrt();
        for delta in [1e-3, 1e-5, 1e-10, 1e-14] {
            let found = cost(Accountant::Pld, &[(sigma, 1.0, steps)], delta);
            let exact =
                |epsilon: f64| below(0.5 / one - epsilon * one) - epsilon.exp() * below(-0.5 / one - epsilon * one);
            // The bound holds, and a thousandth less would not be enough.
            assert!(exact(found) <= delta * (1.0 + 1e-6), "sigma {sigma}, {steps} steps, delta {delta}: {found}");
            assert!(
                found == 0.0 || exact(found * 0.9999) > delta,
                "sigma {sigma}, {steps} steps, delta {delta}: {found}"
            );
        }
    }
}

/// The only accountant that shows what is left of a tiny δ: no rounding error of the transforms hides it.
#[test]
fn a_tiny_delta_is_not_lost_in_rounding() {
    let training = [(1.0, 0.01, 1000)];
    let mut last = 0.0;
    for power in [5, 10, 15, 20, 30, 40, 50] {
        let delta = 10_f64.powi(-power);
        let [rdp, pld] = Accountant::ALL.map(|accountant| cost(accountant, &training, delta));
        assert!(last < pld && pld < rdp && pld > 0.8 * rdp, "delta {delta}: {last}, {pld}, {rdp}");
        last = pld;
    }
}

#[test]
fn a_budget_that_no_noise_meets_is_an_error_of_one_line() {
    let error = noise_multiplier(1e-9, 1e-12, 1.0, 1000).unwrap_err().to_string();
    assert!(error.starts_with("target epsilon 1e-9 cannot be reached: 1000 steps at sample rate 1.0 cost "), "{error}");
    assert!(
        error.ends_with(" with the largest noise multiplier, 1000000.0; raise the target or delta, or lower the steps"),
        "{error}"
    );
    for target in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = noise_multiplier(target, 1e-5, 0.1, 10).unwrap_err();
        assert!(matches!(error, PrivacyError::TargetEpsilon { .. }), "{error}");
        assert_eq!(
            steps(target, 1e-5, SampledGaussian::new(1.0, 0.1).unwrap()).unwrap_err().to_string(),
            error.to_string()
        );
    }
    for delta in [0.0, 1e-60, 1.0, f64::NAN] {
        let error = noise_multiplier(1.0, delta, 0.1, 10).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("delta {delta:?} must be at least 1e-50 and below 1; take less")),
            "{error}"
        );
    }
    assert!(matches!(noise_multiplier(1.0, 1e-5, 2.0, 10), Err(PrivacyError::SampleRate { .. })));
    assert!(matches!(noise_multiplier(1.0, 1e-5, 0.1, u64::MAX), Err(PrivacyError::Steps { .. })));
}

#[test]
fn a_budget_at_its_ends_affords_nothing_or_everything() {
    let step = |sigma, q| SampledGaussian::new(sigma, q).unwrap();
    assert_eq!(steps(0.1, 1e-9, step(0.3, 0.5)), Ok(0));
    assert_eq!(steps(0.1, 1e-9, step(0.3, 0.0)), Ok(1_000_000_000));
    assert_eq!(noise_multiplier(1.0, 1e-5, 0.0, 10), Ok(0.05));
    assert_eq!(noise_multiplier(1e4, 1e-5, 0.1, 1), Ok(0.05));
}
