//! How exact the large products are.

use serde::{Deserialize, Serialize};

use super::isa::Isa;
use super::product_bf16;

/// Numbers that the products of Winograd's form multiply; sums, parameters and all else are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 24 bits of mantissa.
    #[default]
    F32,
    /// 8 bits, by an instruction that does twice the work, on processors that have it (AVX-512 BF16).
    ///
    /// It has an effect where Winograd's form serves the inner layers: `base_channels` a multiple of 16, and a quarter
    /// of the image's side none of 1, 2 and 5.
    Bf16,
}

impl Precision {
    /// Whether this processor computes so.
    pub fn is_available(self) -> bool {
        match self {
            Self::F32 => true,
            Self::Bf16 => product_bf16::available() && Isa::in_use() == *Isa::available().last().expect("portable"),
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
