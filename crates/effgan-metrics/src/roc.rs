//! How well a score tells two groups apart: the area under the ROC curve, and a point of it, with 95 % intervals.

/// The 97.5 % point of the standard normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// What either end of a 95 % interval leaves out.
const TAIL: f64 = 0.025;

/// P(x < y) + P(x = y) / 2 for ascending `xs` and `ys`, two of each at least, and half the width of its 95 % interval (`DeLong` et al. 1988,
/// Biometrics 44, 837–845).
pub(crate) fn area_under_curve(xs: &[f64], ys: &[f64]) -> (f64, f64) {
    // DeLong's placements: the share of ys above each x, and of xs below each y.
    let of_xs: Vec<f64> = xs.iter().map(|&x| 1.0 - share_below(ys, x)).collect();
    let of_ys: Vec<f64> = ys.iter().map(|&y| share_below(xs, y)).collect();
    let variance = variance(&of_xs) / xs.len() as f64 + variance(&of_ys) / ys.len() as f64;
    (mean(&of_xs), Z * variance.sqrt())
}

/// How many of the ascending `ys` are above a threshold that at most the share `mistaken` of the ascending `xs` are above.
pub(crate) fn recognised(xs: &[f64], ys: &[f64], mistaken: f64) -> usize {
    let above = (mistaken * xs.len() as f64).floor() as usize;
    let threshold = xs[xs.len() - 1 - above.min(xs.len() - 1)];
    ys.len() - ys.partition_point(|&y| y <= threshold)
}

/// The 95 % interval of a probability after `hits` in `n` ≥ 1 trials, none narrower than stated (Clopper, Pearson 1934, Biometrika 26, 404–413).
pub(crate) fn clopper_pearson(hits: usize, n: usize) -> (f64, f64) {
    let logs: Vec<f64> = std::iter::once(0.0)
        .chain((1..=n).scan(0.0, |sum, i| {
            *sum += (i as f64).ln();
            Some(*sum)
        }))
        .collect();
    let at_least = |from: usize, p: f64| -> f64 {
        let (hit, miss) = (p.ln(), (1.0 - p).ln());
        let of = |k: usize| logs[n] - logs[k] - logs[n - k] + k as f64 * hit + (n - k) as f64 * miss;
        (from..=n).map(|k| of(k).exp()).sum()
    };
    // Where the probability of so many hits or more is 2.5 %, and where that of so many or fewer is.
    let low = if hits == 0 { 0.0 } else { increasing_to(|p| at_least(hits, p), TAIL) };
    let high = if hits == n { 1.0 } else { increasing_to(|p| at_least(hits + 1, p), 1.0 - TAIL) };
    (low, high)
}

/// The p in 0..1 at which an increasing function has the `value`.
fn increasing_to(of: impl Fn(f64) -> f64, value: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // Halved until nothing is left of a double's digits.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if of(middle) < value {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Share of the `ascending` values below `value`, with equal ones counted as half.
fn share_below(ascending: &[f64], value: f64) -> f64 {
    let below = ascending.partition_point(|&other| other < value);
    let up_to = ascending.partition_point(|&other| other <= value);
    (below + up_to) as f64 / (2 * ascending.len()) as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Sample variance, divided by n − 1.
fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clopper_pearson_is_that_of_scipy() {
        // scipy.stats.binomtest(k, n).proportion_ci(0.95, "exact") of SciPy 1.17.1.
        for (hits, n, low, high) in [
            (0, 10, 0.0, 0.308_497_107_818_762_94),
            (10, 10, 0.691_502_892_181_237_1, 1.0),
            (3, 20, 0.032_070_937_185_544_77, 0.378_926_826_545_295_64),
            (17, 1000, 0.009_933_512_592_716_536, 0.027_079_496_864_807_494),
            (450, 900, 0.466_824_054_478_659_9, 0.533_175_945_521_340_2),
        ] {
            let found = clopper_pearson(hits, n);
            // 1e-10: sums of up to 1,000 exponentials of logarithms of factorials.
            assert!((found.0 - low).abs() < 1e-10 && (found.1 - high).abs() < 1e-10, "{hits} of {n}: {found:?}");
        }
    }

    #[test]
    fn no_more_than_the_share_is_mistaken_also_where_values_are_equal() {
        let xs: Vec<f64> = (0..100).map(f64::from).collect();
        // Above 98 is one of a hundred; above 89 are ten.
        assert_eq!(recognised(&xs, &[98.0, 98.5, 99.0, 120.0], 0.01), 3);
        assert_eq!(recognised(&xs, &[89.0, 89.5, 98.5], 0.1), 2);
        // Of 50 values none may be above at 1 %.
        assert_eq!(recognised(&xs[..50], &[49.0, 49.5], 0.01), 1);
        assert_eq!(recognised(&[1.0, 1.0, 1.0, 1.0], &[1.0, 1.0], 0.5), 0);
    }
}
