//! The server's list: whose node is which, by the key with which the gate let it in, and how many images each site counts for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use effgan_data::ClientName;
use effgan_fl::FlError;
use effgan_gate::{GATE_STATE, GateError, GateState, SITES, Sites, fingerprint};

use super::NodeId;

/// Reads `sites.toml` and `gate.json` of the server's folder.
#[derive(Debug)]
pub struct Roll {
    server: PathBuf,
    list: List,
    is_read: bool,
    /// What is wrong with it since.
    trouble: Option<String>,
}

/// The list as it was read last.
#[derive(Debug, Default)]
struct List {
    nodes: BTreeMap<NodeId, Listed>,
    /// Fingerprints of the keys of all sites that are admitted, whether they have called or not.
    keys: BTreeMap<ClientName, String>,
}

/// A site of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// As `admit` wrote it.
    pub name: ClientName,
    /// Most images that it counts for.
    pub max_examples: Option<u64>,
}

impl Roll {
    /// Of the folder that `effgan federation init` made.
    pub fn of(server: PathBuf) -> Self {
        Self { server, list: List::default(), is_read: false, trouble: None }
    }

    /// Sites that have called with the key that the list has, by Flower's number of their node, as the last [`look`](Self::look) found them.
    pub fn listed(&self) -> &BTreeMap<NodeId, Listed> {
        &self.list.nodes
    }

    /// The fingerprint of the site's key; `None` for one that is not on the list, or was removed.
    pub fn key_of(&self, name: &ClientName) -> Option<&String> {
        self.list.keys.get(name)
    }

    /// Reads the list anew. One that cannot be read any more stays as it was, since a slip of whoever edits it must not cost a run of days:
    /// the answer is what is wrong, said once.
    ///
    /// # Errors
    /// When it could not be read at the first look.
    pub fn look(&mut self) -> effgan_fl::Result<Option<String>> {
        match self.read() {
            Ok(list) => (self.list, self.is_read, self.trouble) = (list, true, None),
            Err(error) if !self.is_read => return Err(FlError::Driver(error.into())),
            Err(error) => {
                let before = self.trouble.replace(error.to_string());
                return Ok(self.trouble.clone().filter(|trouble| before.as_ref() != Some(trouble)));
            }
        }
        Ok(None)
    }

    fn read(&self) -> Result<List, GateError> {
        let sites = Sites::read(&self.server.join(SITES))?;
        let known = GateState::read(&self.server.join(GATE_STATE))?;
        let key = |site: &effgan_gate::Site| Some((site.name.clone(), fingerprint(site.key.as_ref()?)));
        let keys: BTreeMap<ClientName, String> = sites.iter().filter_map(key).collect();
        // The gate writes a moment later than `remove` and `admit`: a node of another key is not the site's any more.
        let listed = |(name, state): (ClientName, effgan_gate::SiteState)| {
            let site = sites.get(&name).filter(|_| keys.get(&name) == Some(&state.fingerprint))?;
            Some((state.node_id, Listed { name, max_examples: site.max_examples }))
        };
        Ok(List { nodes: known.sites.into_iter().filter_map(listed).collect(), keys })
    }
}

#[cfg(test)]
pub mod tests {
    use std::fs;
    use std::path::Path;

    use serde_json::{Value, json};

    use super::*;

    fn key() -> ssh_key::PublicKey {
        let algorithm = ssh_key::Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP384 };
        ssh_key::PrivateKey::random(&mut ssh_key::rand_core::OsRng, algorithm).unwrap().public_key().clone()
    }

    /// Takes the key of a site away, and gives it another where it is `admitted` again.
    pub fn remove(server: &Path, name: &str, admitted: bool) {
        let (path, name) = (server.join(SITES), ClientName::new(name).unwrap());
        let mut sites = Sites::read(&path).unwrap();
        sites.remove(&name).unwrap();
        if admitted {
            sites.admit(&name, &key()).unwrap();
        }
        sites.write(&path).unwrap();
    }

    /// A server's folder whose gate has let in these sites.
    pub fn server(folder: &Path, sites: &[(&str, NodeId, Option<u64>)]) -> PathBuf {
        let server = folder.join("server");
        fs::create_dir_all(&server).unwrap();
        let mut list = String::new();
        let mut states = serde_json::Map::new();
        for (name, node, max_examples) in sites {
            let key = key();
            let fingerprint = fingerprint(&key);
            let key = key.to_openssh().unwrap();
            let most = max_examples.map(|n| format!("max_examples = {n}\n")).unwrap_or_default();
            list +=
                &format!("[[site]]\nname = \"{name}\"\nkey = \"{key}\"\nadmitted = \"2026-07-01T12:00:00Z\"\n{most}");
            let state = json!({"node_id": node, "fingerprint": fingerprint, "last_seen": "2026-07-01T12:00:00Z"});
            states.insert((*name).to_owned(), state);
        }
        fs::write(server.join(SITES), list).unwrap();
        fs::write(server.join(GATE_STATE), json!({"sites": Value::Object(states)}).to_string()).unwrap();
        server
    }

    #[test]
    fn nodes_are_those_of_sites_that_are_on_the_list_with_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path(), &[("north", 7, Some(500)), ("south", 9, None)]);
        let listed = |name: &str, max_examples| Listed { name: ClientName::new(name).unwrap(), max_examples };
        let mut roll = Roll::of(server.clone());
        let mut nodes = || roll.look().map(|trouble| (trouble, roll.listed().clone()));
        assert_eq!(nodes().unwrap(), (None, [(7, listed("north", Some(500))), (9, listed("south", None))].into()));
        remove(&server, "north", false);
        assert_eq!(nodes().unwrap(), (None, [(9, listed("south", None))].into()));
        fs::remove_file(server.join(GATE_STATE)).unwrap();
        assert_eq!(nodes().unwrap(), (None, [].into()), "nobody has called");
    }

    #[test]
    fn the_node_of_a_key_that_was_removed_is_nobodys_though_the_name_was_admitted_with_another() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path(), &[("north", 7, None), ("south", 9, None)]);
        let mut roll = Roll::of(server.clone());
        roll.look().unwrap();
        let (north, before) = (ClientName::new("north").unwrap(), roll.list.keys.clone());
        remove(&server, "north", true);
        roll.look().unwrap();
        assert_eq!(roll.listed().keys().collect::<Vec<_>>(), [&9]);
        assert!(roll.key_of(&north).is_some() && roll.key_of(&north) != before.get(&north));
    }

    #[test]
    fn a_list_that_cannot_be_read_any_more_stays_as_it_was_and_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path(), &[("north", 7, None)]);
        let mut roll = Roll::of(server.clone());
        assert_eq!(roll.look().unwrap(), None);
        let sites = fs::read_to_string(server.join(SITES)).unwrap();
        fs::write(server.join(SITES), sites.replace("key =", "key")).unwrap();
        assert!(roll.look().unwrap().unwrap().contains("sites.toml"));
        assert_eq!((roll.look().unwrap(), roll.listed().len()), (None, 1));
        assert!(Roll::of(server).look().unwrap_err().to_string().contains("sites.toml"), "at the first look");
    }
}
