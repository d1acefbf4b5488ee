//! The table of a network's tensors: names, shapes and initial values.

use rand::Rng;
use rand_distr::{Distribution, Normal};

use super::layout::{Layout, Order};
use crate::{Array, NnError, Params, Result};

/// Initial values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// The same number everywhere.
    Constant(f32),
    /// Normal with this mean and standard deviation.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation, > 0.
        std: f32,
    },
}

/// One tensor of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Dotted name, as PyTorch writes it.
    pub name: String,
    /// PyTorch's shape.
    pub shape: Vec<usize>,
    pub(crate) init: Init,
    pub(crate) layout: Layout,
}

impl TensorSpec {
    /// A tensor that is laid out the same in files and in memory.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, init: Init) -> Self {
        Self { name: name.into(), shape: shape.into(), init, layout: Layout::Plain }
    }

    /// The same tensor with another layout.
    pub(crate) fn laid_out(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }
}

/// Whether the tensor `name` is a running statistic of a batch norm or a spectral norm, which is averaged but not
/// optimised.
pub fn is_running_statistic(name: &str) -> bool {
    [".running_mean", ".running_var", ".weight_u", ".weight_v"].iter().any(|ending| name.ends_with(ending))
}

/// Draws initial values for all `tensors`, in their order.
pub fn init(tensors: &[TensorSpec], rng: &mut impl Rng) -> Params {
    tensors.iter().map(|tensor| (tensor.name.clone(), initial_values(tensor, rng))).collect()
}

fn initial_values(tensor: &TensorSpec, rng: &mut impl Rng) -> Array {
    let n = tensor.shape.iter().product();
    let values = match tensor.init {
        Init::Constant(value) => vec![value; n],
        Init::Normal { mean, std } => {
            Normal::new(mean, std).expect("finite and positive").sample_iter(rng).take(n).collect()
        }
    };
    Array::new(tensor.shape.clone(), values)
}

/// Checks that `params` has exactly the names and shapes of `tensors`.
///
/// # Errors
/// [`NnError::MissingTensor`], [`NnError::Shape`] or [`NnError::UnknownTensor`], naming the first that differs.
pub fn check(params: &Params, tensors: &[TensorSpec]) -> Result<()> {
    for TensorSpec { name, shape, .. } in tensors {
        let found = &params.get(name)?.shape;
        if found != shape {
            return Err(NnError::Shape { name: name.clone(), found: found.clone(), expected: shape.clone() });
        }
    }
    match params.iter().find(|(name, _)| !tensors.iter().any(|tensor| tensor.name == **name)) {
        Some((name, _)) => Err(NnError::UnknownTensor { name: name.clone() }),
        None => Ok(()),
    }
}

/// Converts `params`, which must pass [`check`], to the layouts of a memory.
pub(crate) fn to_memory(params: &Params, tensors: &[TensorSpec], memory: Order) -> Result<Params> {
    let laid_out = |spec: &TensorSpec| Ok((spec.name.clone(), spec.layout.to_memory(params.get(&spec.name)?, memory)));
    tensors.iter().map(laid_out).collect()
}

/// Converts `params` from the layouts of a memory to those of files.
///
/// # Panics
/// When one of `tensors` is missing.
pub(crate) fn to_files(params: &Params, tensors: &[TensorSpec], memory: Order) -> Params {
    let array = |name| params.get(name).expect("the modules have the tensors of their table");
    tensors.iter().map(|spec| (spec.name.clone(), spec.layout.to_files(array(&spec.name), memory))).collect()
}

/// Size of all `tensors` in bytes.
pub fn num_bytes(tensors: &[TensorSpec]) -> u64 {
    tensors.iter().map(|tensor| 4 * tensor.shape.iter().product::<usize>() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Purpose, Streams};

    fn tensors() -> [TensorSpec; 2] {
        let weight = TensorSpec::new("fc.weight", [2, 3], Init::Normal { mean: 0.0, std: 0.02 });
        [weight, TensorSpec::new("fc.bias", [2], Init::Constant(0.0))]
    }

    fn drawn() -> Params {
        init(&tensors(), &mut Streams::of_run(1).at(Purpose::Init, 0))
    }

    #[test]
    fn initial_values_pass_the_check() {
        assert!(check(&drawn(), &tensors()).is_ok());
        assert_eq!(drawn().num_bytes(), num_bytes(&tensors()));
    }

    #[test]
    fn a_missing_an_unknown_and_a_misshapen_tensor_are_named() {
        let mut unknown = drawn();
        unknown.insert("fc.extra", Array::new([1], vec![0.0]));
        let mut misshapen = drawn();
        misshapen.insert("fc.bias", Array::new([1], vec![0.0]));
        let error = |params: &Params| check(params, &tensors()).unwrap_err().to_string();
        assert!(error(&Params::new()).starts_with("no tensor `fc.weight` among 0 tensors"));
        assert!(error(&unknown).starts_with("unexpected tensor `fc.extra`"));
        assert_eq!(error(&misshapen), "tensor `fc.bias` has shape [1], expected [2]");
    }
}
