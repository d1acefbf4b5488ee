//! Training steps, compared with PyTorch's.

mod formula;
mod wide;

use std::path::PathBuf;

use burn::module::{ModuleVisitor, Param};

use super::*;
use crate::gan::{GanModel, Loss};
use crate::model::{BATCH, Model};
use crate::networks::layers::{self, Path};
use crate::networks::{
    DcganConfig, NetworkConfig, NormKind, Order, ResnetConfig, TensorSpec, init, is_running_statistic, to_files,
};
use crate::{Adam, Array, Isa, Purpose, Streams, checkpoint, on_threads, pixels};

/// First tensors and inputs, and what `tests/fixtures/*_steps.py` made of them with PyTorch.
struct Fixture {
    tensors: Params,
    network: Network,
    train: TrainConfig,
}

fn device() -> Device {
    Device::of_tests()
}

fn on_gpu() -> bool {
    device().order() == Order::ChannelsLast
}

const ADAM: Adam = Adam { learning_rate: 2e-4, beta1: 0.5 };

impl Fixture {
    fn load(name: &str, network: Network, train: TrainConfig) -> Self {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.safetensors"));
        let results = checkpoint::load(&file).unwrap();
        let number = |of: &str| results.get(of).unwrap().values()[0];
        let drawn_as = format!("{name} {}", number("seed"));
        let initial = formula::initial(&drawn_as, &network).named_under("initial");
        let steps = (0..3).map(|i| format!("step{i}")).filter(|step| !results.under(step).is_empty());
        let inputs = |step: String| {
            formula::inputs(&format!("{drawn_as} {step}"), number("images") as usize, &network).named_under(&step)
        };
        let tensors = steps.map(inputs).fold(initial, Params::merged_with).merged_with(results.clone());
        Self { tensors, network, train }
    }

    /// A DCGAN for grey 28 × 28 images.
    fn dcgan(name: &str, norm: NormKind, base_channels: usize) -> Self {
        let dcgan = DcganConfig { latent_dim: 8, base_channels, norm, conditional: false };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap();
        Self::load(&format!("dcgan_steps_{name}"), network, TrainConfig::new(ADAM))
    }

    fn conditional_dcgan() -> Self {
        let dcgan = DcganConfig { latent_dim: 8, base_channels: 2, norm: NormKind::Batch, conditional: true };
        let network = Network::of_classes(NetworkConfig::Dcgan(dcgan), [1, 28, 28], 3).unwrap();
        Self::load("dcgan_steps_conditional", network, TrainConfig::new(ADAM))
    }

    fn dcgan_32() -> Self {
        let dcgan = DcganConfig { latent_dim: 8, base_channels: 2, ..DcganConfig::default() };
        let network = Network::new(NetworkConfig::Dcgan(dcgan), [3, 32, 32]).unwrap();
        Self::load("dcgan_steps_32", network, TrainConfig::new(ADAM))
    }

    /// A `ResNet` with the hinge loss and two updates of the discriminator per step.
    fn resnet(conditional: bool) -> Self {
        let resnet = ResnetConfig { latent_dim: 8, base_channels: 4, norm: NormKind::Batch, conditional };
        let network = Network::of_classes(NetworkConfig::Resnet(resnet), [3, 16, 16], 3).unwrap();
        let train = TrainConfig { loss: Loss::Hinge, discriminator_steps: 2, ..TrainConfig::new(ADAM) };
        Self::load(if conditional { "resnet_steps_conditional" } else { "resnet_steps" }, network, train)
    }

    /// At least one fixture of each kind of network.
    fn some() -> [Self; 5] {
        let dcgan = Self::dcgan("batch", NormKind::Batch, 4);
        [dcgan, Self::conditional_dcgan(), Self::dcgan_32(), Self::resnet(false), Self::resnet(true)]
    }

    fn gan(&self) -> Gan {
        self.gan_on(device())
    }

