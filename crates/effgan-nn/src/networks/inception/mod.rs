//! Inception-v3 (Szegedy et al. 2016, arXiv:1512.00567) as in the graph `inception-2015-12-05`, whose 2048 pooled
//! values are the features of FID (Heusel et al. 2017, arXiv:1706.08500).
//!
//! That graph differs from torchvision's: average pooling does not count padding, and the last block has max pooling.
//! Names are those of pytorch-fid's `fid_inception_v3` and of torch-fidelity, which are the same.
//!
//! On the CPU it runs on the kernels directly, without Burn, since no gradient is needed; batch norm is folded into the weights.

#[cfg(any(test, feature = "gpu"))]
mod on_burn;

use std::collections::BTreeMap;

#[cfg(feature = "gpu")]
use self::on_burn::OnBurn;
#[cfg(feature = "gpu")]
use super::Order;
use super::spec::{Init, TensorSpec, check};
use crate::{Device, Isa, NnError, Params, Result};
use effgan_kernels::inference::{Convolution, Maps, Pooling, Window, pool};

/// Length of a feature vector.
pub const INCEPTION_FEATURES: usize = 2048;
/// Pixels per side of the network's input.
pub const INCEPTION_SIDE: usize = 299;
/// Added to a variance before its square root.
const EPSILON: f64 = 0.001;
/// Prefixes of tensors in files that are not used: the classifier and the auxiliary classifier.
const NOT_USED: [&str; 2] = ["fc.", "AuxLogits."];

/// A layer of the network.
#[derive(Clone, Debug)]
enum Layer {
    /// Convolution into `channels` channels, batch norm and `ReLU`.
    Conv {
        name: String,
        channels: usize,
        window: Window,
    },
    Pool(Pooling, Window),
}

/// Layers that run one after the other, then layers that all read the last one's output and whose outputs are
/// concatenated.
struct Branch {
    path: Vec<Layer>,
    ends: Vec<Layer>,
}

/// Branches that read the same map and whose outputs are concatenated.
type Block = Vec<Branch>;

fn conv(name: &str, channels: usize, window: Window) -> Layer {
    Layer::Conv { name: name.to_owned(), channels, window }
}

fn pixel(name: &str, channels: usize) -> Layer {
    conv(name, channels, Window::same(1, 1))
}

/// A branch of layers that run one after the other.
fn chain(layers: &[Layer]) -> Branch {
    let (path, ends) = layers.split_at(layers.len() - 1);
    Branch { path: path.to_vec(), ends: ends.to_vec() }
}

/// A block, with `name` and a dot before the names of its layers.
fn named<const N: usize>(name: &str, mut branches: [Branch; N]) -> Block {
    for layer in branches.iter_mut().flat_map(|branch| branch.path.iter_mut().chain(&mut branch.ends)) {
        if let Layer::Conv { name: own, .. } = layer {
            *own = format!("{name}.{own}");
        }
    }
    branches.into()
}

const MAX: Layer = Layer::Pool(Pooling::Max, Window::inside(3, 2));

/// torchvision's `InceptionA`.
fn block_a(name: &str, pooled: usize) -> Block {
    let average = Layer::Pool(Pooling::Average, Window::same(3, 3));
    let branches = [
        chain(&[pixel("branch1x1", 64)]),
        chain(&[pixel("branch5x5_1", 48), conv("branch5x5_2", 64, Window::same(5, 5))]),
        chain(&[
            pixel("branch3x3dbl_1", 64),
            conv("branch3x3dbl_2", 96, Window::same(3, 3)),
            conv("branch3x3dbl_3", 96, Window::same(3, 3)),
        ]),
        chain(&[average, pixel("branch_pool", pooled)]),
    ];
    named(name, branches)
}

/// `InceptionB`, which halves the map.
fn block_b(name: &str) -> Block {
    let branches = [
        chain(&[conv("branch3x3", 384, Window::inside(3, 2))]),
        chain(&[
            pixel("branch3x3dbl_1", 64),
            conv("branch3x3dbl_2", 96, Window::same(3, 3)),
            conv("branch3x3dbl_3", 96, Window::inside(3, 2)),
        ]),
        chain(&[MAX]),
    ];
    named(name, branches)
}

