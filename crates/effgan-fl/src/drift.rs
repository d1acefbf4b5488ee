//! How far each client's update goes, and whether it goes where the others go, in memory that does not grow with the model.
//!
//! A client's update is a vector of all trainable parameters. Its norm is exact. For the cosine to the round's mean, which is known when all
//! have answered, each update leaves a count sketch (Charikar, Chen, Farach-Colton 2002; as feature hashing, Weinberger et al. 2009,
//! arXiv:0902.2206): [`BUCKETS`] sums, to which each value goes with a sign, both by a hash of its index. Sketches are linear, and their dot
//! product is that of the vectors with a standard error of at most ‖x‖ ‖y‖ √(2 / [`BUCKETS`]).

use effgan_nn::networks::is_running_statistic;
use effgan_nn::{NnError, Params};

use crate::record::Drift;

/// 16 KB a client.
const BUCKETS: usize = 4096;

/// What is kept of an update.
#[derive(Clone, Debug)]
pub(crate) struct Sketch {
    norm: f64,
    buckets: Vec<f32>,
}

impl Sketch {
    /// Of the way from `before` to `after`, for the trainable tensors of `after`.
    ///
    /// # Errors
    /// [`NnError::MissingTensor`] when `before` has not one of them: then there is nothing to compare with.
    pub(crate) fn of_update(before: &Params, after: &Params) -> Result<Self, NnError> {
        let (mut square, mut buckets, mut index) = (0.0, vec![0.0; BUCKETS], 0);
        for (name, array) in after.iter().filter(|(name, _)| !is_running_statistic(name)) {
            for (&after, &before) in array.values.iter().zip(&before.get(name)?.values) {
                let change = after - before;
                square += f64::from(change) * f64::from(change);
                let (bucket, sign) = place(index);
                buckets[bucket] += sign * change;
                index += 1;
            }
        }
        Ok(Self { norm: square.sqrt(), buckets })
    }
}

/// Bucket and sign of the value at `index`: `SplitMix64`'s finaliser (Steele, Lea, Flood 2014).
fn place(index: u64) -> (usize, f32) {
    let x = index.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let x = x ^ (x >> 31);
    (x as usize % BUCKETS, if x >> 63 == 0 { 1.0 } else { -1.0 })
}

/// The drift of each update among all of them, where the mean takes each with its weight.
pub(crate) fn drifts(updates: &[(Sketch, f64)]) -> Vec<Drift> {
    let mut mean = vec![0.0; BUCKETS];
    for (sketch, weight) in updates {
        mean.iter_mut().zip(&sketch.buckets).for_each(|(sum, &value)| *sum += weight * f64::from(value));
    }
    updates.iter().map(|(sketch, _)| Drift { norm: sketch.norm, cosine: cosine(&sketch.buckets, &mean) }).collect()
}

/// 0 when one of them is zero.
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
    fn norms_are_exact_and_see_parameters_alone() {
        let before = params(&[1.0, 1.0, -1.0]);
        let drift = Sketch::of_update(&before, &params(&[4.0, 1.0, 3.0])).unwrap();
        assert_eq!(drift.norm, 5.0);
        assert_eq!(sketch(&[0.0]).norm, 0.0);
    }

    #[test]
    fn one_client_goes_where_the_mean_goes_and_a_still_one_nowhere() {
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
    fn places_are_spread_evenly() {
        let mut counts = vec![0; BUCKETS];
        let mut signs = 0.0;
        for index in 0..100 * BUCKETS as u64 {
            let (bucket, sign) = place(index);
            counts[bucket] += 1;
            signs += sign;
        }
        // Of 100 ± 10 each; seven standard deviations for the largest of 4,096, and of the sum of 409,600 signs.
        assert!(counts.iter().all(|&count| (30..170).contains(&count)));
        assert!(signs.abs() < 7.0 * 640.0, "{signs}");
    }
}
