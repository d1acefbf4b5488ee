//! Sampling images from a trained generator.

use burn::tensor::{Tensor, TensorData};

use crate::device::Placement;
use crate::model::{BATCH, Sampler};
use crate::networks::{Generator, Mode, Network, labels_tensor, named_tensors};
use crate::{Device, Params, Purpose, Result, Streams, on_one_thread, pixels};

/// Batches that [`recompute_statistics`] uses: 3,200 images.
const STATISTICS_BATCHES: u64 = 50;

/// A generator that samples images.
pub(super) struct GanSampler {
    generator: Generator,
    network: Network,
    on: Placement,
}

impl GanSampler {
    /// The generator of `network` with the tensors `params` (no prefix), on `device`; batch norm uses its running
    /// statistics.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub(super) fn new(network: &Network, params: &Params, device: Device) -> Result<Self> {
        let on = device.for_inference();
        let generator = network.generator(params, &on)?;
        Ok(Self { generator, network: network.clone(), on })
    }
}

impl Sampler for GanSampler {
    fn latent_dim(&self) -> usize {
        self.network.latent_dim()
    }

    fn draw(&self, z: Vec<f32>, labels: &[u8]) -> Result<Vec<u8>> {
        let z = Tensor::from_data(TensorData::new(z, [BATCH, self.latent_dim()]), &self.on.burn);
        let labels = self.network.num_classes.map(|classes| labels_tensor(labels, BATCH, classes, &self.on));
        let images = self.generator.forward(z, labels.as_ref(), Mode::Evaluate);
        Ok(self.network.images_of_tensor(images)?.into_iter().map(pixels::to_u8).collect())
    }
}

/// `generator` with batch-norm statistics recomputed on `device`: the means, over fixed batches of z, of the batches' mean and
/// unbiased variance (PyTorch's `momentum=None`). All generators get the same z; a conditional one gets all classes in
/// turn.
///
/// This is for an *average* of generators, whose statistics are not the average of their statistics.
///
/// # Errors
/// When a tensor is missing, unknown or has another shape than `network` says.
pub fn recompute_statistics(network: &Network, generator: &Params, device: Device) -> Result<Params> {
    let on = device.for_inference();
    let module = network.generator(generator, &on)?;
    if !network.config.has_batch_norm() {
        return Ok(generator.clone());
    }
    let labels = |batch: u64, classes: usize| {
        let in_turn: Vec<u8> = (0..BATCH).map(|i| ((batch as usize * BATCH + i) % classes) as u8).collect();
        labels_tensor(&in_turn, BATCH, classes, &on)
    };
    on_one_thread(|| {
        for batch in 0..STATISTICS_BATCHES {
            let z = Streams::of_run(0).normal(Purpose::Statistics, batch, BATCH * network.latent_dim());
            let z = Tensor::from_data(TensorData::new(z, [BATCH, network.latent_dim()]), &on.burn);
            let labels = network.num_classes.map(|classes| labels(batch, classes));
            // With momentum 1, 1/2, 1/3, … the running value is the mean over all batches.
            module.forward(z, labels.as_ref(), Mode::Train { momentum: 1.0 / (batch + 1) as f64, batches: 1 });
        }
        named_tensors(&module, &network.generator_tensors(), device.order())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::{DcganConfig, NetworkConfig, NormKind, init};

    fn device() -> Device {
        Device::of_tests()
    }

    fn network(norm: NormKind) -> (Network, Params) {
        let dcgan = DcganConfig { latent_dim: 4, base_channels: 2, norm, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 8, 8]).unwrap();
        let generator = init(&network.generator_tensors(), &mut Streams::of_run(3).at(Purpose::Init, 0));
        (network, generator)
    }

    #[test]
    fn recomputed_statistics_of_the_first_layer_by_hand() {
        let (network, mut generator) = network(NormKind::Batch);
        let bias: Vec<f32> = (0..16).map(|i| i as f32).collect();
        generator.insert("fc.bias", crate::Array::new([16], bias));
        let recomputed = recompute_statistics(&network, &generator, device()).unwrap();
        // A channel has 2 x 2 pixels with biases 4c, 4c + 1, 4c + 2 and 4c + 3, and weights ~ N(0, 0.02²).
        for (channel, mean) in recomputed.get("norm0.running_mean").unwrap().values().iter().enumerate() {
            assert!((mean - (4.0 * channel as f32 + 1.5)).abs() < 0.01, "{mean}");
        }
        for var in recomputed.get("norm0.running_var").unwrap().values() {
            // 1.25 from the biases, unbiased over 256 values, and 4 · 0.02² from the weights.
            assert!((var - 1.25 * 256.0 / 255.0).abs() < 0.02, "{var}");
        }
    }

    #[test]
    fn recomputing_changes_only_statistics_and_is_idempotent() {
        let (network, generator) = network(NormKind::Batch);
        let once = recompute_statistics(&network, &generator, device()).unwrap();
        assert_eq!(recompute_statistics(&network, &once, device()).unwrap(), once);
        for (name, array) in &once {
            let running = crate::networks::is_running_statistic(name);
            assert_eq!(array != generator.get(name).unwrap(), running, "{name}");
        }
    }

    #[test]
    fn recomputed_bits_do_not_depend_on_the_callers_threads() {
        let dcgan = DcganConfig { latent_dim: 100, base_channels: 32, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap();
        let generator = init(&network.generator_tensors(), &mut Streams::of_run(3).at(Purpose::Init, 0));
        let [one, four] = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| recompute_statistics(&network, &generator, device()).unwrap().hash())
        });
        assert_eq!(one, four);
    }

    #[test]
    fn without_batch_norm_there_is_nothing_to_recompute() {
        let (network, generator) = network(NormKind::Group);
        assert_eq!(recompute_statistics(&network, &generator, device()).unwrap(), generator);
    }

    #[test]
    fn an_image_does_not_depend_on_its_neighbours() {
        let (network, generator) = network(NormKind::Batch);
        let sampler = GanSampler::new(&network, &generator, device()).unwrap();
        let z = Streams::of_run(1).normal(Purpose::Latent, 0, BATCH * 4);
        let mut alone = vec![0.0; BATCH * 4];
        alone[..8].copy_from_slice(&z[..8]);
        assert_eq!(sampler.draw(z, &[]).unwrap()[..2 * 64], sampler.draw(alone, &[]).unwrap()[..2 * 64]);
    }
}
