//! One training step: the discriminator on real and generated images, then the generator against the new discriminator.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Serialize;

use super::loss;
use crate::device::training_device;
use crate::kernels::Precision;
use crate::networks::{Discriminator, Generator, Mode, Network, named_tensors, raw_tensors};
pub use crate::optim::Adam;
use crate::optim::Optimiser;
use crate::{Params, Result};

/// Losses of one step, in nats; means over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Losses {
    /// −log D(x) − log(1 − D(G(z))); 2 log 2 ≈ 1.39 when the discriminator cannot tell.
    pub discriminator: f32,
    /// −log D(G(z)); log 2 ≈ 0.69 when the discriminator cannot tell.
    pub generator: f32,
}

/// A generator and a discriminator in training, each with its own Adam.
#[derive(Clone)]
pub struct Gan {
    generator: Generator,
    discriminator: Discriminator,
    adam_g: Optimiser,
    adam_d: Optimiser,
    network: Network,
    device: Device,
}

impl Gan {
    /// Networks with the tensors `generator.*` and `discriminator.*` of `params`, whose large products are of
    /// `precision`; Adam's moments start at zero.
    ///
    /// # Errors
    /// When a tensor is missing, unknown or has another shape than `network` says.
    pub fn new(network: &Network, params: &Params, adam: Adam, precision: Precision) -> Result<Self> {
        let device = training_device();
        let generator = network.generator(&params.under("generator"), &device)?;
        let discriminator = network.discriminator(&params.under("discriminator"), &device)?;
        Ok(Self {
            generator: generator.with_precision(precision),
            discriminator: discriminator.with_precision(precision),
            adam_g: Optimiser::new(adam),
            adam_d: Optimiser::new(adam),
            network: network.clone(),
            device,
        })
    }

    /// The same networks, from now on pulled towards what they are now as strongly as `mu` (≥ 0): `FedProx`'s term.
    #[must_use]
    pub fn pulled(mut self, mu: f64) -> Self {
        self.adam_g.pull(mu);
        self.adam_d.pull(mu);
        self
    }

    /// One step on `real` images `[n, c, h, w]` in [-1, 1] and as many z `[n, latent_dim]`.
    ///
    /// # Panics
    /// When the lengths are those of no n, or the processor has not the precision.
    #[must_use]
    pub fn step(mut self, real: Vec<f32>, z: Vec<f32>) -> (Self, Losses) {
        let (real, z) = self.tensors(real, z);
        let fake = self.generator.forward(z, Mode::TRAIN);

        let (discriminator_loss, grads) = self.discriminator_pass(real, fake.clone().detach());
        self.discriminator = self.adam_d.step(self.discriminator, grads);

        let (generator_loss, grads) = self.generator_pass(fake);
        self.generator = self.adam_g.step(self.generator, grads);

        (self, Losses { discriminator: discriminator_loss, generator: generator_loss })
    }

