//! A server folder with its gate and its `SuperLink`, and kits of its sites.

use std::path::{Path, PathBuf};

use effgan_gate::{
    Bundle, Destination, ForwarderConfig, GateConfig, Limits, MAX_MESSAGE, SITES, ServerAddress, Sites,
    client_identity, loopback_certificate,
};
use ssh_key::PrivateKey;

use super::messages::message;
use super::node::NodeConnection;
use super::running::Running;
use super::superlink::SuperLink;
use super::{make_certificates, name, new_key, openssh};

/// A server folder with the sites `north` and `south`, both admitted, and `west`, which is not; its `SuperLink` and its gate.
pub(crate) struct Lab {
    // The first field, so the first to be dropped: it writes into the folder.
    pub gate: Running,
    pub superlink: SuperLink,
    pub folder: tempfile::TempDir,
    pub north: PrivateKey,
    pub south: PrivateKey,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        make_certificates(folder.path(), "127.0.0.1");
        let (north, south) = (new_key(), new_key());
        let mut sites = Sites::default();
        for (site, key) in [("north", &north), ("south", &south)] {
            sites.add(name(site)).expect("a new name");
            sites.admit(&name(site), key.public_key()).expect("a new key");
        }
        sites.add(name("west")).expect("a new name");
        sites.write(&folder.path().join(SITES)).expect("a list");
        let superlink = SuperLink::start(folder.path(), 0);
        let gate = Running::gate(gate_config(folder.path(), superlink.port, limits));
        Self { gate, superlink, folder, north, south }
    }

    pub(crate) fn list(&self) -> PathBuf {
        self.folder.path().join(SITES)
    }

    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Sites)) {
        let mut sites = Sites::read(&self.list()).expect("a list");
        edit(&mut sites);
        sites.write(&self.list()).expect("it is written");
    }

    pub(crate) fn north(&self) -> NodeConnection {
        NodeConnection::connect(self.gate.address, self.folder.path(), &self.north)
    }

    pub(crate) fn south(&self) -> NodeConnection {
        NodeConnection::connect(self.gate.address, self.folder.path(), &self.south)
    }

    pub(crate) fn kit(&self, key: &PrivateKey) -> tempfile::TempDir {
        make_kit(self.folder.path(), key)
    }

    pub(crate) fn destination(&self, kit: &Path, key: &PrivateKey) -> Destination {
        destination(kit, key, self.gate.address.port())
    }

    pub(crate) fn forwarder_config(&self, kit: &Path, key: &PrivateKey) -> ForwarderConfig {
        forwarder_config(kit, key, self.gate.address.port())
    }
    /// North's activated node, which has pulled message 5 with these objects; and the node's id.
    pub(crate) fn north_with_message(&self, message_type: &str, objects: &[u64]) -> (NodeConnection, u64) {
        let mut north = self.north();
        let node = north.activate();
        self.superlink.queue(node, message(message_type, 5, node, objects));
        assert_eq!(north.pull(node).messages_list.len(), 1);
        (north, node)
    }

    /// North's kit, its forwarder, and its node, connected to the forwarder.
    pub(crate) fn north_through_forwarder(&self) -> (tempfile::TempDir, Running, NodeConnection) {
        let kit = self.kit(&self.north);
        let forwarder = Running::forwarder(self.forwarder_config(kit.path(), &self.north));
        let node = NodeConnection::through(forwarder.address, kit.path(), &self.north);
        (kit, forwarder, node)
    }
}

/// Makes a kit for the site with this key.
pub(crate) fn make_kit(server: &Path, key: &PrivateKey) -> tempfile::TempDir {
    let kit = tempfile::tempdir().expect("a folder");
    std::fs::copy(server.join("ca.crt"), kit.path().join("ca.crt")).expect("a copy");
    let (certificate, local) = loopback_certificate().expect("a certificate");
    for (file, text) in [("key", openssh(key)), ("local.crt", certificate), ("local.key", local)] {
        std::fs::write(kit.path().join(file), text).expect("a file");
    }
    kit
}

/// The gate, as the site with this key calls it.
fn destination(kit: &Path, key: &PrivateKey, port: u16) -> Destination {
    let server = ServerAddress { host: "127.0.0.1".into(), port };
    let identity = client_identity(&openssh(key)).expect("an identity");
    Destination { server, ca: kit.join("ca.crt"), identity, proxy: None }
}

pub(crate) fn forwarder_config(kit: &Path, key: &PrivateKey, port: u16) -> ForwarderConfig {
    let bundle = Bundle::new(BUNDLE_SHA256).expect("a hash");
    let destination = destination(kit, key, port);
    ForwarderConfig { kit: kit.to_owned(), port: 0, destination, bundle, max_message: MAX_MESSAGE }
}

/// `printf bundle | sha256sum`
pub(crate) const BUNDLE: &[u8] = b"bundle";
pub(crate) const BUNDLE_SHA256: &str = "1e6ed65d77d6364eeaed5a745ba5c4985ae2b700dd85d7cf7f027bdf294a33fc";

pub(crate) fn gate_config(folder: &Path, superlink_port: u16, limits: Limits) -> GateConfig {
    let address = Some(std::net::Ipv4Addr::LOCALHOST.into());
    GateConfig { folder: folder.to_owned(), address, port: 0, superlink_port, limits }
}
