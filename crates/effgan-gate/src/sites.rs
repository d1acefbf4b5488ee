//! The list of sites, `sites.toml`: who may connect, by which key. `admit` and `remove` edit it, and a running gate notices.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use effgan_data::ClientName;
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::GateError;
use crate::file;
use crate::key::{fingerprint, line, public_key, spki_der};

/// Of the server's folder.
pub const SITES: &str = "sites.toml";

/// Most bytes of `sites.toml`: thousands of sites.
const MOST: u64 = 1 << 20;

/// A site of the federation.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// By which all know it; never what it says of itself.
    pub name: ClientName,
    /// `None` until it is admitted, and after it was removed.
    pub key: Option<PublicKey>,
    /// When it was.
    pub admitted: Option<OffsetDateTime>,
    /// Most images that an answer of it counts for; `None` where the config's own bound is enough.
    pub max_examples: Option<u64>,
}

/// The list, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// Reads the list.
    ///
    /// # Errors
    /// [`GateError::File`], or [`GateError::Content`] for a key that is none, a name or a key that occurs twice, an unknown entry.
    pub fn read(path: &Path) -> Result<Self, GateError> {
        let wrong = |reason: String| GateError::Content { path: path.to_owned(), reason };
        let text = file::read(path, MOST)?;
        // Somebody is writing it: a list of nobody is `site = []`.
        if text.trim().is_empty() {
            return Err(wrong("it is empty".into()));
        }
        let entries: Entries = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        let mut sites = Self::default();
        for entry in entries.site {
            let site = entry.into_site().map_err(&wrong)?;
            if sites.get(&site.name).is_some() {
                return Err(wrong(format!("{} is there twice", site.name)));
            }
            if let Some(other) = site.key.as_ref().and_then(|key| sites.by_key(&spki_der(key))) {
                return Err(wrong(format!("{} has the key of {}", site.name, other.name)));
            }
            sites.0.push(site);
        }
        Ok(sites)
    }

    /// Writes the list: whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// [`GateError::File`].
    pub fn write(&self, path: &Path) -> Result<(), GateError> {
        let entries = Entries { site: self.0.iter().map(Entry::of).collect() };
        let text = toml::to_string(&entries).expect("names, keys and dates are TOML");
        file::write(path, text.as_bytes())
    }

    /// Puts a site at the end of the list, without a key.
    ///
    /// # Errors
    /// [`GateError::SiteExists`].
    pub fn add(&mut self, name: ClientName) -> Result<(), GateError> {
        if self.get(&name).is_some() {
            return Err(GateError::SiteExists { name });
        }
        self.0.push(Site { name, key: None, admitted: None, max_examples: None });
        Ok(())
    }

    /// Gives the site `name` its key, now; whether it did not have this key before.
    ///
    /// # Errors
    /// [`GateError::NoSite`], [`GateError::Admitted`] where it has another key, [`GateError::KeyOfAnother`].
    pub fn admit(&mut self, name: &ClientName, key: &PublicKey) -> Result<bool, GateError> {
        if let Some(other) = self.by_key(&spki_der(key)).filter(|other| other.name != *name) {
            return Err(GateError::KeyOfAnother { name: other.name.clone() });
        }
        let site = self.get_mut(name)?;
        if let Some(known) = &site.key {
            if spki_der(known) == spki_der(key) {
                return Ok(false);
            }
            return Err(GateError::Admitted { name: name.clone(), fingerprint: fingerprint(known) });
        }
        site.key = Some(public_key(&line(key))?);
        site.admitted = Some(OffsetDateTime::now_utc().replace_nanosecond(0).expect("0 is a nanosecond"));
        Ok(true)
    }

    /// Takes the key of `name` away: it is not let in, and its open connections end at their next request. The name stays, and may be
    /// admitted again, with the same key or another.
    ///
    /// # Errors
    /// [`GateError::NoSite`].
    pub fn remove(&mut self, name: &ClientName) -> Result<(), GateError> {
        let site = self.get_mut(name)?;
        (site.key, site.admitted) = (None, None);
        Ok(())
    }

    /// The site whose key has this `SubjectPublicKeyInfo`.
    pub fn by_key(&self, spki: &[u8]) -> Option<&Site> {
        self.0.iter().find(|site| site.key.as_ref().is_some_and(|key| spki_der(key) == spki))
    }

    /// The site of this name.
    pub fn get(&self, name: &ClientName) -> Option<&Site> {
        self.0.iter().find(|site| site.name == *name)
    }

    /// All sites, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Site> {
        self.0.iter()
    }

    /// Whose key came and whose went since the list was `before`, a line each.
    fn changes_from(&self, before: &Self) -> Vec<String> {
        let key = |sites: &Self, name: &ClientName| sites.get(name).and_then(|site| site.key.as_ref()).map(spki_der);
        let names = before.0.iter().chain(self.0.iter().filter(|site| before.get(&site.name).is_none()));
        let line = |site: &Site| {
            let name = &site.name;
            match (key(before, name), key(self, name)) {
                (old, new) if old == new => None,
                (_, None) => Some(format!("{name} is removed: its key is refused from now on")),
                (_, Some(_)) => Some(format!("{name} is admitted")),
            }
        };
        names.filter_map(line).collect()
    }

    fn get_mut(&mut self, name: &ClientName) -> Result<&mut Site, GateError> {
        let known: Vec<&str> = self.0.iter().map(|site| site.name.as_str()).collect();
        let unknown = GateError::NoSite { name: name.clone(), known: known.join(", ") };
        self.0.iter_mut().find(|site| site.name == *name).ok_or(unknown)
    }
}

