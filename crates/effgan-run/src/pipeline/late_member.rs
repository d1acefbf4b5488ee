//! Adding the generator of a site that missed the collection to the ensemble of a finished run.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, anyhow};
use effgan_data::ClientName;
use effgan_fl::aggregate::MemberSink;
use effgan_fl::ensemble::{Member, ModelWriter};
use effgan_fl::{Ensemble, OnFailure, ServerState};
use effgan_nn::{ArithmeticVersion, Model, Params, sealed};

use super::federated_run::sites_of;
use super::resume::{check_arithmetic, config_of, info_of};
use super::run_data::{RunData, SITES};
use super::run_inputs::RunInputs;
use super::{Execution, Run};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::protocol::{LateGenerator, networks};
use crate::record::events::{Event, Note};
use crate::record::run_info::Status;

/// Adds the generator in `file` to the ensemble of the run in `path`, which is then as if the site had not missed the collection. Returns the
/// site's name.
///
/// # Errors
/// A run that is not finished or not a federation's; a run or a file of another version of the arithmetic; a file of another run, of a site that is not in the run, or of one that is already a
/// member.
pub fn add_late_member(path: &Path, file: &Path, execution: Execution) -> Result<ClientName> {
    let started = Instant::now();
    let (config, earlier) = (config_of(path, &[])?, info_of(path)?);
    if earlier.status != Status::Done {
        return Err(Failure::usage(anyhow!("{} is not finished, and has no ensemble yet", path.display())));
    }
    if !path.join(SITES).is_file() {
        let line = format!("{} is a simulation's run, in which no client can be late", path.display());
        return Err(Failure::usage(anyhow!(line)));
    }
    check_arithmetic(path, &earlier)?;
    let inputs = RunInputs::new(&config, RunData::AtSites(sites_of(path)?), execution)?;
    let members = Ensemble::open(path)?.manifest().members.clone();
    let (late, generator) = sealed::load::<LateGenerator>(file)
        .context("expected a file of effgan ensemble fine-tune")
        .map_err(Failure::data)?;
    let sent = networks(&path.join("join"))?.under(inputs.model.generator());
    check(&late, &generator, &sent, &config, &inputs, &members)
        .map_err(|reason| Failure::data(anyhow!("{}: {reason}", file.display())))?;
    let run = Run::reopen(&config, &inputs, path, &earlier, execution)?;
    run.add_and_close(members, &late, generator, started)?;
    Ok(late.client)
}

/// Why the generator cannot be added.
fn check(
    late: &LateGenerator,
    generator: &Params,
    sent: &Params,
    config: &Config,
    inputs: &RunInputs,
    members: &[Member],
) -> std::result::Result<(), String> {
    let LateGenerator { client, num_examples, config: identity, arithmetic_version } = late;
    let roster = &inputs.roster;
    let Ok(place) = roster.names().binary_search(client) else {
        return Err(format!("{client} is not one of the run's sites"));
    };
    let known = roster.num_examples()[place];
    if *identity != config.identity() {
        return Err("it was made with the config of another run".into());
    }
    if *arithmetic_version != ArithmeticVersion::OURS {
        return Err(format!(
            "it is of arithmetic version {arithmetic_version}, and the run of version {}; fine-tune with the run's effgan",
            ArithmeticVersion::OURS
        ));
    }
    if *num_examples != known {
        return Err(format!("{client} says it has {num_examples} images, and had {known} when the run was started"));
    }
    if members.iter().any(|member| member.name == *client) {
        return Err(format!("{client} is already a member"));
    }
    for spec in inputs.model.network.generator_tensors() {
        let found = &generator.get(&spec.name).map_err(|error| error.to_string())?.shape;
        if *found != spec.shape {
            return Err(format!("tensor `{}` has shape {found:?}, expected {:?}", spec.name, spec.shape));
        }
    }
    generator.check_finite().map_err(|error| error.to_string())?;
    config.failures(OnFailure::LeaveOut).bounds.check_update(sent, generator)
}

impl Run<'_> {
    /// Adds the member, and records in the folder how that ended: a run that is no longer done can be resumed.
    fn add_and_close(
        mut self,
        members: Vec<Member>,
        late: &LateGenerator,
        generator: Params,
        started: Instant,
    ) -> Result<()> {
        let seconds = self.dir.info().seconds;
        self.dir.begin_again(self.config)?;
        self.execution.progress.resumed(&self.dir.events()?);
        let outcome = self.add(members, late, generator);
        let closed = self.close(&outcome, seconds + started.elapsed().as_secs_f64());
        outcome.and(closed)
    }

    fn add(&mut self, members: Vec<Member>, late: &LateGenerator, generator: Params) -> Result<()> {
        let LateGenerator { client, num_examples, .. } = late;
        let place = self.roster.names().binary_search(client);
        let counts = place.map_or(*num_examples, |place| self.roster.counts()[place]);
        let mut writer = ModelWriter::reopen(&self.dir.join("model"), self.config.algorithm.weights(), members)?;
        writer.member(client.clone(), counts, generator)?;
        writer.sort();
        self.record(&Event::Note(Note { note: format!("{client} joined the ensemble after the collection") }))?;
        self.flag_and_cap(&mut writer)?;
        // There is a join/ folder, so a round has averaged something.
        self.averaged = true;
        let params = networks(&self.dir.join("join"))?;
        let state = ServerState::after_round(self.config.algorithm.rounds().unwrap_or_default() + 1, params);
        let ensemble = self.finish_model(writer, &state, None)?;
        self.save_member_samples(&ensemble)?;
        self.dir.set_model_hash(super::model_hash(&ensemble, &state));
        Ok(())
    }
}
