//! Requests on their way to sites, and the replies.

use std::time::Duration;

use effgan_data::ClientName;
use effgan_fl::{ExchangeId, Reply, SiteMessage};

use super::{MessageId, NodeId, SiteConnections};
use crate::protocol::message::{QUERY, message_type};
use crate::protocol::{Content, RequestId};

/// Maximum number of bytes of a reply besides its tensors: names, shapes, numbers, and what Flower adds.
const MAX_BESIDES_TENSORS: u64 = 64 << 10;
/// Maximum number of bytes of a reply to a query.
const MAX_INTRODUCTION: u64 = 64 << 10;
/// How long a site may be away before a request to it is given up; Flower's nodes send a heartbeat every 30 s.
const MAX_AWAY: Duration = Duration::from_mins(1);
/// The failure of a site whose name or key is no longer on the server's list.
const REMOVED: &str = "was removed from the server's list of sites";

/// A request to a site that is not connected.
pub(super) struct Undelivered {
    site_message: SiteMessage,
    max_reply_bytes: u64,
}

impl Undelivered {
    /// A request whose reply has up to `tensor_bytes` of tensors.
    pub(super) fn new(site_message: SiteMessage, tensor_bytes: u64) -> Self {
        Self { site_message, max_reply_bytes: tensor_bytes.saturating_add(MAX_BESIDES_TENSORS) }
    }
}

/// A request that has not been answered.
pub(super) struct InFlight {
    pub(super) purpose: Purpose,
    pub(super) request: RequestId,
    pub(super) max_reply_bytes: u64,
}

/// What a request is for.
pub(super) enum Purpose {
    /// To learn which site this node is.
    Query(NodeId),
    /// The work of an exchange at the site of this name. The fingerprint is that of the site's key on the server's list; `None` where the
    /// server has no list, or the list no such key.
    Work(ClientName, ExchangeId, Option<String>),
}

