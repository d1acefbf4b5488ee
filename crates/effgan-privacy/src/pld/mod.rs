//! ε by privacy loss distributions (PLD; Koskela et al. 2020, arXiv:1906.03049): the distribution of ln(P/Q) over P is that of one step,
//! convolved with itself as often as there are steps, and δ(ε) = E[(1 − e^(ε − loss))₊] over it.
//!
//! Every error has a sign, and ε is never too small. A step's losses are moved to a grid so that δ(ε) is exact on the grid and too large
//! between its points (`step`: Doroshenko et al. 2022, arXiv:2207.04380). What lies beyond the grid counts as an infinite loss (`cumulants`
//! bounds it), and the rounding errors of the Fourier transforms are added (`convolution`). The distribution is tilted by e^(λ loss) before
//! it is transformed, so that its mass is where ε is and rounding errors are small beside δ, however small δ is (Alghamdi et al. 2023,
//! arXiv:2208.09595, tilt it for the same reason).
//!
//! Adding a record and removing one have different distributions. Either may reveal more after many steps, so both are computed (Lebeda et
//! al. 2024, arXiv:2405.20769).

mod convolution;
mod cumulants;
mod step;

use convolution::Convolution;
use cumulants::{Cumulants, Nodes};
use step::{Grid, MASS_ERROR, Step};

use crate::composition::Composition;

/// Which of two neighbouring data sets P belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// P is with the record, Q without.
    Remove,
    /// P is without the record, Q with it.
    Add,
}

/// Change of ε by a grid of half the distance, relative to ε, at which the finer of both is good enough. Errors fall with the distance or
/// with its square, so between a third of it and all of it is left.
const GRID_ERROR: f64 = 5e-5;
/// Masses that are counted as infinite losses, in units of δ.
const TAIL: f64 = 1e-6;
/// Points of a grid, of the losses of one step or of all: enough for a smooth distribution, and as many as take little time and memory.
const NUM_POINTS: [f64; 2] = [2048.0, 1_048_576.0];

/// ε ≥ 0, for `delta` above 0 and below 1.
pub(crate) fn epsilon(composition: &Composition, delta: f64) -> f64 {
    // The chance that any step takes the record, beyond which nothing depends on it.
    let taken: f64 = composition.parts().iter().map(|(step, steps)| step.sample_rate() * *steps as f64).sum();
    if taken <= delta {
        return 0.0;
    }
    let removed = Losses::new(composition, delta, Direction::Remove).epsilon(0.0);
    // Almost always the smaller one, for which a coarse grid is then enough.
    let added = Losses::new(composition, delta, Direction::Add).epsilon(removed);
    removed.max(added)
}

/// The losses of a composition in one direction.
struct Losses {
    delta: f64,
    steps: Vec<(Step, u64)>,
    nodes: Vec<(Nodes, u64)>,
    /// The tilts with which mass [`TAIL`] · δ, [`TAIL`]³ · δ and [`TAIL`]⁶ · δ lies above the mean, by Chernoff's bound.
    beyond: [Cumulants; 3],
}

impl Losses {
    fn new(composition: &Composition, delta: f64, direction: Direction) -> Self {
        let tail = TAIL * delta / composition.num_steps() as f64;
        let parts = composition.parts().iter();
        let steps: Vec<(Step, u64)> = parts.map(|&(step, count)| (Step::new(step, direction, tail), count)).collect();
        let nodes: Vec<(Nodes, u64)> = steps.iter().map(|(step, count)| (step.nodes(), *count)).collect();
        let beyond = [1, 3, 6].map(|power| Cumulants::with_tail(&nodes, f64::from(power) * TAIL.ln() + delta.ln()));
        Self { delta, steps, nodes, beyond }
    }

    /// ε on grids that become finer until it no longer changes or is at most `enough`, or as fine as they may be. Each of them bounds it.
    ///
    /// The first tilt is that of Chernoff's bound of ε. Where ε turns out to be far below, later ones are better.
    fn epsilon(&self, enough: f64) -> f64 {
        let chernoff = Cumulants::with_tail(&self.nodes, self.delta.ln());
        let (mut tilt, mut last) = (chernoff.lessened(&self.nodes), chernoff.bound(self.delta.ln()));
        if last <= enough {
            // Chernoff's bound is above ε by much more than the masses that the nodes leave out.
            return last.max(0.0);
        }
        let mut distance = self.coarsest(&tilt, last).max(self.finest(&tilt, last));
        let mut least = f64::INFINITY;
        loop {
            let epsilon = self.epsilon_on(distance, self.window(&tilt, last), &tilt);
            let change = (least - epsilon).abs();
            (last, least) = (epsilon, least.min(epsilon));
            if least <= enough || change <= GRID_ERROR * least {
                return least;
            }
            let next = chernoff.with_mean(&self.nodes, epsilon).lessened(&self.nodes);
            let finer = f64::max(distance / 2.0, self.finest(&next, epsilon));
            if finer > 0.8 * distance && next.lambda > 0.8 * tilt.lambda {
                return least;
            }
            (tilt, distance) = (next, finer);
        }
    }

    /// The distance of a grid on which ε is off by about four times [`GRID_ERROR`].
    fn coarsest(&self, tilt: &Cumulants, epsilon: f64) -> f64 {
        let window = self.window(tilt, epsilon);
        let scale = epsilon.max(0.01 * window);
        // Connecting dots at a distance h multiplies E[e^(λ loss)] of a step by up to 1 + λ (λ + 1) h² / 12, so ε grows by 1/λ of its log.
        let num_steps: u64 = self.steps.iter().map(|(_, count)| count).sum();
        let growth = num_steps as f64 * (tilt.lambda + 1.0) / 12.0;
        (4.0 * GRID_ERROR * scale / growth).sqrt().min(window / NUM_POINTS[0])
    }

