//! Client drift: the norm of each client's update and its cosine to the mean update of the round, in memory that does not grow with the
//! model.
//!
//! A client's update is a vector of all trainable parameters. Its norm is exact. The cosine needs the round's mean, which is only
//! known when all replies are in, so each update leaves a count sketch (Charikar, Chen, Farach-Colton 2002; as feature hashing,
//! Weinberger et al. 2009, arXiv:0902.2206): [`BUCKETS`] sums. A hash of each value's index says to which sum it is added, and
//! with which sign. Sketches are linear, and their dot product is that of the vectors with a standard error of at most ‖x‖ ‖y‖
//! √(2 / [`BUCKETS`]).

use effgan_nn::networks::is_running_statistic;
use effgan_nn::{NnError, Params};

use crate::record::Drift;

/// Number of sums in a sketch: 16 KB per client.
const BUCKETS: usize = 4096;

/// The sketch and the norm of an update.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sketch {
    norm: f64,
    buckets: Vec<f32>,
}

impl Sketch {
    /// L2 norm of the update.
    pub(crate) fn norm(&self) -> f64 {
        self.norm
    }

    /// The sketch of `after` − `before`, over the trainable tensors of `after`.
    ///
    /// # Errors
    /// [`NnError::MissingTensor`] when `before` lacks one of them, so that there is no update.
    pub(crate) fn of_update(before: &Params, after: &Params) -> Result<Self, NnError> {
        let (mut square, mut buckets, mut block) = (0.0, vec![0.0; BUCKETS], 0);
        for (name, array) in after.iter().filter(|(name, _)| !is_running_statistic(name)) {
            let before = before.get(name)?;
            for (after, before) in array.values().chunks(BLOCK).zip(before.values().chunks(BLOCK)) {
                square += add_block(&mut buckets, block, after, before);
                block += 1;
            }
        }
        Ok(Self { norm: square.sqrt(), buckets })
    }
}

/// Number of adjacent values that share one hash. They are added to different buckets, with signs of their own.
const BLOCK: usize = 16;

/// Adds the changes of one block, and returns the sum of their squares.
fn add_block(buckets: &mut [f32], block: u64, after: &[f32], before: &[f32]) -> f64 {
    let hash = hash(block);
    let first = hash as usize % (BUCKETS / BLOCK) * BLOCK;
    let (order, signs) = (hash >> 32, hash >> 40);
    let buckets = &mut buckets[first..first + BLOCK];
    let mut square = 0.0;
    for (lane, (after, before)) in after.iter().zip(before).enumerate() {
        let change = after - before;
        let sign = ((signs >> lane & 1) as u32) << 31;
        // Each block is permuted differently. Otherwise a fixed tap of all 4 × 4 windows would always land in the same buckets.
        buckets[(lane ^ order as usize) % BLOCK] += f32::from_bits(change.to_bits() ^ sign);
        square += f64::from(change) * f64::from(change);
    }
    square
}

/// `SplitMix64`'s finaliser (Steele, Lea, Flood 2014).
fn hash(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The drift of each update, given as (sketch, weight in the mean).
pub(crate) fn drifts(updates: &[(Sketch, f64)]) -> Vec<Drift> {
    let mut mean = vec![0.0; BUCKETS];
    for (sketch, weight) in updates {
        mean.iter_mut().zip(&sketch.buckets).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    updates.iter().map(|(sketch, _)| Drift { norm: sketch.norm, cosine: cosine(&sketch.buckets, &mean) }).collect()
}

/// Cosine of two vectors; 0 when one of them is zero.
fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let (mut dot, mut square_a, mut square_b) = (0.0, 0.0, 0.0);
    for (&a, &b) in a.iter().zip(b) {
        let a = f64::from(a);
        (dot, square_a, square_b) = (dot + a * b, square_a + a * a, square_b + b * b);
    }
    let norms = (square_a * square_b).sqrt();
    if norms > 0.0 { (dot / norms).clamp(-1.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use effgan_nn::{Array, Purpose, Streams};

    use super::*;

    fn params(values: &[f32]) -> Params {
        let tensors = [("conv.weight", values.to_vec()), ("norm0.running_var", vec![values[0]; 3])];
        tensors.map(|(name, values)| (name.to_owned(), Array::new([values.len()], values))).into_iter().collect()
    }

    fn sketch(update: &[f32]) -> Sketch {
        Sketch::of_update(&params(&vec![0.0; update.len()]), &params(update)).unwrap()
    }

    #[test]
    fn norms_are_exact_and_ignore_running_statistics() {
        let before = params(&[1.0, 1.0, -1.0]);
        let drift = Sketch::of_update(&before, &params(&[4.0, 1.0, 3.0])).unwrap();
        assert_eq!(drift.norm, 5.0);
        assert_eq!(sketch(&[0.0]).norm, 0.0);
    }

    #[test]
    fn a_single_client_has_cosine_one_and_an_unchanged_one_has_norm_zero() {
        let mut alone = drifts(&[(sketch(&[3.0, -4.0, 12.0]), 7.0)]);
        // Two f64 roundings of a dot product.
        assert!((alone.remove(0).cosine - 1.0).abs() < 1e-12);
        assert_eq!(drifts(&[(sketch(&[0.0; 3]), 1.0)])[0], Drift { norm: 0.0, cosine: 0.0 });
    }

    #[test]
    fn cosines_to_the_weighted_mean_are_those_of_the_vectors() {
        let n = 50_000;
        let normal = |step| Streams::of_run(1).normal(Purpose::Init, step, n);
        let (shared, own) = (normal(0), [normal(1), normal(2)]);
        let updates = [0, 1].map(|i| own[i].iter().zip(&shared).map(|(own, all)| own + all).collect::<Vec<f32>>());
        let weights = [3.0, 1.0];
        let sketches: Vec<_> = updates.iter().zip(weights).map(|(update, weight)| (sketch(update), weight)).collect();
        let mean: Vec<f64> = (0..n).map(|i| 3.0 * f64::from(updates[0][i]) + f64::from(updates[1][i])).collect();
        for (drift, update) in drifts(&sketches).iter().zip(&updates) {
            // Four standard errors of a cosine from 4,096 sums.
            assert!((drift.cosine - cosine(update, &mean)).abs() < 4.0 / 64.0, "{drift:?}");
        }
    }

    #[test]
    fn updates_that_repeat_with_the_period_of_a_window_keep_their_cosine() {
        // Only every sixteenth value changes, as when one tap of a window changes.
        let tap = |step| {
            let normal = Streams::of_run(1).normal(Purpose::Init, step, 4000);
            normal.iter().flat_map(|&x| [&[x][..], &[0.0; 15]].concat()).collect::<Vec<f32>>()
        };
        let (a, b) = (tap(0), tap(1));
        let wide: Vec<f64> = b.iter().map(|&x| f64::from(x)).collect();
        let sketched: Vec<f64> = sketch(&b).buckets.iter().map(|&x| f64::from(x)).collect();
        // Four standard errors of a cosine from 4,096 sums; without the permutation there would be only 256.
        assert!((cosine(&sketch(&a).buckets, &sketched) - cosine(&a, &wide)).abs() < 4.0 / 64.0);
        let filled = sketched.iter().filter(|&&sum| sum != 0.0).count();
        // 4,000 balls in 4,096 bins leave e^(-4000/4096) of them empty: 62 % are filled.
        assert!((2400..2700).contains(&filled), "{filled}");
    }
}
