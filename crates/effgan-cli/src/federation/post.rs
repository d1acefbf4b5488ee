//! The server's post: sites are known by name, Flower's nodes by number, and which is which is asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use effgan_data::ClientName;
use effgan_fl::{Answered, Carrier, ExchangeKind, FlError, Letter, Reply, one_line};

use super::content::QUERY;
use super::introduction::VERSION;
use super::{Content, Grid, Introduction, MessageId, NodeId, Tie};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::progress::Progress;

/// Between two looks at what has come.
const POLL: Duration = Duration::from_millis(100);
/// Between two looks at who is there.
const LOOK: Duration = Duration::from_secs(1);
/// How long a site that was there may be away before a letter to it is given up: Flower's nodes say every 30 s that they live.
const AWAY: Duration = Duration::from_mins(1);

/// Letters to sites by way of a [`Grid`].
pub struct Post<'a> {
    grid: &'a mut dyn Grid,
    config: &'a Config,
    /// The config as sites are sent it: where the server's own files lie is not their business.
    text: String,
    /// Names the run to the sites.
    run: String,
    progress: &'a Progress,
    /// Set when somebody wants the run to end.
    stop: &'a AtomicBool,
    nodes: BTreeMap<NodeId, Node>,
    /// What is on its way.
    out: BTreeMap<MessageId, Sent>,
    /// Letters to sites that are not there, and since when.
    held: BTreeMap<ClientName, (Letter, Instant)>,
    /// Sites whose letters were given up: the next is not held.
    gone: Vec<ClientName>,
    given_up: VecDeque<Answered>,
    looked: Option<Instant>,
}

/// After so long a node that could not take part is asked again: its keeper may have mended it.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What is known of a node.
enum Node {
    /// It was asked who it is.
    Asked,
    Site(Introduction),
    /// It cannot take part: why, and when it was asked.
    Refused(String, Instant),
    /// Its connection is lost.
    Away(Introduction),
}

impl Node {
    fn refusal(&self) -> Option<&str> {
        if let Self::Refused(reason, _) = self { Some(reason) } else { None }
    }
}

/// What a message was.
enum Sent {
    Query(NodeId),
    Letter(ClientName, Tie),
}

impl<'a> Post<'a> {
    /// Of a run that has no name yet.
    pub fn new(grid: &'a mut dyn Grid, config: &'a Config, progress: &'a Progress, stop: &'a AtomicBool) -> Self {
        Self {
            grid,
            config,
            text: config.for_sites().to_toml(),
            run: String::new(),
            progress,
            stop,
            nodes: BTreeMap::new(),
            out: BTreeMap::new(),
            held: BTreeMap::new(),
            gone: Vec::new(),
            given_up: VecDeque::new(),
            looked: None,
        }
    }

    /// Waits until all sites are there.
    ///
    /// # Errors
    /// Who is missing at the deadline, and what nodes said.
    pub fn meet(&mut self) -> Result<Vec<Introduction>> {
        let (started, deadline) = (Instant::now(), self.deadline());
        let mut told = usize::MAX;
        loop {
            self.look_around()?;
            let there = self.sites();
            let wanted = self.wanted();
            if there.len() != told {
                self.progress.say(&format!("{} of {wanted} sites are there", there.len()));
                told = there.len();
            }
            if there.len() >= wanted {
                return Ok(there);
            }
            if let Some(reason) = self.nobody_can(wanted) {
                return Err(Failure::from(anyhow!("no site can take part: {reason}")));
            }
            if started.elapsed() >= deadline {
                return Err(self.too_few(&there));
            }
            self.take_answers()?;
            thread::sleep(POLL);
        }
    }

    /// Names the run to the sites from now on.
    pub fn call(&mut self, run: String) {
        self.run = run;
    }

    fn wanted(&self) -> usize {
        let dealt = || self.config.partition.shares().map_or(1, |shares| shares.clients);
        self.config.federation.sites.as_ref().map_or_else(dealt, Vec::len)
    }

    /// Why none of as many nodes as are wanted can take part: such a thing no waiting mends.
    fn nobody_can(&self, wanted: usize) -> Option<&str> {
        let reasons: Option<Vec<&str>> = self.nodes.values().map(Node::refusal).collect();
        reasons.filter(|reasons| reasons.len() >= wanted)?.first().copied()
    }

