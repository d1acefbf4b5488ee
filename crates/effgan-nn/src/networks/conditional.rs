//! Layers for the class of an image in conditional GANs (Mirza & Osindero 2014, arXiv:1411.1784): the generator
//! multiplies z by a vector of the class, the discriminator projects its features onto one (Miyato & Koyama 2018,
//! arXiv:1802.05637).

use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData};

use super::Mode;
use super::layers::{linear, param};
use super::layout::Layout;
use super::spec::{Init, TensorSpec};
use crate::device::{Device, Placement};
use crate::{Params, Result};
use effgan_kernels::MapShape;

/// The classes of a batch, `[n]`.
pub(crate) type Labels = Tensor<1, Int>;

/// `labels` as a tensor.
///
/// # Panics
/// When there are not `n` labels, or one is not below `num_classes`.
pub(crate) fn labels_tensor(labels: &[u8], n: usize, num_classes: usize, on: &Placement) -> Labels {
    assert_eq!(labels.len(), n, "a conditional network is given the class of each image");
    assert!(labels.iter().all(|&label| usize::from(label) < num_classes), "labels are below {num_classes}");
    let labels: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
    Tensor::from_data(TensorData::new(labels, [n]), &on.burn)
}

/// A learned vector per class, as long as z (`torch.nn.Embedding`), that z is multiplied by value by value.
///
/// The paper concatenates z and the class. Then the class alone can give batch norm the variance that it needs, and the
/// generator learned to draw one image per class, regardless of z. A product has no variance without z.
#[derive(Module, Debug)]
pub(crate) struct ClassInput {
    weight: Param<Tensor<2>>,
}

impl ClassInput {
    /// Its table. Initial values are distributed as z.
    pub(crate) fn tensors(num_classes: usize, latent_dim: usize) -> TensorSpec {
        TensorSpec::new("embed.weight", [num_classes, latent_dim], Init::Normal { mean: 0.0, std: 1.0 })
    }

    /// The layer of a conditional generator; `None` without classes.
    pub(crate) fn load(num_classes: Option<usize>, params: &Params, on: &Placement) -> Result<Option<Self>> {
        num_classes.map(|_| Ok(Self { weight: param(params, "embed", "weight", on)? })).transpose()
    }

    fn forward(&self, z: Tensor<2>, labels: &Labels) -> Tensor<2> {
        z * self.weight.val().select(0, labels.clone())
    }
}

/// z, multiplied by the vector of its class where the generator is conditional.
///
/// # Panics
/// When a conditional generator is given no labels.
pub(crate) fn of_classes(input: Option<&ClassInput>, z: Tensor<2>, labels: Option<&Labels>) -> Tensor<2> {
    match input {
        Some(input) => input.forward(z, labels.expect("a conditional generator is given labels")),
        None => z,
    }
}

/// A learned vector e per class, as long as the features h; the class adds ⟨e, h⟩ to the logit.
#[derive(Module, Debug)]
pub(crate) struct Projection {
    weight: Param<Tensor<2>>,
    #[module(skip)]
    device: Device,
}

impl Projection {
    /// Its table, `[num_classes, features]`, where the features are a map of shape `features`.
    pub(crate) fn tensors(num_classes: usize, features: MapShape, init: Init) -> TensorSpec {
        let layout = Layout::Linear { inputs: Some(features), outputs: None };
        TensorSpec::new("embed.weight", [num_classes, features.len()], init).laid_out(layout)
    }

    /// The layer of a conditional discriminator; `None` without classes.
    pub(crate) fn load(num_classes: Option<usize>, params: &Params, on: &Placement) -> Result<Option<Self>> {
        num_classes.map(|_| Ok(Self { weight: param(params, "embed", "weight", on)?, device: on.device })).transpose()
    }

    /// Features `[n, features]` ↦ `[n, 1]`.
    pub(crate) fn forward(&self, features: Tensor<2>, labels: Option<&Labels>, mode: Mode) -> Tensor<2> {
        project(features, self.weight.val(), labels, mode, self.device)
    }
}

/// The product of each row of `features` with the column of its class in `weight`, `[features, classes]`: `[n, 1]`.
///
/// # Panics
/// When there are no labels.
pub(crate) fn project(
    features: Tensor<2>,
    weight: Tensor<2>,
    labels: Option<&Labels>,
    mode: Mode,
    device: Device,
) -> Tensor<2> {
    let labels = labels.expect("a conditional discriminator is given labels").clone();
    let no_bias = Tensor::zeros([weight.dims()[1]], &weight.device());
    linear(mode, features, weight, no_bias, device).gather(1, labels.unsqueeze_dim(1))
}
