//! What a GPU says of itself.

use super::DeviceName;

/// A GPU, or a program that computes as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuInfo {
    /// The name in configs.
    pub device: DeviceName,
    /// The name of the card or the driver; `None` where it gives none.
    pub name: Option<String>,
    /// Whether it is a card, and no program that computes as one.
    pub is_card: bool,
    /// Whether it computes in f16.
    pub has_f16: bool,
    /// Whether it computes in bf16.
    pub has_bf16: bool,
    /// Whether it was tried and computes correctly, or why it is not used.
    pub trial: Result<(), String>,
}
