//! `effgan federation`

mod gate;
mod server;
mod site;
mod sites;

use clap::Subcommand;

use self::gate::{Forward, Serve};
use self::server::{Init, Renew, Run};
use self::site::{Check, Join};
use self::sites::{Add, Admit, List, Remove};
use crate::failure::Result;

/// A federation of many machines, over Flower
///
/// docs/deploy.md walks through it.
#[derive(Subcommand)]
pub enum Federation {
    Init(Init),
    Add(Add),
    Join(Join),
    Admit(Admit),
    List(List),
    Remove(Remove),
    Check(Check),
    Renew(Renew),
    Serve(Serve),
    Forward(Forward),
    Run(Run),
}

impl Federation {
    pub fn run(self) -> Result<()> {
        match self {
            Self::Init(init) => init.run(),
            Self::Add(add) => add.run(),
            Self::Join(join) => join.run(),
            Self::Admit(admit) => admit.run(),
            Self::List(list) => list.run(),
            Self::Remove(remove) => remove.run(),
            Self::Check(check) => check.run(),
            Self::Renew(renew) => renew.run(),
            Self::Serve(serve) => serve.run(),
            Self::Forward(forward) => forward.run(),
            Self::Run(run) => run.run(),
        }
    }
}
