//! The ten endpoints of Flower's Fleet API that a node needs, and the size limits of each.

/// An endpoint of Flower's Fleet API: POST `/v1/fleet/` and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// A node starts, and learns its id.
    ActivateNode,
    /// A node ends.
    DeactivateNode,
    /// A node is alive.
    SendNodeHeartbeat,
    /// Fetches the messages for a node.
    PullMessages,
    /// Sends a reply: its metadata and the ids of its objects.
    PushMessages,
    /// Fetches the run that a message belongs to.
    GetRun,
    /// Fetches the run's app bundle (FAB).
    GetFab,
    /// Sends one object of a reply.
    PushObject,
    /// Fetches one object of a message.
    PullObject,
    /// Confirms that a message has arrived whole.
    ConfirmMessageReceived,
}

/// Maximum number of bytes of a small request; a node id, a run id and a hash take about a hundred.
pub const MAX_SMALL: u64 = 4 << 10;
/// Maximum number of bytes of a `push-messages` request: the ids of about 15,000 objects, more than a reply has.
pub const MAX_PUSH_MESSAGES: u64 = 1 << 20;
/// Maximum number of bytes of a `push-object` request: Flower splits arrays into pieces of 5 MiB (`FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE`).
pub const MAX_PUSH_OBJECT: u64 = (5 << 20) + (64 << 10);
/// Maximum number of bytes of a `pull-messages` response.
pub const MAX_PULL_MESSAGES: u64 = 8 << 20;

impl Endpoint {
    /// All endpoints.
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

    /// The path of its URL.
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

    /// The endpoint with exactly this method and target; `None` for any other, and for a target with a query.
    pub fn of(method: &str, target: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| method == "POST" && target == endpoint.path())
    }

    /// Maximum number of bytes of a request's body.
    pub fn max_request(self) -> u64 {
        match self {
            Self::PushMessages => MAX_PUSH_MESSAGES,
            Self::PushObject => MAX_PUSH_OBJECT,
            _ => MAX_SMALL,
        }
    }

    /// Maximum number of bytes of a response's body that a site accepts.
    pub fn max_response(self) -> u64 {
        match self {
            Self::PullMessages | Self::PushMessages => MAX_PULL_MESSAGES,
            Self::PullObject => 8 << 20,
            Self::GetFab | Self::GetRun => 64 << 10,
            _ => MAX_SMALL,
        }
    }
}
