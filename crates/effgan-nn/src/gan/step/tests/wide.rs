//! Steps of networks with enough channels and pixels for every form of a convolution, compared with PyTorch's.
//!
//! Of each tensor a fixture holds the `summary` of `dcgan_steps.py`: sum, norm and largest absolute value, then the values
//! at some places.
//!
//! How a batch is divided into chunks, and the weights of the widest layers into strips, is held to plain loops in
//! effgan-kernels: a fixture of such layers would be too large.

use super::*;
use crate::fused::FORMS;

/// Number of those places.
const SAMPLES: usize = 128;

fn dcgan(base_channels: usize, image_channels: usize, side: usize) -> Fixture {
    let dcgan = DcganConfig { latent_dim: 8, base_channels, ..DcganConfig::default() };
    let network = Network::new(NetworkConfig::Dcgan(dcgan), [image_channels, side, side]).unwrap();
    Fixture::load(&format!("dcgan_steps_wide_{side}"), network, TrainConfig::new(ADAM))
}

fn resnet(side: usize, discriminator_steps: usize) -> Fixture {
    let resnet = ResnetConfig { latent_dim: 8, base_channels: 16, ..ResnetConfig::default() };
    let network = Network::new(NetworkConfig::Resnet(resnet), [3, side, side]).unwrap();
    let train = TrainConfig { loss: Loss::Hinge, discriminator_steps, ..TrainConfig::new(ADAM) };
    Fixture::load(&format!("resnet_steps_wide_{side}"), network, train)
}

/// Together with a narrow network, whose layers run im2col, they run every form.
fn fixtures() -> [Fixture; 5] {
    [dcgan(32, 1, 28), dcgan(16, 3, 32), dcgan(16, 3, 64), resnet(32, 2), resnet(64, 1)]
}

/// Relative error of losses and gradients: f32 sums in another order and in Winograd's form, through up to twenty layers,
/// are off by up to 2e-5.
const ERROR: f32 = 1e-4;

/// Bounds of errors: of each value, and of the mean and the root mean square of all.
struct Bounds {
    value: f32,
    mean: f32,
}

impl Bounds {
    /// `ERROR` of the tensor's largest value, and of its root mean square. Plus 1e-6, for biases whose gradient is zero
    /// but for rounding.
    fn of_gradient(summary: &Array, n: usize) -> Self {
        let [_, norm, largest] = *summary.values().first_chunk().unwrap();
        let rounding = if on_gpu() { 3e-6 } else { 1e-6 };
        Self { value: rounding + ERROR * largest, mean: rounding + ERROR * norm / (n as f32).sqrt() }
    }
}

fn samples(name: &str, values: &[f32]) -> Vec<f32> {
    if values.len() <= SAMPLES {
        return values.to_vec();
    }
    formula::numbers(name, SAMPLES).into_iter().map(|number| values[number as usize % values.len()]).collect()
}

fn assert_summary(name: &str, ours: &Array, summary: &Array, bounds: &Bounds) {
    let (values, n) = (ours.values(), ours.values().len() as f64);
    let [sum, norm] = [|value: f64| value, |value: f64| value * value]
        .map(|term| values.iter().map(|&value| term(f64::from(value))).sum::<f64>());
    let theirs = summary.values();
    let off = [
        ("a value", largest_difference(&samples(name, values), &theirs[3..]), bounds.value),
        ("the mean", ((sum - f64::from(theirs[0])).abs() / n) as f32, bounds.mean),
        ("the root mean square", ((norm.sqrt() - f64::from(theirs[1])).abs() / n.sqrt()) as f32, bounds.mean),
    ];
    for (what, off, bound) in off {
        assert!(off <= bound, "{what} of {name} is off by {off}, more than {bound}");
    }
}

fn steps_match_pytorch(fixture: &Fixture) {
    let mut gan = fixture.gan();
    for (i, step) in fixture.steps().into_iter().enumerate() {
        let taken;
        (gan, taken) = take(gan, &step);
        for (which, network) in ["discriminator", "generator"].into_iter().enumerate() {
            let gradients = taken.gradients[which].clone().named_under(&format!("step{i}.grad.{network}"));
            for (name, ours) in &gradients {
                let summary = fixture.tensors.get(name).unwrap();
                assert_summary(name, ours, summary, &Bounds::of_gradient(summary, ours.values().len()));
            }
            let (ours, theirs) = (taken.losses[which], step.values(&format!("loss_{}", &network[..1]))[0]);
            assert!((ours - theirs).abs() <= ERROR * theirs.abs().max(1.0), "a loss is {ours}, PyTorch's {theirs}");
        }
    }
    for (name, ours) in &gan.params().unwrap() {
        let bound = fixture.bound_of_final(name, largest(ours.values()));
        let name = format!("final.{name}");
        let summary = fixture.tensors.get(&name).unwrap();
        assert_summary(&name, ours, summary, &Bounds { value: bound, mean: bound });
    }
}

#[test]
fn steps_of_wide_networks_match_pytorch_in_every_form() {
    FORMS.take();
    fixtures().iter().for_each(steps_match_pytorch);
    super::steps_match_pytorch(&Fixture::dcgan("none", NormKind::None, 4));
    let forms = FORMS.take();
    if on_gpu() {
        return;
    }
    for form in ["F(4, 2)", "F(4, 3)", "few channels", "pointwise", "im2col"] {
        assert!(forms.contains(form), "{form} is not among {forms:?}");
    }
}
