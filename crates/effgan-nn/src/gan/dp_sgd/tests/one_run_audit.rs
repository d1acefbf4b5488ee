//! An audit of private training in one run (Steinke, Nasr, Jagielski 2023, arXiv:2305.08846): each of many images is in a sample or not by the toss
//! of a coin, and somebody who sees the update and knows everything else guesses which. Where training is (ε, δ)-private, only so many guesses are
//! right. Builds with the mistakes of others are caught by it, and ours is not.

use super::*;

/// Images whose coins are tossed.
const IMAGES: usize = 64;
/// Guesses: the images that are most surely in the sample, and as many that are most surely not.
const GUESSES: usize = 32;
const BATCH: usize = IMAGES / 2;
/// σ at which an update with q = 1 costs ε = 1 at δ = 1e-9: `effgan privacy noise --target-epsilon 1 --sample-rate 1 --steps 1 --delta 1e-9`.
const NOISE_MULTIPLIER: f64 = 5.49535;

/// What is audited, at a stated ε of 1.
struct Build {
    name: &'static str,
    dp: DpSgd,
    /// How many of twenty audits may catch it.
    is_caught: std::ops::RangeInclusive<usize>,
}

/// `clip` is the norm that every gradient is clipped to.
fn builds(clip: f64) -> [Build; 4] {
    let dp = |clip, noise_multiplier| DpSgd { clip, noise_multiplier, batch: BATCH };
    [
        Build { name: "ours", dp: dp(clip, NOISE_MULTIPLIER), is_caught: 0..=3 },
        Build { name: "without noise", dp: dp(clip, 0.0), is_caught: 19..=20 },
        Build { name: "without clipping", dp: dp(NO_CLIP, NOISE_MULTIPLIER * clip / NO_CLIP), is_caught: 19..=20 },
        Build {
            name: "with noise divided by the batch twice",
            dp: dp(clip, NOISE_MULTIPLIER / BATCH as f64),
            is_caught: 19..=20,
        },
    ]
}

/// The gradients of the discriminator after one private pass, less what generated images add, times B.
struct Passes {
    gan: Gan,
    images: RealImages,
    fake: Tensor<4>,
}

impl Passes {
    fn of(&self, sample: &[usize], dp: &DpSgd, seed: u8) -> Vec<f64> {
        let pass = |real: &RealImages, dp: &DpSgd| {
            let rng = &mut SecretRng::insecure([seed; 32]);
            let (_, grads) = self.gan.private_pass(real, self.fake.clone(), None, dp, rng).unwrap();
            let tensors = self.gan.network.discriminator_tensors();
            let found = named(&grads, &self.gan.discriminator, &tensors, self.gan.on.device);
            found.iter().flat_map(|(_, array)| array.values().to_vec()).map(f64::from).collect::<Vec<f64>>()
        };
        let mut real = RealImages::default();
        for one in sample.iter().map(|&i| one(&self.images, i)) {
            real.images.extend(one.images);
            real.labels.extend(one.labels);
        }
        let others = pass(&RealImages::default(), &DpSgd { noise_multiplier: 0.0, ..*dp });
        pass(&real, dp).iter().zip(others).map(|(all, others)| BATCH as f64 * (all - others)).collect()
    }
}

/// How sure it is, for each image, that it is in the sample of the update: the mean of its coin given the update, for coins and noise of a normal
/// distribution. `gradients` are those of each image.
fn posterior(gradients: &[Vec<f64>], update: &[f64], deviation: f64) -> Vec<f64> {
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let products: Vec<Vec<f64>> = gradients.iter().map(|a| gradients.iter().map(|b| product(a, b)).collect()).collect();
    let largest = products.iter().flatten().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    // Coins have the variance 1/4. Without noise, the smallest number keeps the equations solvable.
    let added = 4.0 * deviation * deviation + 1e-9 * largest;
    let rows = products.iter().enumerate().map(|(i, row)| {
        let half: f64 = row.iter().sum::<f64>() / 2.0;
        let mut row: Vec<f64> =
            row.iter().enumerate().map(|(j, value)| value + if i == j { added } else { 0.0 }).collect();
        row.push(product(&gradients[i], update) - half);
        row
    });
    solved(rows.collect())
}

/// The solution of equations whose right sides are the last column.
fn solved(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for pivot in 0..n {
        let largest = (pivot..n).max_by(|&a, &b| rows[a][pivot].abs().total_cmp(&rows[b][pivot].abs())).unwrap();
        rows.swap(pivot, largest);
        let (above, below) = rows.split_at_mut(pivot + 1);
        let of_pivot = &above[pivot];
        for row in below {
            let factor = row[pivot] / of_pivot[pivot];
            for (value, of_pivot) in row.iter_mut().zip(of_pivot).skip(pivot) {
                *value -= factor * of_pivot;
            }
        }
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][n] - known) / rows[i][i];
    }
    solution
}

/// Whether so many right guesses are more than ε = 1 allows, with 95 % confidence (Theorem 5.2; the part of δ is below 1e-6): each is right with a
/// probability of e / (1 + e) at most.
fn is_beyond(right: usize) -> bool {
    let p = std::f64::consts::E / (1.0 + std::f64::consts::E);
    let choose = |k: usize| (1..=k).map(|i| (GUESSES + 1 - i) as f64 / i as f64).product::<f64>();
    let power = |base: f64, k: usize| (0..k).map(|_| base).product::<f64>();
    let at_least: f64 = (right..=GUESSES).map(|k| choose(k) * power(p, k) * power(1.0 - p, GUESSES - k)).sum();
    at_least <= 0.05
}

#[test]
fn an_audit_catches_builds_that_are_less_private_than_stated_and_not_ours() {
    let (_, network) = networks().swap_remove(0);
    let gan = gan(&network);
    let images = real(&network, IMAGES);
    let fake = Tensor::zeros_like(&gan.images_on_device(real(&network, BATCH).images));
    let passes = Passes { gan, images, fake };
    // A thirtieth of the smallest norm, as where a clip is small.
    let norms = (0..IMAGES).map(|i| norm(&sums(&passes.gan, &one(&passes.images, i), NO_CLIP)));
    let clip = norms.fold(f64::INFINITY, f64::min) / 30.0;
    for Build { name, dp, is_caught } in builds(clip) {
        let without_noise = DpSgd { noise_multiplier: 0.0, ..dp };
        let gradients: Vec<Vec<f64>> = (0..IMAGES).map(|i| passes.of(&[i], &without_noise, 0)).collect();
        let audit = |seed: u8| {
            let mut coins = SecretRng::insecure([100 + seed; 32]);
            let sample: Vec<usize> = coins
                .poisson_sample(&(0..IMAGES as u32).collect::<Vec<_>>(), 0.5)
                .iter()
                .map(|&i| i as usize)
                .collect();
            let update = passes.of(&sample, &dp, seed);
            let sure = posterior(&gradients, &update, dp.noise_multiplier * dp.clip);
            let mut order: Vec<usize> = (0..IMAGES).collect();
            order.sort_by(|&a, &b| sure[a].total_cmp(&sure[b]));
            let (out, rest) = order.split_at(GUESSES / 2);
            let inside = &rest[rest.len() - GUESSES / 2..];
            let right = inside.iter().filter(|i| sample.contains(i)).count()
                + out.iter().filter(|i| !sample.contains(i)).count();
            is_beyond(right)
        };
        let caught = (0..20).filter(|&seed| audit(seed)).count();
        assert!(is_caught.contains(&caught), "{name}: caught in {caught} of 20 audits");
    }
}
