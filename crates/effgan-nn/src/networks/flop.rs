//! How many floating-point operations a training step needs: two per multiply-add of the layers, nothing else.
//!
//! Layers are counted in the form in which PyTorch would compute them: plain convolutions, separate from resampling. A fast
//! algorithm needs fewer.

use super::Network;

/// The arithmetic of one layer on one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerCost {
    /// Multiply-adds of the forward pass. The gradient of the input costs the same, as does that of the weights.
    pub(super) multiply_adds: usize,
    /// Whether the layer reads what the whole network reads (z or an image) and nothing of it is trained: the network's own
    /// training then needs no gradient of the layer's input.
    pub(super) is_first: bool,
}

impl LayerCost {
    pub(super) fn inner(multiply_adds: usize) -> Self {
        Self { multiply_adds, is_first: false }
    }
}

/// Multiply-adds of a whole network on one image.
struct NetworkCost {
    /// Of all layers, once.
    all: usize,
    /// Of those that read what the network reads.
    first: usize,
}

impl NetworkCost {
    fn of(layers: &[LayerCost]) -> Self {
        let sum = |counts: fn(&LayerCost) -> bool| {
            layers.iter().filter(|layer| counts(layer)).map(|layer| layer.multiply_adds).sum()
        };
        Self { all: sum(|_| true), first: sum(|layer| layer.is_first) }
    }

    /// The gradients of all weights, and of all inputs but the network's.
    fn backward(&self) -> usize {
        2 * self.all - self.first
    }
}

impl Network {
    /// Floating-point operations of one training step: `discriminator_steps` updates of the discriminator, each on
    /// `batch_size` real and as many generated images, and one of the generator on `batch_size` generated images.
    pub fn flop_per_step(&self, batch_size: usize, discriminator_steps: usize) -> f64 {
        let generator = NetworkCost::of(&self.generator_layers());
        let discriminator = NetworkCost::of(&self.discriminator_layers());
        let discriminator_step = generator.all + 2 * (discriminator.all + discriminator.backward());
        // Through the discriminator forward and back to the image, without the gradients of its weights.
        let generator_step = 2 * discriminator.all + generator.backward();
        2.0 * (batch_size * (discriminator_steps * discriminator_step + generator_step)) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DcganConfig, NetworkConfig, ResnetConfig};
    use super::*;

    /// MFLOP per image of a step of networks of base 64 with z of 100 values.
    fn mflop(config: NetworkConfig, image_shape: [usize; 3], discriminator_steps: usize) -> f64 {
        let network = Network::of_classes(config, image_shape, 10).unwrap();
        1e-6 * network.flop_per_step(64, discriminator_steps) / 64.0
    }

    fn dcgan() -> DcganConfig {
        DcganConfig::default()
    }

    fn resnet() -> ResnetConfig {
        ResnetConfig { latent_dim: 100, ..ResnetConfig::default() }
    }

    #[track_caller]
    fn assert_mflop(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6 * expected, "{found} is not {expected}");
    }

    #[test]
    fn a_step_of_a_dcgan_by_hand() {
        // 2·(3 G − fc of G + 8 D − 2 conv1 of D) with G = 100·6272 + 16·(128·64·49 + 64·196) and
        // D = 16·(64·196 + 64·128·49) + 6272, in multiply-adds.
        assert_mflop(mflop(NetworkConfig::Dcgan(dcgan()), [1, 28, 28], 1), 147.517_44);
    }

    #[test]
    fn a_step_of_a_resnet_by_hand() {
        // Generator: fc; two 3 × 3 convolutions at 8, 16 and 32 pixels per side, a shortcut at 4, 8 and 16; 64 to 3 channels.
        let generator = 100 * 1024 + 64 * 64 * (2 * 9 * (64 + 256 + 1024) + (16 + 64 + 256)) + 9 * 64 * 3 * 1024;
        // Discriminator: 3 to 64 channels, with a shortcut at 16 pixels per side; a block at 16; two blocks at 8, without
        // shortcuts; fc.
        let first = 9 * 3 * 64 * 1024 + 3 * 64 * 256;
        let discriminator = first + 64 * 64 * (9 * 1024 + (2 * 9 + 1) * 256 + 2 * 2 * 9 * 64) + 64;
        let step = 3 * generator - 100 * 1024 + 8 * discriminator - 2 * first;
        assert_mflop(mflop(NetworkConfig::Resnet(resnet()), [3, 32, 32], 1), 2e-6 * f64::from(step));
    }

    #[test]
    fn steps_cost_what_pytorch_counts() {
        // torch.utils.flop_counter on the step of scripts/train_step_torch.py, which says the same of the two above.
        assert_mflop(mflop(NetworkConfig::Dcgan(dcgan()), [3, 64, 64], 1), 2_274.623_488);
        assert_mflop(mflop(NetworkConfig::Resnet(resnet()), [3, 32, 32], 1), 1_709.392_896);
        assert_mflop(mflop(NetworkConfig::Resnet(resnet()), [3, 64, 64], 1), 6_730.826_752);
        let narrow = ResnetConfig { base_channels: 16, ..resnet() };
        assert_mflop(mflop(NetworkConfig::Resnet(narrow), [1, 8, 8], 1), 6.784_256);
    }

    #[test]
    fn another_update_of_the_discriminator_costs_that_alone() {
        let of_steps = |steps| mflop(NetworkConfig::Dcgan(dcgan()), [1, 28, 28], steps);
        let generator = 100 * 6272 + 16 * (128 * 64 * 49 + 64 * 196);
        let discriminator = 16 * (64 * 196 + 64 * 128 * 49) + 6272;
        let update = generator + 6 * discriminator - 2 * 16 * 64 * 196;
        assert_mflop(of_steps(5) - of_steps(1), 4.0 * 2e-6 * f64::from(update));
    }

    #[test]
    fn classes_add_the_gradient_of_z_and_a_product_with_the_features() {
        let plain = mflop(NetworkConfig::Dcgan(dcgan()), [1, 28, 28], 1);
        let conditional = mflop(NetworkConfig::Dcgan(DcganConfig { conditional: true, ..dcgan() }), [1, 28, 28], 1);
        assert_mflop(conditional - plain, 2e-6 * f64::from(100 * 6272 + 8 * 6272));
        let plain = mflop(NetworkConfig::Resnet(resnet()), [3, 32, 32], 1);
        let conditional = mflop(NetworkConfig::Resnet(ResnetConfig { conditional: true, ..resnet() }), [3, 32, 32], 1);
        assert_mflop(conditional - plain, 2e-6 * f64::from(100 * 1024 + 8 * 64));
    }
}