/// `InceptionC` with `inner` channels between its windows of seven pixels.
fn block_c(name: &str, inner: usize) -> Block {
    let (across, down) = (Window::same(1, 7), Window::same(7, 1));
    let average = Layer::Pool(Pooling::Average, Window::same(3, 3));
    let branches = [
        chain(&[pixel("branch1x1", 192)]),
        chain(&[pixel("branch7x7_1", inner), conv("branch7x7_2", inner, across), conv("branch7x7_3", 192, down)]),
        chain(&[
            pixel("branch7x7dbl_1", inner),
            conv("branch7x7dbl_2", inner, down),
            conv("branch7x7dbl_3", inner, across),
            conv("branch7x7dbl_4", inner, down),
            conv("branch7x7dbl_5", 192, across),
        ]),
        chain(&[average, pixel("branch_pool", 192)]),
    ];
    named(name, branches)
}

/// `InceptionD`, which halves the map.
fn block_d(name: &str) -> Block {
    let branches = [
        chain(&[pixel("branch3x3_1", 192), conv("branch3x3_2", 320, Window::inside(3, 2))]),
        chain(&[
            pixel("branch7x7x3_1", 192),
            conv("branch7x7x3_2", 192, Window::same(1, 7)),
            conv("branch7x7x3_3", 192, Window::same(7, 1)),
            conv("branch7x7x3_4", 192, Window::inside(3, 2)),
        ]),
        chain(&[MAX]),
    ];
    named(name, branches)
}

/// `InceptionE`, with this kind of pooling.
fn block_e(name: &str, pooling: Pooling) -> Block {
    let split = |path: &[Layer], ends: [&str; 2]| Branch {
        path: path.to_vec(),
        ends: vec![conv(ends[0], 384, Window::same(1, 3)), conv(ends[1], 384, Window::same(3, 1))],
    };
    let double = [pixel("branch3x3dbl_1", 448), conv("branch3x3dbl_2", 384, Window::same(3, 3))];
    let branches = [
        chain(&[pixel("branch1x1", 320)]),
        split(&[pixel("branch3x3_1", 384)], ["branch3x3_2a", "branch3x3_2b"]),
        split(&double, ["branch3x3dbl_3a", "branch3x3dbl_3b"]),
        chain(&[Layer::Pool(pooling, Window::same(3, 3)), pixel("branch_pool", 192)]),
    ];
    named(name, branches)
}

fn blocks() -> Vec<Block> {
    let stem = chain(&[
        conv("Conv2d_1a_3x3", 32, Window::inside(3, 2)),
        conv("Conv2d_2a_3x3", 32, Window::inside(3, 1)),
        conv("Conv2d_2b_3x3", 64, Window::same(3, 3)),
        MAX,
        pixel("Conv2d_3b_1x1", 80),
        conv("Conv2d_4a_3x3", 192, Window::inside(3, 1)),
        MAX,
    ]);
    vec![
        vec![stem],
        block_a("Mixed_5b", 32),
        block_a("Mixed_5c", 64),
        block_a("Mixed_5d", 64),
        block_b("Mixed_6a"),
        block_c("Mixed_6b", 128),
        block_c("Mixed_6c", 160),
        block_c("Mixed_6d", 160),
        block_c("Mixed_6e", 192),
        block_d("Mixed_7a"),
        block_e("Mixed_7b", Pooling::Average),
        block_e("Mixed_7c", Pooling::Max),
    ]
}

/// Channels of the output of `layer` for `inputs` channels.
fn channels_after(layer: &Layer, inputs: usize) -> usize {
    match layer {
        Layer::Conv { channels, .. } => *channels,
        Layer::Pool(..) => inputs,
    }
}

/// Height and width of the output of `layer` for `from`.
fn size_after(layer: &Layer, from: &Maps) -> [usize; 2] {
    let (Layer::Conv { window, .. } | Layer::Pool(_, window)) = layer;
    window.of_map(from.size())
}

