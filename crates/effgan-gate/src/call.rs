//! The ten requests that a node needs of the ones that Flower serves, and how large each may be.

/// A request of Flower's Fleet API: POST `/v1/fleet/` and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// A node begins, and learns its number.
    ActivateNode,
    /// A node ends.
    DeactivateNode,
    /// A node lives.
    SendNodeHeartbeat,
    /// What is there for me?
    PullMessages,
    /// My answer, as metadata and the ids of its objects.
    PushMessages,
    /// Of which run is the message?
    GetRun,
    /// Which app is it?
    GetFab,
    /// One object of my answer.
    PushObject,
    /// One object of the message.
    PullObject,
    /// I have the whole message.
    ConfirmMessageReceived,
}

/// Most bytes of a small request; a node's number, a run's and a hash are a hundred.
pub const SMALL: u64 = 4 << 10;
/// Most bytes of a `push-messages` request: ids of some 15,000 objects, and an answer has fewer.
pub const PUSH_MESSAGES: u64 = 1 << 20;
/// Most bytes of one object with what stands around it: Flower cuts arrays in pieces of 5 MiB (`FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE`).
pub const OBJECT: u64 = (5 << 20) + (64 << 10);
/// Most bytes of a `pull-messages` answer.
pub const PULL_MESSAGES: u64 = 8 << 20;

impl Call {
    /// All ten.
    pub const ALL: [Self; 10] = [
        Self::ActivateNode,
        Self::DeactivateNode,
        Self::SendNodeHeartbeat,
        Self::PullMessages,
        Self::PushMessages,
        Self::GetRun,
        Self::GetFab,
        Self::PushObject,
        Self::PullObject,
        Self::ConfirmMessageReceived,
    ];

    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::ActivateNode => "/v1/fleet/activate-node",
            Self::DeactivateNode => "/v1/fleet/deactivate-node",
            Self::SendNodeHeartbeat => "/v1/fleet/send-node-heartbeat",
            Self::PullMessages => "/v1/fleet/pull-messages",
            Self::PushMessages => "/v1/fleet/push-messages",
            Self::GetRun => "/v1/fleet/get-run",
            Self::GetFab => "/v1/fleet/get-fab",
            Self::PushObject => "/v1/fleet/push-object",
            Self::PullObject => "/v1/fleet/pull-object",
            Self::ConfirmMessageReceived => "/v1/fleet/confirm-message-received",
        }
    }

    /// The request that has exactly this method and this target; a target with a query has none.
    pub fn of(method: &str, target: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| method == "POST" && target == call.path())
    }

    /// Most bytes of its body.
    pub fn most(self) -> u64 {
        match self {
            Self::PushMessages => PUSH_MESSAGES,
            Self::PushObject => OBJECT,
            _ => SMALL,
        }
    }

    /// Most bytes that a site takes as its answer.
    pub fn most_answered(self) -> u64 {
        match self {
            Self::PullMessages | Self::PushMessages => PULL_MESSAGES,
            Self::PullObject => 8 << 20,
            Self::GetFab | Self::GetRun => 64 << 10,
            _ => SMALL,
        }
    }
}
