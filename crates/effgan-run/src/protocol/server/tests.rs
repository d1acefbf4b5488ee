//! Who is taken for a site, on a grid whose replies the test chooses.

use std::sync::Arc;

use effgan_fl::{Refusal, Strategy};
use effgan_nn::ArithmeticVersion;

use super::*;
use crate::config::StrategyConfig;
use crate::protocol::{Content, Introduction, RequestId};

/// A grid that gives these replies, the last first, whatever the request.
struct Replies(Vec<Content>);

impl Grid for Replies {
    fn nodes(&mut self) -> effgan_fl::Result<Vec<NodeId>> {
        Ok(vec![7])
    }

    fn push(&mut self, _: NodeId, _: &str, _: Content, _: f64) -> effgan_fl::Result<MessageId> {
        unreachable!("the test notes its requests as in flight by itself")
    }

    fn pull(&mut self, messages: &[(MessageId, u64)]) -> effgan_fl::Result<Option<Pulled>> {
        Ok(messages.first().and_then(|(id, _)| Some((id.clone(), Ok(self.0.pop()?)))))
    }

    fn strategy(&self, _: &StrategyConfig) -> Arc<dyn Strategy> {
        unreachable!("the config names no strategy")
    }
}

fn introduction(name: &str, image_shape: [usize; 3]) -> Introduction {
    Introduction {
        name: ClientName::new(name).unwrap(),
        num_persons: None,
        num_examples: 12,
        image_shape,
        num_classes: 2,
        version: env!("CARGO_PKG_VERSION").into(),
        arithmetic_version: ArithmeticVersion::OURS,
        label_counts: None,
        max_examples: None,
        ledger: None,
    }
}

#[test]
fn a_site_whose_images_contradict_the_config_is_refused_rather_than_the_sites_after_it() {
    let sized = "name = \"folder\"\nsize = 32\nchannels = 1";
    let text = include_str!("../../../tests/tiny.toml").replace("name = \"mnist-mini\"\nlimit = 120", sized);
    let text = format!("{text}[federation]\nclasses = [\"cats\", \"dogs\"]\n");
    let config = Config::parse(&text, &[]).unwrap();
    let (progress, stop, mut grid) = (Progress::events(|_| {}), AtomicBool::new(false), Replies(Vec::new()));
    let connections = SiteConnections::new(&mut grid, &config, None, &progress, &stop).unwrap();
    let honest = introduction("north", [1, 32, 32]);
    assert_eq!(connections.check_site(&honest), Ok(()));
    for shape in [[1, 1000, 1000], [3, 32, 32], [1, 32, 28]] {
        let why = connections.check_site(&introduction("evil", shape)).unwrap_err();
        assert!(why.starts_with("evil says its images are "), "{why}");
    }
    let many = Introduction { num_classes: 200, ..honest.clone() };
    assert!(connections.check_site(&many).unwrap_err().contains("says it has 200 classes"));
    let counted = Introduction { label_counts: Some(vec![6, 6]), ..honest };
    assert!(connections.check_site(&counted).unwrap_err().contains("federation.label_counts = false"));
}

#[test]
fn a_site_that_computes_with_another_arithmetic_is_refused_by_name() {
    let config = Config::parse(include_str!("../../../tests/tiny.toml"), &[]).unwrap();
    let (progress, stop, mut grid) = (Progress::events(|_| {}), AtomicBool::new(false), Replies(Vec::new()));
    let connections = SiteConnections::new(&mut grid, &config, None, &progress, &stop).unwrap();
    let north = introduction("north", [1, 28, 28]);
    assert_eq!(connections.check_site(&north), Ok(()));
    let earlier = Introduction { arithmetic_version: ArithmeticVersion(1), ..north };
    let ours = ArithmeticVersion::OURS;
    let line = format!("north computes with arithmetic version 1, the server with {ours}; install the same effgan");
    assert_eq!(connections.check_site(&earlier), Err(line));
}

#[test]
fn a_node_that_was_queried_several_times_while_it_waited_is_one_site() {
    let reply = || introduction("north", [1, 28, 28]).into_content();
    let config = Config::parse(include_str!("../../../tests/tiny.toml"), &[]).unwrap();
    let (progress, stop) = (Progress::events(|_| {}), AtomicBool::new(false));
    // The run is approved after the first of three queries; their replies come in any order.
    let mut grid = Replies(vec![Content::refusing(Refusal::WaitingForApproval), reply(), reply()]);
    let mut connections = SiteConnections::new(&mut grid, &config, None, &progress, &stop).unwrap();
    connections.nodes.insert(7, Node::Asked);
    for i in 0..3 {
        let query = InFlight { purpose: Purpose::Query(7), request: RequestId::default(), max_reply_bytes: 0 };
        connections.in_flight.insert(format!("query {i}"), query);
    }
    connections.take_replies().unwrap();
    assert_eq!(connections.connected_sites().len(), 1);
    assert!(connections.nodes.values().all(|node| node.unable().is_none()));
}
