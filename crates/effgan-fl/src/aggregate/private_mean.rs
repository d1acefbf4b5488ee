//! A mean that hides what each client adds to it (DP-FedAvg: McMahan, Ramage, Talwar, Zhang 2018, arXiv:1710.06963).
//!
//! Where Δ is a client's update of all tensors, running statistics too, the mean takes Δ · min(1, C / ‖Δ‖). Gaussian noise of the standard
//! deviation σC is added to each value of their sum, which is then divided by the number of clients that were asked, whoever replied. The
//! noise comes from the system's generator, since clients know the run's seed; so no two such runs are equal.

use effgan_nn::gan::SecretRng;
use effgan_nn::{Array, NnError, Params};

use crate::message::Replies;
use crate::{FlError, Result};

/// More than the relative error of a norm in f64, over up to 10⁷ values.
const ROUNDING: f64 = 1e-8;

/// How much each client adds at most, and the noise that hides it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClientNoise {
    /// C > 0: the largest L2 norm of an update.
    pub clip: f64,
    /// σ > 0, in units of the clip.
    pub noise_multiplier: f64,
}

impl ClientNoise {
    /// The tensors that clients send, moved from `base` by the noisy mean of the updates of those of `asked` clients who replied.
    ///
    /// # Errors
    /// The error of the first reply that is one; a reply that lacks a tensor; [`FlError::NoReplies`]; a system without random numbers.
    pub(super) fn mean(self, base: &Params, replies: &mut Replies, asked: usize, round: u32) -> Result<Params> {
        let mut rng = SecretRng::from_system()?;
        let mut sums: Option<Vec<(String, Vec<f64>)>> = None;
        for reply in replies {
            let (_, update) = reply?;
            let factor = self.factor(squared_norm(base, &update.params)?);
            let sums = sums.get_or_insert_with(|| zeros(&update.params));
            add(sums, base, &update.params, factor)?;
        }
        let mut mean = |(name, sum): (String, Vec<f64>)| {
            let before = base.get(&name)?;
            let moved = before.values().iter().zip(sum).map(|(&value, sum)| {
                let noise = self.clip * self.noise_multiplier * rng.normal();
                (f64::from(value) + (sum + noise) / asked.max(1) as f64) as f32
            });
            Ok((name, Array::new(before.shape.clone(), moved.collect())))
        };
        let sums = sums.ok_or(FlError::NoReplies { round })?;
        sums.into_iter().map(&mut mean).collect()
    }

    /// What an update is multiplied with; 0 where it is not finite.
    fn factor(self, squared_norm: f64) -> f64 {
        let norm = squared_norm.sqrt() * (1.0 + ROUNDING);
        if norm.is_finite() { (self.clip / norm).min(1.0) } else { 0.0 }
    }
}

fn squared_norm(before: &Params, after: &Params) -> std::result::Result<f64, NnError> {
    let of_tensor = |(name, array): (&String, &Array)| {
        let pairs = array.values().iter().zip(before.get(name)?.values());
        Ok(pairs.map(|(&after, &before)| (f64::from(after) - f64::from(before)).powi(2)).sum::<f64>())
    };
    after.iter().map(of_tensor).sum()
}

fn zeros(params: &Params) -> Vec<(String, Vec<f64>)> {
    params.iter().map(|(name, array)| (name.clone(), vec![0.0; array.values().len()])).collect()
}

