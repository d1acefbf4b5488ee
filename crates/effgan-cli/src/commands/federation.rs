//! `effgan federation`

mod approve;
mod ledger;
mod split;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use effgan_data::{ClientName, DatasetName};
use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};
use crate::output::say;
use crate::setup::{self, Launch, Plan, Side};

/// A federation of many machines, over Flower
///
/// docs/deploy.md walks through it.
#[derive(Subcommand)]
pub enum Federation {
    Init(Init),
    Join(Join),
    Admit(Admit),
    Check(Check),
    Renew(Renew),
    Run(Run),
    Approve(approve::Approve),
    Ledger(ledger::Show),
    Split(split::Split),
}

/// Make the server's folder and a kit for each site
#[derive(Args)]
pub struct Init {
    /// Names of the sites: 1 to 64 of a-z, A-Z, 0-9, `-` and `_` each
    #[arg(long, value_delimiter = ',', required = true, value_name = "NAMES")]
    sites: Vec<String>,
    /// DNS name or IP address by which the sites reach the server
    #[arg(long)]
    host: String,
    /// Port of the server; the only one that must be open
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The folder to make
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// At a site: make its key, and print what the server's keeper is to be sent
#[derive(Args)]
pub struct Join {
    /// The kit that the server's keeper sent
    kit: PathBuf,
}

/// At the server: let a site in, by the line that its join printed
#[derive(Args)]
pub struct Admit {
    /// The line, or a file with it
    key: String,
    /// The server's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

/// Say whether all is right at a site or at the server, or in one line what is not
#[derive(Args)]
pub struct Check {
    /// The site's kit, or the server's folder
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// At a site: the folder of its images
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What the images are, as dataset.name of the config
    #[arg(long, default_value = "folder", value_name = "NAME")]
    dataset: DatasetName,
}

/// At the server: make its certificate good for two more years; kits stay as they are
#[derive(Args)]
pub struct Renew {
    /// The server's folder
    #[arg(default_value = ".")]
    server: PathBuf,
}

/// At the server: run a config over the federation, or go on with the run that is there
#[derive(Args)]
pub struct Run {
    /// The config
    config: PathBuf,
    /// The run folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The server's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    server: PathBuf,
}

impl Federation {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Init(init) => init.run(),
            Self::Join(Join { kit }) => {
                say(setup::join(&kit)?);
                eprintln!("send this line to the server's keeper, who runs effgan federation admit with it");
                Ok(())
            }
            Self::Admit(Admit { key, server }) => {
                say(format!("{} is admitted", setup::admit(&key, &server)?));
                Ok(())
            }
            Self::Check(Check { folder, data, dataset }) => {
                setup::check(&Side { folder, data: data.map(|data| (data, dataset)) })
            }
            Self::Renew(Renew { server }) => {
                setup::renew(&server)?;
                say(format!("{0}/server.crt is renewed; start {0}/start.sh again", server.display()));
                Ok(())
            }
            Self::Run(Run { config, out, server }) => setup::launch(&Launch { config, out, server }),
            Self::Approve(approve) => approve.run(),
            Self::Ledger(show) => show.run(),
            Self::Split(split) => split.run(),
        }
    }
}

impl Init {
    fn run(self) -> Result<()> {
        let Self { sites, host, port, out } = self;
        let name = |site: &String| ClientName::new(site).map_err(|error| Failure::usage(anyhow!("--sites: {error}")));
        let sites = sites.iter().map(name).collect::<Result<Vec<_>>>()?;
        let plan = Plan { sites, host, port, out };
        setup::init(&plan)?;
        let folder = plan.out.display();
        say(format!("{folder}/server stays here: {folder}/server/start.sh starts it"));
        for site in &plan.sites {
            say(format!("{folder}/kits/{site} goes to {site}; it holds no secret"));
        }
        Ok(())
    }
}

/// Writes a file for its owner alone, and puts it into place once it is whole.
fn write_private(path: &Path, write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>) -> Result<()> {
    let make = || -> anyhow::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        let mut out = BufWriter::new(file.as_file_mut());
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.persist(path)?;
        Ok(())
    };
    Ok(make().with_context(|| format!("writing {}", path.display()))?)
}
