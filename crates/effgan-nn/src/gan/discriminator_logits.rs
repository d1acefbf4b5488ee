//! What a trained discriminator says of images.

use crate::model::BATCH;
use crate::networks::{Mode, Network, labels_tensor, layers};
use crate::{Device, Params, Result, on_one_thread, pixels};

/// Logits of `images`, u8 `[n, c, h, w]` of the classes `labels` `[n]`, by the discriminator of `network` with the tensors `params` (no prefix):
/// the larger, the more it takes the image for one that it was trained on. Batch norm uses its running statistics, so that no image depends on
/// another one.
///
/// # Errors
/// When a tensor is missing, unknown or has another shape than `network` says; when the device fails.
///
/// # Panics
/// When there is not one label per image.
pub fn discriminator_logits(
    network: &Network,
    params: &Params,
    images: &[u8],
    labels: &[u8],
    device: Device,
) -> Result<Vec<f32>> {
    assert_eq!(images.len(), labels.len() * network.image_len(), "there is a label for each image");
    let on = device.for_inference();
    let discriminator = network.discriminator(params, &on)?;
    let batches = images.chunks(BATCH * network.image_len()).zip(labels.chunks(BATCH));
    let logits = |(images, labels): (&[u8], &[u8])| {
        let images = network.tensor_of_images(images.iter().map(|&pixel| pixels::to_f32(pixel)).collect(), &on);
        let labels = network.num_classes.map(|classes| labels_tensor(labels, labels.len(), classes, &on));
        layers::read(discriminator.forward(images, labels.as_ref(), Mode::Evaluate))
    };
    Ok(on_one_thread(|| batches.map(logits).collect::<Result<Vec<_>>>())?.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::{DcganConfig, NetworkConfig, init};
    use crate::{Purpose, Streams};

    /// An image has the same logit wherever it stands, to the rounding of sums in another order.
    #[test]
    fn an_image_has_its_logit_whatever_others_it_is_among() {
        let dcgan = DcganConfig { latent_dim: 2, base_channels: 4, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 8, 8]).unwrap();
        let params = init(&network.discriminator_tensors(), &mut Streams::of_run(3).at(Purpose::Init, 0));
        let images: Vec<u8> = (0..100 * 64).map(|i| (i * i % 251) as u8).collect();
        let device = Device::cpu().unwrap();
        let logits = |images: &[u8]| {
            let labels = vec![0; images.len() / 64];
            discriminator_logits(&network, &params, images, &labels, device).unwrap()
        };
        let all = logits(&images);
        assert_eq!(all.len(), 100);
        let spread = all.iter().fold(f32::MIN, |most, &logit| most.max(logit))
            - all.iter().fold(f32::MAX, |least, &logit| least.min(logit));
        assert!(spread > 0.0, "images differ");
        for (i, image) in images.chunks(64).enumerate() {
            let alone = logits(image)[0];
            assert!((alone - all[i]).abs() < 1e-3 * spread, "{i}: {alone} {}", all[i]);
        }
    }
}