impl SiteConnections<'_> {
    /// Asks a node which site it is.
    pub(super) fn query(&mut self, id: NodeId) -> effgan_fl::Result<()> {
        let listed = self.list.as_ref().and_then(|list| list.by_node().get(&id));
        let head = listed.and_then(|site| self.known_heads.newest(&site.name, self.key_of(&site.name).as_ref()));
        let content = Content::query().with_ledger_head(head);
        self.push(id, QUERY, content, Purpose::Query(id), MAX_INTRODUCTION)
    }

    /// Sends a request to a site that is connected as `node`.
    pub(super) fn deliver(
        &mut self,
        client: &ClientName,
        node: NodeId,
        undelivered: &Undelivered,
    ) -> effgan_fl::Result<()> {
        let Undelivered { site_message, max_reply_bytes } = undelivered;
        let kind = message_type(site_message.broadcast.kind);
        let purpose = Purpose::Work(client.clone(), site_message.broadcast.id(), self.key_of(client));
        let head = self.known_heads.newest(client, self.key_of(client).as_ref());
        let content = Content::of_site_message(site_message).with_ledger_head(head);
        self.push(node, kind, content, purpose, *max_reply_bytes)
    }

    fn push(
        &mut self,
        node: NodeId,
        kind: &str,
        content: Content,
        purpose: Purpose,
        max_reply_bytes: u64,
    ) -> effgan_fl::Result<()> {
        let deadline = self.config.federation.deadline;
        let content = content.of_run(&self.config_text, &self.run_id, deadline).packed();
        let request = content.request_id();
        let message = self.grid.push(node, kind, content, deadline)?;
        self.in_flight.insert(message, InFlight { purpose, request, max_reply_bytes });
        Ok(())
    }

    /// Takes replies until one answers a request for work, or none is left.
    pub(super) fn take_replies(&mut self) -> effgan_fl::Result<Option<Reply>> {
        loop {
            let waiting: Vec<(MessageId, u64)> =
                self.in_flight.iter().map(|(id, request)| (id.clone(), request.max_reply_bytes)).collect();
            if waiting.is_empty() {
                return Ok(None);
            }
            let Some((id, reply)) = self.grid.pull(&waiting)? else { return Ok(None) };
            let Some(InFlight { purpose, request, .. }) = self.in_flight.remove(&id) else { continue };
            // The reply may have been sent before its site was removed from the list.
            self.refresh_list()?;
            match purpose {
                Purpose::Query(node) => self.register_site(node, &request, reply)?,
                Purpose::Work(client, exchange, key) => {
                    if self.is_removed(&client, key.as_ref()) {
                        return Ok(Some(failed(client, exchange, REMOVED)));
                    }
                    if let Ok(content) = &reply {
                        self.keep_head(&client, &request, content)?;
                    }
                    return Ok(Some(reply_of(client, exchange, &request, reply)));
                }
            }
        }
    }

    /// Keeps the head of the site's ledger that came with a reply. A malformed head is not kept; it makes the reply unusable.
    pub(super) fn keep_head(
        &mut self,
        client: &ClientName,
        request: &RequestId,
        content: &Content,
    ) -> effgan_fl::Result<()> {
        match content.ledger() {
            Ok(Some(head)) => {
                self.ledger_heads.add(client, request, head)?;
                // An answer shows that the ledger has the head that the request had. A refusal may come before that is looked at, and a plain
                // run costs no ε.
                let is_answer = matches!(content.refusal(), Ok(None));
                if is_answer && self.config.privacy.is_some() {
                    self.known_heads.keep(client, self.key_of(client), head)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Delivers waiting requests to sites that are back, and gives up those that have waited too long.
    pub(super) fn retry_undelivered(&mut self) -> effgan_fl::Result<()> {
        for client in self.undelivered.keys().cloned().collect::<Vec<_>>() {
            let exchange = self.undelivered[&client].0.site_message.broadcast.id();
            if self.is_removed(&client, self.key_of(&client).as_ref()) {
                self.undelivered.remove(&client);
                self.failed.push_back(failed(client, exchange, REMOVED));
            } else if let Some(node) = self.node_of(&client) {
                let (undelivered, _) = self.undelivered.remove(&client).expect("its key was just listed");
                self.deliver(&client, node, &undelivered)?;
            } else if self.undelivered[&client].1.elapsed() >= MAX_AWAY {
                self.undelivered.remove(&client);
                self.give_up(client, exchange);
            }
        }
        Ok(())
    }

    /// Stops waiting for sites that were removed from the list: the gate refuses their replies.
    pub(super) fn give_up_removed(&mut self) {
        let mut removed = Vec::new();
        for (id, request) in &self.in_flight {
            if let Purpose::Work(client, exchange, key) = &request.purpose
                && self.is_removed(client, key.as_ref())
            {
                removed.push((id.clone(), client.clone(), *exchange));
            }
        }
        for (id, client, exchange) in removed {
            self.in_flight.remove(&id);
            self.failed.push_back(failed(client, exchange, REMOVED));
        }
    }

    /// Fails a site's request because the site is not connected.
    pub(super) fn give_up(&mut self, client: ClientName, exchange: ExchangeId) {
        if !self.gone.contains(&client) {
            self.gone.push(client.clone());
        }
        self.failed.push_back(failed(client, exchange, "not connected"));
    }
}

fn reply_of(client: ClientName, exchange: ExchangeId, request: &RequestId, content: Result<Content, String>) -> Reply {
    let unpacked = |content: Content| {
        content.ledger()?;
        // An error of `unpacked` would repeat names that the site chose.
        content.unpacked().map_err(|_| "unusable reply: its arrays are not the tensors that it names".to_owned())
    };
    match content.and_then(unpacked) {
        Ok(content) => content.into_reply(client, exchange, request),
        Err(reason) => failed(client, exchange, &reason),
    }
}

fn failed(client: ClientName, exchange: ExchangeId, reason: &str) -> Reply {
    Reply::new(client, exchange, Err(reason.to_owned()))
}
