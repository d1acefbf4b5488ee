//! The sum of all losses, by Fourier transforms.

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use super::step::Grid;

/// Rounding error of one transform in units of log₂ n, relative to the root of the sum of the squares: as in the bound of Higham 2002,
/// theorem 24.2. Errors that are independent, as those of a transform nearly are, add up to a tenth of it or less.
const ERROR_PER_LEVEL: f64 = 8.0 * f64::EPSILON / 2.0;

/// Tilted masses of the sum of all losses, at the multiples of a distance modulo the number of points.
///
/// A mass whose loss lies outside of a window of so many points is found inside of it, which adds to what is there and takes nothing away.
pub(super) struct Convolution {
    distance: f64,
    lambda: f64,
    /// The log of the sum of the masses before they were divided by it.
    log_moment: f64,
    masses: Vec<f64>,
    /// The rounding error of a mass.
    error: f64,
}

impl Convolution {
    /// Adds up the losses of all steps.
    pub(super) fn of(grids: &[(Grid, u64)], lambda: f64, num_points: usize) -> Self {
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(num_points);
        let mut product = Product::one(num_points);
        let mut log_moment = 0.0;
        for (grid, count) in grids {
            let (masses, log_moment_of_step) = grid.tilted(lambda);
            log_moment += *count as f64 * log_moment_of_step;
            product.multiply(&Factor::of(&*forward, grid.first, &masses), *count);
        }
        let (mut spectrum, error) = product.values();
        let mut masses = vec![0.0; num_points];
        planner.plan_fft_inverse(num_points).process(&mut spectrum, &mut masses).expect("lengths are the plan's");
        for mass in &mut masses {
            *mass /= num_points as f64;
        }
        masses.rotate_right(product.shift);
        Self { distance: grids[0].0.distance, lambda, log_moment, masses, error }
    }

    /// The smallest ε ≥ 0 in the window with δ(ε) ≤ `delta`, where a mass of `infinite` is beyond the point `top` of the grid, the end of the
    /// window.
    ///
    /// From the top down, δ at a point is that at the point above, and 1 − e^(−distance) of the masses above, discounted to that point.
    pub(super) fn epsilon(&self, top: isize, delta: f64, infinite: f64) -> f64 {
        let (discount, step) = ((-self.distance).exp(), -(-self.distance).exp_m1());
        // In units of `delta`: what may be reached, δ at the point above, and the sum of masses times e^(that point − loss).
        let (target, mut reached, mut discounted) = (1.0 - infinite / delta, 0.0, 0.0);
        let bottom = (top - self.masses.len().cast_signed() + 1).max(0);
        for point in (bottom..=top).rev() {
            if reached + step * discounted > target {
                let ratio = (target - reached) / discounted;
                return ((point + 1) as f64 * self.distance + (-ratio).ln_1p()).max(0.0);
            }
            reached += step * discounted;
            discounted = discount * discounted + self.mass(point, delta.ln());
        }
        // δ is small enough at the lowest point already.
        bottom as f64 * self.distance
    }

    /// An upper bound of the mass at a point of the window, in units of δ.
    fn mass(&self, point: isize, log_delta: f64) -> f64 {
        let tilted = self.masses[wrapped(point, self.masses.len())].max(0.0) + self.error;
        tilted * (self.log_moment - self.lambda * point as f64 * self.distance - log_delta).exp()
    }
}

/// A point of the grid modulo the number of points.
fn wrapped(point: isize, num_points: usize) -> usize {
    point.rem_euclid(num_points.cast_signed()).cast_unsigned()
}

/// The transform of masses that add up to 1: of their difference from a single mass, to which the transform of that one is to be added.
///
/// Where q is small, nearly all of the mass is at one point. Its transform is 1 everywhere, and would hide that of the others.
struct Factor {
    /// The point from which the transform counts.
    shift: usize,
    /// 1, or 0 where no point has most of the mass.
    single: f64,
    rest: Vec<Complex<f64>>,
    /// Rounding error of each value.
    error: f64,
}

impl Factor {
    /// Of masses at consecutive points from `first` on, modulo the number of points.
    fn of(plan: &dyn RealToComplex<f64>, first: isize, masses: &[f64]) -> Self {
        let (mut window, mut rest) = (plan.make_input_vec(), plan.make_output_vec());
        for (point, mass) in (first..).zip(masses) {
            let at = wrapped(point, window.len());
            window[at] += mass;
        }
        let largest = (0..window.len()).max_by(|a, b| window[*a].total_cmp(&window[*b])).unwrap_or(0);
        let has_most = window[largest] > 0.5;
        if has_most {
            window[largest] = 0.0;
            window[largest] = -window.iter().sum::<f64>();
        }
        window.rotate_left(largest);
        let norm = window.iter().map(|mass| mass * mass).sum::<f64>().sqrt();
        let error = ERROR_PER_LEVEL * (window.len() as f64).log2() * norm;
        plan.process(&mut window, &mut rest).expect("lengths are the plan's");
        Self { shift: largest, single: if has_most { 1.0 } else { 0.0 }, rest, error }
    }

