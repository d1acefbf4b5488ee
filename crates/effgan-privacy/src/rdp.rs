//! Rényi differential privacy (RDP) of the sampled Gaussian mechanism (Mironov, Talwar, Zhang 2019, arXiv:1908.10530).
//!
//! The Rényi divergence of order α between P and Q is ln(A) / (α − 1), where A = E[(P/Q)^α] over Q; theorem 5 there shows that the other
//! direction has no larger one. Divergences of steps add up. A − 1 is a sum, or an integral, of terms that are not negative, so that its
//! digits are right even where q is tiny and A is nearly 1.

use std::f64::consts::TAU;

use crate::composition::Composition;
use crate::mechanism::SampledGaussian;

/// The orders of Opacus 1.6, whose ε this accountant therefore reproduces: 1.1 to 10.9 by tenths, and 12 to 63.
///
/// Larger orders would lower ε only where it is below about 0.4, and there the other accountant finds less than any order does.
pub(crate) fn orders() -> impl Iterator<Item = f64> {
    (11..=109).map(|tenths| f64::from(tenths) / 10.0).chain((12..=63).map(f64::from))
}

/// The smallest ε of Opacus' orders, ≥ 0, for `delta` above 0 and below 1.
pub(crate) fn epsilon(composition: &Composition, delta: f64) -> f64 {
    if composition.parts().is_empty() {
        return 0.0;
    }
    let of_order = |order| epsilon_of_order(renyi_divergence(composition, order), order, delta);
    orders().map(of_order).fold(f64::INFINITY, f64::min).max(0.0)
}

fn epsilon_of_order(divergence: f64, order: f64, delta: f64) -> f64 {
    divergence + conversion(order, delta)
}

/// How far ε lies above a divergence: Canonne, Kamath, Steinke 2020 (arXiv:2004.00010), proposition 12; Balle et al. 2020 (arXiv:1905.09982),
/// theorem 21.
pub(crate) fn conversion(order: f64, delta: f64) -> f64 {
    (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0)
}

/// Rényi divergence of `order` α > 1 between the outcomes with and without a record, the larger of both directions, ≥ 0.
///
/// Sums of it over trainings whose settings followed earlier outcomes still bound what all of them reveal, as long as the order was fixed
/// before (Feldman, Zrnic 2021, arXiv:2008.11193).
///
/// # Panics
/// If the order is not above 1 and finite.
pub fn renyi_divergence(composition: &Composition, order: f64) -> f64 {
    assert!(order > 1.0 && order.is_finite(), "an order is above 1 and finite, not {order}");
    let parts = composition.parts().iter();
    parts.map(|&(step, steps)| steps as f64 * log_moment(&step, order)).sum::<f64>() / (order - 1.0)
}

/// ln A, for a sample rate above 0.
fn log_moment(step: &SampledGaussian, order: f64) -> f64 {
    if step.sample_rate() == 1.0 {
        return order * (order - 1.0) / 2.0 / step.noise_multiplier().powi(2);
    }
    let log_excess = if order.fract() == 0.0 { log_excess_sum(step, order) } else { log_excess_integral(step, order) };
    // ln(1 + e^x), where e^x may overflow
    if log_excess > 40.0 { log_excess } else { log_excess.exp().ln_1p() }
}

/// ln(A − 1) of an integer order, by section 3.3 there: A = Σᵢ C(α, i) (1 − q)^(α − i) q^i exp((i² − i) / 2σ²). The same sum without the
/// last factor is 1.
fn log_excess_sum(step: &SampledGaussian, order: f64) -> f64 {
    let (q, sigma) = (step.sample_rate(), step.noise_multiplier());
    let mut choose = order;
    let terms = (2..=order as u32).map(f64::from).map(|i| {
        choose *= (order - i + 1.0) / i;
        let growth = i * (i - 1.0) / 2.0 / (sigma * sigma);
        choose.ln() + i * q.ln() + (order - i) * (-q).ln_1p() + ln_exp_m1(growth)
    });
    log_sum_exp(&terms.collect::<Vec<_>>())
}

/// ln(e^x − 1), for x > 0.
fn ln_exp_m1(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp_m1().ln() }
}

