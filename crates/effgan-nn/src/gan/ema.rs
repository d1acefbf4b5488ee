//! Exponential moving average of a generator's parameters (Yazıcı et al. 2019, arXiv:1806.04498).

use super::Gan;
use crate::networks::{TensorSpec, check, is_running_statistic, to_files, to_kernels};
use crate::{Array, Params, Result};

/// The moving average of a generator's parameters during training.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f32,
    /// In the layouts of the kernels, so that a step has nothing to reorder.
    params: Params,
    tensors: Vec<TensorSpec>,
}

impl Ema {
    /// Starts from the generator of `gan`. `decay`, in 0..1, is the weight of the old value in each step.
    pub fn new(decay: f32, gan: &Gan) -> Self {
        Self { decay, params: gan.raw_generator(), tensors: gan.network().generator_tensors() }
    }

    /// Resumes from the averaged generator `params` ([`params`](Self::params)) of an earlier training of `gan`.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape.
    pub fn resume(decay: f32, gan: &Gan, params: &Params) -> Result<Self> {
        let tensors = gan.network().generator_tensors();
        check(params, &tensors)?;
        Ok(Self { decay, params: to_kernels(params, &tensors)?, tensors })
    }

    /// The weight of the old value in each step.
    pub(super) fn decay(&self) -> f32 {
        self.decay
    }

    /// Averages the current generator of `gan` in. Running statistics are data, not parameters: the newest are copied.
    pub fn follow(&mut self, gan: &Gan) {
        self.follow_params(&gan.raw_generator());
    }

    fn follow_params(&mut self, generator: &Params) {
        for ((name, slow), (_, now)) in self.params.iter_mut().zip(generator) {
            let decay = if is_running_statistic(name) { 0.0 } else { self.decay };
            move_towards(slow, now, decay);
        }
    }

    /// The averaged generator.
    pub fn params(&self) -> Params {
        to_files(&self.params, &self.tensors)
    }
}

fn move_towards(slow: &mut Array, now: &Array, decay: f32) {
    for (slow, now) in slow.values_mut().iter_mut().zip(now.values()) {
        *slow = decay * *slow + (1.0 - decay) * now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::Init;

    fn generator(weight: f32, mean: f32) -> Params {
        let tensors = [("fc.weight", weight), ("norm0.running_mean", mean)];
        tensors.map(|(name, value)| (name.to_owned(), Array::new([1], vec![value]))).into_iter().collect()
    }

    #[test]
    fn two_steps_by_hand() {
        let tensors = ["fc.weight", "norm0.running_mean"].map(|name| TensorSpec::new(name, [1], Init::Constant(0.0)));
        let mut ema = Ema { decay: 0.75, params: generator(0.0, 0.0), tensors: tensors.to_vec() };
        ema.follow_params(&generator(4.0, 7.0));
        ema.follow_params(&generator(8.0, 9.0));
        // 0.75 · (0.25 · 4) + 0.25 · 8 = 2.75; the running mean is copied.
        assert_eq!(ema.params(), generator(2.75, 9.0));
    }
}