/// Channels of the output of `block` for `inputs` channels.
fn channels_of(block: &Block, inputs: usize) -> usize {
    let of_branch = |branch: &Branch| {
        let inner = branch.path.iter().fold(inputs, |channels, layer| channels_after(layer, channels));
        branch.ends.iter().map(|layer| channels_after(layer, inner)).sum::<usize>()
    };
    block.iter().map(of_branch).sum()
}

/// Calls `visit` for each convolution with its name, its numbers of input and output channels, and its window.
fn each_conv(mut visit: impl FnMut(&str, [usize; 2], Window) -> Result<()>) -> Result<()> {
    let mut outer = 3;
    for block in blocks() {
        for Branch { path, ends } in &block {
            let mut inner = outer;
            for (i, layer) in path.iter().chain(ends).enumerate() {
                if let Layer::Conv { name, channels, window } = layer {
                    visit(name, [inner, *channels], *window)?;
                }
                if i < path.len() {
                    inner = channels_after(layer, inner);
                }
            }
        }
        outer = channels_of(&block, outer);
    }
    Ok(())
}

/// Tensors of the network without its classifier.
pub fn inception_tensors() -> Vec<TensorSpec> {
    let mut tensors = Vec::new();
    let add = |name: &str, [inputs, outputs]: [usize; 2], Window { size: [height, width], .. }: Window| {
        let mut add = |field: &str, shape: &[usize]| {
            tensors.push(TensorSpec::new(format!("{name}.{field}"), shape, Init::Constant(1.0)));
        };
        add("conv.weight", &[outputs, inputs, height, width]);
        for field in NORM {
            add(field, &[outputs]);
        }
        Ok(())
    };
    each_conv(add).expect("`add` does not fail");
    tensors
}

const NORM: [&str; 4] = ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"];

/// The network with trained weights.
pub struct Inception {
    blocks: Vec<Block>,
    engine: Engine,
    hash: String,
}

/// What computes the layers, with their weights.
enum Engine {
    Kernels(BTreeMap<String, Convolution>, Isa),
    #[cfg(feature = "gpu")]
    Burn(OnBurn),
}

impl Inception {
    /// The network with the tensors `params`, on `device`. Those of the classifiers are ignored.
    ///
    /// # Errors
    /// When a tensor is missing, unknown, has another shape or a value that is not finite, or a variance is below zero.
    pub fn new(params: Params, device: Device) -> Result<Self> {
        let used = |name: &String| !NOT_USED.iter().any(|prefix| name.starts_with(prefix));
        let params: Params = params.into_iter().filter(|(name, _)| used(name)).collect();
        check(&params, &inception_tensors())?;
        params.check_finite()?;
        Ok(Self { blocks: blocks(), engine: Self::engine(&params, device)?, hash: params.hash() })
    }

    fn engine(params: &Params, device: Device) -> Result<Engine> {
        #[cfg(feature = "gpu")]
        if device.order() == Order::ChannelsLast {
            return Self::on_burn(params, device);
        }
        Self::on_kernels(params, device)
    }

    fn on_kernels(params: &Params, device: Device) -> Result<Engine> {
        let mut convolutions = BTreeMap::new();
        each_conv(|name, channels, window| {
            let Folded { window, inputs, weight, bias } = folded(params, name, channels, window)?;
            convolutions.insert(name.to_owned(), Convolution::new(window, inputs, &weight, bias));
            Ok(())
        })?;
        Ok(Engine::Kernels(convolutions, device.isa()))
    }

    #[cfg(feature = "gpu")]
    fn on_burn(params: &Params, device: Device) -> Result<Engine> {
        let mut network = OnBurn::new(device.for_inference());
        each_conv(|name, channels, window| {
            network.insert(name, folded(params, name, channels, window)?);
            Ok(())
        })?;
        Ok(Engine::Burn(network))
    }

