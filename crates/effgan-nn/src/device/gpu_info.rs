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
    /// Whether it computes in f16 and in bf16.
    pub computes_in: [bool; 2],
    /// Whether it computes products right, which was tried; otherwise it is refused.
    pub is_right: bool,
}
