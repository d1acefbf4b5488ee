//! The list of sites, `sites.toml`: which site may connect, and by which key.

use std::path::Path;

use effgan_data::ClientName;
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::GateError;
use crate::site_key::{fingerprint, openssh, public_key, spki_der};
use crate::small_file;

/// File in the server folder.
pub const SITES: &str = "sites.toml";

/// Maximum number of bytes of `sites.toml`: enough for thousands of sites.
const MAX_BYTES: u64 = 1 << 20;

/// A site of the federation.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// Its name everywhere: the one on this list, never one that the site sends.
    pub name: ClientName,
    /// `None` until it is admitted, and after it was removed.
    pub key: Option<PublicKey>,
    /// When it was admitted.
    pub admitted: Option<OffsetDateTime>,
    /// Maximum number of images that its replies count for; `None` leaves it to the config's bound.
    pub max_examples: Option<u64>,
}

/// The list of sites, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// Reads the list.
    ///
    /// # Errors
    /// [`GateError::File`], or [`GateError::Content`] for an invalid key, a name or a key that occurs twice, or an unknown entry.
    pub fn read(path: &Path) -> Result<Self, GateError> {
        let wrong = |reason: String| GateError::Content { path: path.to_owned(), reason };
        let text = small_file::read(path, MAX_BYTES)?;
        // Another program may be about to write it. A list without sites is `site = []`.
        if text.trim().is_empty() {
            return Err(wrong("empty".into()));
        }
        let entries: Entries = toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
        let mut sites = Self::default();
        for entry in entries.site {
            let site = entry.into_site().map_err(&wrong)?;
            if sites.get(&site.name).is_some() {
                return Err(wrong(format!("{} occurs twice", site.name)));
            }
            if let Some(other) = site.key.as_ref().and_then(|key| sites.by_key(&spki_der(key))) {
                return Err(wrong(format!("{} has the key of {}", site.name, other.name)));
            }
            sites.0.push(site);
        }
        Ok(sites)
    }

    /// Writes the list, whole or not at all, readable by its owner alone.
    ///
    /// # Errors
    /// [`GateError::File`].
    pub fn write(&self, path: &Path) -> Result<(), GateError> {
        let entries = Entries { site: self.0.iter().map(Entry::of).collect() };
        let text = toml::to_string(&entries).expect("names, keys and dates are TOML");
        small_file::write(path, text.as_bytes())
    }

    /// Appends a site without a key.
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

    /// Admits the site `name` with this key. Returns false when it had this key already.
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
        site.key = Some(public_key(&openssh(key))?);
        site.admitted = Some(OffsetDateTime::now_utc().replace_nanosecond(0).expect("0 is a nanosecond"));
        Ok(true)
    }

    /// Removes the key of `name`: the site cannot connect, and its open connections end at their next request. The name stays, and can be
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

    /// The sites that were admitted or removed since `before`, a line each.
    pub(crate) fn changes_from(&self, before: &Self) -> Vec<String> {
        let key = |sites: &Self, name: &ClientName| sites.get(name).and_then(|site| site.key.as_ref()).map(spki_der);
        let names = before.0.iter().chain(self.0.iter().filter(|site| before.get(&site.name).is_none()));
        let line = |site: &Site| {
            let name = &site.name;
            match (key(before, name), key(self, name)) {
                (old, new) if old == new => None,
                (_, None) => Some(format!("{name} is removed; its key is refused from now on")),
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
        let date = |date: OffsetDateTime| date.format(&Rfc3339).expect("a date can be formatted");
        let Site { name, key, admitted, max_examples } = site;
        Self {
            name: name.clone(),
            key: key.as_ref().map(openssh),
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
            return Err(format!("{name} has only one of key and admitted; a site has both or neither"));
        }
        // The key's comment is of no meaning.
        let key = key.map(|key| PublicKey::new(key.key_data().clone(), ""));
        Ok(Site { name, key, admitted, max_examples })
    }
}