fn add(
    sums: &mut [(String, Vec<f64>)],
    before: &Params,
    after: &Params,
    factor: f64,
) -> std::result::Result<(), NnError> {
    for (name, sums) in sums {
        let pairs = after.get(name)?.values().iter().zip(before.get(name)?.values());
        for (sum, (&after, &before)) in sums.iter_mut().zip(pairs) {
            // An update that is not finite counts as zero.
            if factor > 0.0 {
                *sum += factor * (f64::from(after) - f64::from(before));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use effgan_data::ClientName;
    use effgan_nn::{Purpose, Streams};

    use super::*;
    use crate::message::{Numbers, Update};

    const N: usize = 100_000;

    fn params(values: Vec<f32>) -> Params {
        let running = Array::new([1], vec![values[0]]);
        [("w".to_owned(), Array::new([values.len()], values)), ("norm.running_mean".to_owned(), running)]
            .into_iter()
            .collect()
    }

    fn base() -> Params {
        params(Streams::of_run(1).normal(Purpose::Init, 0, N))
    }

    /// `base` moved by a vector of this length along itself.
    fn moved(scale: f32) -> Params {
        params(Streams::of_run(1).normal(Purpose::Init, 0, N).into_iter().map(|value| value * (1.0 + scale)).collect())
    }

    fn mean(noise: ClientNoise, updates: &[Params], asked: usize) -> Params {
        let reply = |(i, params): (usize, &Params)| {
            let update = Update { params: params.clone(), num_examples: 1 + 1000 * i as u64, metrics: Numbers::new() };
            Ok((ClientName::new(format!("client-{i}")).unwrap(), update))
        };
        noise.mean(&base(), &mut updates.iter().enumerate().map(reply), asked, 1).unwrap()
    }

    fn distance(one: &Params, other: &Params) -> f64 {
        squared_norm(one, other).unwrap().sqrt()
    }

    fn quiet(clip: f64) -> ClientNoise {
        ClientNoise { clip, noise_multiplier: 1e-12 }
    }

    #[test]
    fn an_update_within_the_clip_counts_whole_and_equally_whatever_its_number_of_images() {
        let found = mean(quiet(1e6), &[moved(0.1), moved(0.3)], 2);
        assert!(distance(&found, &moved(0.2)) < 1e-3 * distance(&base(), &moved(0.2)));
        // Of four that were asked, two moved by nothing.
        let found = mean(quiet(1e6), &[moved(0.1), moved(0.3)], 4);
        assert!(distance(&found, &moved(0.1)) < 1e-3 * distance(&base(), &moved(0.1)));
    }

    #[test]
    fn no_client_moves_the_sum_further_than_the_clip() {
        let hostile = params(vec![f32::MAX; N]);
        let of_nan = params(vec![f32::NAN; N]);
        for update in [moved(5.0), hostile, of_nan] {
            let with = mean(quiet(2.0), &[moved(0.001), update], 2);
            let without = mean(quiet(2.0), &[moved(0.001)], 2);
            // Over two clients; the rest is rounding to f32.
            assert!(2.0 * distance(&without, &with) < 2.0 * (1.0 + 1e-3), "{}", distance(&without, &with));
        }
    }

    #[test]
    fn each_value_has_noise_of_sigma_times_the_clip_over_the_clients_that_were_asked() {
        let noise = ClientNoise { clip: 0.5, noise_multiplier: 3.0 };
        let [one, other] = [0, 1].map(|_| mean(noise, &[base()], 10));
        assert_ne!(one, other, "noise is never the same");
        let expected = 3.0 * 0.5 / 10.0;
        for (found, name) in [(&one, "one"), (&other, "other")] {
            let deviation = distance(&base(), found) / ((N + 1) as f64).sqrt();
            // Six standard errors of a standard deviation.
            assert!((deviation / expected - 1.0).abs() < 6.0 / (2.0 * N as f64).sqrt(), "{name}: {deviation}");
        }
        let statistic = |params: &Params| params.get("norm.running_mean").unwrap().values()[0];
        assert_ne!(statistic(&one), statistic(&base()), "running statistics are hidden, too");
    }

    #[test]
    fn a_round_without_replies_has_no_mean() {
        let noise = ClientNoise { clip: 1.0, noise_multiplier: 1.0 };
        assert!(matches!(noise.mean(&base(), &mut std::iter::empty(), 3, 7), Err(FlError::NoReplies { round: 7 })));
    }
}