    /// The smallest distance of a grid that has few enough points.
    fn finest(&self, tilt: &Cumulants, epsilon: f64) -> f64 {
        let span = self.steps.iter().map(|(step, _)| step.span()).fold(0.0, f64::max);
        f64::max(span, self.window(tilt, epsilon)) / NUM_POINTS[1]
    }

    /// The width of the losses that matter. They end where no more than [`TAIL`] · δ lies above, and begin so far below ε that what lies outside,
    /// and is found inside, adds little more than that to δ(ε).
    ///
    /// A mass that is moved up by the width w counts e^(−λw) times once the tilt is taken away again, and one that is moved down e^(λw) times.
    /// So masses from below add at most e^(−λw) together, or nothing if the tilted distribution has ended: twelve deviations below its mean.
    /// Masses from above are found below ε, but for those further above the end than ε is above the beginning, of which Chernoff's bound says
    /// how many there are.
    fn window(&self, tilt: &Cumulants, epsilon: f64) -> f64 {
        let (lambda, log_mass) = (tilt.lambda, (TAIL * self.delta).ln());
        // Where losses have a likely maximum, as those of an added record do, they end there, at about the first ε.
        let to_end = (self.beyond[0].bound(log_mass) - epsilon).max(1e-3 * epsilon);
        let from_below = f64::min(-log_mass / lambda - to_end, epsilon - tilt.mean + 12.0 * tilt.variance.sqrt());
        let from_above = self.beyond.iter().filter(|beyond| beyond.lambda > lambda).map(|beyond| {
            let above_end = beyond.lambda * (beyond.bound(log_mass) - epsilon - to_end);
            (above_end + lambda * to_end) / (beyond.lambda - lambda)
        });
        // 1.05: a grid moves the bounds a little.
        1.05 * (to_end + from_above.fold(f64::INFINITY, f64::min).max(from_below).max(0.1 * to_end))
    }

    /// A bound of ε on one grid.
    fn epsilon_on(&self, distance: f64, window: f64, tilt: &Cumulants) -> f64 {
        let grids: Vec<(Grid, u64)> = self.steps.iter().map(|(step, count)| (step.grid(distance), *count)).collect();
        let lost = grids.iter().map(|(grid, count)| *count as f64 * (grid.infinite + MASS_ERROR * self.delta));
        let num_points = (window / distance).log2().ceil().exp2() as usize;
        let sum = Convolution::of(&grids, tilt.lambda, num_points);
        sum.epsilon(self.top(&grids, distance), self.delta, TAIL * self.delta + lost.sum::<f64>())
    }

    /// The point of a grid above which the sum of all losses has at most the mass [`TAIL`] · δ, by Chernoff's bound.
    fn top(&self, grids: &[(Grid, u64)], distance: f64) -> isize {
        let lambda = self.beyond[0].lambda;
        let log_moment: f64 = grids.iter().map(|(grid, count)| *count as f64 * grid.log_moment(lambda)).sum();
        ((log_moment - (TAIL * self.delta).ln()) / lambda / distance).ceil() as isize
    }
}

#[cfg(test)]
mod tests {
    use libm::erfc;

    use super::*;
    use crate::mechanism::SampledGaussian;

    /// δ(ε) of one step in closed form: P's mass minus e^ε times Q's of the outcomes z whose loss is above ε.
    fn delta_of_one(step: &SampledGaussian, direction: Direction, epsilon: f64) -> f64 {
        let above = |z: f64| erfc(z / 2_f64.sqrt()) / 2.0;
        let (q, shift) = (step.sample_rate(), 1.0 / step.noise_multiplier());
        match direction {
            Direction::Remove => {
                let z = step.z_of_loss(epsilon);
                (1.0 - q) * above(z) + q * above(z - shift) - epsilon.exp() * above(z)
            }
            Direction::Add => {
                let z = step.z_of_loss(-epsilon);
                above(-z) - epsilon.exp() * ((1.0 - q) * above(-z) + q * above(shift - z))
            }
        }
    }

    #[test]
    fn one_step_costs_its_closed_form_in_both_directions() {
        for (sigma, q) in [(0.4, 0.3), (0.6, 0.02), (1.0, 0.5), (3.0, 0.9), (2.0, 1.0)] {
            for direction in [Direction::Remove, Direction::Add] {
                for delta in [1e-3, 1e-6, 1e-12] {
                    let step = SampledGaussian::new(sigma, q).unwrap();
                    let training = Composition::of(step, 1).unwrap();
                    let found = Losses::new(&training, delta, direction).epsilon(0.0);
                    let what = format!("sigma {sigma}, q {q}, {direction:?}, delta {delta}: {found}");
                    assert!(delta_of_one(&step, direction, found) <= delta * (1.0 + 1e-9), "{what}");
                    // 1e-4: twice the change at which a grid is fine enough.
                    assert!(delta_of_one(&step, direction, found * (1.0 - 1e-4)) > delta, "{what}");
                }
            }
        }
    }

    /// Without sampling, the losses are those of one Gaussian mechanism in either direction.
    #[test]
    fn without_sampling_both_directions_cost_the_same() {
        let training = Composition::of(SampledGaussian::new(5.0, 1.0).unwrap(), 20).unwrap();
        let [removed, added] =
            [Direction::Remove, Direction::Add].map(|direction| Losses::new(&training, 1e-6, direction).epsilon(0.0));
        // 1e-9: the same nodes from the other end.
        assert!((removed - added).abs() < 1e-9 * removed, "{removed}, {added}");
    }
}
