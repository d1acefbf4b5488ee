//! `effgan federation init` makes the server's folder and a kit for each site; `renew` signs the server's certificate again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_gate::{SITES, Sites};
use effgan_nn::checkpoint::write_file;
use effgan_run::failure::{Failure, Result};
use effgan_run::protocol::hold_out::new_secret;
use effgan_run::record::run_dir::{beside, check_new};

use super::certificates::{self, Signed};
use super::host::Host;
use super::server_folder::{SERVER, ServerFolder};
use super::wheel::Checked;
use super::{OPEN, SCRIPT, SECRET, SUPEREXEC_SECRET, flwr, private_folder, site_kit, write};

/// The arguments of `init`.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Names of the sites.
    pub sites: Vec<ClientName>,
    /// Name or address by which sites reach the server.
    pub host: Host,
    /// Port of the gate, which sites call; ≥ 1.
    pub port: u16,
    /// Port of the `SuperLink`, which only this machine reaches; ≥ 1.
    pub superlink_port: u16,
    /// effgan's wheel, to be put into the kits.
    pub wheel: Option<PathBuf>,
    /// The folder to make.
    pub out: PathBuf,
}

/// Makes the folder, whole or not at all.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it exists, a site is named twice, or the wheel is not of this effgan.
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
    let made = made.and_then(|()| flwr::configure(&plan.out.join("server"), plan.superlink_port));
    if made.is_err() {
        // No one has used the folder yet. The first error is the one to report.
        let _ = fs::remove_dir_all(&beside);
    }
    made.with_context(|| format!("cannot make {}", plan.out.display())).map_err(Failure::usage)
}

fn make(plan: &Plan, folder: &Path) -> anyhow::Result<()> {
    let wheel = plan.wheel.as_deref().map(Checked::read).transpose()?;
    let signed = certificates::make(&plan.host)?;
    let server = ServerFolder {
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
        let kit = folder.join("kits").join(site.as_str());
        site_kit::make(&server.kit(site), &kit, &signed[0].certificate, wheel.as_ref())?;
    }
    Ok(())
}

fn make_server(
    server: &ServerFolder,
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

/// Signs a new certificate for the server in `folder`: the same key and the same CA, so that the sites' kits stay valid.
///
/// # Errors
/// [`Kind::Usage`](effgan_run::Kind::Usage) when it is not a server folder, or `ca.key` is missing or belongs to another CA.
// A CA of ten years over a certificate of two: a server whose certificate expires must not cost a visit to every site.
pub(crate) fn renew(folder: &Path) -> Result<()> {
    let host = ServerFolder::read(folder)?.host;
    let text = |name: &str| effgan_run::config::read(&folder.join(name)).with_context(|| name.to_owned());
    let make = || -> anyhow::Result<()> {
        let ca = Signed { certificate: text("ca.crt")?, key: text("ca.key")? };
        let certificate = certificates::renew(&host, &text("server.key")?, &ca)?;
        Ok(write_file(&folder.join("server.crt"), certificate.as_bytes())?)
    };
    let needed = || format!("renew needs ca.crt, ca.key and server.key in {} as init wrote them", folder.display());
    make().with_context(needed).map_err(Failure::usage)
}
