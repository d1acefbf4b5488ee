use std::path::PathBuf;

use effgan_data::ClientName;
use effgan_nn::NnError;

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
        /// `discriminator` or `generator`.
        network: &'static str,
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
        /// Step, from 1.
        step: u64,
        /// Steps that the client was to do.
        steps: u64,
        /// The loss.
        value: f32,
    },
    /// A client answered with a failure.
    #[error("client {client} failed in round {round}: {reason}")]
    ClientFailed {
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
        /// In the client's words.
        reason: String,
    },
    /// A client's answer is not what was asked for.
    #[error("client {client} sent an unusable reply in round {round}: {reason}")]
    BadReply {
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
        /// What is wrong with it.
        reason: String,
    },
    /// So many clients failed that the round is not worth folding.
    #[error(
        "{usable} of {asked} clients gave a usable reply in round {round}, and at least {least} must{first}; lower aggregation.min_clients or mend the clients"
    )]
    TooFewClients {
        /// Round, from 1.
        round: u32,
        /// Replies that can be folded.
        usable: usize,
        /// Clients that were to take part.
        asked: usize,
        /// How many must answer.
        least: usize,
        /// The first that did not, and why, after `; `.
        first: String,
    },
    /// So few clients answered that nothing is left between those that are cut.
    #[error(
        "trimmed-mean with trim = {trim} needs more than {} replies, and round {round} has {replies}; lower aggregation.trim or raise algorithm.cohort",
        2 * trim
    )]
    TooFewToTrim {
        /// Round, from 1.
        round: u32,
        /// Replies of the round.
        replies: usize,
        /// Clients cut on each side.
        trim: usize,
    },
    /// What the server computed cannot be used.
    #[error("the server's state after round {round} is unusable: {source}; lower the learning rates")]
    ServerState {
        /// Round, from 1.
        round: u32,
        /// What is wrong with it.
        source: NnError,
    },
    /// A round that nobody answered.
    #[error("no client answered in round {round}")]
    NoReplies {
        /// Round, from 1.
        round: u32,
    },
    /// A checkpoint of something else.
    #[error(
        "{path} is of another {what} than this run's; put back what was changed, or remove the folder checkpoints to begin anew"
    )]
    ForeignCheckpoint {
        /// The file.
        path: PathBuf,
        /// `config`, `data` or `client or round`.
        what: &'static str,
    },
    /// No checkpoint is usable.
    #[error("{folder} has no usable checkpoint; remove the folder to begin anew")]
    NoCheckpoint {
        /// The folder of checkpoints.
        folder: PathBuf,
    },
    /// A reply that waited in a file is gone.
    #[error("the reply of client {client} in round {round} is gone from its file; resume the run")]
    LostReply {
        /// The client.
        client: ClientName,
        /// Round, from 1.
        round: u32,
    },
    /// The watch asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A file of a model folder that is missing or not what it should be.
    #[error("{path} does not make a model folder: {reason}")]
    Model {
        /// The manifest or a generator.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A member that the model does not have.
    #[error("the model has no member {name}; it has {members}")]
    UnknownMember {
        /// What was asked for.
        name: String,
        /// The members' names.
        members: String,
    },
    /// Networks, tensors and their files.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// A folder or file that cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What the driver's callback said.
    #[error(transparent)]
    Driver(Box<dyn std::error::Error + Send + Sync>),
}

impl FlError {
    /// Whether it tells of the server's own files, and of no client.
    pub(crate) fn is_of_the_server(&self) -> bool {
        match self {
            Self::Io { .. } | Self::ForeignCheckpoint { .. } | Self::NoCheckpoint { .. } => true,
            Self::Nn(error) => matches!(error, NnError::Io { .. } | NnError::Sealed { .. }),
            _ => false,
        }
    }

    /// What is wrong with a client, where the client is named beside it.
    pub(crate) fn of_client(&self) -> String {
        match self {
            Self::ClientFailed { reason, .. } => reason.clone(),
            Self::BadReply { reason, .. } => format!("unusable reply: {reason}"),
            other => other.to_string(),
        }
    }
}