    fn too_few(&self, there: &[Introduction]) -> Failure {
        let is_there = |name: &ClientName| there.iter().any(|site| site.name == *name);
        let sites = self.config.federation.sites.iter().flatten();
        let missing: Vec<&str> = sites.filter(|name| !is_there(name)).map(ClientName::as_str).collect();
        let names = if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) };
        Failure::from(anyhow!(
            "{} of {} sites are there after {} s{names}; start their nodes, or give them longer by federation.deadline",
            there.len(),
            self.wanted(),
            self.config.federation.deadline
        ))
    }

    fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.config.federation.deadline)
    }

    /// Sites that are there, sorted by name.
    fn sites(&self) -> Vec<Introduction> {
        let site = |node: &Node| if let Node::Site(site) = node { Some(site.clone()) } else { None };
        let mut sites: Vec<Introduction> = self.nodes.values().filter_map(site).collect();
        sites.sort_by(|a, b| a.name.cmp(&b.name));
        sites
    }

    fn node_of(&self, client: &ClientName) -> Option<NodeId> {
        let is_it = |node: &Node| matches!(node, Node::Site(site) if site.name == *client);
        self.nodes.iter().find(|(_, node)| is_it(node)).map(|(&id, _)| id)
    }

    /// Notes who came and who went, and asks newcomers who they are.
    fn look_around(&mut self) -> effgan_fl::Result<()> {
        self.go_on()?;
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let connected = self.grid.nodes()?;
        for (id, node) in std::mem::take(&mut self.nodes) {
            let now = match (node, connected.contains(&id)) {
                (Node::Site(site), false) => Node::Away(site),
                (Node::Away(site), true) => {
                    self.gone.retain(|name| *name != site.name);
                    Node::Site(site)
                }
                (Node::Asked | Node::Refused(..), false) => continue,
                (node, _) => node,
            };
            self.nodes.insert(id, now);
        }
        for id in connected {
            match self.nodes.get(&id) {
                None => {
                    self.nodes.insert(id, Node::Asked);
                    self.query(id)?;
                }
                Some(Node::Refused(reason, asked)) if asked.elapsed() >= ASK_AGAIN => {
                    let again = Node::Refused(reason.clone(), Instant::now());
                    self.nodes.insert(id, again);
                    self.query(id)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Asks a node who it is.
    fn query(&mut self, id: NodeId) -> effgan_fl::Result<()> {
        let query = self.content(Content::query());
        let message = self.grid.push(id, QUERY, &query, self.config.federation.deadline)?;
        self.out.insert(message, Sent::Query(id));
        Ok(())
    }

    /// What a site needs beside what it is asked.
    fn content(&self, mut content: Content) -> Content {
        content.numbers.insert("deadline".into(), self.config.federation.deadline);
        content.words.insert("run".into(), self.run.clone());
        content.words.insert(VERSION.into(), env!("CARGO_PKG_VERSION").into());
        content.with_config(&self.text)
    }

    /// Takes replies until one is a site's answer to a letter, or there are no more.
    fn take_answers(&mut self) -> effgan_fl::Result<Option<Answered>> {
        loop {
            let waiting: Vec<MessageId> = self.out.keys().cloned().collect();
            if waiting.is_empty() {
                return Ok(None);
            }
            let Some((id, said)) = self.grid.pull(&waiting)? else { return Ok(None) };
            match self.out.remove(&id) {
                Some(Sent::Query(node)) => self.get_to_know(node, said),
                Some(Sent::Letter(client, tie)) => return Ok(Some(answer_of(client, &tie, said))),
                None => {}
            }
        }
    }

    /// A site is its name: one that was started anew, with another number, is the same.
    fn get_to_know(&mut self, id: NodeId, said: std::result::Result<Content, String>) {
        let known = said.and_then(|content| {
            let site = Introduction::of(&content)?;
            self.check(&site).map(|()| site)
        });
        let node = match known {
            Ok(site) => {
                self.nodes.retain(|_, node| !matches!(node, Node::Away(away) if away.name == site.name));
                self.gone.retain(|name| *name != site.name);
                Node::Site(site)
            }
            Err(reason) => {
                let reason = one_line(&reason);
                if !matches!(self.nodes.get(&id), Some(Node::Refused(before, _)) if *before == reason) {
                    self.progress.say(&format!("node {id} takes no part: {reason}"));
                }
                Node::Refused(reason, Instant::now())
            }
        };
        self.nodes.insert(id, node);
    }

    /// Why a site cannot take part.
    fn check(&self, site: &Introduction) -> std::result::Result<(), String> {
        let Introduction { name, version, image_shape, num_classes, .. } = site;
        if self.config.federation.sites.as_ref().is_some_and(|sites| !sites.contains(name)) {
            return Err(format!("{name} is not one of federation.sites"));
        }
        if self.node_of(name).is_some() {
            return Err(format!("another node is {name} already; give each site a name of its own"));
        }
        if version != env!("CARGO_PKG_VERSION") {
            return Err(format!("{name} has effgan {version}, and the server {}", env!("CARGO_PKG_VERSION")));
        }
        // Classes are a network's business only where it is given them.
        let classes_differ =
            |other: &Introduction| self.config.network.is_conditional() && other.num_classes != *num_classes;
        let differs = |other: &Introduction| other.image_shape != *image_shape || classes_differ(other);
        let other = self.sites().into_iter().find(differs);
        other.map_or(Ok(()), |other| {
            let images =
                |shape: [usize; 3], classes| format!("{} × {} × {} in {classes} classes", shape[0], shape[1], shape[2]);
            Err(format!(
                "{name} has images of {}, and {} of {}; set dataset.size and dataset.channels",
                images(*image_shape, *num_classes),
                other.name,
                images(other.image_shape, other.num_classes)
            ))
        })
    }

    fn deliver(&mut self, client: &ClientName, node: NodeId, letter: &Letter) -> effgan_fl::Result<()> {
        let content = self.content(Content::of_letter(letter));
        let kind = message_type(letter.broadcast.kind);
        let tie = content.tie();
        let message = self.grid.push(node, kind, &content.packed(), self.config.federation.deadline)?;
        self.out.insert(message, Sent::Letter(client.clone(), tie));
        Ok(())
    }

    /// Delivers held letters to sites that are back, and gives up those that were held too long.
    fn see_to_held_letters(&mut self) -> effgan_fl::Result<()> {
        for client in self.held.keys().cloned().collect::<Vec<_>>() {
            if let Some(node) = self.node_of(&client) {
                let (letter, _) = self.held.remove(&client).expect("its key was just listed");
                self.deliver(&client, node, &letter)?;
            } else if self.held[&client].1.elapsed() >= AWAY {
                self.held.remove(&client);
                self.give_up(client);
            }
        }
        Ok(())
    }

    fn give_up(&mut self, client: ClientName) {
        if !self.gone.contains(&client) {
            self.gone.push(client.clone());
        }
        let reply = Reply::Failed("not connected".into());
        self.given_up.push_back(Answered { client, reply, seconds: 0.0 });
    }

    fn go_on(&self) -> effgan_fl::Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) }
    }
}

