//! In its steady state training allocates nothing, except what Burn allocates for itself.

#[path = "../../effgan-kernels/tests/counting/mod.rs"]
mod counting;

use counting::third_time;
use effgan_nn::Adam;
use effgan_nn::gan::{Gan, TrainConfig};
use effgan_nn::networks::{DcganConfig, Network, NetworkConfig, ResnetConfig, init};
use effgan_nn::{Device, Precision, Purpose, Streams};

/// A DCGAN with batch norm for 28 × 28 grey images.
fn dcgan() -> Network {
    let dcgan = DcganConfig { latent_dim: 16, base_channels: 16, ..DcganConfig::default() };
    Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap()
}

/// A `ResNet` for 16 × 16 colour images, whose blocks have residual connections and resample.
fn resnet() -> Network {
    let resnet = ResnetConfig { latent_dim: 16, base_channels: 16, ..ResnetConfig::default() };
    Network::new(NetworkConfig::Resnet(resnet), [3, 16, 16]).unwrap()
}

/// A GAN in training, and the batches of 20 images of its steps.
struct Training {
    gan: Option<Gan>,
    batches: Vec<[Vec<f32>; 2]>,
}

impl Training {
    fn new(network: &Network, steps: u64, device: Device) -> Self {
        let streams = Streams::of_run(3);
        let generator = init(&network.generator_tensors(), &mut streams.at(Purpose::Init, 0));
        let discriminator = init(&network.discriminator_tensors(), &mut streams.at(Purpose::Init, 1));
        let params = generator.named_under("generator").merged_with(discriminator.named_under("discriminator"));
        let train = TrainConfig::new(Adam { learning_rate: 2e-4, beta1: 0.5 });
        let batch = |step| {
            let real = streams.normal(Purpose::Shuffle, step, 20 * network.image_len());
            [real, streams.normal(Purpose::Latent, step, 20 * 16)]
        };
        let gan = Gan::new(network, &params, train, device).unwrap();
        Self { gan: Some(gan), batches: (0..steps).map(batch).collect() }
    }

    fn step(&mut self) {
        let [real, z] = self.batches.pop().expect("a batch for each step");
        self.gan = Some(self.gan.take().expect("it is put back").step(real, z, &[]).0);
    }
}

/// Calls of the allocator and the bytes that they request in a step of `network`.
fn allocated(network: &Network, device: Device) -> [usize; 2] {
    let mut training = Training::new(network, 3, device);
    third_time(|| training.step())
}

/// What remains is Burn's: its tensors (a reference count, the owner of the memory and the strides, each boxed), the
/// nodes and hash maps of its graph, and its copy of both halves of the discriminator's batch (125 KB). A fifth of the
/// DCGAN's calls update running statistics. The kernels allocate ten small vectors in the place of those that Burn drops:
/// logits, and the statistics of the norms. A feature map of the DCGAN that is not given back would add 160 to 250 KB, and
/// Winograd plans that are not kept another 500 calls.
///
/// The `ResNet` adds maps and sums them over pixels by Burn's operations, which drop one map of each sum that the kernels
/// then allocate again (60 to 160 KB each), and it normalises its weights. A further map that is not given back shows.
// One test, since Burn's graphs of several threads share one server.
#[test]
fn a_step_allocates_only_in_burn() {
    let with = |precision| Device::cpu().unwrap().with_precision(precision).ok();
    for device in [Precision::F32, Precision::Bf16].into_iter().filter_map(with) {
        let [calls, bytes] = allocated(&dcgan(), device);
        assert!(calls <= 2_720 && bytes <= 466_000, "DCGAN: {calls} calls of the allocator, {bytes} bytes");
    }
    let [calls, bytes] = allocated(&resnet(), Device::cpu().unwrap());
    assert!(calls <= 13_500 && bytes <= 4_480_000, "ResNet: {calls} calls of the allocator, {bytes} bytes");
}