    fn gan_on(&self, device: Device) -> Gan {
        Gan::new(&self.network, &self.tensors.under("initial"), self.train, device).unwrap()
    }

    fn steps(&self) -> Vec<Step> {
        let steps = (0..3).map(|step| self.tensors.under(&format!("step{step}")));
        steps.filter(|step| !step.is_empty()).map(Step).collect()
    }

    /// Whether the gradient of a bias is 0 but for rounding, as before a norm: then it is tiny relative to that of the
    /// layer's weight.
    fn is_rounding(&self, name: &str) -> bool {
        let Some(layer) = name.strip_suffix(".bias") else { return false };
        let gradient =
            |field| self.tensors.get(&format!("step0.grad.{layer}.{field}")).map(|grad| largest(grad.values()));
        let of_weight = gradient("weight").or_else(|_| gradient("weight_orig"));
        gradient("bias").unwrap() < 1e-5 * of_weight.unwrap()
    }

    /// How far the tensor `name`, given its largest value, may be off after all steps.
    ///
    /// From the rounding errors that are the gradient of a bias before a norm, Adam makes moves of about the learning rate
    /// per step in any direction: 3 · 2e-4 in either program, and a little more where gradients grow. A tenth of it reaches
    /// the running mean.
    fn bound_of_final(&self, name: &str, largest: f32) -> f32 {
        if self.is_rounding(name) || name.ends_with("running_mean") { 1.3e-3 } else { 2e-6 * largest.max(1.0) }
    }
}

/// Inputs and outputs of one step.
struct Step(Params);

impl Step {
    fn values(&self, name: &str) -> Vec<f32> {
        self.0.get(name).unwrap().values().to_vec()
    }

    fn labels(&self) -> Vec<u8> {
        self.0.get("labels").map_or(Vec::new(), |labels| labels.values().iter().map(|&label| label as u8).collect())
    }
}

/// Gradients by dotted name.
struct NamedGrads<'a>(&'a GradientsParams, Path, Params);

impl ModuleVisitor for NamedGrads<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.0.get::<D>(param.id) {
            self.2.insert(self.1.name(), Array::new(grad.dims(), layers::values(grad)));
        }
    }

    fn enter_module(&mut self, name: &str, container: &str) {
        self.1.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.1.exit(container);
    }
}

pub(in crate::gan) fn named<M: Module>(
    grads: &GradientsParams,
    module: &M,
    tensors: &[TensorSpec],
    device: Device,
) -> Params {
    let mut named = NamedGrads(grads, Path::default(), Params::new());
    module.visit(&mut named);
    let learned: Vec<TensorSpec> = tensors.iter().filter(|t| !is_running_statistic(&t.name)).cloned().collect();
    to_files(&named.2, &learned, device.order())
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).fold(0.0, |largest, (a, b)| largest.max((a - b).abs()))
}

/// 1e-4 of the tensor's largest value, and 1e-3 on a GPU, where exponentials are less exact: f32 sums in another order. Plus 1e-5,
/// and 3e-5 on a GPU: the gradient of a bias before a norm is zero but for rounding.
fn assert_gradients(ours: &Params, theirs: &Params) {
    assert_eq!(ours.len(), theirs.len());
    for (name, array) in theirs {
        let difference = largest_difference(ours.get(name).unwrap().values(), array.values());
        let (rounding, relative) = if on_gpu() { (3e-5, 1e-3) } else { (1e-5, 1e-4) };
        let bound = rounding + relative * largest(array.values());
        assert!(difference <= bound, "gradient of {name} is off by {difference}, more than {bound}");
    }
}

/// f32 means of a few logits, which are up to 27 for a `ResNet`. 1e-6 is eight roundings; PyTorch's own f32 is off by
/// 2e-7.
fn assert_loss(ours: f32, theirs: f32) {
    assert!((ours - theirs).abs() < 1e-6 * theirs.abs().max(10.0), "{ours}, PyTorch {theirs}");
}