    /// The log and the angle at a frequency.
    fn polar(&self, at: usize) -> [f64; 2] {
        let Complex { re, im } = self.rest[at];
        let log = if self.single == 1.0 {
            // ln |1 + rest|
            (2.0 * re + re * re + im * im).ln_1p() / 2.0
        } else {
            self.rest[at].norm_sqr().ln() / 2.0
        };
        // No transform of such masses exceeds 1, but by rounding; and 0 has no log.
        [log.clamp(f64::MIN_POSITIVE.ln(), 0.0), im.atan2(self.single + re)]
    }
}

/// A product of powers of such transforms, as logs and angles.
struct Product {
    num_points: usize,
    /// The point from which the transform counts.
    shift: usize,
    logs: Vec<f64>,
    angles: Vec<f64>,
    /// Rounding errors, relative to each value.
    errors: Vec<f64>,
}

impl Product {
    fn one(num_points: usize) -> Self {
        let len = num_points / 2 + 1;
        // That of the transform back.
        let error = ERROR_PER_LEVEL * (num_points as f64).log2();
        Self { num_points, shift: 0, logs: vec![0.0; len], angles: vec![0.0; len], errors: vec![error; len] }
    }

    fn multiply(&mut self, factor: &Factor, count: u64) {
        let power = count as f64;
        for at in 0..self.logs.len() {
            let [log, angle] = factor.polar(at);
            self.logs[at] += power * log;
            self.angles[at] += power * angle;
            self.errors[at] += power * (factor.error / log.exp() + f64::EPSILON * (angle.abs() - log));
        }
        // The number of points is a power of 2, of which 2⁶⁴ is a multiple.
        self.shift =
            (self.shift as u64).wrapping_add((factor.shift as u64).wrapping_mul(count)) as usize % self.num_points;
    }

    /// The values, and the rounding error of each mass after the transform back: that of independent errors of the values.
    fn values(&self) -> (Vec<Complex<f64>>, f64) {
        let sizes: Vec<f64> = self.logs.iter().map(|log| log.exp()).collect();
        let squares = sizes.iter().zip(&self.errors).map(|(size, error)| (size * error).powi(2));
        let error = (squares.sum::<f64>() / sizes.len() as f64 / self.num_points as f64).sqrt();
        let mut values: Vec<_> =
            sizes.iter().zip(&self.angles).map(|(size, angle)| Complex::from_polar(*size, *angle)).collect();
        // The transform of real masses is real at both ends.
        for end in [0, values.len() - 1] {
            values[end].im = 0.0;
        }
        (values, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Coins whose loss is 0.1 with a chance of `share`, and 0 otherwise.
    fn coins(share: f64) -> Grid {
        Grid { distance: 0.1, first: 0, masses: vec![1.0 - share, share], infinite: 0.0 }
    }

    /// δ(ε) of `count` coins, by the binomial distribution.
    fn binomial_delta(count: u32, share: f64, epsilon: f64) -> f64 {
        let mut mass = (1.0 - share).powi(count.cast_signed());
        let terms = (0..=count).map(|heads| {
            let term = mass * -(epsilon - 0.1 * f64::from(heads)).min(0.0).exp_m1();
            mass *= share / (1.0 - share) * f64::from(count - heads) / f64::from(heads + 1);
            term
        });
        terms.sum()
    }

    #[test]
    fn the_sum_of_coins_is_binomial() {
        // 0.003 and 0.3: most of the mass is at one point, or what is tilted has it nowhere.
        for (share, lambda, epsilon) in [(0.003, 10.0, 0.23), (0.003, 40.0, 0.35), (0.3, 4.0, 4.66), (0.3, 9.0, 6.05)] {
            let sum = Convolution::of(&[(coins(share), 100)], lambda, 128);
            let delta = binomial_delta(100, share, epsilon);
            let found = sum.epsilon(101, delta, 0.0);
            // 1e-9: errors of the transforms are about 1e-13 of δ here, and ε changes by less than a hundredth of that.
            assert!((found - epsilon).abs() < 1e-9, "{share}: {found}, {epsilon}");
        }
    }

    /// Seven heads in 100,000 throws, with a chance of 2e-11, where each throw's mass is at one point but for a millionth.
    #[test]
    fn rare_losses_are_not_lost_in_the_rounding_of_the_others() {
        let (count, share, epsilon) = (100_000, 1e-6, 0.65);
        let sum = Convolution::of(&[(coins(share), u64::from(count))], 1.0, 128);
        let found = sum.epsilon(101, binomial_delta(count, share, epsilon), 0.0);
        // 1e-4: the transform back leaves an error of 1e-5 of the mass.
        assert!((found - epsilon).abs() < 1e-4, "{found}, {epsilon}");
    }

    #[test]
    fn coins_of_two_kinds_are_added_up() {
        // As two kinds, of 37 and of 63, that are the same.
        let (whole, halves) = (vec![(coins(0.3), 100)], vec![(coins(0.3), 37), (coins(0.3), 63)]);
        let [whole, halves] = [whole, halves].map(|grids| Convolution::of(&grids, 4.0, 128).epsilon(101, 1e-5, 0.0));
        assert!((whole - halves).abs() < 1e-12, "{whole}, {halves}");
    }
}
