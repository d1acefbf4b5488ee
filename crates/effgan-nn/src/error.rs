//! Errors of networks, tensors and their files.

use std::path::PathBuf;

/// Why a network, a tensor or a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NnError {
    /// A tensor that the network needs is not among the named ones.
    #[error("no tensor `{name}` among {found} tensors; the network in the config and the file do not belong together")]
    MissingTensor {
        /// Dotted name, as PyTorch writes it.
        name: String,
        /// How many tensors there are.
        found: usize,
    },
    /// A tensor that the network does not have.
    #[error("unexpected tensor `{name}`; the network in the config and the file do not belong together")]
    UnknownTensor {
        /// Dotted name.
        name: String,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Dotted name.
        name: String,
        /// Shape in the file or message.
        found: Vec<usize>,
        /// Shape that the network needs.
        expected: Vec<usize>,
    },
    /// A tensor holds NaN or an infinity.
    #[error("tensor `{name}` has a non-finite value at index {index}")]
    NonFinite {
        /// Dotted name.
        name: String,
        /// First such index, row-major.
        index: usize,
    },
    /// A network that cannot be built.
    #[error("{0}")]
    Config(String),
    /// A device that this machine does not have, or that does not support what is asked of it.
    #[error("{0}")]
    Device(String),
    /// A device that stopped working.
    #[error("the device failed: {0}")]
    DeviceFailed(String),
    /// A device without memory for what is computed.
    #[error("the device has no memory left for this; lower --jobs, or use --device cpu")]
    DeviceIsFull,
    /// The operating system has no random numbers.
    #[error("the system has no random numbers for private training: {0}")]
    NoRandomness(String),
    /// A file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file that is not a safetensors file of f32 tensors.
    #[error("{path} is not a safetensors file of f32 tensors: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file that is not a state dict of f32 tensors.
    #[error("{path} is not a PyTorch state dict of f32 tensors: {reason}")]
    StateDict {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A sealed file that is torn, edited or of another format.
    #[error("{path} {reason}")]
    Sealed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
