//! The cumulants of a tilted sum of losses, and the tilt at which a tail has a given mass.

/// Losses of one step and the mass of each.
#[derive(Default)]
pub(super) struct Nodes {
    losses: Vec<f64>,
    masses: Vec<f64>,
}

impl Nodes {
    pub(super) fn push(&mut self, loss: f64, mass: f64) {
        self.losses.push(loss);
        self.masses.push(mass);
    }

    fn cumulants(&self, lambda: f64) -> Cumulants {
        // Relative to the largest exponent, so that the sum neither overflows nor vanishes.
        let largest = self.losses.iter().map(|loss| lambda * loss).fold(f64::NEG_INFINITY, f64::max);
        let weights = self.losses.iter().zip(&self.masses).map(|(loss, mass)| mass * (lambda * loss - largest).exp());
        let weights: Vec<f64> = weights.collect();
        let sum: f64 = weights.iter().sum();
        let mean = weights.iter().zip(&self.losses).map(|(weight, loss)| weight * loss).sum::<f64>() / sum;
        let squares = weights.iter().zip(&self.losses).map(|(weight, loss)| weight * (loss - mean).powi(2));
        Cumulants { lambda, log_moment: sum.ln() + largest, mean, variance: squares.sum::<f64>() / sum }
    }
}

/// The sum of all losses, its distribution multiplied by e^(λ loss).
#[derive(Clone, Copy, Debug)]
pub(super) struct Cumulants {
    /// λ > 0
    pub(super) lambda: f64,
    /// ln E[e^(λ loss)], before.
    log_moment: f64,
    /// Of the tilted distribution.
    pub(super) mean: f64,
    /// Of the tilted distribution.
    pub(super) variance: f64,
}

impl Cumulants {
    /// With the λ at which Chernoff's bound on the losses of mass e^`log_tail` is smallest. It is then the tilted mean.
    ///
    /// Where losses have a maximum with more mass than that, no λ is the best; then with one at which the bound is as good as the maximum.
    pub(super) fn with_tail(steps: &[(Nodes, u64)], log_tail: f64) -> Self {
        let (mut low, mut high) = (Self::at(steps, 1.0), Self::at(steps, 1.0));
        while low.is_beyond(log_tail) {
            (low, high) = (Self::at(steps, low.lambda / 4.0), low);
        }
        while !high.is_beyond(log_tail) {
            if high.bound(log_tail) - high.mean <= 1e-6 * high.mean.abs() {
                return high;
            }
            (low, high) = (high, Self::at(steps, high.lambda * 4.0));
        }
        // A few percent are enough: any λ gives a bound.
        while high.lambda > 1.02 * low.lambda {
            let middle = Self::at(steps, (low.lambda * high.lambda).sqrt());
            *(if middle.is_beyond(log_tail) { &mut high } else { &mut low }) = middle;
        }
        high
    }

    /// With a smaller λ, at which the tilted mean is `mean`; or nearly 0, where it is above `mean` without any tilt.
    pub(super) fn with_mean(&self, steps: &[(Nodes, u64)], mean: f64) -> Self {
        let (mut low, mut high) = (*self, *self);
        while low.mean > mean && low.lambda > 1e-9 * self.lambda {
            (low, high) = (Self::at(steps, low.lambda / 4.0), low);
        }
        while high.lambda > 1.02 * low.lambda {
            let middle = Self::at(steps, (low.lambda * high.lambda).sqrt());
            *(if middle.mean > mean { &mut high } else { &mut low }) = middle;
        }
        low
    }

    /// With a λ that is smaller by a quarter.
    ///
    /// Where few steps have large losses, the tails of the tilted sum are long at the best λ, and short at this one. Rounding errors count
    /// e^((λ deviation)² / 32) times as much, which is little.
    pub(super) fn lessened(&self, steps: &[(Nodes, u64)]) -> Self {
        Self::at(steps, 0.75 * self.lambda)
    }

    /// The loss that is exceeded with a mass of at most e^`log_tail`, by Chernoff's bound.
    pub(super) fn bound(&self, log_tail: f64) -> f64 {
        (self.log_moment - log_tail) / self.lambda
    }

    /// Whether the bound would be smaller with a smaller λ.
    fn is_beyond(&self, log_tail: f64) -> bool {
        self.mean > self.bound(log_tail)
    }

    fn at(steps: &[(Nodes, u64)], lambda: f64) -> Self {
        let none = Self { lambda, log_moment: 0.0, mean: 0.0, variance: 0.0 };
        steps.iter().fold(none, |sum, (nodes, count)| {
            let (one, count) = (nodes.cumulants(lambda), *count as f64);
            Self {
                lambda,
                log_moment: sum.log_moment + count * one.log_moment,
                mean: sum.mean + count * one.mean,
                variance: sum.variance + count * one.variance,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two losses: a coin that shows 1 with a chance of 0.3.
    fn coin() -> Nodes {
        Nodes { losses: vec![0.0, 1.0], masses: vec![0.7, 0.3] }
    }

    #[test]
    fn the_bound_of_a_coin_is_the_relative_entropy() {
        // P(S ≥ 50 of 100) ≤ e^(−100 D), D = 0.5 ln(0.5/0.3) + 0.5 ln(0.5/0.7) (Chernoff 1952).
        let entropy = 0.5 * (0.5_f64 / 0.3).ln() + 0.5 * (0.5_f64 / 0.7).ln();
        let found = Cumulants::with_tail(&[(coin(), 100)], -100.0 * entropy);
        // 1e-3: λ is 2 % off at most, and the bound is flat there.
        assert!((found.bound(-100.0 * entropy) - 50.0).abs() < 0.05);
        assert!((found.mean - 50.0).abs() < 0.5, "{found:?}");
        // The tilted coin is fair: variance 100 / 4.
        assert!((found.variance - 25.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn the_bound_of_a_likely_maximum_is_the_maximum() {
        let found = Cumulants::with_tail(&[(coin(), 2)], 0.01_f64.ln());
        // P(S = 2) = 0.09 > 0.01
        assert!((found.bound(0.01_f64.ln()) - 2.0).abs() < 1e-5, "{found:?}");
    }
}
