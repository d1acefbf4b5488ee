//! Exponential moving average of a generator's parameters (Yazıcı et al. 2019, arXiv:1806.04498).

use super::Gan;
use crate::networks::layers::{NamedTensor, read_named, tensors_of};
use crate::networks::{Generator, Network, is_running_statistic};
use crate::{Device, Params, Result};

/// The moving average of a generator's parameters during training, on the device of the training.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f32,
    average: Vec<NamedTensor>,
    network: Network,
    device: Device,
}

impl Ema {
    /// Starts from the generator of `gan`. `decay`, in 0..1, is the weight of the old value in each step.
    pub fn new(decay: f32, gan: &Gan) -> Self {
        Self::of(decay, gan.generator_network(), gan.network().clone(), gan.device())
    }

    fn of(decay: f32, generator: &Generator, network: Network, device: Device) -> Self {
        Self { decay, average: tensors_of(generator), network, device }
    }

    /// Resumes on `device` from the averaged generator `params` ([`params`](Self::params)) of an earlier training of `network`.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape.
    pub(super) fn resume(decay: f32, network: &Network, params: &Params, device: Device) -> Result<Self> {
        Ok(Self::of(decay, &network.generator(params, &device.for_inference())?, network.clone(), device))
    }

    /// The weight of the old value in each step.
    pub(super) fn decay(&self) -> f32 {
        self.decay
    }

    /// Averages the current generator of `gan` in. Running statistics are data, not parameters: the newest are copied.
    pub fn follow(&mut self, gan: &Gan) {
        self.follow_generator(gan.generator_network());
    }

    fn follow_generator(&mut self, generator: &Generator) {
        let decay = self.decay;
        let average = |(old, now): (NamedTensor, NamedTensor)| {
            if is_running_statistic(&now.name) {
                return now;
            }
            let values = old.values * decay + now.values * (1.0 - decay);
            NamedTensor { values, ..old }
        };
        self.average = std::mem::take(&mut self.average).into_iter().zip(tensors_of(generator)).map(average).collect();
    }

    /// The averaged generator.
    ///
    /// # Errors
    /// When the device fails.
    pub fn params(&self) -> Result<Params> {
        read_named(self.average.clone(), &self.network.generator_tensors(), self.device.order())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Array;
    use crate::networks::{DcganConfig, NetworkConfig};

    fn network() -> Network {
        let dcgan = DcganConfig { latent_dim: 1, base_channels: 1, ..DcganConfig::default() };
        Network::new(NetworkConfig::Dcgan(dcgan), [1, 4, 4]).unwrap()
    }

    /// A generator whose parameters are all `weight`, and whose running statistics are `statistic`.
    fn generator(weight: f32, statistic: f32) -> Params {
        let value = |name: &str| if is_running_statistic(name) { statistic } else { weight };
        let array = |shape: Vec<usize>, value| Array::new(shape.clone(), vec![value; shape.iter().product()]);
        let tensors = network().generator_tensors().into_iter();
        tensors.map(|spec| (spec.name.clone(), array(spec.shape, value(&spec.name)))).collect()
    }

    #[test]
    fn two_steps_by_hand() {
        let device = Device::of_tests();
        let on_device = |params: &Params| network().generator(params, &device.for_training()).unwrap();
        let mut ema = Ema::resume(0.75, &network(), &generator(0.0, 0.5), device).unwrap();
        ema.follow_generator(&on_device(&generator(4.0, 7.0)));
        ema.follow_generator(&on_device(&generator(8.0, 9.0)));
        // 0.75 · (0.25 · 4) + 0.25 · 8 = 2.75; the running statistics are copied.
        assert_eq!(ema.params().unwrap(), generator(2.75, 9.0));
    }
}