impl<'a> IntoIterator for &'a Sites {
    type Item = &'a Site;
    type IntoIter = std::slice::Iter<'a, Site>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The list of a running gate, which is read anew whenever the file is another.
#[derive(Debug)]
pub(crate) struct Watched {
    path: PathBuf,
    last: Mutex<Last>,
}

#[derive(Debug)]
struct Last {
    sites: Arc<Sites>,
    stamp: Option<file::Stamp>,
    /// What has changed, in lines, and was not told yet.
    news: Vec<String>,
}

impl Watched {
    pub(crate) fn open(path: &Path) -> Result<Self, GateError> {
        let stamp = file::stamp(path);
        let sites = Sites::read(path)?.into();
        Ok(Self { path: path.to_owned(), last: Last { sites, stamp, news: Vec::new() }.into() })
    }

    /// The list as it is now. A file that cannot be read leaves it as it was.
    pub(crate) fn current(&self) -> Arc<Sites> {
        let mut last = self.last.lock().expect("nobody panics with the list");
        let stamp = file::stamp(&self.path);
        if stamp != last.stamp {
            last.stamp = stamp;
            match Sites::read(&self.path) {
                Ok(sites) => {
                    let changes = sites.changes_from(&last.sites);
                    last.news.extend(changes);
                    last.sites = sites.into();
                }
                Err(error) => last.news.push(format!("{error}; the list stays as it was")),
            }
        }
        Arc::clone(&last.sites)
    }

    /// Whom the list lets in and keeps out, and what was wrong with the file, since this was asked last: a line each.
    pub(crate) fn news(&self) -> Vec<String> {
        std::mem::take(&mut self.last.lock().expect("nobody panics with the list").news)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entries {
    #[serde(default)]
    site: Vec<Entry>,
}

/// `[[site]]`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: ClientName,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    admitted: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_examples: Option<u64>,
}

impl Entry {
    fn of(site: &Site) -> Self {
        let date = |date: OffsetDateTime| date.format(&Rfc3339).expect("a date of this age");
        let Site { name, key, admitted, max_examples } = site;
        Self {
            name: name.clone(),
            key: key.as_ref().map(line),
            admitted: admitted.map(date),
            max_examples: *max_examples,
        }
    }

    fn into_site(self) -> Result<Site, String> {
        let Self { name, key, admitted, max_examples } = self;
        let key = key.map(|key| public_key(&key)).transpose().map_err(|error| format!("{name}: {error}"))?;
        let date =
            |text: String| OffsetDateTime::parse(&text, &Rfc3339).map_err(|error| format!("{name}: admitted: {error}"));
        let admitted = admitted.map(date).transpose()?;
        if key.is_some() != admitted.is_some() {
            return Err(format!("{name} has one of key and admitted, and a site has both or neither"));
        }
        // The comment is whatever its owner typed.
        let key = key.map(|key| PublicKey::new(key.key_data().clone(), ""));
        Ok(Site { name, key, admitted, max_examples })
    }
}
