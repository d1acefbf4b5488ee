//! The server's post: sites are known by name, Flower's nodes by number. Which is which the server's list says; where there is none, as
//! in experiments, the nodes are asked.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use effgan_data::ClientName;
use effgan_fl::{Answered, Carrier, ExchangeKind, FlError, Refusal, Reply, SiteMessage};

use super::content::QUERY;
use super::heads::Heads;
use super::roll::{Listed, Roll};
use super::{Content, Grid, Introduction, MessageId, NodeId, Tie};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::progress::Progress;

/// Between two looks at what has come.
const POLL: Duration = Duration::from_millis(100);
/// Between two looks at who is there.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of an answer beside its tensors: names, shapes, numbers, and what Flower puts around them.
const BESIDE: u64 = 64 << 10;
/// Most bytes of what a site says of itself.
const MOST_INTRODUCTION: u64 = 64 << 10;
/// How long a site that was there may be away before a letter to it is given up: Flower's nodes say every 30 s that they live.
const AWAY: Duration = Duration::from_mins(1);
/// Why nothing comes of a site that was taken off the list, or has another key now.
const REMOVED: &str = "was removed from the list";

/// Letters to sites by way of a [`Grid`].
pub struct Post<'a> {
    grid: &'a mut dyn Grid,
    config: &'a Config,
    /// The config as sites are sent it: where the server's own files lie is not their business.
    text: String,
    /// Names the run to the sites.
    run: String,
    progress: &'a Progress,
    /// Who may be in it, where the server has a list.
    roll: Option<Roll>,
    /// Keeps what came of the sites' ledgers, once there is a run folder.
    heads: Heads,
    /// Set when somebody wants the run to end.
    stop: &'a AtomicBool,
    nodes: BTreeMap<NodeId, Node>,
    /// What is on its way.
    out: BTreeMap<MessageId, Sent>,
    /// Letters to sites that are not there, and since when.
    held: BTreeMap<ClientName, (Held, Instant)>,
    /// Sites whose letters were given up: the next is not held.
    gone: Vec<ClientName>,
    given_up: VecDeque<Answered>,
    looked: Option<Instant>,
}

/// After so long a node that could not take part is asked again, where the deadline is not short: its keeper may have mended it, or
/// approved the run.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// What is known of a node.
enum Node {
    /// It was asked who it is.
    Asked,
    Site(Introduction),
    /// It cannot take part: why, and when it was asked.
    Refused(Reason, Instant),
    /// Its connection is lost.
    Away(Introduction),
}

impl Node {
    fn refusal(&self) -> Option<&Reason> {
        if let Self::Refused(reason, _) = self { Some(reason) } else { None }
    }
}

/// Why a node cannot take part.
#[derive(Clone, PartialEq)]
enum Reason {
    /// Somebody there has to approve the run first.
    Waits,
    Other(String),
}

impl Reason {
    /// What no approval mends.
    fn lasting(&self) -> Option<&str> {
        if let Self::Other(reason) = self { Some(reason) } else { None }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waits => write!(f, "waits for approval there (effgan federation approve)"),
            Self::Other(reason) => write!(f, "takes no part: {reason}"),
        }
    }
}

/// A letter, and how many bytes its answer has at most.
struct Held {
    letter: SiteMessage,
    most: u64,
}

/// What a message was.
enum Asked {
    Query(NodeId),
    /// To the site of this name, and of this key where the server has a list.
    Letter(ClientName, Option<String>),
}

/// A message that is on its way.
struct Sent {
    asked: Asked,
    tie: Tie,
    /// Most bytes of the answer.
    most: u64,
}

