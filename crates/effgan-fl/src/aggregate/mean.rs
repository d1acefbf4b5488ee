//! The weighted mean of FedAvg (McMahan et al. 2017, arXiv:1602.05629), computed one reply at a time.

use effgan_nn::{Array, Params};

use super::Weights;
use crate::message::Replies;
use crate::{FlError, Result};

/// A running weighted mean of sets of parameters, in f64.
///
/// The mean of equal sets is that set, bit for bit: products of an f32 and a whole number are exact in f64 as long as the weights
/// sum to less than 2²⁹, and so is the quotient.
#[derive(Clone, Debug, Default)]
pub struct WeightedMean {
    sums: Vec<(String, Vec<usize>, Vec<f64>)>,
    total: f64,
}

impl WeightedMean {
    /// An empty mean.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `params` with a whole-numbered `weight`. All sets have the same names and shapes.
    ///
    /// # Errors
    /// [`effgan_nn::NnError`] when a tensor is missing or has another shape than in the first set.
    pub fn add(&mut self, params: &Params, weight: f64) -> std::result::Result<(), effgan_nn::NnError> {
        if self.sums.is_empty() {
            let zeros =
                |(name, array): (&String, &Array)| (name.clone(), array.shape.clone(), vec![0.0; array.values().len()]);
            self.sums = params.iter().map(zeros).collect();
        }
        for (name, shape, sums) in &mut self.sums {
            let array = params.get(name)?;
            if array.shape != *shape {
                let (found, expected) = (array.shape.clone(), shape.clone());
                return Err(effgan_nn::NnError::Shape { name: name.clone(), found, expected });
            }
            sums.iter_mut().zip(array.values()).for_each(|(sum, &value)| *sum += weight * f64::from(value));
        }
        self.total += weight;
        Ok(())
    }

    /// The mean, or `None` when nothing was added.
    pub fn finish(self) -> Option<Params> {
        let total = self.total;
        let mean = |sums: Vec<f64>| sums.into_iter().map(|sum| (sum / total) as f32).collect();
        let arrays = self.sums.into_iter().map(|(name, shape, sums)| (name, Array::new(shape, mean(sums))));
        (total > 0.0).then(|| arrays.collect())
    }
}

/// The weighted mean of all replies, summed in f64 and in the order of the clients' names.
///
/// # Errors
/// The error of the first reply that is one; [`FlError::NoReplies`].
pub fn average(replies: &mut Replies, weights: Weights, round: u32) -> Result<Params> {
    // f64 and a fixed order: replies arrive in any order, and f32 sums would differ.
    let mut mean = WeightedMean::new();
    for reply in replies {
        let (_, update) = reply?;
        mean.add(&update.params, weights.of(update.num_examples))?;
    }
    mean.finish().ok_or(FlError::NoReplies { round })
}

#[cfg(test)]
mod tests {
    use effgan_data::ClientName;
    use effgan_nn::{Purpose, Streams};

    use super::*;
    use crate::message::{Numbers, Update};

    fn params(value: f32) -> Params {
        [("w".to_owned(), Array::new([1], vec![value]))].into_iter().collect()
    }

    #[allow(clippy::unnecessary_wraps)] // what a driver hands over
    fn reply(name: &str, value: f32, num_examples: u64) -> Result<(ClientName, Update)> {
        let update = Update { params: params(value), num_examples, metrics: Numbers::new() };
        Ok((ClientName::new(name).unwrap(), update))
    }

    #[test]
    fn mean_of_two_clients_by_hand() {
        let replies = || [reply("a", 1.0, 1), reply("b", 5.0, 3)].into_iter();
        let mean = |weights| average(&mut replies(), weights, 1).unwrap();
        assert_eq!(mean(Weights::Examples), params(4.0)); // (1·1 + 3·5) / 4
        assert_eq!(mean(Weights::Uniform), params(3.0)); // (1 + 5) / 2
    }

    #[test]
    fn the_mean_of_equal_models_is_that_model_to_the_bit() {
        let values = Streams::of_run(1).normal(Purpose::Init, 0, 10_000);
        let model: Params = [("w".to_owned(), Array::new([10_000], values))].into_iter().collect();
        for weights in [&[1.0; 3][..], &[7.0, 13.0, 450.0], &[599.0, 601.0, 1.0, 3.0, 5_000_011.0]] {
            let mut mean = WeightedMean::new();
            for &weight in weights {
                mean.add(&model, weight).unwrap();
            }
            assert_eq!(mean.finish().unwrap().hash(), model.hash());
        }
    }

    #[test]
    fn a_round_without_replies_is_an_error() {
        let nobody = average(&mut std::iter::empty(), Weights::Examples, 3).unwrap_err();
        assert_eq!(nobody.to_string(), "no client answered in round 3");
    }
}
