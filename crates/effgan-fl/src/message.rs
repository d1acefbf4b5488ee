//! The messages between the server and its clients: named tensors and named numbers, nothing else.

use std::collections::BTreeMap;

use effgan_data::ClientName;
use effgan_nn::Params;
use effgan_nn::model::LossName;
use serde::{Deserialize, Serialize};

use crate::Result;

/// Numbers by name, such as mean losses.
pub type Numbers = BTreeMap<String, f64>;

/// The metric that is the number of training steps that the client did. The other metrics of a reply are the means of its losses
/// over these steps, under the [names](LossName::key) that its model gives them.
pub const STEPS: &str = "steps";

/// The metrics of a reply after `steps` with these `means` of the losses `names`.
pub(crate) fn metrics(names: &[LossName], means: &[f64], steps: u64) -> Numbers {
    let losses = names.iter().zip(means).map(|(name, &mean)| (name.key.to_owned(), mean));
    losses.chain([(STEPS.to_owned(), steps as f64)]).collect()
}

/// What an exchange of messages is for.
///
/// Both halves of a swap are `swap` on the wire, in files and in a site's ledger, and `swap` is read as the first half. A message tells them
/// apart by its tensors: there are none when discriminators go to the server. A saved reply is found by the [name](Self::name) of the kind and
/// the exchange's iteration. In a round's record the kind is that of its first exchange, which is never a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExchangeKind {
    /// Clients train, the server folds their networks into one.
    Average,
    /// Clients fine-tune copies of their own, the server keeps each generator as a member of the ensemble.
    Collect,
    /// Clients reply with the gradient of the generator's loss at images that the server sends, the server steps its generator.
    Feedback,
    /// Clients train their discriminators on images that the server sends, and reply with the logits of these images.
    Logits,
    /// Clients send their discriminators to the server, the first half of a swap.
    #[serde(rename = "swap")]
    SwapUp,
    /// The server sends each client the discriminator of another one, the second half of a swap.
    #[serde(rename(serialize = "swap"), skip_deserializing)]
    SwapDown,
}

impl ExchangeKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Average, Self::Collect, Self::Feedback, Self::Logits, Self::SwapUp, Self::SwapDown];

    /// Whether clients train the parameters that they are sent, and do all work of the round in this one exchange.
    pub fn trains(self) -> bool {
        matches!(self, Self::Average | Self::Collect)
    }

    /// The kind with this [`name`](Self::name) of a broadcast of `params`; `None` for any other text.
    pub fn of_broadcast(name: &str, params: &Params) -> Option<Self> {
        match Self::ALL.into_iter().find(|kind| kind.name() == name)? {
            Self::SwapUp if !params.is_empty() => Some(Self::SwapDown),
            kind => Some(kind),
        }
    }

    /// The kind's name in files and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Collect => "collect",
            Self::Feedback => "feedback",
            Self::Logits => "logits",
            Self::SwapUp | Self::SwapDown => "swap",
        }
    }
}

/// Which exchange of a run a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeId {
    /// Round, from 1.
    pub round: u32,
    /// What the exchange is for.
    pub kind: ExchangeKind,
    /// The server's step within the round, from 0.
    pub iteration: u64,
}

/// One exchange of messages, which a driver has to carry out: send a broadcast to each client of `cohort` and fold their replies.
///
/// Most rounds are one exchange. Where the server trains the generator, each of its steps is one or two exchanges.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// Round, from 1.
    pub round: u32,
    /// What the exchange is for.
    pub kind: ExchangeKind,
    /// The server's step within the round, from 0. The halves of a swap, which follow the last step, are counted on as if they were two more:
    /// this number tells them apart on the wire and in a site's ledger.
    pub iteration: u64,
    /// Number of the server's steps in the round, without a swap.
    pub iterations: u64,
    /// The clients that take part, sorted by name.
    pub cohort: Vec<ClientName>,
}

impl Exchange {
    /// The only exchange of a round.
    pub fn of_round(round: u32, kind: ExchangeKind, cohort: Vec<ClientName>) -> Self {
        Self { round, kind, iteration: 0, iterations: 1, cohort }
    }

    /// Which exchange of the run it is.
    pub fn id(&self) -> ExchangeId {
        ExchangeId { round: self.round, kind: self.kind, iteration: self.iteration }
    }

    /// The broadcast of this exchange with `params`.
    pub fn message(&self, params: Params) -> Broadcast {
        let Self { round, kind, iteration, iterations, .. } = *self;
        Broadcast { round, kind, iteration, iterations, params }
    }
}

/// A message from the server to a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Broadcast {
    /// Round, from 1.
    pub round: u32,
    /// What the client's reply is for.
    pub kind: ExchangeKind,
    /// [`Exchange::iteration`].
    pub iteration: u64,
    /// [`Exchange::iterations`].
    pub iterations: u64,
    /// The model's tensors with their networks' names (`generator.*`, `discriminator.*`), and whatever else the algorithm sends.
    pub params: Params,
}

impl Broadcast {
    /// The exchange that it belongs to.
    pub fn id(&self) -> ExchangeId {
        ExchangeId { round: self.round, kind: self.kind, iteration: self.iteration }
    }
}

/// The result of a client's work.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// All networks for [`ExchangeKind::Average`], the generator alone for [`ExchangeKind::Collect`], otherwise what the
    /// algorithm defines.
    pub params: Params,
    /// n_k, the number of images that the client trained on.
    pub num_examples: u64,
    /// The model's losses (`loss_d`, `loss_g`; means over the steps) and [`STEPS`]; empty where nothing was trained.
    pub metrics: Numbers,
}

impl Update {
    /// The number of training steps that the client did.
    pub fn steps(&self) -> u64 {
        self.metrics.get(STEPS).copied().unwrap_or_default() as u64
    }
}

/// Usable replies in the order of the clients' names, one at a time: their tensors have the names and shapes that the algorithm
/// [expects](crate::Algorithm::expects), and all values are finite.
pub type Replies<'a> = dyn Iterator<Item = Result<(ClientName, Update)>> + Send + 'a;

/// Names and shapes of the tensors of an update.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Names and shapes of `params`.
pub(crate) fn shapes_of(params: &Params) -> Shapes {
    params.iter().map(|(name, array)| (name.clone(), array.shape.clone())).collect()
}
