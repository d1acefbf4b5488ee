//! Measurements of the gate for the documentation. The gate runs in a process of its own.
//!
//! `cargo test --release -p effgan-gate --test gate measurements::printed -- --ignored --nocapture`

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use effgan_gate::{Endpoint, Gate, Limits, SITES, Sites};
use prost::Message;
use ssh_key::PrivateKey;

use crate::support::{
    NodeConnection, Running, SuperLink, client_config, gate_config, make_certificates, message, name, new_key, object,
    reply, tls,
};

const FOLDER: &str = "EFFGAN_GATE_FOLDER";
const SUPERLINK: &str = "EFFGAN_GATE_SUPERLINK";

/// What [`Process`] runs: a gate that prints its address, until its standard input ends.
#[test]
#[ignore = "run by `printed`"]
fn a_gate_by_itself() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let port = std::env::var(SUPERLINK).expect("a port").parse().expect("a number");
    let limits = Limits { requests_per_second: 1e6, request_burst: 1e6, ..Limits::default() };
    let gate = Gate::bind(gate_config(Path::new(&folder), port, limits), Arc::new(|_: &str| {})).expect("a gate");
    println!("\nlistens at {}", gate.address().expect("an address"));
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        flag.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    gate.run(&stop).expect("it ends well");
}

/// A gate in a process of its own.
struct Process {
    child: Child,
    /// Kept open, since the gate writes to it.
    _output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path, superlink: u16) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["measurements::a_gate_by_itself", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .env(SUPERLINK, superlink.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a gate");
        let mut output = BufReader::new(child.stdout.take().expect("it was piped"));
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listens at ").map(str::to_owned));
        Self { child, _output: output, address: address.expect("a line").parse().expect("an address") }
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("it ends");
    }
}

struct Federation {
    folder: tempfile::TempDir,
    keys: Vec<PrivateKey>,
    superlink: SuperLink,
}

impl Federation {
    fn of(num_sites: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        make_certificates(folder.path(), "127.0.0.1");
        let keys: Vec<PrivateKey> = (0..num_sites).map(|_| new_key()).collect();
        let mut sites = Sites::default();
        for (i, key) in keys.iter().enumerate() {
            let site = name(&format!("site-{i}"));
            sites.add(site.clone()).expect("a new name");
            sites.admit(&site, key.public_key()).expect("a new key");
        }
        sites.write(&folder.path().join(SITES)).expect("a list");
        let superlink = SuperLink::start(folder.path(), 0);
        Self { folder, keys, superlink }
    }
}

/// Number of connections.
const HANDSHAKES: usize = 400;
/// Number of 5 MiB objects that are pushed.
const OBJECTS: u64 = 60;

fn megabytes_per_second(mut site: NodeConnection, superlink: &SuperLink) -> f64 {
    let node = site.activate();
    let ids: Vec<u64> = (100..100 + OBJECTS).collect();
    superlink.queue(node, message("train", 5, node, &[]));
    site.pull(node);
    assert_eq!(site.call(Endpoint::PushMessages, &reply("train", 5, node, &ids)).status(), 200);
    let bodies: Vec<Vec<u8>> = ids.iter().map(|id| object(node, *id, vec![7; 5 << 20]).encode_to_vec()).collect();
    let start = Instant::now();
    for body in &bodies {
        assert_eq!(site.post(Endpoint::PushObject.path(), body).status(), 200);
    }
    (OBJECTS * (5 << 20)) as f64 / 1e6 / start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "it measures"]
fn printed() {
    let federation = Federation::of(100);
    let (folder, superlink, keys) = (federation.folder.path(), &federation.superlink, &federation.keys);
    let gate = Process::start(folder, superlink.port);

    let memory = gate.memory();
    let mut idle: Vec<NodeConnection> =
        keys.iter().map(|key| NodeConnection::connect(gate.address, folder, key)).collect();
    for site in &mut idle {
        site.activate();
    }
    println!("memory: {memory} KiB alone, {} KiB with 100 idle sites that are activated", gate.memory());
    drop(idle);

    let start = Instant::now();
    for i in 0..HANDSHAKES {
        NodeConnection::connect(gate.address, folder, &keys[i % keys.len()]).post("/", b"x");
    }
    println!(
        "handshakes with one request, one after another: {:.0} a second",
        HANDSHAKES as f64 / start.elapsed().as_secs_f64()
    );

    // The same without a gate: the SuperLink's port accepts any client.
    let direct = client_config(&folder.join("ca.crt"), None, &[&rustls::version::TLS13]);
    let address = ([127, 0, 0, 1], superlink.port).into();
    let site = NodeConnection::over(tls(address, direct), &keys[0]);
    println!("push-object without a gate: {:.0} MB/s", megabytes_per_second(site, superlink));
    println!(
        "push-object through the gate: {:.0} MB/s",
        megabytes_per_second(NodeConnection::connect(gate.address, folder, &keys[0]), superlink)
    );

    let kit = crate::support::make_kit(folder, &keys[1]);
    let config = crate::support::forwarder_config(kit.path(), &keys[1], gate.address.port());
    let forwarder = Running::forwarder(config);
    let site = NodeConnection::through(forwarder.address, kit.path(), &keys[1]);
    println!("push-object through forwarder and gate: {:.0} MB/s", megabytes_per_second(site, superlink));
    println!("memory after it: {} KiB", gate.memory());
}
