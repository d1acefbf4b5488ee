//! Which sites may connect: `effgan federation admit`, `remove`, `add` and `list`. A running gate follows the list at once.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use effgan_data::ClientName;
use effgan_gate::{GATE_STATE, GateState, SITES, Sites, fingerprint, public_key};
use effgan_run::failure::{Failure, Result};
use effgan_run::record::run_dir::check_new;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::server_folder::{self, ServerFolder};
use super::site_kit;
use super::wheel::Checked;

/// The result of `admit`.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Name of the site.
    pub name: ClientName,
    /// Fingerprint of its key.
    pub fingerprint: String,
    /// False when the site was admitted with this key before.
    pub is_new: bool,
}

/// A line of `list`.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Name of the site.
    pub name: ClientName,
    /// Fingerprint of its key, once it is admitted.
    pub fingerprint: Option<String>,
    /// When it was admitted.
    pub admitted: Option<OffsetDateTime>,
    /// Time of its last request.
    pub seen: Option<OffsetDateTime>,
}

/// Admits the site whose public key is `key`: the line that `join` printed, or a file that holds it. `read_out` is the fingerprint that the site
/// has read out by telephone; the key must have this one.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is not a site's key, not of a site of this federation, or has another
/// fingerprint than `read_out`.
pub(crate) fn admit(key: &str, folder: &Path, read_out: Option<&str>) -> Result<Admitted> {
    let admit = || -> anyhow::Result<Admitted> {
        let text = if Path::new(key).is_file() { effgan_run::config::read(Path::new(key))? } else { key.to_owned() };
        let key = public_key(&text)?;
        let known = fingerprint(&key);
        if let Some(read_out) = read_out.filter(|read_out| digits(read_out) != digits(&known)) {
            let (given, all) = (digits(read_out).len(), digits(&known).len());
            if given < all {
                bail!(
                    "{read_out:?} has {given} of a fingerprint's {all} digits; ask the site to read you all 16 groups of four"
                );
            }
            bail!(
                "the key's fingerprint is {known}, not {read_out}; do not admit it unless the site reads you the first of these"
            );
        }
        edit(folder, |sites| {
            let comment = key.comment().to_owned();
            let name = sites.iter().map(|site| &site.name).find(|name| name.as_str() == comment).cloned();
            let Some(name) = name else {
                let known: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
                bail!(
                    "the key is for {comment:?}, and the sites are {}; effgan federation add makes another site",
                    known.join(", ")
                );
            };
            let is_new = sites.admit(&name, &key)?;
            Ok(Admitted { name, fingerprint: known.clone(), is_new })
        })
    };
    ServerFolder::read(folder)?;
    admit().map_err(Failure::usage)
}

/// The hexadecimal digits of a fingerprint, however they are grouped.
fn digits(fingerprint: &str) -> String {
    fingerprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect::<String>().to_ascii_lowercase()
}

/// Removes the key of `name`; the gate refuses the site from its next request on.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when there is no such site, or it is not admitted.
pub(crate) fn remove(name: &ClientName, folder: &Path) -> Result<()> {
    ServerFolder::read(folder)?;
    let remove = |sites: &mut Sites| {
        let is_out = sites.get(name).is_some_and(|site| site.key.is_none());
        if is_out {
            bail!("{name} is not admitted");
        }
        Ok(sites.remove(name)?)
    };
    edit(folder, remove).map_err(Failure::usage)
}

/// Makes a kit at `out` for a new site, or a replacement for a site that lost its own. Returns whether the site was on the list already.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when `out` exists.
pub(crate) fn add(name: &ClientName, folder: &Path, out: &Path) -> Result<bool> {
    let server = ServerFolder::read(folder)?;
    check_new(out)?;
    let add = || -> anyhow::Result<bool> {
        let ca = effgan_run::config::read(&folder.join("ca.crt"))?;
        let wheel = server.wheel.as_ref().map(|wheel| Checked::read(&folder.join(&wheel.file))).transpose()?;
        if let Some(wheel) = &server.wheel {
            wheel.check(folder)?;
        }
        site_kit::make(&server.kit(name), out, &ca, wheel.as_ref())?;
        edit(folder, |sites| {
            let is_known = sites.get(name).is_some();
            if !is_known {
                sites.add(name.clone())?;
            }
            Ok(is_known)
        })
    };
    add().with_context(|| format!("cannot make {}", out.display())).map_err(Failure::usage)
}

/// Where `add` puts a kit by default: beside those that `init` made.
pub(crate) fn default_kit(name: &ClientName, folder: &Path) -> PathBuf {
    let beside = folder.parent().filter(|_| folder.file_name().is_some());
    beside.map_or_else(|| folder.join("../kits"), |beside| beside.join("kits")).join(name.as_str())
}

/// Returns all sites, in the order in which they were added.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is not a server folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<Listed>> {
    ServerFolder::read(folder)?;
    let list = || -> anyhow::Result<Vec<Listed>> {
        let (sites, seen) = (Sites::read(&folder.join(SITES))?, GateState::read(&folder.join(GATE_STATE))?);
        let last_seen = |name, key: Option<&String>| {
            let state = seen.sites.get(name).filter(|state| Some(&state.fingerprint) == key)?;
            OffsetDateTime::parse(&state.last_seen, &Rfc3339).ok()
        };
        let listed = sites.iter().map(|site| {
            let fingerprint = site.key.as_ref().map(fingerprint);
            let seen = last_seen(&site.name, fingerprint.as_ref());
            Listed { name: site.name.clone(), fingerprint, admitted: site.admitted, seen }
        });
        Ok(listed.collect())
    };
    list().map_err(Failure::usage)
}

/// Changes the list of sites while no other process does.
fn edit<T>(folder: &Path, change: impl FnOnce(&mut Sites) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let _locked = server_folder::lock(folder)?;
    let path = folder.join(SITES);
    let mut sites = Sites::read(&path)?;
    let changed = change(&mut sites)?;
    sites.write(&path)?;
    Ok(changed)
}
