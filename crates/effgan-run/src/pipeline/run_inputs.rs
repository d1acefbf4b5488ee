//! Everything that a run works with and that follows from its config and its data.

use std::sync::Arc;

use effgan_fl::local::check_shard;
use effgan_fl::{Algorithm, Roster, RunId, Strategy, WithStrategy};
use effgan_nn::gan::GanModel;
use effgan_nn::{Device, Model};

use super::run_data::RunData;
use crate::config::Config;
use crate::failure::Result;
use crate::record::run_info;
use crate::record::run_info::RunInfo;
use crate::scores::Scorer;

/// The inputs of a run.
pub(super) struct RunInputs {
    pub(super) data: RunData,
    pub(super) roster: Roster,
    pub(super) model: Arc<GanModel>,
    /// What trains, samples and scores.
    pub(super) device: Device,
    pub(super) algorithm: Box<dyn Algorithm>,
    pub(super) scorer: Scorer,
}

impl RunInputs {
    /// Derives them from the config and the data.
    ///
    /// # Errors
    /// A network that does not fit the images; an algorithm that cannot be built; clients whose number or images are too few.
    pub(super) fn new(config: &Config, data: RunData, jobs: usize) -> Result<Self> {
        let (image_shape, num_classes) = data.image_shape_and_classes();
        let model = Arc::new(config.model(image_shape, num_classes)?);
        let device = Device::cpu()?;
        let algorithm = config.algorithm.build(model.clone(), config.local.clone(), &config.aggregation, device)?;
        let roster = data.roster(config.federation.max_examples);
        config.check_clients(roster.names().len())?;
        for (name, &num_examples) in roster.names().iter().zip(roster.num_examples()) {
            check_shard(&*model, name, num_examples as usize)?;
        }
        let scorer = data.scorer(config, &(model.clone() as Arc<dyn Model>), jobs, device)?;
        Ok(Self { data, roster, model, device, algorithm, scorer })
    }

    /// Replaces the algorithm's averaging by `strategy`.
    pub(super) fn with_strategy(self, strategy: Arc<dyn Strategy>) -> Self {
        Self { algorithm: Box::new(WithStrategy::new(self.algorithm, strategy)), ..self }
    }

    /// What `run.json` says at the start of the run.
    pub(super) fn info(&self, config: &Config, jobs: usize) -> RunInfo {
        run_info::at_start(config, self.data.infos(config), &self.roster, &self.model.network, jobs, self.device)
    }

    /// What determines the bits of the run: its config and its data.
    pub(super) fn run_id(&self, config: &Config) -> RunId {
        RunId { config: config.identity(), data: self.data.hash() }
    }
}
