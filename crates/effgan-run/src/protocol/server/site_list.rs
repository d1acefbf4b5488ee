//! The server's list of sites: which node is which site, by the key with which the gate let it in, and how many images each may count for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_fl::FlError;
use effgan_gate::{GATE_STATE, GateError, GateState, SITES, Sites, fingerprint};

use super::grid::NodeId;

/// The list in a server's folder: `sites.toml` says who is admitted, `gate.json` which node each site has.
#[derive(Debug)]
pub struct SiteList {
    server: PathBuf,
    entries: Entries,
    is_read: bool,
    /// Why it could not be read since, as it was reported.
    problem: Option<String>,
}

/// What both files said when they were last read.
#[derive(Debug, Default)]
struct Entries {
    nodes: BTreeMap<NodeId, ListedSite>,
    /// Fingerprints of the keys of all admitted sites, whether or not they have ever connected.
    keys: BTreeMap<ClientName, String>,
}

/// A site on the list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ListedSite {
    /// The name under which it was admitted.
    pub name: ClientName,
    /// The maximum number of images that it counts for.
    pub max_examples: Option<u64>,
}

impl SiteList {
    /// The list in the folder `server`, which `effgan federation init` made. Nothing is read yet.
    pub fn of(server: PathBuf) -> Self {
        Self { server, entries: Entries::default(), is_read: false, problem: None }
    }

    /// The server's folder.
    pub(super) fn server(&self) -> &Path {
        &self.server
    }

    /// The sites that have connected with the key on the list, by node, as of the last [`refresh`](Self::refresh).
    pub(super) fn by_node(&self) -> &BTreeMap<NodeId, ListedSite> {
        &self.entries.nodes
    }

    /// The fingerprint of a site's key; `None` for a site that is not on the list, or has no key there.
    pub(super) fn key_of(&self, name: &ClientName) -> Option<&String> {
        self.entries.keys.get(name)
    }

    /// Reads the list anew. A list that can no longer be read stays as it was, because a typing mistake in it must not end a run of days;
    /// the return value is the problem, reported once.
    ///
    /// # Errors
    /// When it cannot be read the first time.
    pub(super) fn refresh(&mut self) -> effgan_fl::Result<Option<String>> {
        match self.read() {
            Ok(entries) => (self.entries, self.is_read, self.problem) = (entries, true, None),
            Err(error) if !self.is_read => return Err(FlError::Driver(error.into())),
            Err(error) => {
                let before = self.problem.replace(error.to_string());
                return Ok(self.problem.clone().filter(|problem| before.as_ref() != Some(problem)));
            }
        }
        Ok(None)
    }

    fn read(&self) -> Result<Entries, GateError> {
        let sites = Sites::read(&self.server.join(SITES))?;
        let known = GateState::read(&self.server.join(GATE_STATE))?;
        let key = |site: &effgan_gate::Site| Some((site.name.clone(), fingerprint(site.key.as_ref()?)));
        let keys: BTreeMap<ClientName, String> = sites.iter().filter_map(key).collect();
        // `remove` and `admit` change sites.toml, and gate.json follows a moment later: a node with another key is not the site's.
        let listed = |(name, state): (ClientName, effgan_gate::SiteState)| {
            let site = sites.get(&name).filter(|_| keys.get(&name) == Some(&state.fingerprint))?;
            Some((state.node_id, ListedSite { name, max_examples: site.max_examples }))
        };
        Ok(Entries { nodes: known.sites.into_iter().filter_map(listed).collect(), keys })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn key() -> ssh_key::PublicKey {
        let algorithm = ssh_key::Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP384 };
        ssh_key::PrivateKey::random(&mut ssh_key::rand_core::OsRng, algorithm).unwrap().public_key().clone()
    }

    /// Removes a site's key from the list, and gives the site another key where it is `admitted` again.
    pub(crate) fn remove(server: &Path, name: &str, admitted: bool) {
        let (path, name) = (server.join(SITES), ClientName::new(name).unwrap());
        let mut sites = Sites::read(&path).unwrap();
        sites.remove(&name).unwrap();
        if admitted {
            sites.admit(&name, &key()).unwrap();
        }
        sites.write(&path).unwrap();
    }

    /// A server's folder whose gate has let in these sites: name, node and `max_examples`.
    pub(crate) fn server(folder: &Path, sites: &[(&str, NodeId, Option<u64>)]) -> PathBuf {
        let server = folder.join("server");
        fs::create_dir_all(&server).unwrap();
        let mut list = String::new();
        let mut states = serde_json::Map::new();
        for (name, node, max_examples) in sites {
            let key = key();
            let fingerprint = fingerprint(&key);
            let key = key.to_openssh().unwrap();
            let bound = max_examples.map(|n| format!("max_examples = {n}\n")).unwrap_or_default();
            list +=
                &format!("[[site]]\nname = \"{name}\"\nkey = \"{key}\"\nadmitted = \"2026-07-01T12:00:00Z\"\n{bound}");
            let state = json!({"node_id": node, "fingerprint": fingerprint, "last_seen": "2026-07-01T12:00:00Z"});
            states.insert((*name).to_owned(), state);
        }
        fs::write(server.join(SITES), list).unwrap();
        fs::write(server.join(GATE_STATE), json!({"sites": Value::Object(states)}).to_string()).unwrap();
        server
    }

    #[test]
    fn only_sites_with_a_key_on_the_list_have_nodes() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path(), &[("north", 7, Some(500)), ("south", 9, None)]);
        let listed = |name: &str, max_examples| ListedSite { name: ClientName::new(name).unwrap(), max_examples };
        let mut list = SiteList::of(server.clone());
        let mut nodes = || list.refresh().map(|problem| (problem, list.by_node().clone()));
        assert_eq!(nodes().unwrap(), (None, [(7, listed("north", Some(500))), (9, listed("south", None))].into()));
        remove(&server, "north", false);
        assert_eq!(nodes().unwrap(), (None, [(9, listed("south", None))].into()));
        fs::remove_file(server.join(GATE_STATE)).unwrap();
        assert_eq!(nodes().unwrap(), (None, [].into()), "no site has connected");
    }

    #[test]
    fn a_node_whose_key_was_removed_is_no_site_even_if_its_name_was_admitted_with_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path(), &[("north", 7, None), ("south", 9, None)]);
        let mut list = SiteList::of(server.clone());
        list.refresh().unwrap();
        let (north, before) = (ClientName::new("north").unwrap(), list.entries.keys.clone());
        remove(&server, "north", true);
        list.refresh().unwrap();
        assert_eq!(list.by_node().keys().collect::<Vec<_>>(), [&9]);
        assert!(list.key_of(&north).is_some() && list.key_of(&north) != before.get(&north));
    }

    #[test]
    fn a_list_that_can_no_longer_be_read_stays_as_it_was_and_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path(), &[("north", 7, None)]);
        let mut list = SiteList::of(server.clone());
        assert_eq!(list.refresh().unwrap(), None);
        let sites = fs::read_to_string(server.join(SITES)).unwrap();
        fs::write(server.join(SITES), sites.replace("key =", "key")).unwrap();
        assert!(list.refresh().unwrap().unwrap().contains("sites.toml"));
        assert_eq!((list.refresh().unwrap(), list.by_node().len()), (None, 1));
        assert!(SiteList::of(server).refresh().unwrap_err().to_string().contains("sites.toml"), "the first time");
    }
}
