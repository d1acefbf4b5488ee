//! How a run is executed, beside what it is: its config says that.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use effgan_fl::FlError;
use effgan_nn::Device;

use crate::failure::{Failure, Result};
use crate::progress::Progress;
use crate::record::machine;

/// How a run is executed. Its result depends on none of this.
#[derive(Clone, Copy)]
pub struct Execution<'a> {
    /// Threads, ≥ 1, as many as the caller asked for; [`jobs`](Self::jobs) says how many there are otherwise.
    pub wanted_jobs: Option<usize>,
    /// Is told what the run does.
    pub progress: &'a Progress,
    /// Ends the run with [`Kind::Interrupted`](crate::Kind::Interrupted) when it becomes true.
    pub stop: &'a AtomicBool,
    /// The file of the config, which is named when the config turns out to be wrong.
    pub config_file: Option<&'a Path>,
}

impl<'a> Execution<'a> {
    /// With `jobs` threads, which are at least 1; all cores when absent.
    pub fn new(jobs: Option<usize>, progress: &'a Progress, stop: &'a AtomicBool) -> Self {
        Self { wanted_jobs: jobs, progress, stop, config_file: None }
    }

    /// Threads of what the processor does, and of clients that train on it.
    pub fn jobs(&self) -> usize {
        self.wanted_jobs.unwrap_or_else(machine::cores)
    }

    /// Clients that train at the same time on `device`: on a GPU, whose memory all share, one unless the caller asked for more.
    pub fn clients_at_a_time(&self, device: Device) -> usize {
        self.wanted_jobs.unwrap_or_else(|| if device.is_gpu() { 1 } else { machine::cores() })
    }

    /// The same, of a config that was read from `file`.
    #[must_use]
    pub fn of_file(self, file: &'a Path) -> Self {
        Self { config_file: Some(file), ..self }
    }

    /// `failure` with the name of the config's file, where it is the config that is wrong.
    pub(super) fn named(&self, failure: Failure) -> Failure {
        match self.config_file {
            Some(file) => failure.of_config(file),
            None => failure,
        }
    }

    /// An error when `stop` is set; called between stages that take long.
    pub(super) fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(FlError::Interrupted.into()) } else { Ok(()) }
    }
}
