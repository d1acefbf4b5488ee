//! Taking the generator of a site that missed the collection into the ensemble of a run that is done.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_fl::aggregate::MemberSink;
use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::{Ensemble, OnFailure, ServerState};
use effgan_nn::{Params, sealed};

use super::data::SITES;
use super::federation::sites_of;
use super::resume::{config_of, info_of};
use super::{Data, Material, Run};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::protocol::{Late, networks};
use crate::record::events::{Event, Note};
use crate::record::run_info::Status;

/// Adds what `file` holds to the ensemble of the run in `path`, which is then as if the site had been in time, and answers with its name.
///
/// # Errors
/// A run that is not done or no federation's; a file of another run, of nobody on its roster, or of one who is a member already.
pub fn hand_in(path: &Path, file: &Path, jobs: usize, progress: &Progress, stop: &AtomicBool) -> Result<ClientName> {
    let started = Instant::now();
    let (config, earlier) = (config_of(path, &[])?, info_of(path)?);
    if earlier.status != Status::Done {
        return Err(Failure::usage(anyhow!("{} is not done; its ensemble is not there yet", path.display())));
    }
    if !path.join(SITES).is_file() {
        let line =
            format!("{} is no federation's run: its clients were all here, and none can be late", path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    let material = Material::of(&config, Data::AtSites(sites_of(path)?), jobs)?;
    let members = Ensemble::open(path)?.manifest().members.clone();
    let (late, generator) =
        sealed::load::<Late>(file).context("this takes what effgan ensemble fine-tune wrote").map_err(Failure::data)?;
    let sent = networks(&path.join("join"))?.under("generator");
    check(&late, &generator, &sent, &config, &material, &members)
        .map_err(|reason| Failure::data(anyhow!("{}: {reason}", file.display())))?;
    let run = Run::reopen(&config, &material, path, &earlier, progress, jobs, stop)?;
    run.take_in(members, &late, generator, started)?;
    Ok(late.client)
}

/// Why `file` cannot be taken.
fn check(
    late: &Late,
    generator: &Params,
    sent: &Params,
    config: &Config,
    material: &Material,
    members: &[Member],
) -> std::result::Result<(), String> {
    let Late { client, num_examples, config: identity } = late;
    let roster = &material.roster;
    let Ok(place) = roster.names().binary_search(client) else {
        return Err(format!("{client} is none of the run's sites"));
    };
    let known = roster.num_examples()[place];
    if *identity != config.identity() {
        return Err("it was made with the config of another run".into());
    }
    if *num_examples != known {
        return Err(format!("{client} says it has {num_examples} images, the roster says {known}"));
    }
    if members.iter().any(|member| member.name == *client) {
        return Err(format!("{client} is a member already"));
    }
    for spec in material.network.generator_tensors() {
        let found = &generator.get(&spec.name).map_err(|error| error.to_string())?.shape;
        if *found != spec.shape {
            return Err(format!("tensor `{}` has shape {found:?}, expected {:?}", spec.name, spec.shape));
        }
    }
    generator.check_finite().map_err(|error| error.to_string())?;
    config.failures(OnFailure::LeaveOut).bounds.check_update(sent, generator)
}

impl Run<'_> {
    /// Whatever happens, the folder says how it ended: one that is not done any more is run again.
    fn take_in(mut self, members: Vec<Member>, late: &Late, generator: Params, started: Instant) -> Result<()> {
        let seconds = self.dir.info().seconds;
        self.dir.begin_again(self.config)?;
        let outcome = self.add(members, late, generator);
        let ended = self.end(&outcome, seconds + started.elapsed().as_secs_f64());
        outcome.and(ended)
    }

    fn add(&mut self, members: Vec<Member>, late: &Late, generator: Params) -> Result<()> {
        let Late { client, num_examples, .. } = late;
        let place = self.roster.names().binary_search(client);
        let counts = place.map_or(*num_examples, |place| self.roster.counts()[place]);
        let mut writer = ModelWriter::reopen(&self.dir.join("model"), self.config.algorithm.weights(), members)?;
        writer.member(client.clone(), counts, generator)?;
        writer.sort();
        self.record(&Event::Note(Note { note: format!("{client} handed in its generator after the collection") }))?;
        self.share_out(&mut writer)?;
        // There is a kit, so a round has averaged something.
        self.averaged = true;
        let params = networks(&self.dir.join("join"))?;
        let state = ServerState::after_round(self.config.algorithm.rounds().unwrap_or_default() + 1, params);
        let ensemble = self.finish_model(writer, &state, None)?;
        self.draw_members(&ensemble)?;
        self.dir.set_model_hash(super::model_hash(&ensemble, &state));
        Ok(())
    }
}
