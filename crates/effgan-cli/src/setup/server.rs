//! `effgan federation init`: the server's folder and a kit for each site.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_gate::{SITES, Sites};
use effgan_nn::checkpoint::write_file;
use serde::{Deserialize, Serialize};

use super::certificates::{self, Signed};
use super::host::Host;
use super::kit::{self, Kit};
use super::wheel::{Checked, Wheel};
use super::{OPEN, SCRIPT, SECRET, SUPEREXEC_SECRET, flower, private_folder, write};
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::hold_out::new_secret;
use effgan_run::record::run_dir::{beside, check_new};

/// What `init` is told.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Names of the sites.
    pub sites: Vec<ClientName>,
    /// Under which the sites reach the server.
    pub host: Host,
    /// Of the gate, ≥ 1: the one that sites call.
    pub port: u16,
    /// Of the `SuperLink`, ≥ 1, which this machine alone reaches.
    pub superlink_port: u16,
    /// effgan's wheel, which the kits bring then.
    pub wheel: Option<PathBuf>,
    /// The folder to make.
    pub out: PathBuf,
}

/// `server.toml` of the server's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    /// By which sites reach it.
    pub(crate) host: Host,
    /// Of the gate.
    pub(crate) port: u16,
    /// Of the `SuperLink`, on 127.0.0.1.
    #[serde(default = "superlink_port")]
    pub(crate) superlink_port: u16,
    /// Version of effgan that all are to have.
    pub(crate) effgan: String,
    /// The wheel that kits bring; it lies beside this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) wheel: Option<Wheel>,
}

/// Where the `SuperLink` listens unless somebody says otherwise.
pub(crate) const SUPERLINK_PORT: u16 = 9091;

fn superlink_port() -> u16 {
    SUPERLINK_PORT
}

/// Of the server's folder.
pub(super) const SERVER: &str = "server.toml";

/// Makes the folder, all at once.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it exists, a site is named twice, or the wheel is none of this effgan.
pub(crate) fn init(plan: &Plan) -> Result<()> {
    check_new(&plan.out)?;
    if let Some(twice) = plan.sites.iter().enumerate().find(|(i, site)| plan.sites[..*i].contains(site)) {
        return Err(Failure::usage(anyhow!("--sites names {} twice", twice.1)));
    }
    if plan.port == plan.superlink_port {
        let line = format!("--port and --superlink-port are both {}; two programs listen there", plan.port);
        return Err(Failure::usage(anyhow!(line)));
    }
    let beside = beside(&plan.out);
    let made = make(plan, &beside).and_then(|()| Ok(fs::rename(&beside, &plan.out)?));
    let made = made.and_then(|()| flower::configure(&plan.out.join("server"), plan.superlink_port));
    if made.is_err() {
        // Nobody has seen it. The first error is the one to tell.
        let _ = fs::remove_dir_all(&beside);
    }
    made.with_context(|| format!("cannot make {}", plan.out.display())).map_err(Failure::usage)
}

fn make(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    let wheel = plan.wheel.as_deref().map(Checked::read).transpose()?;
    let signed = certificates::make(&plan.host)?;
    let server = Server {
        host: plan.host.clone(),
        port: plan.port,
        superlink_port: plan.superlink_port,
        effgan: env!("CARGO_PKG_VERSION").into(),
        wheel: wheel.as_ref().map(|checked| checked.wheel.clone()),
    };
    for part in [folder, &folder.join("kits")] {
        private_folder(part)?;
    }
    make_server(&server, &plan.sites, &folder.join("server"), &signed, wheel.as_ref())?;
    for site in &plan.sites {
        kit::make(&server.kit(site), &folder.join("kits").join(site.as_str()), &signed[0].certificate, wheel.as_ref())?;
    }
    Ok(())
}

fn make_server(
    server: &Server,
    names: &[ClientName],
    folder: &Path,
    [ca, own]: &[Signed; 2],
    wheel: Option<&Checked>,
) -> anyhow::Result<()> {
    private_folder(folder)?;
    write(&folder.join("ca.crt"), &ca.certificate, OPEN)?;
    write(&folder.join("ca.key"), &ca.key, SECRET)?;
    write(&folder.join("server.crt"), &own.certificate, OPEN)?;
    write(&folder.join("server.key"), &own.key, SECRET)?;
    write(&folder.join(SUPEREXEC_SECRET), &new_secret(), SECRET)?;
    write(&folder.join(SERVER), &toml::to_string(server)?, OPEN)?;
    let ports = |text: &str| {
        text.replace("{superlink_port}", &server.superlink_port.to_string()).replace("{port}", &server.port.to_string())
    };
    write(&folder.join("start.sh"), &ports(include_str!("server.sh")), SCRIPT)?;
    let mut sites = Sites::default();
    for name in names {
        sites.add(name.clone())?;
    }
    sites.write(&folder.join(SITES))?;
    let quoted: Vec<String> = names.iter().map(|site| format!("\"{site}\"")).collect();
    let config = include_str!("federation.toml").replace("{sites}", &quoted.join(", "));
    let config = config.replace("{min_clients}", &quoted.len().min(2).to_string());
    write(&folder.join("federation.toml"), &config, OPEN)?;
    wheel.map_or(Ok(()), |wheel| wheel.write(folder))
}

/// Signs the certificate of the server in `folder` anew, for the same key and by the same CA, so that the sites' kits stay good.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is no server's folder, or `ca.key` is not there or is another's.
pub(crate) fn renew(folder: &Path) -> Result<()> {
    let host = read(folder)?.host;
    let text = |name: &str| effgan_run::config::read(&folder.join(name)).with_context(|| name.to_owned());
    let make = || -> anyhow::Result<()> {
        let ca = Signed { certificate: text("ca.crt")?, key: text("ca.key")? };
        let certificate = certificates::renew(&host, &text("server.key")?, &ca)?;
        Ok(write_file(&folder.join("server.crt"), certificate.as_bytes())?)
    };
    let said = || format!("renewing takes ca.crt, ca.key and server.key in {} as init wrote them", folder.display());
    make().with_context(said).map_err(Failure::usage)
}

impl Server {
    /// `host:port` as sites call it.
    pub(crate) fn address(&self) -> String {
        self.host.at(self.port)
    }

    /// What the kit of `site` says.
    pub(super) fn kit(&self, site: &ClientName) -> Kit {
        let (server, effgan) = (self.address(), self.effgan.clone());
        Kit { name: site.clone(), server, effgan, wheel: self.wheel.clone() }
    }
}

/// What is known of the server in `folder`.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is no server's folder.
pub(crate) fn read(folder: &Path) -> Result<Server> {
    let path = folder.join(SERVER);
    let read = || -> anyhow::Result<Server> { Ok(toml::from_str(&effgan_run::config::read(&path)?)?) };
    let said = || format!("{} is no server's folder of effgan federation init", folder.display());
    read().with_context(said).map_err(Failure::usage)
}

/// Keeps others from changing the server's list of sites, for as long as the file is open.
pub(super) fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(SERVER);
    let locked = File::open(&path).and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("locking {}", path.display()))
}