/// Gradients and losses of a step, those of the discriminator first.
struct Taken {
    gradients: [Params; 2],
    losses: [f32; 2],
}

/// The parts of `Gan::step`, with the gradients in between: those of the last update of the discriminator.
fn take(mut gan: Gan, step: &Step) -> (Gan, Taken) {
    let (mut loss_d, mut last) = (0.0, None);
    for batch in gan.batches(&gan.images_on_device(step.values("real")), step.values("z"), &step.labels()) {
        let fake = gan.generator.forward(batch.z, batch.labels.as_ref(), Mode::TRAIN);
        let (loss, grads) = gan.discriminator_pass(batch.real, fake.clone().detach(), batch.labels.as_ref());
        let found = named(&grads, &gan.discriminator, &gan.network.discriminator_tensors(), gan.device());
        gan.discriminator = gan.adam_d.step(gan.discriminator, grads);
        loss_d += loss.into_scalar::<f32>() / gan.train.discriminator_steps as f32;
        last = Some((fake, batch.labels, found));
    }
    let (fake, labels, of_discriminator) = last.unwrap();
    let (loss_g, grads) = gan.generator_pass(fake, labels.as_ref());
    let of_generator = named(&grads, &gan.generator, &gan.network.generator_tensors(), gan.device());
    gan.generator = gan.adam_g.step(gan.generator, grads);
    (gan, Taken { gradients: [of_discriminator, of_generator], losses: [loss_d, loss_g.into_scalar()] })
}

fn steps_match_pytorch(fixture: &Fixture) {
    let mut gan = fixture.gan();
    for step in fixture.steps() {
        let taken;
        (gan, taken) = take(gan, &step);
        for (i, network) in ["discriminator", "generator"].into_iter().enumerate() {
            assert_gradients(&taken.gradients[i], &step.0.under(&format!("grad.{network}")));
            assert_loss(taken.losses[i], step.values(&format!("loss_{}", &network[..1]))[0]);
        }
    }
    assert_final(fixture, &gan.params().unwrap());
}

/// Checks that `step` is the same on each instruction set of this processor, the portable one first; returns the hashes
/// after it.
fn hashes_by_isa(gan_on: impl Fn(Device) -> Gan, step: &Step) -> Vec<String> {
    let on = |isa| take(gan_on(Device::cpu_with(isa)), step);
    let taken: Vec<(Gan, Taken)> = Isa::available().into_iter().map(on).collect();
    let (_, portable) = &taken[0];
    for (_, other) in &taken[1..] {
        for i in 0..2 {
            assert_gradients(&other.gradients[i], &portable.gradients[i]);
            assert_loss(other.losses[i], portable.losses[i]);
        }
    }
    taken.iter().map(|(gan, _)| gan.params().unwrap().hash()).collect()
}

