//! The privacy losses of one step, as nodes of a quadrature and on a grid.

use libm::erfc;

use super::Direction;
use super::cumulants::Nodes;
use crate::mechanism::SampledGaussian;

/// Nodes and weights of the Gauss-Legendre rules of two and of four points, on the half of [-1, 1] above 0.
const TWO_POINTS: &[[f64; 2]] = &[[0.577_350_269_189_625_8, 1.0]];
const FOUR_POINTS: &[[f64; 2]] =
    &[[0.339_981_043_584_856_3, 0.652_145_154_862_546_1], [0.861_136_311_594_052_6, 0.347_854_845_137_453_9]];

/// Width of the panels of the quadrature, in deviations of the noise. Four points are then exact to 1e-13 of a Gaussian up to 6 deviations,
/// and two are on a fiftieth of it.
const WIDEST: f64 = 0.05;

/// Error of the masses of a step, relative to each: 4e-13 by the rules, and as much by rounding.
pub(super) const MASS_ERROR: f64 = 1e-12;

/// One step in one direction, and the outcomes that matter.
pub(super) struct Step {
    mechanism: SampledGaussian,
    direction: Direction,
    /// Outcomes in deviations of the noise: P has at most a given mass on either side.
    range: [f64; 2],
}

/// Masses of losses at the multiples of a distance. They are at least as bad as the step's own: δ(ε) is nowhere smaller.
pub(super) struct Grid {
    pub(super) distance: f64,
    /// The loss of the first mass, in units of the distance.
    pub(super) first: isize,
    pub(super) masses: Vec<f64>,
    /// Mass of an infinite loss.
    pub(super) infinite: f64,
}

impl Step {
    /// The outcomes of which P has more than a mass of `tail` on either side.
    pub(super) fn new(mechanism: SampledGaussian, direction: Direction, tail: f64) -> Self {
        // The mass of N(0, 1) above z is at most e^(−z²/2) / 2.
        let reach = (-2.0 * (2.0 * tail).ln()).sqrt();
        let end = match direction {
            Direction::Remove => reach + 1.0 / mechanism.noise_multiplier(),
            Direction::Add => reach,
        };
        Self { mechanism, direction, range: [-reach, end] }
    }

    /// Largest minus smallest loss.
    pub(super) fn span(&self) -> f64 {
        let [from, to] = self.range.map(|z| self.mechanism.loss(z));
        to - from
    }

    /// Nodes of a quadrature over P.
    pub(super) fn nodes(&self) -> Nodes {
        let [from, to] = self.range;
        let mut nodes = Nodes::default();
        self.for_each_node(from, to, |z, mass| nodes.push(self.sign() * self.mechanism.loss(z), mass));
        nodes
    }

    /// The losses at the multiples of `distance`, by connecting the dots (Doroshenko et al. 2022): the mass of a loss goes to both
    /// neighbours, so that the masses of P and of Q are kept. Then δ(ε) is the same at the multiples, and linear in e^ε between them,
    /// where that of the step is convex.
    pub(super) fn grid(&self, distance: f64) -> Grid {
        let [from, to] = self.range;
        let bin = |z: f64| (self.mechanism.loss(z) / distance).floor() as isize;
        let (first, last) = (bin(from), bin(to));
        let mut masses = vec![0.0; (last - first + 2) as usize];
        let whole = -(-distance).exp_m1();
        let mut left = from;
        for index in first..=last {
            let right = self.mechanism.z_of_loss((index + 1) as f64 * distance).clamp(left, to);
            let at = (index - first) as usize;
            self.for_each_node(left, right, |z, mass| {
                let above = (self.mechanism.loss(z) - index as f64 * distance).clamp(0.0, distance);
                // How far the loss lies above its lower neighbour, which is the upper one in the opposite direction.
                let (excess, lower, upper) = match self.direction {
                    Direction::Remove => (above, at, at + 1),
                    Direction::Add => (distance - above, at + 1, at),
                };
                let share = -(-excess).exp_m1() / whole;
                masses[upper] += mass * share;
                masses[lower] += mass * (1.0 - share);
            });
            left = right;
        }
        self.with_tails(Grid { distance, first, masses, infinite: 0.0 })
    }

    /// Adds the outcomes on both sides of the range: small losses are rounded up to the range, large ones to infinity. For a record that is
    /// added, losses are the opposite, so the order is reversed.
    fn with_tails(&self, mut grid: Grid) -> Grid {
        let [from, to] = self.range;
        let last = grid.masses.len() - 1;
        match self.direction {
            Direction::Remove => {
                grid.masses[1] += self.mass_above(-from, -1.0);
                grid.infinite = self.mass_above(to, 1.0);
            }
            Direction::Add => {
                grid.masses[last - 1] += self.mass_above(to, 1.0);
                grid.infinite = self.mass_above(-from, -1.0);
                grid.masses.reverse();
                grid.first = -(grid.first + last.cast_signed());
            }
        }
        grid
    }

    /// The mass of P above the outcome `z`, or below −`z` where `side` is −1.
    fn mass_above(&self, z: f64, side: f64) -> f64 {
        let above = |z: f64| erfc(z * std::f64::consts::FRAC_1_SQRT_2) / 2.0;
        let (q, shift) = (self.mechanism.sample_rate(), side / self.mechanism.noise_multiplier());
        match self.direction {
            Direction::Remove => (1.0 - q) * above(z) + q * above(z - shift),
            Direction::Add => above(z),
        }
    }

