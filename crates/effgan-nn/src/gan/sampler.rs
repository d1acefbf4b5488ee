//! Sampling images from a trained generator.

use burn::tensor::{Device, Tensor, TensorData};

use crate::device::{device, on_one_thread};
use crate::networks::{Generator, Mode, Network, labels_tensor, layers, named_tensors};
use crate::{Params, Purpose, Result, Streams, pixels};

/// Images are sampled in batches of exactly this size, the last one padded, so that the bits of an image do not depend
/// on how many are sampled.
pub const BATCH: usize = 64;

/// Batches that [`recompute_statistics`] uses: 3,200 images.
const STATISTICS_BATCHES: u64 = 50;

/// A generator that samples images.
pub struct Sampler {
    generator: Generator,
    latent_dim: usize,
    num_classes: Option<usize>,
    device: Device,
}

impl Sampler {
    /// The generator of `network` with the tensors `params` (no prefix); batch norm uses its running statistics.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params) -> Result<Self> {
        let device = device();
        let generator = network.generator(params, &device)?;
        Ok(Self { generator, latent_dim: network.latent_dim(), num_classes: network.num_classes, device })
    }

    /// Images `[BATCH, c, h, w]` for `z` `[BATCH, latent_dim]` and, if the network is conditional, for the classes
    /// `labels` `[BATCH]`, which other networks ignore.
    ///
    /// # Panics
    /// When `z` or `labels` has another length, or a label is not below `num_classes`.
    pub fn draw(&self, z: Vec<f32>, labels: &[u8]) -> Vec<u8> {
        let z = Tensor::from_data(TensorData::new(z, [BATCH, self.latent_dim]), &self.device);
        let labels = self.num_classes.map(|classes| labels_tensor(labels, BATCH, classes, &self.device));
        let images = layers::values(self.generator.forward(z, labels.as_ref(), Mode::Evaluate));
        images.into_iter().map(pixels::to_u8).collect()
    }
}

/// `generator` with recomputed batch-norm statistics: the means, over fixed batches of z, of the batches' mean and
/// unbiased variance (PyTorch's `momentum=None`). All generators get the same z; a conditional one gets all classes in
/// turn.
///
/// This is for an *average* of generators, whose statistics are not the average of their statistics.
///
/// # Errors
/// As [`Sampler::new`].
pub fn recompute_statistics(network: &Network, generator: &Params) -> Result<Params> {
    let device = device();
    let module = network.generator(generator, &device)?;
    if !network.has_batch_norm() {
        return Ok(generator.clone());
    }
    let labels = |batch: u64, classes: usize| {
        let in_turn: Vec<u8> = (0..BATCH).map(|i| ((batch as usize * BATCH + i) % classes) as u8).collect();
        labels_tensor(&in_turn, BATCH, classes, &device)
    };
    on_one_thread(|| {
        for batch in 0..STATISTICS_BATCHES {
            let z = Streams::of_run(0).normal(Purpose::Statistics, batch, BATCH * network.latent_dim());
            let z = Tensor::from_data(TensorData::new(z, [BATCH, network.latent_dim()]), &device);
            let labels = network.num_classes.map(|classes| labels(batch, classes));
            // With momentum 1, 1/2, 1/3, … the running value is the mean over all batches.
            module.forward(z, labels.as_ref(), Mode::Train { momentum: 1.0 / (batch + 1) as f64, batches: 1 });
        }
        Ok(named_tensors(&module, &network.generator_tensors()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::{DcganConfig, NetworkConfig, NormKind, init};

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
        let recomputed = recompute_statistics(&network, &generator).unwrap();
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
        let once = recompute_statistics(&network, &generator).unwrap();
        assert_eq!(recompute_statistics(&network, &once).unwrap(), once);
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
            pool.install(|| recompute_statistics(&network, &generator).unwrap().hash())
        });
        assert_eq!(one, four);
    }

    #[test]
    fn without_batch_norm_there_is_nothing_to_recompute() {
        let (network, generator) = network(NormKind::Group);
        assert_eq!(recompute_statistics(&network, &generator).unwrap(), generator);
    }

    #[test]
    fn an_image_does_not_depend_on_its_neighbours() {
        let (network, generator) = network(NormKind::Batch);
        let sampler = Sampler::new(&network, &generator).unwrap();
        let z = Streams::of_run(1).normal(Purpose::Latent, 0, BATCH * 4);
        let mut alone = vec![0.0; BATCH * 4];
        alone[..8].copy_from_slice(&z[..8]);
        assert_eq!(sampler.draw(z, &[])[..2 * 64], sampler.draw(alone, &[])[..2 * 64]);
    }
}