    /// [`Params::hash`] of the tensors in use.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Features `[n, 2048]` of `images` `[n, 3, 299, 299]` with values in −1..1, computed on the current thread.
    ///
    /// The features of an image do not depend on its neighbours. An image takes about 11 billion operations; pass a
    /// few images at a time, so that each weight is used more often.
    ///
    /// # Errors
    /// When the device fails.
    ///
    /// # Panics
    /// When `images` is not a whole number of images.
    pub fn features(&self, images: &[f32]) -> Result<Vec<f32>> {
        match &self.engine {
            Engine::Kernels(convolutions, isa) => {
                let images = Maps::of_images(images, [3, INCEPTION_SIDE, INCEPTION_SIDE]);
                let on = OnKernels { convolutions, isa: *isa };
                Ok(self.blocks.iter().fold(images, |maps, block| on.run_block(block, &maps)).means())
            }
            #[cfg(feature = "gpu")]
            Engine::Burn(network) => network.features(&self.blocks, images),
        }
    }
}

/// The layers on the kernels, each writing its channels of the block's output.
struct OnKernels<'a> {
    convolutions: &'a BTreeMap<String, Convolution>,
    isa: Isa,
}

impl OnKernels<'_> {
    fn run_block(&self, block: &Block, from: &Maps) -> Maps {
        let channels = channels_of(block, from.channels());
        let mut out: Option<Maps> = None;
        let mut channel = 0;
        for branch in block {
            let mut inner = None;
            for layer in &branch.path {
                inner = Some(self.run_alone(layer, inner.as_ref().unwrap_or(from)));
            }
            let inner = inner.as_ref().unwrap_or(from);
            for layer in &branch.ends {
                let out = out.get_or_insert_with(|| Maps::of(channels, from.n(), size_after(layer, inner)));
                self.run_into(layer, inner, out, channel);
                channel += channels_after(layer, inner.channels());
            }
        }
        out.expect("a block has branches")
    }

    fn run_alone(&self, layer: &Layer, from: &Maps) -> Maps {
        let mut out = Maps::of(channels_after(layer, from.channels()), from.n(), size_after(layer, from));
        self.run_into(layer, from, &mut out, 0);
        out
    }

    fn run_into(&self, layer: &Layer, from: &Maps, to: &mut Maps, channel: usize) {
        match layer {
            Layer::Conv { name, .. } => self.convolutions[name].run(self.isa, from, to, channel),
            Layer::Pool(pooling, window) => pool(self.isa, *pooling, *window, from, to, channel),
        }
    }
}

/// The weights of a convolution, with its batch norm folded in.
struct Folded {
    window: Window,
    inputs: usize,
    /// `[outputs, inputs, height, width]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

/// Folds the batch norm of the convolution `name` into its weights, in f64.
fn folded(params: &Params, name: &str, [inputs, _]: [usize; 2], window: Window) -> Result<Folded> {
    let values = |field: &str| Ok::<_, NnError>(params.get(&format!("{name}.{field}"))?.values());
    let [gamma, beta, mean, variance] = NORM.map(values);
    let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
    if let Some(index) = variance.iter().position(|&variance| variance < 0.0) {
        let reason = format!("tensor `{name}.bn.running_var` is {} at index {index}, below 0", variance[index]);
        return Err(NnError::Config(reason));
    }
    let scales: Vec<f64> = gamma
        .iter()
        .zip(variance)
        .map(|(&gamma, &variance)| f64::from(gamma) / (f64::from(variance) + EPSILON).sqrt())
        .collect();
    let weight = values("conv.weight")?;
    let per_output = weight.len() / scales.len();
    let weight: Vec<f32> =
        weight.iter().enumerate().map(|(i, &value)| (f64::from(value) * scales[i / per_output]) as f32).collect();
    let bias = (0..scales.len()).map(|i| (f64::from(beta[i]) - f64::from(mean[i]) * scales[i]) as f32).collect();
    Ok(Folded { window, inputs, weight, bias })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_matches_torchvision() {
        let tensors = inception_tensors();
        // 94 convolutions, each with four tensors of batch norm; 21,785,568 learned parameters, as torchvision counts
        // them without `fc` and `AuxLogits`.
        assert_eq!(tensors.len(), 94 * 5);
        let learned = tensors.iter().filter(|tensor| !tensor.name.contains("running"));
        assert_eq!(learned.map(|tensor| tensor.shape.iter().product::<usize>()).sum::<usize>(), 21_785_568);
        assert_eq!(blocks().iter().fold(3, |channels, block| channels_of(block, channels)), INCEPTION_FEATURES);
    }
}