    fn discriminator_pass(&self, real: Tensor<4>, fake: Tensor<4>) -> (f32, GradientsParams) {
        let n = real.dims()[0];
        let both = self.discriminator.forward(Tensor::cat(vec![real, fake], 0), Mode::train(2));
        let loss = loss::discriminator(both.clone().slice(..n), both.slice(n..));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.discriminator))
    }

    fn generator_pass(&self, fake: Tensor<4>) -> (f32, GradientsParams) {
        // The discriminator's own gradients are not needed here; its running statistics are shared with the copy.
        let judge = self.discriminator.clone().no_grad();
        let loss = loss::generator(judge.forward(fake, Mode::TRAIN));
        (loss.clone().into_scalar(), GradientsParams::from_grads(loss.backward(), &self.generator))
    }

    fn tensors(&self, real: Vec<f32>, z: Vec<f32>) -> (Tensor<4>, Tensor<2>) {
        let [c, h, w] = self.network.image_shape;
        let n = real.len() / self.network.image_len();
        let real = Tensor::from_data(TensorData::new(real, [n, c, h, w]), &self.device);
        let z = Tensor::from_data(TensorData::new(z, [n, self.network.latent_dim()]), &self.device);
        (real, z)
    }

    /// The networks' sizes.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The generator's tensors in the layouts of the kernels, without prefix.
    pub(super) fn raw_generator(&self) -> Params {
        raw_tensors(&self.generator)
    }

    /// The generator's tensors, without prefix.
    pub fn generator(&self) -> Params {
        named_tensors(&self.generator, &self.network.generator_tensors())
    }

    /// The discriminator's tensors, without prefix.
    pub fn discriminator(&self) -> Params {
        named_tensors(&self.discriminator, &self.network.discriminator_tensors())
    }

    /// Both networks, as `generator.*` and `discriminator.*`.
    pub fn params(&self) -> Params {
        self.generator().named_under("generator").merged_with(self.discriminator().named_under("discriminator"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::module::{ModuleVisitor, Param};

    use super::*;
    use crate::gan::Sampler;
    use crate::networks::init;
    use crate::networks::layers::{self, is_named};
    use crate::networks::{DcganConfig, NetworkConfig, NormKind, TensorSpec, is_running_statistic, to_files};
    use crate::{Array, Purpose, Streams, checkpoint, on_threads, pixels};

    /// Tensors that `tests/fixtures/dcgan_steps.py` made with PyTorch.
    struct Fixture {
        tensors: Params,
        network: Network,
    }

    impl Fixture {
        fn load(name: &str, norm: NormKind, base_channels: usize) -> Self {
            let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.safetensors"));
            let dcgan = DcganConfig { latent_dim: 8, base_channels, norm };
            let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap();
            Self { tensors: checkpoint::load(&file).unwrap(), network }
        }

        fn values(&self, name: &str) -> Vec<f32> {
            self.tensors.get(name).unwrap().values.clone()
        }

        fn steps(&self) -> Vec<Params> {
            let steps = (0..3).map(|step| self.tensors.under(&format!("step{step}")));
            steps.filter(|step| !step.is_empty()).collect()
        }
    }

    /// Gradients by dotted name.
    struct NamedGrads<'a>(&'a GradientsParams, Vec<String>, Params);

    impl ModuleVisitor for NamedGrads<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.0.get::<D>(param.id) {
                self.2.insert(self.1.join("."), Array::new(grad.dims(), layers::values(grad)));
            }
        }

        fn enter_module(&mut self, name: &str, container: &str) {
            if is_named(container) {
                self.1.push(name.to_owned());
            }
        }

        fn exit_module(&mut self, _: &str, container: &str) {
            if is_named(container) {
                self.1.pop();
            }
        }
    }

    fn named<M: Module>(grads: &GradientsParams, module: &M, tensors: &[TensorSpec]) -> Params {
        let mut named = NamedGrads(grads, Vec::new(), Params::new());
        module.visit(&mut named);
        let learned: Vec<TensorSpec> = tensors.iter().filter(|t| !is_running_statistic(&t.name)).cloned().collect();
        to_files(&named.2, &learned)
    }

    fn largest(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |most, value| most.max(value.abs()))
    }

    fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
        assert_eq!(ours.len(), theirs.len());
        ours.iter().zip(theirs).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
    }

    /// 1e-4 of the tensor's largest value: f32 sums in another order. 1e-5 in all: the gradient of a bias before a norm
    /// is zero, and what is left of it is rounding.
    fn assert_gradients(ours: &Params, theirs: &Params) {
        assert_eq!(ours.len(), theirs.len());
        for (name, array) in theirs {
            let difference = largest_difference(&ours.get(name).unwrap().values, &array.values);
            let bound = 1e-5 + 1e-4 * largest(&array.values);
            assert!(difference <= bound, "gradient of {name} is off by {difference}, more than {bound}");
        }
    }

    fn steps_match_pytorch(name: &str, norm: NormKind, base_channels: usize) {
        let fixture = Fixture::load(name, norm, base_channels);
        let adam = Adam { learning_rate: 2e-4, beta1: 0.5 };
        let mut gan = Gan::new(&fixture.network, &fixture.tensors.under("initial"), adam, Precision::F32).unwrap();
        for step in fixture.steps() {
            let value = |name: &str| step.get(name).unwrap().values.clone();
            let (real, z) = gan.tensors(value("real"), value("z"));
            let fake = gan.generator.forward(z, Mode::TRAIN);
            // The two halves of `Gan::step`, with a look at the gradients between.
            let (loss_d, grads) = gan.discriminator_pass(real, fake.clone().detach());
            assert_gradients(
                &named(&grads, &gan.discriminator, &fixture.network.discriminator_tensors()),
                &step.under("grad.discriminator"),
            );
            gan.discriminator = gan.adam_d.step(gan.discriminator, grads);
            let (loss_g, grads) = gan.generator_pass(fake);
            assert_gradients(
                &named(&grads, &gan.generator, &fixture.network.generator_tensors()),
                &step.under("grad.generator"),
            );
            gan.generator = gan.adam_g.step(gan.generator, grads);
            // f32 means of a few logits.
            assert!((loss_d - value("loss_d")[0]).abs() < 1e-5, "{loss_d}");
            assert!((loss_g - value("loss_g")[0]).abs() < 1e-5, "{loss_g}");
        }
        assert_final(&gan.params(), &fixture.tensors.under("final"), norm);
    }

    fn assert_final(ours: &Params, theirs: &Params, norm: NormKind) {
        for (name, array) in ours {
            let difference = largest_difference(&array.values, &theirs.get(name).unwrap().values);
            // Adam turns the rounding in the gradient of a bias before a norm into moves of up to the learning rate a
            // step, in whichever direction; a tenth of it reaches the running mean.
            let before_norm =
                norm != NormKind::None && (name == "generator.conv1.bias" || name == "discriminator.conv2.bias");
            let loose = before_norm || name.ends_with("running_mean");
            let bound = if loose { 1.2e-3 } else { 2e-6 * largest(&array.values).max(1.0) };
            assert!(difference <= bound, "{name} is off by {difference}, more than {bound}");
        }
    }

    #[test]
    fn three_steps_with_batch_norm_match_pytorch() {
        steps_match_pytorch("dcgan_steps_batch", NormKind::Batch, 4);
    }

    #[test]
    fn three_steps_with_group_norm_match_pytorch() {
        steps_match_pytorch("dcgan_steps_group", NormKind::Group, 4);
    }

    #[test]
    fn a_step_with_groups_of_two_channels_matches_pytorch() {
        steps_match_pytorch("dcgan_steps_group_base8", NormKind::Group, 8);
    }

    #[test]
    fn three_steps_without_norm_match_pytorch() {
        steps_match_pytorch("dcgan_steps_none", NormKind::None, 4);
    }

    #[test]
    fn step_is_its_two_halves() {
        let fixture = Fixture::load("dcgan_steps_batch", NormKind::Batch, 4);
        let adam = Adam { learning_rate: 2e-4, beta1: 0.5 };
        let mut gan = Gan::new(&fixture.network, &fixture.tensors.under("initial"), adam, Precision::F32).unwrap();
        for step in fixture.steps() {
            let value = |name: &str| step.get(name).unwrap().values.clone();
            let losses;
            (gan, losses) = gan.step(value("real"), value("z"));
            assert!((losses.discriminator - value("loss_d")[0]).abs() < 1e-5);
            assert!((losses.generator - value("loss_g")[0]).abs() < 1e-5);
        }
        assert_final(&gan.params(), &fixture.tensors.under("final"), NormKind::Batch);
    }

    #[test]
    fn a_step_has_the_same_bits_on_any_number_of_threads() {
        let dcgan = DcganConfig { latent_dim: 16, base_channels: 16, norm: NormKind::Batch };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap();
        let streams = Streams::of_run(3);
        let first = |tensors: &[TensorSpec], which| init(tensors, &mut streams.at(Purpose::Init, which));
        let params = first(&network.generator_tensors(), 0).named_under("generator");
        let params = params.merged_with(first(&network.discriminator_tensors(), 1).named_under("discriminator"));
        let steps = |threads| {
            on_threads(threads, || {
                let mut gan =
                    Gan::new(&network, &params, Adam { learning_rate: 1e-3, beta1: 0.5 }, Precision::F32).unwrap();
                for step in 0..3 {
                    let real = streams.normal(Purpose::Shuffle, step, 20 * network.image_len());
                    gan = gan.step(real, streams.normal(Purpose::Latent, step, 20 * 16)).0;
                }
                gan.params().hash()
            })
        };
        assert_eq!(steps(1), steps(2));
        assert_eq!(steps(1), steps(3));
    }

    #[test]
    fn a_sample_by_running_statistics_matches_pytorch() {
        let fixture = Fixture::load("dcgan_steps_batch", NormKind::Batch, 4);
        let sampler = Sampler::new(&fixture.network, &fixture.tensors.under("final.generator")).unwrap();
        let mut z = fixture.values("step0.z");
        z.resize(crate::gan::BATCH * 8, 0.0);
        let expected: Vec<u8> = fixture.values("final.sample").into_iter().map(pixels::to_u8).collect();
        let ours = &sampler.draw(z)[..expected.len()];
        // One grey level: a value may lie on the edge between two.
        assert!(ours.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1));
    }

    #[test]
    fn names_and_shapes_survive_a_round_through_the_modules() {
        let fixture = Fixture::load("dcgan_steps_batch", NormKind::Batch, 4);
        let initial = fixture.tensors.under("initial");
        let gan =
            Gan::new(&fixture.network, &initial, Adam { learning_rate: 1e-3, beta1: 0.5 }, Precision::F32).unwrap();
        assert_eq!(gan.params(), initial);
    }

    #[test]
    fn a_network_of_another_size_is_refused_by_tensor() {
        let fixture = Fixture::load("dcgan_steps_batch", NormKind::Batch, 8);
        let adam = Adam { learning_rate: 1e-3, beta1: 0.5 };
        let error = Gan::new(&fixture.network, &fixture.tensors.under("initial"), adam, Precision::F32).err().unwrap();
        assert_eq!(error.to_string(), "tensor `fc.weight` has shape [392, 8], expected [784, 8]");
    }
}
