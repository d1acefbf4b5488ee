//! Errors of this crate.

use std::path::PathBuf;

use effgan_data::ClientName;
use effgan_nn::{ArithmeticVersion, NnError};

/// What can go wrong in a federation.
#[derive(Debug, thiserror::Error)]
pub enum FlError {
    /// A setting outside its bounds.
    #[error("{0}")]
    Config(String),
    /// A client has too few images to train on.
    #[error(
        "client {client} has 1 training image, and batch norm needs at least 2; raise partition.min_examples or change network.norm"
    )]
    OneImage {
        /// The client.
        client: ClientName,
    },
    /// A loss became NaN or infinite.
    #[error(
        "the {network}'s loss of client {client} in round {round}, step {step} of {steps} is {value}; lower local.learning_rate"
    )]
    NonFiniteLoss {
        /// What the loss is of ([`LossName::of`](effgan_nn::model::LossName::of)): `discriminator` or `generator`.
        network: &'static str,
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
        /// Step, from 1.
        step: u64,
        /// Number of steps of the round.
        steps: u64,
        /// The loss.
        value: f32,
    },
    /// A client reported that its work failed.
    #[error("client {client} failed in round {round}: {reason}")]
    ClientFailed {
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
        /// The client's own text.
        reason: String,
    },
    /// A client's reply is unusable.
    #[error("client {client} sent an unusable reply in round {round}: {reason}")]
    BadReply {
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// The device has no memory for a training step.
    #[error(
        "the device has no memory left for batches of {batch_size} images of {image_shape:?} and networks of {megabytes:.0} MB; \
         lower local.batch_size, network.base_channels or --jobs, or resume with --device cpu"
    )]
    DeviceIsFull {
        /// Images of a step.
        batch_size: u64,
        /// `[c, h, w]` of the images.
        image_shape: [usize; 3],
        /// Size of all networks.
        megabytes: f64,
    },
    /// A round has fewer usable replies than `aggregation.min_clients`.
    #[error(
        "{usable} of {asked} clients gave a usable reply in round {round}, and at least {least} must{first}; lower aggregation.min_clients or fix the clients"
    )]
    TooFewClients {
        /// Round, from 1.
        round: u32,
        /// Number of usable replies.
        usable: usize,
        /// Number of clients that were asked.
        asked: usize,
        /// Number of usable replies that the round needs.
        least: usize,
        /// The first client without a usable reply and the reason, preceded by `; `.
        first: String,
    },
    /// A trimmed mean would cut all replies of a round.
    #[error(
        "trimmed-mean with trim = {trim} needs more than {} replies, and round {round} has {replies}; lower aggregation.trim or raise algorithm.cohort",
        2 * trim
    )]
    TooFewToTrim {
        /// Round, from 1.
        round: u32,
        /// Number of replies of the round.
        replies: usize,
        /// Clients cut on each side.
        trim: usize,
    },
    /// The server's new state is not finite.
    #[error("the server's state after round {round} is unusable: {source}; lower the learning rates")]
    ServerState {
        /// Round, from 1.
        round: u32,
        /// What is wrong with it.
        source: NnError,
    },
    /// A round has no replies, and needs some.
    #[error("no client answered in round {round}")]
    NoReplies {
        /// Round, from 1.
        round: u32,
    },
    /// A checkpoint that belongs to something else.
    #[error(
        "{path} belongs to another {what} than this run's; restore what was changed, or remove the checkpoints folder to start over"
    )]
    ForeignCheckpoint {
        /// The file.
        path: PathBuf,
        /// `config`, `data` or `client or round`.
        what: &'static str,
    },
    /// A run folder, or a checkpoint, of a run that was begun with another version of the arithmetic.
    #[error(
        "{path} is of arithmetic version {version}, and this program computes with version {}; finish the run with the effgan that began it, or start a new run",
        ArithmeticVersion::OURS
    )]
    OtherArithmetic {
        /// The folder or file.
        path: PathBuf,
        /// Its version.
        version: ArithmeticVersion,
    },
    /// No checkpoint is usable.
    #[error("{folder} has no usable checkpoint; remove the folder to start over")]
    NoCheckpoint {
        /// The folder of checkpoints.
        folder: PathBuf,
    },
    /// The file in which a reply waited is gone.
    #[error("the file with the reply of client {client} in round {round} is gone; resume the run")]
    LostReply {
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
    },
    /// A step observer asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A file of a model folder is missing or unusable.
    #[error("unusable model: {path}: {reason}")]
    Model {
        /// The manifest or a generator.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The model has no member of this name.
    #[error("the model has no member {name}; it has {members}")]
    UnknownMember {
        /// The name that was asked for.
        name: String,
        /// The members' names.
        members: String,
    },
    /// An error about networks, tensors or their files.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A folder or file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// An error of the driver's callback.
    #[error(transparent)]
    Driver(Box<dyn std::error::Error + Send + Sync>),
}

impl FlError {
    /// Whether the error is about the server's own files or device, and not about a client.
    pub(crate) fn is_of_the_server(&self) -> bool {
        matches!(
            self,
            Self::Io { .. }
                | Self::ForeignCheckpoint { .. }
                | Self::OtherArithmetic { .. }
                | Self::NoCheckpoint { .. }
                | Self::DeviceIsFull { .. }
                | Self::Nn(
                    NnError::Io { .. } | NnError::Sealed { .. } | NnError::DeviceFailed(_) | NnError::DeviceIsFull
                )
        )
    }

    /// The error's text without the client's name, for places that name the client already.
    pub(crate) fn of_client(&self) -> String {
        match self {
            Self::ClientFailed { reason, .. } => reason.clone(),
            Self::BadReply { reason, .. } => format!("unusable reply: {reason}"),
            other => other.to_string(),
        }
    }
}
