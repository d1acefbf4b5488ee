//! Exponential moving average of a generator's parameters (Yazıcı et al. 2019, arXiv:1806.04498).

use crate::networks::is_running_statistic;
use crate::{Array, Params};

/// A copy of a generator that follows it slowly.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f32,
    params: Params,
}

impl Ema {
    /// Starts at `generator`; `decay` in 0..1 is the share of the old value that stays at each step.
    pub fn new(decay: f32, generator: Params) -> Self {
        Self { decay, params: generator }
    }

    /// One step towards `generator`. Running statistics are data, not parameters: the newest are taken over.
    pub fn follow(&mut self, generator: &Params) {
        for ((name, slow), (_, now)) in self.params.iter_mut().zip(generator) {
            let decay = if is_running_statistic(name) { 0.0 } else { self.decay };
            move_towards(slow, now, decay);
        }
    }

    /// The averaged generator.
    pub fn into_params(self) -> Params {
        self.params
    }
}

fn move_towards(slow: &mut Array, now: &Array, decay: f32) {
    for (slow, now) in slow.values.iter_mut().zip(&now.values) {
        *slow = decay * *slow + (1.0 - decay) * now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generator(weight: f32, mean: f32) -> Params {
        let tensors = [("fc.weight", weight), ("norm0.running_mean", mean)];
        tensors.map(|(name, value)| (name.to_owned(), Array::new([1], vec![value]))).into_iter().collect()
    }

    #[test]
    fn two_steps_by_hand() {
        let mut ema = Ema::new(0.75, generator(0.0, 0.0));
        ema.follow(&generator(4.0, 7.0));
        ema.follow(&generator(8.0, 9.0));
        // 0.75 · (0.25 · 4) + 0.25 · 8 = 2.75; the running mean is the newest.
        assert_eq!(ema.into_params(), generator(2.75, 9.0));
    }
}
