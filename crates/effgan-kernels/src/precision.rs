//! The precision of the large products.

use serde::{Deserialize, Serialize};

use super::isa::Isa;
use super::product_bf16;

/// The type of the factors in the products of Winograd's algorithm. Sums, parameters and everything else are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of mantissa.
    #[default]
    F32,
    /// 8 bits of mantissa, on processors with an instruction that multiplies twice as many of them (AVX-512 BF16).
    ///
    /// It has an effect where layers take Winograd's algorithm, which needs `base_channels` to be a multiple of 16 and,
    /// in a DCGAN, a quarter of the image's side that is not 1, 2 or 5.
    Bf16,
}

impl Precision {
    /// Whether the kernels for `isa` support it: `bf16` needs the processor's instruction and its fastest set.
    pub fn is_available(self, isa: Isa) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => product_bf16::available() && isa == Isa::fastest(),
        }
    }

    /// `f32` or `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }
}