#[test]
fn there_is_a_fixture_of_every_kind_of_network() {
    // unknown variant `?`, expected one of `a`, `b`
    let error = serde_json::from_str::<NetworkConfig>(r#"{"kind":"?"}"#).unwrap_err().to_string();
    let fixtures = Fixture::some().map(|fixture| serde_json::to_value(fixture.network.config).unwrap());
    for kind in error.split('`').skip(3).step_by(2) {
        assert!(fixtures.iter().any(|config| config["kind"] == kind), "Fixture::some lacks {kind}");
    }
}

#[test]
fn a_step_agrees_on_all_instruction_sets_in_one_process() {
    for fixture in Fixture::some() {
        hashes_by_isa(|device| fixture.gan_on(device), &fixture.steps()[0]);
    }
    // Wide enough for Winograd's algorithm, in which sets with a fused multiply-add round less often than the portable one:
    // equal bits would mean that the device's set was not used.
    let dcgan = DcganConfig { latent_dim: 16, base_channels: 16, ..DcganConfig::default() };
    let network = Network::new(NetworkConfig::Dcgan(dcgan), [1, 28, 28]).unwrap();
    let (params, streams) = (first_params(&network), Streams::of_run(3));
    let mut step = Params::new();
    for (name, purpose, len) in [("real", Purpose::Shuffle, 28 * 28), ("z", Purpose::Latent, 16)] {
        step.insert(name, Array::new([20, len], streams.normal(purpose, 0, 20 * len)));
    }
    let gan_on = |device| Gan::new(&network, &params, TrainConfig::new(ADAM), device).unwrap();
    let hashes = hashes_by_isa(gan_on, &Step(step));
    assert!(hashes[1..].iter().all(|hash| *hash != hashes[0]), "{hashes:?}");
}

fn assert_final(fixture: &Fixture, ours: &Params) {
    let theirs = fixture.tensors.under("final");
    for (name, array) in ours {
        let difference = largest_difference(array.values(), theirs.get(name).unwrap().values());
        let bound = fixture.bound_of_final(name, largest(array.values()));
        assert!(difference <= bound, "{name} is off by {difference}, more than {bound}");
    }
}

#[test]
fn three_steps_with_batch_norm_match_pytorch() {
    steps_match_pytorch(&Fixture::dcgan("batch", NormKind::Batch, 4));
}

#[test]
fn three_steps_with_group_norm_match_pytorch() {
    steps_match_pytorch(&Fixture::dcgan("group", NormKind::Group, 4));
}

#[test]
fn a_step_with_groups_of_two_channels_matches_pytorch() {
    steps_match_pytorch(&Fixture::dcgan("group_base8", NormKind::Group, 8));
}

#[test]
fn three_steps_without_norm_match_pytorch() {
    steps_match_pytorch(&Fixture::dcgan("none", NormKind::None, 4));
}

#[test]
fn a_step_with_least_squares_matches_pytorch() {
    let fixture = Fixture::dcgan("least_squares", NormKind::Batch, 2);
    let train = TrainConfig { loss: Loss::LeastSquares, ..fixture.train };
    steps_match_pytorch(&Fixture { train, ..fixture });
}

#[test]
fn three_steps_of_a_conditional_network_match_pytorch() {
    steps_match_pytorch(&Fixture::conditional_dcgan());
}

#[test]
fn three_steps_on_colour_images_of_32_by_32_match_pytorch() {
    steps_match_pytorch(&Fixture::dcgan_32());
}

#[test]
fn three_steps_of_a_resnet_with_spectral_norm_match_pytorch() {
    steps_match_pytorch(&Fixture::resnet(false));
}

#[test]
fn three_steps_of_a_conditional_resnet_match_pytorch() {
    steps_match_pytorch(&Fixture::resnet(true));
}

#[test]
fn a_step_matches_pytorch_as_a_whole() {
    for fixture in Fixture::some() {
        let mut gan = fixture.gan();
        for step in fixture.steps() {
            let losses;
            (gan, losses) = gan.step(step.values("real"), step.values("z"), &step.labels());
            let losses = PendingLosses::read(vec![losses]).unwrap()[0];
            assert_loss(losses.discriminator, step.values("loss_d")[0]);
            assert_loss(losses.generator, step.values("loss_g")[0]);
        }
        assert_final(&fixture, &gan.params().unwrap());
    }
}

fn first_params(network: &Network) -> Params {
    let streams = Streams::of_run(3);
    let first = |tensors: &[TensorSpec], which| init(tensors, &mut streams.at(Purpose::Init, which));
    let generator = first(&network.generator_tensors(), 0).named_under("generator");
    generator.merged_with(first(&network.discriminator_tensors(), 1).named_under("discriminator"))
}

/// Hash after three steps on 20 images with this many threads.
fn hash_on(threads: usize, network: &Network, train: TrainConfig) -> String {
    let (streams, params) = (Streams::of_run(3), first_params(network));
    on_threads(threads, || {
        let mut gan = Gan::new(network, &params, train, device()).unwrap();
        for step in 0..3 {
            let real = streams.normal(Purpose::Shuffle, step, 20 * network.image_len());
            let z = streams.normal(Purpose::Latent, step, 20 * network.latent_dim());
            gan = gan.step(real, z, &[0, 1, 2, 3, 4].repeat(4)).0;
        }
        gan.params().unwrap().hash()
    })
}

#[test]
fn a_step_has_the_same_bits_on_any_number_of_threads() {
    let dcgan = DcganConfig { latent_dim: 16, base_channels: 16, ..DcganConfig::default() };
    let resnet = ResnetConfig { latent_dim: 16, base_channels: 16, conditional: true, ..ResnetConfig::default() };
    for (config, shape) in [
        (NetworkConfig::Dcgan(dcgan.clone()), [1, 28, 28]),
        (NetworkConfig::Dcgan(DcganConfig { conditional: true, ..dcgan }), [3, 32, 32]),
        (NetworkConfig::Resnet(resnet), [3, 32, 32]),
    ] {
        let network = Network::of_classes(config, shape, 5).unwrap();
        let hash = |threads| hash_on(threads, &network, TrainConfig::new(Adam { learning_rate: 1e-3, beta1: 0.5 }));
        assert_eq!(hash(1), hash(2), "{network:?}");
        assert_eq!(hash(1), hash(3), "{network:?}");
    }
}

fn samples_match_pytorch(fixture: &Fixture) {
    let generator = fixture.tensors.under("final.generator");
    let sampler = GanModel::new(fixture.network.clone()).sampler(&generator, device()).unwrap();
    let (mut z, mut labels) = (fixture.steps()[0].values("z"), fixture.steps()[0].labels());
    let sample = fixture.tensors.get("final.sample").unwrap();
    z.truncate(sample.shape[0] * 8);
    z.resize(BATCH * 8, 0.0);
    labels.truncate(sample.shape[0]);
    labels.resize(BATCH, 0);
    let expected: Vec<u8> = sample.values().iter().map(|&value| pixels::to_u8(value)).collect();
    let ours = &sampler.draw(z, &labels).unwrap()[..expected.len()];
    // One grey level: a value may be on the border between two.
    assert!(ours.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1));
}

