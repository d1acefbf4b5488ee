//! A client's images on a device, so that a step sends only which of them it takes.

use std::collections::BTreeMap;

use burn::tensor::{Int, Tensor, TensorData};

use super::Gan;
use crate::device::Placement;
use crate::model::TrainingImages;

/// Maximum number of bytes of a client's images that are kept: 10,922 images of 64 × 64 in colour. More are sent batch by batch,
/// since drivers bound a single buffer, and each client that trains at the same time has one.
const MAX_BYTES: usize = 1 << 29;

/// All images of a client on the device of its networks.
pub(super) struct KeptImages {
    images: Tensor<4>,
    /// The row of each image, by its index in the data set.
    rows: BTreeMap<u32, i32>,
    on: Placement,
}

impl KeptImages {
    /// The images of the client that `gan` is trained on; `None` where the device does not keep them, or they are too large.
    pub(super) fn new(from: &TrainingImages<'_>, gan: &Gan) -> Option<Self> {
        let bytes = 4 * from.indices.len() * gan.network().image_len();
        (gan.device().is_gpu() && bytes <= MAX_BYTES).then(|| Self::kept(from, gan))
    }

    fn kept(from: &TrainingImages<'_>, gan: &Gan) -> Self {
        let images = gan.images_on_device(from.values(from.indices));
        Self { images, rows: from.indices.iter().copied().zip(0..).collect(), on: gan.placement().clone() }
    }

    /// The images with these indices in the data set.
    ///
    /// # Panics
    /// When one is not the client's.
    pub(super) fn images(&self, indices: &[u32]) -> Tensor<4> {
        let rows: Vec<i32> = indices.iter().map(|index| self.rows[index]).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [indices.len()]), &self.on.burn);
        self.images.clone().select(0, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gan::{GanModel, TrainConfig};
    use crate::model::init;
    use crate::networks::layers::values;
    use crate::networks::{DcganConfig, Network, NetworkConfig};
    use crate::{Adam, Device};

    #[test]
    fn a_batch_of_kept_images_is_the_batch_that_is_sent() {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 1, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [3, 4, 4]).unwrap();
        let (params, train) =
            (init(&GanModel::new(network.clone()), 1), TrainConfig::new(Adam { learning_rate: 1e-3, beta1: 0.5 }));
        let gan = Gan::new(&network, &params, train, Device::of_tests()).unwrap();
        let pixels: Vec<u8> = (0..5 * network.image_len()).map(|i| (i * 7 % 256) as u8).collect();
        let from = TrainingImages { pixels: &pixels, labels: &[0; 5], indices: &[4, 1, 3], persons: None };
        let kept = KeptImages::kept(&from, &gan);
        assert_eq!(values(kept.images(&[3, 4])), values(gan.images_on_device(from.values(&[3, 4]))));
    }
}
