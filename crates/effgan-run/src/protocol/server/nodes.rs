//! Which nodes are connected, and which site each is.

use std::fmt;
use std::time::{Duration, Instant};

use effgan_data::ClientName;

use super::site_list::ListedSite;
use super::{NodeId, SiteConnections};
use crate::protocol::{Content, Introduction, RequestId};

/// How often Flower is asked which nodes are connected.
const POLL_NODES: Duration = Duration::from_secs(1);
/// How long after its refusal a node is asked again, unless the deadline is short: by then its operator may have solved the problem or
/// approved the run.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What is known of a node.
pub(super) enum Node {
    /// It was asked which site it is, and has not replied.
    Asked,
    /// It is this site, and is connected.
    Site(Introduction),
    /// It cannot take part: why, and when it said so.
    Unable(Unable, Instant),
    /// It is this site, but its connection is lost.
    Away(Introduction),
}

impl Node {
    pub(super) fn unable(&self) -> Option<&Unable> {
        if let Self::Unable(unable, _) = self { Some(unable) } else { None }
    }
}

/// Why a node cannot take part.
#[derive(Clone, PartialEq)]
pub(super) enum Unable {
    /// The run has not been approved at that site.
    NotApproved,
    /// Anything else, in words for the server's operator.
    Other(String),
}

impl Unable {
    /// The reason, where an approval does not remove it.
    pub(super) fn lasting(&self) -> Option<&str> {
        if let Self::Other(reason) = self { Some(reason) } else { None }
    }
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotApproved => write!(f, "is waiting for approval at the site (effgan federation approve)"),
            Self::Other(reason) => write!(f, "cannot take part: {reason}"),
        }
    }
}

impl SiteConnections<'_> {
    /// Notes which nodes have connected or are gone, and asks new ones which site they are.
    pub(super) fn poll_nodes(&mut self) -> effgan_fl::Result<()> {
        self.check_stop()?;
        if self.nodes_polled.is_some_and(|polled| polled.elapsed() < POLL_NODES) {
            return Ok(());
        }
        self.nodes_polled = Some(Instant::now());
        let mut connected = self.grid.nodes()?;
        self.refresh_list()?;
        if let Some(list) = &self.list {
            connected.retain(|id| list.by_node().contains_key(id));
        }
        self.note_connected(&connected);
        let ask_again = ASK_AGAIN.min(self.deadline() / 20);
        for id in connected {
            match self.nodes.get(&id) {
                None => {
                    self.nodes.insert(id, Node::Asked);
                    self.query(id)?;
                }
                Some(Node::Unable(unable, since)) if since.elapsed() >= ask_again => {
                    let asked_again = Node::Unable(unable.clone(), Instant::now());
                    self.nodes.insert(id, asked_again);
                    self.query(id)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn note_connected(&mut self, connected: &[NodeId]) {
        for (id, node) in std::mem::take(&mut self.nodes) {
            let now = match (node, connected.contains(&id)) {
                (Node::Site(site), false) => Node::Away(site),
                (Node::Away(site), true) => {
                    self.gone.retain(|name| *name != site.name);
                    Node::Site(site)
                }
                (Node::Asked | Node::Unable(..), false) => continue,
                (node, _) => node,
            };
            self.nodes.insert(id, now);
        }
    }

    /// Takes a node's reply to a query. A site is its name: one that was restarted and has a new node is the same site.
    pub(super) fn register_site(
        &mut self,
        id: NodeId,
        request: &RequestId,
        reply: Result<Content, String>,
    ) -> effgan_fl::Result<()> {
        // A node that was asked several times while it waited replies as often; the first good reply counts.
        if matches!(self.nodes.get(&id), Some(Node::Site(_) | Node::Away(_))) {
            return Ok(());
        }
        // A refusal is a line of the site's ledger, too, so its head is kept before anything is decided.
        if let (Some(listed), Ok(content)) = (self.listed(id), &reply) {
            self.keep_head(&listed.name.clone(), request, content)?;
        }
        let admitted =
            reply.map_err(Unable::Other).and_then(|content| Ok((self.admit(id, request, &content)?, content)));
        let node = match admitted {
            Ok((site, content)) => {
                self.keep_head(&site.name, request, &content)?;
                self.nodes.retain(|_, node| !matches!(node, Node::Away(away) if away.name == site.name));
                self.gone.retain(|name| *name != site.name);
                Node::Site(site)
            }
            Err(unable) => {
                if !matches!(self.nodes.get(&id), Some(Node::Unable(before, _)) if *before == unable) {
                    self.progress.line(&format!("{} {unable}", self.name_of_node(id)));
                }
                Node::Unable(unable, Instant::now())
            }
        };
        self.nodes.insert(id, node);
        Ok(())
    }

    /// What the server's list says about a node.
    pub(super) fn listed(&self, id: NodeId) -> Option<&ListedSite> {
        self.list.as_ref()?.by_node().get(&id)
    }

    /// A node's name for a person: the site's on the list, or its number.
    pub(super) fn name_of_node(&self, id: NodeId) -> String {
        self.listed(id).map_or_else(|| format!("node {id}"), |listed| listed.name.to_string())
    }

    /// The sites that are connected, sorted by name.
    pub(super) fn connected_sites(&self) -> Vec<Introduction> {
        let site = |node: &Node| if let Node::Site(site) = node { Some(site.clone()) } else { None };
        let mut sites: Vec<Introduction> = self.nodes.values().filter_map(site).collect();
        sites.sort_by(|a, b| a.name.cmp(&b.name));
        sites
    }

    /// The node by which a connected site is reached.
    pub(super) fn node_of(&self, client: &ClientName) -> Option<NodeId> {
        let is_it = |node: &Node| matches!(node, Node::Site(site) if site.name == *client);
        self.nodes.iter().find(|(_, node)| is_it(node)).map(|(&id, _)| id)
    }
}
