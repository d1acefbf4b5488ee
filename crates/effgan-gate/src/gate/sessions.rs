//! The sessions of all sites by their keys, and `gate.json`, which keeps them across restarts and for other programs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::session::Session;
use crate::error::GateError;
use crate::gate_state::{GateState, SiteState};
use crate::request_check::node_state::NodeState;
use crate::site_key::{fingerprint, spki_der};
use crate::sites::{Site, Sites};

#[derive(Debug)]
pub(super) struct Sessions {
    path: PathBuf,
    /// Content of the file when the gate was started.
    restored: GateState,
    by_key: Mutex<BTreeMap<Vec<u8>, Arc<Session>>>,
    /// Content of the file now.
    written: Mutex<GateState>,
}

impl Sessions {
    /// Reads `gate.json` at `path`.
    pub(super) fn open(path: PathBuf) -> Result<Self, GateError> {
        let restored = GateState::read(&path)?;
        Ok(Self { path, written: restored.clone().into(), restored, by_key: Mutex::default() })
    }

    /// The session of a site, restored after a restart; `None` for a site without a key.
    pub(super) fn of(&self, site: &Site) -> Option<Arc<Session>> {
        let key = site.key.as_ref()?;
        let (spki, fingerprint) = (spki_der(key), fingerprint(key));
        let mut sessions = self.by_key.lock().expect("no thread panics while it holds the sessions");
        let session = sessions.entry(spki.clone()).or_insert_with(|| {
            let known = self.restored.sites.get(&site.name).filter(|known| known.fingerprint == fingerprint);
            let node = known.map(|known| NodeState::restored(known.node_id, known.pulled.clone()));
            Arc::new(Session::new(spki, fingerprint, node.unwrap_or_default()))
        });
        Some(Arc::clone(session))
    }

    /// Writes `gate.json` if its content has changed. Sites that are no longer on the list are left out.
    pub(super) fn write(&self, sites: &Sites) -> Result<(), GateError> {
        // Locked until the file is written, so that the later of two states stays.
        let mut written = self.written.lock().expect("no thread panics while it holds the state");
        let mut sessions = self.by_key.lock().expect("no thread panics while it holds the sessions").clone();
        sessions.retain(|spki, _| sites.by_key(spki).is_some());
        let mut state = GateState::default();
        for site in sites {
            let Some(key) = &site.key else { continue };
            let before = written.sites.get(&site.name).filter(|before| before.fingerprint == fingerprint(key));
            let now = sessions.get(&spki_der(key)).and_then(|session| state_of(session));
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

/// The state of a session; `None` before the first activation, and before the first request since the gate was started.
fn state_of(session: &Session) -> Option<SiteState> {
    let (node, seen) = (session.node(), session.last_seen()?);
    let last_seen = seen.format(&Rfc3339).unwrap_or_else(|_| OffsetDateTime::UNIX_EPOCH.to_string());
    let fingerprint = session.fingerprint.clone();
    Some(SiteState { node_id: node.id?, fingerprint, last_seen, pulled: node.pulled.clone() })
}