impl<'a> Post<'a> {
    /// Of a run that has no name yet.
    pub fn new(
        grid: &'a mut dyn Grid,
        config: &'a Config,
        roll: Option<Roll>,
        progress: &'a Progress,
        stop: &'a AtomicBool,
    ) -> Self {
        Self {
            grid,
            config,
            text: config.for_sites().to_toml(),
            run: String::new(),
            progress,
            roll,
            heads: Heads::default(),
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
        let mut told = String::new();
        loop {
            self.look_around()?;
            let there = self.sites();
            let wanted = self.wanted();
            let news = format!("{} of {wanted} sites are there{}", there.len(), self.without(&there));
            if news != told {
                self.progress.line(&news);
                told = news;
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

    /// Keeps what comes of the sites' ledgers in the run folder `run` from now on.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn keep_heads(&mut self, run: &Path) -> effgan_fl::Result<()> {
        self.heads.keep_in(run)
    }

    fn wanted(&self) -> usize {
        let dealt = || self.config.partition.common_keys().map_or(1, |shares| shares.clients);
        self.config.federation.sites.as_ref().map_or_else(dealt, Vec::len)
    }

    /// Why none of as many nodes as are wanted can take part: such a thing no waiting mends.
    fn nobody_can(&self, wanted: usize) -> Option<&str> {
        let reasons: Option<Vec<&str>> = self.nodes.values().map(|node| node.refusal()?.lasting()).collect();
        reasons.filter(|reasons| reasons.len() >= wanted)?.first().copied()
    }

    fn listed(&self, id: NodeId) -> Option<&Listed> {
        self.roll.as_ref()?.listed().get(&id)
    }

    /// As a person calls a node.
    fn who(&self, id: NodeId) -> String {
        self.listed(id).map_or_else(|| format!("node {id}"), |listed| listed.name.to_string())
    }

    /// Such as `, without east`, where the config names the sites.
    fn without(&self, there: &[Introduction]) -> String {
        let is_there = |name: &ClientName| there.iter().any(|site| site.name == *name);
        let sites = self.config.federation.sites.iter().flatten();
        let missing: Vec<&str> = sites.filter(|name| !is_there(name)).map(ClientName::as_str).collect();
        if missing.is_empty() { String::new() } else { format!(", without {}", missing.join(", ")) }
    }

    fn too_few(&self, there: &[Introduction]) -> Failure {
        let reasons =
            self.nodes.iter().filter_map(|(&id, node)| Some(format!("; {} {}", self.who(id), node.refusal()?)));
        Failure::from(anyhow!(
            "{} of {} sites are there after {} s{}{}; start their nodes, or give them longer by federation.deadline",
            there.len(),
            self.wanted(),
            self.config.federation.deadline,
            self.without(there),
            reasons.collect::<String>()
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
        let mut connected = self.grid.nodes()?;
        self.read_list()?;
        if let Some(roll) = &self.roll {
            connected.retain(|id| roll.listed().contains_key(id));
        }
        let ask_again = ASK_AGAIN.min(self.deadline() / 20);
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
                Some(Node::Refused(reason, asked)) if asked.elapsed() >= ask_again => {
                    let again = Node::Refused(reason.clone(), Instant::now());
                    self.nodes.insert(id, again);
                    self.query(id)?;
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn read_list(&mut self) -> effgan_fl::Result<()> {
        if let Some(roll) = &mut self.roll
            && let Some(trouble) = roll.look()?
        {
            self.progress.line(&format!("{trouble}; the list stays as it was"));
        }
        Ok(())
    }

    fn key_of(&self, client: &ClientName) -> Option<String> {
        self.roll.as_ref()?.key_of(client).cloned()
    }

    /// Whether the list is without the site, or without the key that it had.
    fn is_removed(&self, client: &ClientName, key: Option<&String>) -> bool {
        self.roll.as_ref().is_some_and(|roll| key.is_none() || roll.key_of(client) != key)
    }

    /// Asks a node who it is.
    fn query(&mut self, id: NodeId) -> effgan_fl::Result<()> {
        self.ask(id, QUERY, Content::query(), Asked::Query(id), MOST_INTRODUCTION)
    }

    fn ask(&mut self, node: NodeId, kind: &str, content: Content, asked: Asked, most: u64) -> effgan_fl::Result<()> {
        let content = self.content(content).packed();
        let message = self.grid.push(node, kind, &content, self.config.federation.deadline)?;
        self.out.insert(message, Sent { asked, tie: content.tie(), most });
        Ok(())
    }

    /// What a site needs beside what it is asked.
    fn content(&self, content: Content) -> Content {
        content.asked(&self.text, &self.run, self.config.federation.deadline)
    }

    /// Takes replies until one is a site's answer to a letter, or there are no more.
    fn take_answers(&mut self) -> effgan_fl::Result<Option<Answered>> {
        loop {
            let waiting: Vec<(MessageId, u64)> = self.out.iter().map(|(id, sent)| (id.clone(), sent.most)).collect();
            if waiting.is_empty() {
                return Ok(None);
            }
            let Some((id, said)) = self.grid.pull(&waiting)? else { return Ok(None) };
            let Some(Sent { asked, tie, .. }) = self.out.remove(&id) else { continue };
            // What is pulled may have lain there since before its site was removed.
            self.read_list()?;
            match asked {
                Asked::Query(node) => self.get_to_know(node, &tie, said)?,
                Asked::Letter(client, key) => {
                    if self.is_removed(&client, key.as_ref()) {
                        return Ok(Some(failed(client, REMOVED)));
                    }
                    if let Ok(content) = &said {
                        self.keep_head(&client, &tie, content)?;
                    }
                    return Ok(Some(answer_of(client, &tie, said)));
                }
            }
        }
    }

    /// A head that is none is what makes the answer unusable.
    fn keep_head(&mut self, client: &ClientName, tie: &Tie, content: &Content) -> effgan_fl::Result<()> {
        match content.ledger() {
            Ok(Some(head)) => self.heads.add(client, tie, head),
            _ => Ok(()),
        }
    }

    /// A site is its name: one that was started anew, with another number, is the same.
    fn get_to_know(
        &mut self,
        id: NodeId,
        tie: &Tie,
        said: std::result::Result<Content, String>,
    ) -> effgan_fl::Result<()> {
        // A site that was asked several times while it waited answers as often; the first good answer counts.
        if matches!(self.nodes.get(&id), Some(Node::Site(_) | Node::Away(_))) {
            return Ok(());
        }
        // A refusal is a line of the site's ledger too.
        if let (Some(listed), Ok(content)) = (self.listed(id), &said) {
            self.keep_head(&listed.name.clone(), tie, content)?;
        }
        let known = said.map_err(Reason::Other).and_then(|content| Ok((self.introduced(id, tie, &content)?, content)));
        let node = match known {
            Ok((site, content)) => {
                self.keep_head(&site.name, tie, &content)?;
                self.nodes.retain(|_, node| !matches!(node, Node::Away(away) if away.name == site.name));
                self.gone.retain(|name| *name != site.name);
                Node::Site(site)
            }
            Err(reason) => {
                if !matches!(self.nodes.get(&id), Some(Node::Refused(before, _)) if *before == reason) {
                    self.progress.line(&format!("{} {reason}", self.who(id)));
                }
                Node::Refused(reason, Instant::now())
            }
        };
        self.nodes.insert(id, node);
        Ok(())
    }

    /// Who the node `id` is. What it says of itself has to agree with the list.
    fn introduced(&self, id: NodeId, tie: &Tie, content: &Content) -> std::result::Result<Introduction, Reason> {
        tie.check(&content.tie()).map_err(Reason::Other)?;
        match content.refusal().map_err(Reason::Other)? {
            Some(Refusal::WaitingForApproval) => return Err(Reason::Waits),
            Some(refusal) => return Err(Reason::Other(refusal.to_string())),
            None => {}
        }
        let mut site = Introduction::of(content).map_err(Reason::Other)?;
        if self.roll.is_some() {
            let Some(Listed { name, max_examples }) = self.listed(id) else {
                return Err(Reason::Other("it is not on the list any more".into()));
            };
            if site.name != *name {
                let reason = format!("it says it is {}, and its key is that of {name}", site.name);
                return Err(Reason::Other(reason));
            }
            site.max_examples = *max_examples;
        }
        self.check(&site).map_err(Reason::Other)?;
        Ok(site)
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
        self.check_promised(site)?;
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

    /// Whether a site's images are what the config makes of any: whoever says otherwise is the one to blame, and not who comes after.
    fn check_promised(&self, site: &Introduction) -> std::result::Result<(), String> {
        let Introduction { name, image_shape: [c, h, w], num_classes, .. } = site;
        let (dataset, classes) = (&self.config.dataset, self.config.federation.classes.as_ref());
        let differs = |wanted: Option<usize>, got: usize| wanted.is_some_and(|wanted| wanted != got);
        if differs(dataset.channels, *c) || differs(dataset.size, *h) || differs(dataset.size, *w) {
            return Err(format!(
                "{name} says it has images of {c} × {h} × {w}, which dataset.size and channels do not make"
            ));
        }
        if differs(classes.map(Vec::len), *num_classes) {
            return Err(format!("{name} says it has {num_classes} classes, and federation.classes has others"));
        }
        if site.label_counts.is_some() && !self.config.federation.label_counts {
            return Err(format!("{name} sends counts of labels, which nobody asked for"));
        }
        Ok(())
    }

    fn deliver(&mut self, client: &ClientName, node: NodeId, held: &Held) -> effgan_fl::Result<()> {
        let Held { letter, most } = held;
        let kind = message_type(letter.broadcast.kind);
        let asked = Asked::Letter(client.clone(), self.key_of(client));
        self.ask(node, kind, Content::of_letter(letter), asked, *most)
    }

    /// Delivers held letters to sites that are back, and gives up those that were held too long.
    fn see_to_held_letters(&mut self) -> effgan_fl::Result<()> {
        for client in self.held.keys().cloned().collect::<Vec<_>>() {
            if self.is_removed(&client, self.key_of(&client).as_ref()) {
                self.held.remove(&client);
                self.given_up.push_back(failed(client, REMOVED));
            } else if let Some(node) = self.node_of(&client) {
                let (letter, _) = self.held.remove(&client).expect("its key was just listed");
                self.deliver(&client, node, &letter)?;
            } else if self.held[&client].1.elapsed() >= AWAY {
                self.held.remove(&client);
                self.give_up(client);
            }
        }
        Ok(())
    }

    /// Waits for no answer of a site that was removed: the gate lets none in.
    fn give_up_removed(&mut self) {
        let mut removed = Vec::new();
        for (id, sent) in &self.out {
            if let Asked::Letter(client, key) = &sent.asked
                && self.is_removed(client, key.as_ref())
            {
                removed.push((id.clone(), client.clone()));
            }
        }
        for (id, client) in removed {
            self.out.remove(&id);
            self.given_up.push_back(failed(client, REMOVED));
        }
    }

    fn give_up(&mut self, client: ClientName) {
        if !self.gone.contains(&client) {
            self.gone.push(client.clone());
        }
        self.given_up.push_back(failed(client, "not connected"));
    }

    fn go_on(&self) -> effgan_fl::Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted) } else { Ok(()) }
    }
}

impl Carrier for Post<'_> {
    fn send(&mut self, client: &ClientName, letter: &SiteMessage, bytes: u64) -> effgan_fl::Result<()> {
        self.look_around()?;
        let held = Held { letter: letter.clone(), most: bytes.saturating_add(BESIDE) };
        if let Some(node) = self.node_of(client) {
            return self.deliver(client, node, &held);
        }
        if self.gone.contains(client) {
            self.give_up(client.clone());
        } else {
            self.held.insert(client.clone(), (held, Instant::now()));
        }
        Ok(())
    }

    fn receive(&mut self) -> effgan_fl::Result<Option<Answered>> {
        self.look_around()?;
        self.give_up_removed();
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
        self.out.retain(|_, sent| matches!(sent.asked, Asked::Query(_)));
        self.held.clear();
        self.given_up.clear();
    }
}

fn answer_of(client: ClientName, tie: &Tie, said: std::result::Result<Content, String>) -> Answered {
    // The words of what is wrong with its tensors would repeat its own.
    let unpacked = |content: Content| {
        content.ledger()?;
        content.unpacked().map_err(|_| "unusable reply: its arrays are not the tensors that it names".to_owned())
    };
    match said.and_then(unpacked) {
        Ok(content) => content.into_answer(client, tie),
        Err(reason) => failed(client, &reason),
    }
}

fn failed(client: ClientName, reason: &str) -> Answered {
    Answered { client, reply: Reply::Failed(reason.to_owned()), seconds: 0.0 }
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

#[cfg(test)]
mod tests {
    use effgan_fl::Strategy;

    use super::*;
    use crate::config::StrategyConfig;

    /// Hands these answers out, to whatever was asked.
    struct Answers(Vec<Content>);

    impl Grid for Answers {
        fn nodes(&mut self) -> effgan_fl::Result<Vec<NodeId>> {
            Ok(vec![7])
        }

        fn push(&mut self, _: NodeId, _: &str, _: &Content, _: f64) -> effgan_fl::Result<MessageId> {
            unreachable!("the test asks by itself")
        }

        fn pull(
            &mut self,
            messages: &[(MessageId, u64)],
        ) -> effgan_fl::Result<Option<(MessageId, std::result::Result<Content, String>)>> {
            Ok(messages.first().and_then(|(id, _)| Some((id.clone(), Ok(self.0.pop()?)))))
        }

        fn strategy(&self, _: &StrategyConfig) -> std::sync::Arc<dyn Strategy> {
            unreachable!("the mean is asked for")
        }
    }

    fn introduction(name: &str, image_shape: [usize; 3]) -> Introduction {
        Introduction {
            name: ClientName::new(name).unwrap(),
            num_examples: 12,
            image_shape,
            num_classes: 2,
            version: env!("CARGO_PKG_VERSION").into(),
            label_counts: None,
            max_examples: None,
            ledger: None,
        }
    }

    #[test]
    fn a_site_that_lies_of_its_images_is_the_one_that_takes_no_part() {
        let sized = "name = \"folder\"\nsize = 32\nchannels = 1";
        let text = include_str!("../../tests/tiny.toml").replace("name = \"mnist-mini\"\nlimit = 120", sized);
        let text = format!("{text}[federation]\nclasses = [\"cats\", \"dogs\"]\n");
        let config = Config::parse(&text, &[]).unwrap();
        let (progress, stop, mut grid) = (Progress::events(|_| {}), AtomicBool::new(false), Answers(Vec::new()));
        let post = Post::new(&mut grid, &config, None, &progress, &stop);
        let honest = introduction("north", [1, 32, 32]);
        assert_eq!(post.check(&honest), Ok(()));
        for shape in [[1, 1000, 1000], [3, 32, 32], [1, 32, 28]] {
            let why = post.check(&introduction("evil", shape)).unwrap_err();
            assert!(why.starts_with("evil says it has images of "), "{why}");
        }
        let many = Introduction { num_classes: 200, ..honest.clone() };
        assert!(post.check(&many).unwrap_err().contains("says it has 200 classes"));
        let counted = Introduction { label_counts: Some(vec![6, 6]), ..honest };
        assert!(post.check(&counted).unwrap_err().contains("which nobody asked for"));
    }

    #[test]
    fn a_site_that_was_asked_several_times_while_it_waited_is_one_site() {
        let said = || introduction("north", [1, 28, 28]).into_content();
        let config = Config::parse(include_str!("../../tests/tiny.toml"), &[]).unwrap();
        let (progress, stop) = (Progress::events(|_| {}), AtomicBool::new(false));
        // A yes between two of three questions, whose answers come in any order.
        let mut grid = Answers(vec![Content::refused(Refusal::WaitingForApproval), said(), said()]);
        let mut post = Post::new(&mut grid, &config, None, &progress, &stop);
        post.nodes.insert(7, Node::Asked);
        for i in 0..3 {
            let sent = Sent { asked: Asked::Query(7), tie: Tie::default(), most: 0 };
            post.out.insert(format!("question {i}"), sent);
        }
        post.take_answers().unwrap();
        assert_eq!(post.sites().len(), 1);
        assert!(post.nodes.values().all(|node| node.refusal().is_none()));
    }
}
