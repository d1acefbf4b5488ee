//! The server's side: it knows sites by name and reaches them as Flower's nodes, which have numbers.
//!
//! The server's list ([`SiteList`]) says which node is which site; without a list, as in experiments, the nodes are asked and believed. [`SiteConnections`] is the [`Carrier`] of a run: `wait` waits for its sites at the start, `nodes` keeps track of who is
//! connected, `admission` decides who may take part, and `delivery` sends requests and takes replies.

mod delivery;
mod grid;
mod known_heads;
mod ledger_heads;
mod node_admission;
mod nodes;
mod site_list;
mod wait;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use effgan_data::ClientName;
use effgan_fl::{Carrier, FlError, Reply, SiteMessage};

use self::delivery::{InFlight, Purpose, Undelivered};
pub use self::grid::{Grid, MessageId, NodeId, Pulled};
use self::known_heads::KnownHeads;
use self::ledger_heads::LedgerHeads;
#[cfg(test)]
pub(crate) use self::ledger_heads::{LEDGERS, LedgerHead};
use self::nodes::Node;
pub use self::site_list::SiteList;
#[cfg(test)]
pub(crate) use self::site_list::tests as test_servers;
use crate::config::Config;
use crate::progress::Progress;

/// How often replies are looked for.
const POLL: Duration = Duration::from_millis(100);

/// The server's connections to the sites of one run, over a [`Grid`].
pub struct SiteConnections<'a> {
    grid: &'a mut dyn Grid,
    config: &'a Config,
    /// The config as it is sent to sites, without the paths of the server's own files.
    config_text: String,
    /// The run's id; empty before the run has begun.
    run_id: String,
    progress: &'a Progress,
    /// Which sites may take part; `None` where the server has no list.
    list: Option<SiteList>,
    /// The heads of the sites' ledgers, as they come with replies.
    ledger_heads: LedgerHeads,
    /// Those that sites are sent, over all private runs.
    known_heads: KnownHeads,
    /// Becomes true when the run is to end.
    stop: &'a AtomicBool,
    /// The nodes that are or were connected.
    nodes: BTreeMap<NodeId, Node>,
    nodes_polled: Option<Instant>,
    /// Requests that have not been answered.
    in_flight: BTreeMap<MessageId, InFlight>,
    /// Requests to sites that are not connected, and since when they wait.
    undelivered: BTreeMap<ClientName, (Undelivered, Instant)>,
    /// Sites that stayed away too long: requests to them fail at once until they are back.
    gone: Vec<ClientName>,
    /// Failed replies of sites that cannot reply any more, to be returned next.
    failed: VecDeque<Reply>,
}

impl<'a> SiteConnections<'a> {
    /// Connections of a run that has not begun and has no id yet.
    ///
    /// # Errors
    /// When the server's folder has heads of ledgers that cannot be read.
    pub fn new(
        grid: &'a mut dyn Grid,
        config: &'a Config,
        list: Option<SiteList>,
        progress: &'a Progress,
        stop: &'a AtomicBool,
    ) -> effgan_fl::Result<Self> {
        // A plain run costs no ε, so it needs no ledger to be complete.
        let server = list.as_ref().filter(|_| config.privacy.is_some()).map(SiteList::server);
        let known_heads = server.map(KnownHeads::of).transpose()?.unwrap_or_default();
        Ok(Self {
            known_heads,
            grid,
            config,
            config_text: config.for_sites().to_toml(),
            run_id: String::new(),
            progress,
            list,
            ledger_heads: LedgerHeads::default(),
            stop,
            nodes: BTreeMap::new(),
            nodes_polled: None,
            in_flight: BTreeMap::new(),
            undelivered: BTreeMap::new(),
            gone: Vec::new(),
            failed: VecDeque::new(),
        })
    }

    /// Sends `run_id` with all requests from now on.
    pub fn set_run_id(&mut self, run_id: String) {
        self.run_id = run_id;
    }

    /// Writes the heads of the sites' ledgers into the run folder `run`: those that have come, and all that follow.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub fn keep_ledger_heads(&mut self, run: &Path) -> effgan_fl::Result<()> {
        self.ledger_heads.keep_in(run)
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.config.federation.deadline)
    }

    fn check_stop(&self) -> effgan_fl::Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) }
    }

    /// Reads the server's list anew, where there is one.
    fn refresh_list(&mut self) -> effgan_fl::Result<()> {
        if let Some(list) = &mut self.list
            && let Some(problem) = list.refresh()?
        {
            self.progress.line(&format!("{problem}; the list of sites stays as it was"));
        }
        Ok(())
    }

    /// The fingerprint of the site's key on the server's list.
    fn key_of(&self, client: &ClientName) -> Option<String> {
        self.list.as_ref()?.key_of(client).cloned()
    }

    /// Whether the list lacks the site, or has another key for it than `key`.
    fn is_removed(&self, client: &ClientName, key: Option<&String>) -> bool {
        self.list.as_ref().is_some_and(|list| key.is_none() || list.key_of(client) != key)
    }
}

impl Carrier for SiteConnections<'_> {
    fn send(&mut self, client: &ClientName, site_message: &SiteMessage, bytes: u64) -> effgan_fl::Result<()> {
        self.poll_nodes()?;
        let undelivered = Undelivered::new(site_message.clone(), bytes);
        if let Some(node) = self.node_of(client) {
            return self.deliver(client, node, &undelivered);
        }
        if self.gone.contains(client) {
            self.give_up(client.clone(), site_message.broadcast.id());
        } else {
            self.undelivered.insert(client.clone(), (undelivered, Instant::now()));
        }
        Ok(())
    }

    fn receive(&mut self) -> effgan_fl::Result<Option<Reply>> {
        self.poll_nodes()?;
        self.give_up_removed();
        if let Some(failed) = self.failed.pop_front() {
            return Ok(Some(failed));
        }
        let reply = self.take_replies()?;
        self.retry_undelivered()?;
        if reply.is_none() {
            thread::sleep(POLL);
        }
        Ok(reply)
    }

    fn close(&mut self) {
        self.in_flight.retain(|_, request| matches!(request.purpose, Purpose::Query(_)));
        self.undelivered.clear();
        self.failed.clear();
    }
}

#[cfg(test)]
mod tests;
