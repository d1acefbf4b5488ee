//! The sites that called, by their keys, and `gate.json`, which says it to others and to a gate that is started again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::GateError;
use crate::key::{fingerprint, spki_der};
use crate::member::Member;
use crate::node::Node;
use crate::sites::{Site, Sites};
use crate::state::{GateState, SiteState};

#[derive(Debug)]
pub(crate) struct Book {
    path: PathBuf,
    /// What the file said when the gate was started.
    before: GateState,
    members: Mutex<BTreeMap<Vec<u8>, Arc<Member>>>,
    /// What the file says.
    written: Mutex<GateState>,
}

impl Book {
    pub(crate) fn open(path: PathBuf) -> Result<Self, GateError> {
        let before = GateState::read(&path)?;
        Ok(Self { path, written: before.clone().into(), before, members: Mutex::default() })
    }

    /// The member that the site is, as it was before a restart.
    pub(crate) fn member(&self, site: &Site) -> Option<Arc<Member>> {
        let key = site.key.as_ref()?;
        let (spki, fingerprint) = (spki_der(key), fingerprint(key));
        let mut members = self.members.lock().expect("nobody panics with the members");
        let member = members.entry(spki.clone()).or_insert_with(|| {
            let before = self.before.sites.get(&site.name).filter(|before| before.fingerprint == fingerprint);
            let node = before.map(|before| Node::known(before.node_id, before.asked.clone()));
            Arc::new(Member::new(spki, fingerprint, node.unwrap_or_default()))
        });
        Some(Arc::clone(member))
    }

    /// Writes `gate.json` if it would say anything else than it does. Sites that are not on the list any more are left out.
    pub(crate) fn write(&self, sites: &Sites) -> Result<(), GateError> {
        // Locked until it is written: of two states the later one stays.
        let mut written = self.written.lock().expect("nobody panics with the state");
        let mut members = self.members.lock().expect("nobody panics with the members").clone();
        members.retain(|spki, _| sites.by_key(spki).is_some());
        let mut state = GateState::default();
        for site in sites {
            let Some(key) = &site.key else { continue };
            let before = written.sites.get(&site.name).filter(|before| before.fingerprint == fingerprint(key));
            let now = members.get(&spki_der(key)).and_then(|member| state_of(member));
            if let Some(known) = now.or_else(|| before.cloned()) {
                state.sites.insert(site.name.clone(), known);
            }
        }
        if state != *written {
            state.write(&self.path)?;
            *written = state;
        }
        Ok(())
    }
}

/// `None` before its first activation, and while it did not call since the gate was started.
fn state_of(member: &Member) -> Option<SiteState> {
    let (node, seen) = (member.node(), member.seen()?);
    let last_seen = seen.format(&Rfc3339).unwrap_or_else(|_| OffsetDateTime::UNIX_EPOCH.to_string());
    Some(SiteState { node_id: node.id?, fingerprint: member.fingerprint.clone(), last_seen, asked: node.asked.clone() })
}
