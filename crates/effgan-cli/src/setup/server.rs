//! `effgan federation init`: the server's folder and a kit for each site.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_nn::checkpoint::write_file;
use serde::{Deserialize, Serialize};

use super::certificates::{self, Signed};
use super::kit::{self, Kit};
use super::{OPEN, SCRIPT, SECRET, flower, write};
use crate::failure::{Failure, Result};
use crate::run_dir::{beside, check_new};

/// What `init` is told.
#[derive(Debug)]
pub struct Plan {
    /// Names of the sites.
    pub sites: Vec<ClientName>,
    /// Under which the sites reach the server: a DNS name or an IP address.
    pub host: String,
    pub port: u16,
    /// The folder to make.
    pub out: PathBuf,
}

/// `server.toml` of the server's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) sites: Vec<ClientName>,
    /// Version of effgan that all are to have.
    pub(super) effgan: String,
}

/// Of the server's folder.
pub(super) const SERVER: &str = "server.toml";

/// Makes the folder, all at once.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it exists, or a name is no host.
pub fn init(plan: &Plan) -> Result<()> {
    check_new(&plan.out)?;
    let fine = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    if plan.host.is_empty() || plan.host.len() > 253 || !plan.host.chars().all(fine) {
        return Err(Failure::usage(anyhow!("--host {:?} is no DNS name and no IP address", plan.host)));
    }
    if let Some(twice) = plan.sites.iter().enumerate().find(|(i, site)| plan.sites[..*i].contains(site)) {
        return Err(Failure::usage(anyhow!("--sites names {} twice", twice.1)));
    }
    let beside = beside(&plan.out);
    let made = make(plan, &beside).and_then(|()| Ok(fs::rename(&beside, &plan.out)?));
    let made = made.and_then(|()| flower::configure(&plan.out.join("server"), plan.port));
    if made.is_err() {
        // Nobody has seen it. The first error is the one to tell.
        let _ = fs::remove_dir_all(&beside);
    }
    made.with_context(|| format!("cannot make {}", plan.out.display())).map_err(Failure::usage)
}

fn make(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    let [ca, server] = certificates::make(&plan.host)?;
    make_server(plan, &folder.join("server"), &ca, &server)?;
    for site in &plan.sites {
        let kit = Kit { name: site.clone(), server: plan.address(), effgan: env!("CARGO_PKG_VERSION").into() };
        kit::make(&kit, &folder.join("kits").join(site.as_str()), &ca.certificate)?;
    }
    Ok(())
}

/// Signs the certificate of the server in `folder` anew, for the same key and by the same CA, so that the sites' kits stay good.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it is no server's folder, or `ca.key` is not there or is another's.
pub fn renew(folder: &Path) -> Result<()> {
    let host = read(folder)?.host;
    let text = |name: &str| crate::config::read(&folder.join(name)).with_context(|| name.to_owned());
    let make = || -> anyhow::Result<()> {
        let ca = Signed { certificate: text("ca.crt")?, key: text("ca.key")? };
        let certificate = certificates::renew(&host, &text("server.key")?, &ca)?;
        Ok(write_file(&folder.join("server.crt"), certificate.as_bytes())?)
    };
    let said = || format!("renewing takes ca.crt, ca.key and server.key in {} as init wrote them", folder.display());
    make().with_context(said).map_err(Failure::usage)
}

impl Plan {
    /// `host:port`, an IPv6 address in brackets.
    fn address(&self) -> String {
        address(&self.host, self.port)
    }
}

pub(super) fn address(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn make_server(plan: &Plan, folder: &Path, ca: &Signed, server: &Signed) -> anyhow::Result<()> {
    let port = plan.port;
    fs::create_dir_all(folder)?;
    write(&folder.join("ca.crt"), &ca.certificate, OPEN)?;
    write(&folder.join("ca.key"), &ca.key, SECRET)?;
    write(&folder.join("server.crt"), &server.certificate, OPEN)?;
    write(&folder.join("server.key"), &server.key, SECRET)?;
    let known =
        Server { host: plan.host.clone(), port, sites: plan.sites.clone(), effgan: env!("CARGO_PKG_VERSION").into() };
    write(&folder.join(SERVER), &toml::to_string(&known)?, OPEN)?;
    write(&folder.join("start.sh"), &include_str!("server.sh").replace("{port}", &port.to_string()), SCRIPT)?;
    let names: Vec<String> = plan.sites.iter().map(|site| format!("\"{site}\"")).collect();
    let config = include_str!("federation.toml").replace("{sites}", &names.join(", "));
    write(&folder.join("federation.toml"), &config, OPEN)
}

/// What is known of the server in `folder`.
///
/// # Errors
/// [`Kind::Usage`](crate::Kind::Usage) when it is no server's folder.
pub(super) fn read(folder: &Path) -> Result<Server> {
    let path = folder.join(SERVER);
    let read = || -> anyhow::Result<Server> { Ok(toml::from_str(&crate::config::read(&path)?)?) };
    let said = || format!("{} is no server's folder of effgan federation init", folder.display());
    read().with_context(said).map_err(Failure::usage)
}