#[test]
fn a_sample_by_running_statistics_matches_pytorch() {
    Fixture::some().iter().for_each(samples_match_pytorch);
}

#[test]
fn names_and_shapes_survive_a_round_through_the_modules() {
    for fixture in Fixture::some() {
        assert_eq!(fixture.gan().params().unwrap(), fixture.tensors.under("initial"));
    }
}

#[test]
fn a_network_of_another_size_is_refused_by_tensor() {
    let [fixture, wider] = [4, 8].map(|base| Fixture::dcgan("batch", NormKind::Batch, base));
    let error = Gan::new(&wider.network, &fixture.tensors.under("initial"), fixture.train, device()).err().unwrap();
    assert_eq!(error.to_string(), "tensor `fc.weight` has shape [392, 8], expected [784, 8]");
}

/// Uninterrupted steps, and steps after each of which only the training state is kept.
#[test]
fn training_resumes_from_its_state_to_the_bit() {
    for (fixture, mu) in Fixture::some().iter().flat_map(|fixture| [(fixture, 0.0), (fixture, 0.5)]) {
        let begin = || if mu > 0.0 { fixture.gan().with_proximal_term(mu) } else { fixture.gan() };
        let step = |gan: Gan| {
            let first = &fixture.steps()[0];
            gan.step(first.values("real"), first.values("z"), &first.labels()).0
        };
        let (mut whole, mut cut) = (begin(), begin());
        for steps in 1..=3 {
            (whole, cut) = (step(whole), step(cut));
            assert_eq!(cut.params().unwrap(), whole.params().unwrap(), "step {steps}");
            cut = begin().resume(&cut.training_state().unwrap(), steps).unwrap();
        }
    }
}