    /// Calls `take` with each outcome z of a quadrature between two outcomes, and with its share of P's mass.
    fn for_each_node(&self, from: f64, to: f64, mut take: impl FnMut(f64, f64)) {
        // Losses change within σ deviations, as e^(z/σ).
        let widest = WIDEST.min(0.3 * self.mechanism.noise_multiplier());
        let panels = ((to - from) / widest).ceil().max(1.0);
        let half = (to - from) / panels / 2.0;
        let rule = if half < widest / 100.0 { TWO_POINTS } else { FOUR_POINTS };
        for panel in 0..panels as u32 {
            let middle = from + half * f64::from(2 * panel + 1);
            for &[node, weight] in rule {
                for z in [middle - half * node, middle + half * node] {
                    take(z, half * weight * self.density(z));
                }
            }
        }
    }

    fn density(&self, z: f64) -> f64 {
        let normal = |z: f64| (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
        let q = self.mechanism.sample_rate();
        match self.direction {
            Direction::Remove => (1.0 - q) * normal(z) + q * normal(z - 1.0 / self.mechanism.noise_multiplier()),
            Direction::Add => normal(z),
        }
    }

    fn sign(&self) -> f64 {
        match self.direction {
            Direction::Remove => 1.0,
            Direction::Add => -1.0,
        }
    }
}

impl Grid {
    /// ln E[e^(λ loss)] of the finite losses.
    pub(super) fn log_moment(&self, lambda: f64) -> f64 {
        self.tilted(lambda).1
    }

    /// The finite losses' masses times e^(λ loss), divided by their sum, and the log of that sum.
    pub(super) fn tilted(&self, lambda: f64) -> (Vec<f64>, f64) {
        let loss = |at: usize| (self.first + at.cast_signed()) as f64 * self.distance;
        // The largest loss has a mass above 0, so that not all terms are 0.
        let largest = lambda * loss(self.masses.len() - 1);
        let weighted = self.masses.iter().enumerate().map(|(at, mass)| mass * (lambda * loss(at) - largest).exp());
        let mut weighted: Vec<f64> = weighted.collect();
        let sum: f64 = weighted.iter().sum();
        for mass in &mut weighted {
            *mass /= sum;
        }
        (weighted, sum.ln() + largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Direction; 2] = [Direction::Remove, Direction::Add];

    fn step(sigma: f64, q: f64, direction: Direction) -> Step {
        Step::new(SampledGaussian::new(sigma, q).unwrap(), direction, 1e-20)
    }

    /// δ(ε) of the grid's losses.
    fn delta(grid: &Grid, epsilon: f64) -> f64 {
        let losses = (grid.first..).map(|at| at as f64 * grid.distance);
        let finite = grid.masses.iter().zip(losses).filter(|(_, loss)| *loss > epsilon);
        grid.infinite + finite.map(|(mass, loss)| -mass * (epsilon - loss).exp_m1()).sum::<f64>()
    }

    fn above(z: f64) -> f64 {
        erfc(z / 2_f64.sqrt()) / 2.0
    }

    /// P's mass minus e^ε times Q's of the outcomes whose loss is above ε, in closed form.
    fn exact(step: &Step, epsilon: f64) -> f64 {
        let (q, shift) = (step.mechanism.sample_rate(), 1.0 / step.mechanism.noise_multiplier());
        let mixed = |z: f64, side: f64| (1.0 - q) * above(z) + q * above(z - side * shift);
        match step.direction {
            Direction::Remove => {
                let z = step.mechanism.z_of_loss(epsilon);
                mixed(z, 1.0) - epsilon.exp() * above(z)
            }
            Direction::Add => {
                let z = step.mechanism.z_of_loss(-epsilon);
                above(-z) - epsilon.exp() * mixed(-z, -1.0)
            }
        }
    }

    #[test]
    fn delta_of_the_grid_is_exact_at_its_points_and_larger_between_them() {
        for (sigma, q) in [(0.05, 0.2), (0.3, 1e-3), (1.0, 0.5), (1.5, 0.04), (5.0, 1.0)] {
            for direction in BOTH {
                let step = step(sigma, q, direction);
                let grid = step.grid(0.02);
                for index in -40..=40 {
                    let epsilon = 0.02 * f64::from(index);
                    // 1e-12: differences of f64 sums of hundreds of masses that add up to 1.
                    let off = delta(&grid, epsilon) - exact(&step, epsilon);
                    assert!(off.abs() < 1e-12, "sigma {sigma}, q {q}, {direction:?}, {epsilon}: {off}");
                    let between = epsilon + 0.009;
                    let more = delta(&grid, between) - exact(&step, between);
                    assert!(more > -1e-12, "sigma {sigma}, q {q}, {direction:?}, {between}: {more}");
                }
            }
        }
    }

    #[test]
    fn no_mass_is_lost() {
        for (sigma, q) in [(0.05, 1e-6), (0.3, 0.5), (1.5, 0.04), (100.0, 1.0), (1e4, 1e-4)] {
            for direction in BOTH {
                let step = step(sigma, q, direction);
                for distance in [step.span(), step.span() / 7.3, step.span() / 3000.0] {
                    let grid = step.grid(distance);
                    let sum = grid.masses.iter().sum::<f64>() + grid.infinite;
                    // 1e-13: rounding of thousands of weights.
                    assert!((sum - 1.0).abs() < 1e-13, "sigma {sigma}, q {q}, {direction:?}, {distance}: {sum}");
                    assert!(grid.masses.iter().all(|&mass| mass >= 0.0));
                    assert!(grid.infinite < 2.1e-20);
                }
            }
        }
    }
}
