//! The list of sites: read, written, and followed by a running gate.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use effgan_gate::{GATE_STATE, GateState, Limits, SITES, Sites, fingerprint};

use crate::support::{Lab, NodeConnection, Running, gate_config, name, new_key};

fn sites_of(text: &str) -> Result<Sites, String> {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(text.as_bytes()).expect("it is written");
    Sites::read(file.path()).map_err(|error| error.to_string())
}

#[test]
fn a_written_list_is_read_back_and_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(SITES);
    let mut sites = Sites::default();
    for site in ["north", "south"] {
        sites.add(name(site)).expect("a new name");
    }
    sites.admit(&name("north"), new_key().public_key()).expect("a new key");
    sites.write(&path).expect("it is written");
    assert_eq!(Sites::read(&path).expect("it is read"), sites);
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing lies beside it");
    Sites::default().write(&path).expect("it is written");
    assert_eq!(Sites::read(&path).expect("it is read"), Sites::default());
}

#[test]
fn a_list_with_a_name_or_a_key_twice_is_refused() {
    let key = new_key().public_key().to_openssh().expect("a line");
    let site =
        |name: &str| format!("[[site]]\nname = \"{name}\"\nkey = \"{key}\"\nadmitted = \"2026-01-01T00:00:00Z\"\n");
    assert!(sites_of(&site("north")).is_ok());
    assert!(sites_of(&(site("north") + &site("south"))).expect_err("one key").contains("south has the key of north"));
    assert!(
        sites_of("[[site]]\nname = \"a\"\n[[site]]\nname = \"a\"\n").expect_err("one name").contains("a occurs twice")
    );
}

#[test]
fn a_list_with_anything_else_is_refused() {
    for text in [
        "[[site]]\nname = \"a\"\ncolour = \"red\"\n",
        "[[site]]\nname = \"../a\"\n",
        "[[site]]\nname = \"a\"\nkey = \"ssh-ed25519 AAAA\"\nadmitted = \"2026-01-01T00:00:00Z\"\n",
        "[[site]]\nname = \"a\"\nadmitted = \"2026-01-01T00:00:00Z\"\n",
        "sites = 1",
        "",
        "[[site]",
    ] {
        assert!(sites_of(text).is_err(), "{text}");
    }
    assert!(sites_of(&"#".repeat(2 << 20)).expect_err("too long").contains("more than"));
}

#[test]
fn a_key_has_one_site_and_a_site_one_key() {
    let mut sites = Sites::default();
    for site in ["north", "south"] {
        sites.add(name(site)).expect("a new name");
    }
    let key = new_key();
    sites.admit(&name("north"), key.public_key()).expect("a new key");
    assert!(sites.admit(&name("south"), key.public_key()).expect_err("north's key").to_string().contains("north's"));
    let other = sites.admit(&name("north"), new_key().public_key()).expect_err("it has one").to_string();
    assert!(other.contains(&fingerprint(key.public_key())), "{other}");
    assert!(sites.admit(&name("east"), new_key().public_key()).is_err());
    assert!(sites.add(name("north")).is_err());
    sites.remove(&name("north")).expect("it is there");
    sites.admit(&name("north"), new_key().public_key()).expect("it comes back with another key");
}

#[test]
fn a_removed_key_is_refused_at_once_on_its_open_connection() {
    let lab = Lab::new();
    let mut north = lab.north();
    let node = north.activate();
    north.pull(node);
    let before = lab.superlink.count();
    lab.edit(|sites| sites.remove(&name("north")).expect("it is there"));
    let answer = north.try_post("/v1/fleet/pull-messages", b"x").expect("an answer");
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers["connection"], "close");
    assert!(north.read().is_err(), "the connection is over");
    let mut again = lab.north();
    assert!(again.try_post("/v1/fleet/pull-messages", b"x").is_err(), "its next handshake fails");
    assert_eq!(lab.superlink.count(), before, "nothing of it reached Flower");
    assert_eq!(lab.gate.log.count("north is removed; its key is refused from now on"), 1, "{}", lab.gate.log.all());
}

#[test]
fn a_key_admitted_while_the_gate_runs_is_accepted() {
    let lab = Lab::new();
    let west = new_key();
    assert!(NodeConnection::connect(lab.gate.address, lab.folder.path(), &west).try_post("/", b"x").is_err());
    lab.edit(|sites| assert!(sites.admit(&name("west"), west.public_key()).expect("it is on the list")));
    let node = NodeConnection::connect(lab.gate.address, lab.folder.path(), &west).activate();
    let state = GateState::read(&lab.folder.path().join(GATE_STATE)).expect("a state");
    assert_eq!(state.name_of(node), Some(&name("west")));
    assert_eq!(lab.gate.log.count("west is admitted"), 1, "{}", lab.gate.log.all());
}

#[test]
fn an_unreadable_list_leaves_the_one_before_in_force() {
    let lab = Lab::new();
    // In one step: the gate may look at any moment.
    let beside = lab.folder.path().join("beside");
    std::fs::write(&beside, "[[site").expect("it is written");
    std::fs::rename(&beside, lab.list()).expect("it is replaced");
    lab.north().activate();
    assert_eq!(lab.gate.log.count("the list stays as it was"), 1, "{}", lab.gate.log.all());
}

#[test]
fn a_nodes_name_comes_from_the_list() {
    let lab = Lab::new();
    let (north, south) = (lab.north().activate(), lab.south().activate());
    let path = lab.folder.path().join(GATE_STATE);
    let state = GateState::read(&path).expect("a state");
    assert_eq!(state.name_of(north), Some(&name("north")));
    assert_eq!(state.name_of(south), Some(&name("south")));
    assert_eq!(state.sites[&name("north")].fingerprint, fingerprint(lab.north.public_key()));
    assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_restarted_gate_accepts_its_nodes() {
    let mut lab = Lab::new();
    let mut north = lab.north();
    let node = north.activate();
    lab.superlink.queue(node, crate::support::message("train", 5, node, &[6]));
    north.pull(node);
    let config = gate_config(lab.folder.path(), lab.superlink.port, Limits::default());
    lab.gate = Running::gate(config);
    let mut north = lab.north();
    north.pull(node);
    let answer = crate::support::reply("train", 5, node, &[9]);
    assert_eq!(north.call(effgan_gate::Endpoint::PushMessages, &answer).status(), 200, "an hour's work is not lost");
}