/// ln(A − 1) of any order: the integral of N(0, 1) times (P/Q)^α − 1 − α (P/Q − 1) over the outcome σz; the last term has mean 0.
///
/// The series of section 3.3 there takes tens of thousands of terms for orders near 1. The trapezoid rule converges exponentially for such
/// a function, which is analytic within πσ of the real axis (Trefethen, Weideman 2014, theorem 5.1).
fn log_excess_integral(step: &SampledGaussian, order: f64) -> f64 {
    // The integrand has its mass between z = 0 and α/σ, and falls like a Gaussian on both sides: 1e-31 of it lies 12 outside.
    let (from, to) = (-12.0, order / step.noise_multiplier() + 12.0);
    // An error of e^(−2π · πσ / width) < 1e-21, by the strip.
    let width = f64::min(0.1, 0.4 * step.noise_multiplier());
    let points = (0..=((to - from) / width) as u32).map(|i| from + width * f64::from(i));
    let terms = points.map(|z| log_excess(step.loss(z), order) - z * z / 2.0);
    log_sum_exp(&terms.collect::<Vec<_>>()) + width.ln() - TAU.ln() / 2.0
}

/// ln(r^α − 1 − α (r − 1)) for a ratio r = e^loss.
fn log_excess(loss: f64, order: f64) -> f64 {
    if loss > 1.0 {
        return order * loss
            + (1.0 - order * (-(order - 1.0) * loss).exp() + (order - 1.0) * (-order * loss).exp()).ln();
    }
    let more = loss.exp_m1();
    if more.abs() > 1e-3 {
        return ((order * loss).exp_m1() - order * more).ln();
    }
    // The difference above would lose its digits: the binomial series from its square term on. Six terms leave 1e-13 of it at order 11.
    let mut term = order * (order - 1.0) / 2.0;
    let mut sum = term;
    for i in 2..=6 {
        let i = f64::from(i);
        term *= (order - i) / (i + 1.0) * more;
        sum += term;
    }
    // −∞ at a ratio of exactly 1, which adds nothing.
    sum.ln() + 2.0 * more.abs().ln()
}

fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(sigma: f64, q: f64) -> SampledGaussian {
        SampledGaussian::new(sigma, q).unwrap()
    }

    /// The sum and the integral are two computations of one number.
    #[test]
    fn the_integral_is_the_sum_at_integer_orders() {
        for (sigma, q) in [(0.05, 0.1), (0.1, 1e-9), (0.3, 1e-5), (0.3, 0.5), (1.0, 0.999), (1.5, 0.04), (1e4, 1e-7)] {
            for order in [2.0, 3.0, 7.0, 10.0, 40.0] {
                let (sum, integral) =
                    (log_excess_sum(&step(sigma, q), order), log_excess_integral(&step(sigma, q), order));
                // 1e-11 of A − 1: f64 sums of numbers up to e^(α² / 2σ²), whose exponents have 16 digits.
                let tolerance = 1e-11 + 1e-15 * sum.abs();
                assert!((sum - integral).abs() < tolerance, "sigma {sigma}, q {q}, order {order}: {sum}, {integral}");
            }
        }
    }

    #[test]
    fn without_sampling_it_is_the_gaussian_mechanism() {
        // α / 2σ² (Mironov 2017, arXiv:1702.07476, proposition 7); the limit of q → 1 is the same.
        for order in [1.1, 2.0, 9.5, 63.0] {
            let expected = order / 2.0 / 2.25;
            for (q, tolerance) in [(1.0, 1e-15), (1.0 - 1e-12, 1e-9)] {
                let training = Composition::of(step(1.5, q), 10).unwrap();
                let found = renyi_divergence(&training, order) / 10.0;
                assert!((found - expected).abs() < tolerance * expected, "order {order}, q {q}: {found}");
            }
        }
    }

    /// Of the second order in q, the divergence is α q² (e^(1/σ²) − 1) / 2 (section 3.3: the term i = 2).
    #[test]
    fn tiny_rates_keep_their_digits() {
        for order in [1.1, 1.5, 2.0, 7.7, 20.0] {
            let q: f64 = 1e-12;
            let training = Composition::of(step(1.0, q), 1).unwrap();
            let found = renyi_divergence(&training, order);
            let expected = order / 2.0 * q * q * 1_f64.exp_m1();
            let third = q * (20.0 * 6.0_f64).exp().min(1e6);
            // The term i = 3 is smaller by q e^(2/σ²) α / 3, and by up to e^(α²/2σ²) at the orders where the last term is the largest.
            if order < 8.0 {
                assert!((found / expected - 1.0).abs() < third, "order {order}: {found}, {expected}");
            } else {
                assert!(found > expected, "order {order}");
            }
        }
    }

    /// The grid of orders, at 1e-5 and σ = 1.5, q = 0.04 over 2,250 steps.
    #[test]
    fn the_quoted_setting_costs_what_opacus_says() {
        let training = Composition::of(step(1.5, 0.04), 2250).unwrap();
        // Opacus 1.6: 7.32911117
        assert!((epsilon(&training, 1e-5) - 7.329_111_17).abs() < 1e-8);
    }
}
