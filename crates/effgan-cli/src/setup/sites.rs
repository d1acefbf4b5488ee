//! Who may connect: `admit`, `remove`, `add` and `list` at the server. A running gate goes by the list at once.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use effgan_data::ClientName;
use effgan_gate::{GATE_STATE, GateState, SITES, Sites, fingerprint, public_key};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::kit;
use super::server;
use super::wheel::Checked;
use effgan_run::failure::{Failure, Result};
use effgan_run::record::run_dir::check_new;

/// A site that was let in.
#[derive(Debug)]
pub(crate) struct Admitted {
    /// Its name.
    pub name: ClientName,
    /// Of its key.
    pub fingerprint: String,
    /// Whether it had another key before, or none.
    pub is_new: bool,
}

/// A line of `list`.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The site.
    pub name: ClientName,
    /// Of its key, once it is admitted.
    pub fingerprint: Option<String>,
    /// When it was.
    pub admitted: Option<OffsetDateTime>,
    /// Its last request.
    pub seen: Option<OffsetDateTime>,
}

/// Lets the site in whose public `key` it is: the line that `join` printed, or a file with it. `told` is a fingerprint that was told by
/// another way, which has to be the key's.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is no such key, no site of this federation, or another key than that of `told`.
pub(crate) fn admit(key: &str, folder: &Path, told: Option<&str>) -> Result<Admitted> {
    let admit = || -> anyhow::Result<Admitted> {
        let text = if Path::new(key).is_file() { effgan_run::config::read(Path::new(key))? } else { key.to_owned() };
        let key = public_key(&text)?;
        let known = fingerprint(&key);
        if let Some(told) = told.filter(|told| digits(told) != digits(&known)) {
            let (given, all) = (digits(told).len(), digits(&known).len());
            if given < all {
                bail!(
                    "{told:?} has {given} of a fingerprint's {all} digits; let the site read you all 16 groups of four"
                );
            }
            bail!(
                "the key's fingerprint is {known}, and not {told}; do not admit it before the site has read you the first"
            );
        }
        edit(folder, |sites| {
            let comment = key.comment().to_owned();
            let name = sites.iter().map(|site| &site.name).find(|name| name.as_str() == comment).cloned();
            let Some(name) = name else {
                let known: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
                bail!(
                    "the key is of {comment:?}, and the sites are {}; effgan federation add makes another",
                    known.join(", ")
                );
            };
            let is_new = sites.admit(&name, &key)?;
            Ok(Admitted { name, fingerprint: known.clone(), is_new })
        })
    };
    server::read(folder)?;
    admit().map_err(Failure::usage)
}

/// Hexadecimal digits of a fingerprint, however it is grouped.
fn digits(fingerprint: &str) -> String {
    fingerprint.chars().filter(|c| !c.is_whitespace() && *c != ':').collect::<String>().to_ascii_lowercase()
}

/// Takes the key of `name` away, at once.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when there is no such site, or it has no key.
pub(crate) fn remove(name: &ClientName, folder: &Path) -> Result<()> {
    server::read(folder)?;
    let remove = |sites: &mut Sites| {
        let is_out = sites.get(name).is_some_and(|site| site.key.is_none());
        if is_out {
            bail!("{name} is not admitted");
        }
        Ok(sites.remove(name)?)
    };
    edit(folder, remove).map_err(Failure::usage)
}

/// Makes a kit at `out` for one more site, or another one for a site that lost its own; whether it is on the list already.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when something is at `out`.
pub(crate) fn add(name: &ClientName, folder: &Path, out: &Path) -> Result<bool> {
    let server = server::read(folder)?;
    check_new(out)?;
    let add = || -> anyhow::Result<bool> {
        let ca = effgan_run::config::read(&folder.join("ca.crt"))?;
        let wheel = server.wheel.as_ref().map(|wheel| Checked::read(&folder.join(&wheel.file))).transpose()?;
        if let Some(wheel) = &server.wheel {
            wheel.check(folder)?;
        }
        kit::make(&server.kit(name), out, &ca, wheel.as_ref())?;
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

/// Where `add` puts a kit unless it is told: beside those that `init` made.
pub(crate) fn kit_of(name: &ClientName, folder: &Path) -> PathBuf {
    let beside = folder.parent().filter(|_| folder.file_name().is_some());
    beside.map_or_else(|| folder.join("../kits"), |beside| beside.join("kits")).join(name.as_str())
}

/// All sites, in the order in which they were added.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is no server's folder.
pub(crate) fn list(folder: &Path) -> Result<Vec<Listed>> {
    server::read(folder)?;
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

/// Changes the list, one program at a time.
fn edit<T>(folder: &Path, change: impl FnOnce(&mut Sites) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let _locked = server::lock(folder)?;
    let path = folder.join(SITES);
    let mut sites = Sites::read(&path)?;
    let changed = change(&mut sites)?;
    sites.write(&path)?;
    Ok(changed)
}
