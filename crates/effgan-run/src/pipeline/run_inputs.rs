//! Everything that a run works with and that follows from its config and its data.

use std::sync::Arc;
use std::time::Instant;

use effgan_data::Dataset;
use effgan_fl::local::check_shard;
use effgan_fl::{Algorithm, Roster, RunId, Strategy, WithStrategy};
use effgan_nn::gan::GanModel;
use effgan_nn::networks::num_bytes;
use effgan_nn::{Device, Model};

use super::Execution;
use super::run_data::RunData;
use crate::config::Config;
use crate::failure::Result;
use crate::privacy::{self, ClientPrivacyStatement, PrivacyStatement};
use crate::progress::Progress;
use crate::record::run_info;
use crate::record::run_info::RunInfo;
use crate::scores::{Scorer, Training, check_samples};
use crate::units::duration;

/// The inputs of a run.
pub(super) struct RunInputs {
    pub(super) data: RunData,
    pub(super) roster: Roster,
    pub(super) model: Arc<GanModel>,
    pub(super) algorithm: Box<dyn Algorithm>,
    /// What the training costs each client; none where it is not private.
    pub(super) privacy: Vec<PrivacyStatement>,
    /// What averaging costs each client; `None` where that is without noise.
    client_privacy: Option<ClientPrivacyStatement>,
    pub(super) scorer: Scorer,
    /// What trains, samples and scores.
    pub(super) device: Device,
}

impl RunInputs {
    /// Reads the data of `config` and derives all else.
    ///
    /// # Errors
    /// As [`RunData::load`] and [`new`](Self::new).
    pub(super) fn load(config: &Config, execution: Execution) -> Result<Self> {
        Self::new(config, RunData::load(config, execution.progress)?, execution)
    }

    /// Derives them from the config and the data.
    ///
    /// # Errors
    /// A network that does not fit the images; an algorithm that cannot be built; clients whose number or images are too few.
    pub(super) fn new(config: &Config, data: RunData, execution: Execution) -> Result<Self> {
        let (device, jobs, Execution { progress, stop, .. }) = (config.device()?, execution.jobs(), execution);
        let roster = data.roster(config.federation.max_examples);
        let costs = |algorithm: &dyn Algorithm| data.privacy(config, algorithm);
        let Method { model, algorithm, privacy: statements } =
            method(config, data.image_shape_and_classes(), &roster, device, &costs)?;
        let num_values = model.networks().iter().map(|network| num_bytes(&network.tensors) / 4).sum();
        let client_privacy = ClientPrivacyStatement::of(config, &*algorithm, &roster, num_values)?;
        for line in
            privacy::lines(&statements).into_iter().chain(client_privacy.iter().flat_map(ClientPrivacyStatement::lines))
        {
            progress.line(&line);
        }
        let started = Instant::now();
        let estimate = |what: &str, done: usize, of: usize| {
            if done == of / 10 {
                let seconds = started.elapsed().as_secs_f64() * of as f64 / done as f64;
                progress.line(&format!("{what} on these images for their scores, once: about {}", duration(seconds)));
            }
        };
        let how = Training { device, jobs, progress: &estimate, stop };
        let scorer = data.scorer(config, &(model.clone() as Arc<dyn Model>), how)?;
        Ok(Self { data, roster, model, algorithm, privacy: statements, client_privacy, scorer, device })
    }

    /// Replaces the algorithm's averaging by `strategy`.
    pub(super) fn with_strategy(self, strategy: Arc<dyn Strategy>) -> Self {
        Self { algorithm: Box::new(WithStrategy::new(self.algorithm, strategy)), ..self }
    }

    /// What `run.json` says at the start of the run.
    pub(super) fn info(&self, config: &Config, execution: Execution) -> RunInfo {
        let (jobs, device) = (execution.clients_at_a_time(self.device), self.device);
        let info = run_info::at_start(config, self.data.infos(config), &self.roster, &self.model.network, jobs, device);
        let feature_network = self.scorer.network().map(|[id, _]| id);
        let (privacy, client_privacy) = (self.privacy.clone(), self.client_privacy.clone());
        RunInfo { feature_network, privacy, client_privacy, ..info }
    }

    /// What determines the bits of the run: its config, its data and the program's arithmetic.
    pub(super) fn run_id(&self, config: &Config) -> RunId {
        RunId::new(config.identity(), self.data.hash())
    }
}

/// What private training costs the clients of `config`, whose data are read; none without `[privacy]`.
///
/// # Errors
/// As at the start of the run.
pub fn privacy_plan(config: &Config) -> Result<Vec<PrivacyStatement>> {
    let data = RunData::load(config, &Progress::lines(|_| {}))?;
    let costs = |algorithm: &dyn Algorithm| data.privacy(config, algorithm);
    let (shape, roster) = (data.image_shape_and_classes(), data.roster(config.federation.max_examples));
    Ok(method(config, shape, &roster, config.device()?, &costs)?.privacy)
}

/// Checks that a simulation of `config` can train on `dataset` and be scored, without doing either.
///
/// # Errors
/// As at the start of the run.
pub(crate) fn check_on(config: &Config, dataset: &Dataset, device: Device) -> Result<()> {
    check_samples(dataset, &config.evaluation, device)?;
    let (images, partition) = (&dataset.train, RunData::partition(config, dataset)?);
    let roster = Roster::of(&partition);
    let costs = |algorithm: &dyn Algorithm| privacy::statements(config, algorithm, &partition, images.persons());
    method(config, (images.shape(), images.num_classes()), &roster, device, &costs).map(drop)
}

/// What the clients train, how, and what that costs each.
struct Method {
    model: Arc<GanModel>,
    algorithm: Box<dyn Algorithm>,
    privacy: Vec<PrivacyStatement>,
}

/// How the clients of `roster` train on images of this shape in this many classes; `costs` says what private training costs them.
fn method(
    config: &Config,
    (image_shape, num_classes): ([usize; 3], usize),
    roster: &Roster,
    device: Device,
    costs: &dyn Fn(&dyn Algorithm) -> Result<Vec<PrivacyStatement>>,
) -> Result<Method> {
    let build = |model: &Arc<GanModel>| {
        config.algorithm.build(model.clone(), config.local.clone(), &config.aggregation, device)
    };
    let mut model = Arc::new(config.model_without_noise(image_shape, num_classes)?);
    let mut algorithm = build(&model)?;
    config.check_clients(roster.names().len())?;
    for (name, &num_examples) in roster.names().iter().zip(roster.num_examples()) {
        check_shard(&*model, name, num_examples as usize)?;
    }
    // The noise depends on the number of steps, which the algorithm knows.
    let statements = costs(&*algorithm)?;
    if let Some(private) = privacy::training(config, &statements) {
        model = Arc::new(GanModel { privacy: Some(private), ..(*model).clone() });
        model.check_private(device)?;
        algorithm = build(&model)?;
    }
    Ok(Method { model, algorithm, privacy: statements })
}