impl Carrier for Post<'_> {
    fn send(&mut self, client: &ClientName, letter: &Letter) -> effgan_fl::Result<()> {
        self.look_around()?;
        if let Some(node) = self.node_of(client) {
            return self.deliver(client, node, letter);
        }
        if self.gone.contains(client) {
            self.give_up(client.clone());
        } else {
            self.held.insert(client.clone(), (letter.clone(), Instant::now()));
        }
        Ok(())
    }

    fn receive(&mut self) -> effgan_fl::Result<Option<Answered>> {
        self.look_around()?;
        if let Some(answered) = self.given_up.pop_front() {
            return Ok(Some(answered));
        }
        let answered = self.take_answers()?;
        self.see_to_held_letters()?;
        if answered.is_none() {
            thread::sleep(POLL);
        }
        Ok(answered)
    }

    fn close(&mut self) {
        self.out.retain(|_, sent| matches!(sent, Sent::Query(_)));
        self.held.clear();
        self.given_up.clear();
    }
}

fn answer_of(client: ClientName, tie: &Tie, said: std::result::Result<Content, String>) -> Answered {
    match said.and_then(Content::unpacked) {
        Ok(content) => content.into_answer(client, tie),
        Err(reason) => Answered { client, reply: Reply::Failed(reason), seconds: 0.0 },
    }
}

/// What Flower calls a message of this kind; the client's half answers each by name.
pub(super) fn message_type(kind: ExchangeKind) -> &'static str {
    match kind {
        ExchangeKind::Average => "train",
        ExchangeKind::Collect => "train.finetune",
        ExchangeKind::Feedback => "train.feedback",
        ExchangeKind::Logits => "train.logits",
        ExchangeKind::Swap => "train.swap",
    }
}
