//! The work of one exchange at a site, within the server's deadline and the policy's time.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use effgan_data::{Person, by_person};
use effgan_fl::message::Update;
use effgan_fl::{Algorithm, ExchangeKind, FlError, Refusal, Reply, RunId, Shard, Site, SiteMessage, StepRecord};
use effgan_nn::params;

use super::server_request::ServerRequest;
use super::site_error::SiteError;
use super::site_images::Images;
use super::{SiteResult, SiteSettings};

/// All that the work needs besides the message to work on.
pub(super) struct ExchangeWork<'a> {
    pub(super) settings: &'a SiteSettings,
    pub(super) request: &'a ServerRequest,
    pub(super) images: &'a Images,
    /// What trains on the images.
    pub(super) algorithm: &'a dyn Algorithm,
    /// When the site began with the request.
    pub(super) started: Instant,
    /// The policy's limit on the time for one answer.
    pub(super) max_time: Duration,
    /// Whether the answer is audited before it leaves.
    pub(super) is_audited: bool,
}

impl ExchangeWork<'_> {
    /// Whether the answer lies there from an earlier request, so that nothing is trained for it.
    pub(super) fn has_reply(&self, site_message: &SiteMessage) -> SiteResult<bool> {
        Ok(self.site(&self.state_dir(), &|_| ControlFlow::Continue(())).has_reply(site_message)?)
    }

    /// What was kept of the training for the message, the latest first.
    pub(super) fn kept(&self, site_message: &SiteMessage) -> SiteResult<Vec<Update>> {
        Ok(self.site(&self.state_dir(), &|_| ControlFlow::Continue(())).kept(site_message)?)
    }

    pub(super) fn answer(&self, site_message: &SiteMessage, stop: &AtomicBool) -> SiteResult<Reply> {
        let on_step = |_: &_| {
            let is_over =
                stop.load(Ordering::Relaxed) || self.started.elapsed() >= self.max_time.min(self.request.seconds);
            if is_over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let reply = match self.site(&self.state_dir(), &on_step).answer(site_message) {
            Err(FlError::Interrupted) if self.is_out_of_time() => return Err(self.out_of_time()),
            reply => reply?,
        };
        match &reply.outcome {
            Err(reason) => Err(SiteError::new(Refusal::WorkFailed, reason)),
            Ok(_) => Ok(reply),
        }
    }

    fn site<'a>(&'a self, folder: &'a Path, on_step: &'a (dyn Fn(&StepRecord) -> ControlFlow<()> + Sync)) -> Site<'a> {
        let (ServerRequest { config, run, .. }, Images { dataset, share, .. }) = (self.request, self.images);
        let collects = self
            .request
            .site_message
            .as_ref()
            .is_some_and(|site_message| site_message.broadcast.kind == ExchangeKind::Collect);
        // Private work is finished only with the noise and the probability with which it began, and on the persons that it hid.
        let images = config.privacy.as_ref().map(|_| hidden(&share.train, dataset.train.persons())).unwrap_or_default();
        Site {
            algorithm: self.algorithm,
            shard: Shard { client: &share.name, images: &dataset.train, train: &share.train },
            seed: config.seed,
            jobs: self.settings.jobs,
            folder,
            run: RunId::new(config.identity(), format!("{run}{images}")),
            checkpoint: config.checkpoint.clone(),
            warn: Arc::new(|line: &str| log::warn!("{line}")),
            keeps: self.is_audited && collects,
            on_step,
        }
    }

    /// A folder of this run and client alone. The run's id is the server's text, so its hash names the folder.
    fn state_dir(&self) -> PathBuf {
        let run = &params::sha256(self.request.run.as_bytes())[..16];
        self.settings.state_dir.join(run).join(self.images.share.name.as_str())
    }

    /// Checks that the answer is still wanted, after what followed the training.
    ///
    /// # Errors
    /// [`Refusal::Deadline`] or [`Refusal::TooMuchTime`].
    pub(super) fn check_time(&self) -> SiteResult<()> {
        if self.started.elapsed() < self.max_time.min(self.request.seconds) { Ok(()) } else { Err(self.out_of_time()) }
    }

    fn is_out_of_time(&self) -> bool {
        // Flower's ClientApp sets `stop` at the deadline by a timer that may fire a little before ours.
        self.started.elapsed().saturating_add(Duration::from_secs(1)) >= self.max_time.min(self.request.seconds)
    }

    fn out_of_time(&self) -> SiteError {
        let (deadline, max_time) = (self.request.seconds, self.max_time);
        if max_time < deadline {
            let why = format!("stopped after {} s; raise max_seconds to allow more", max_time.as_secs_f64());
            return SiteError::new(Refusal::TooMuchTime, why);
        }
        SiteError::new(Refusal::Deadline, format!("stopped at the deadline of {} s", deadline.as_secs_f64()))
    }
}

/// What the noise of private work was planned for: the number of images, and by persons which of them are one's.
fn hidden(images: &[u32], persons: Option<&[Person]>) -> String {
    let by_person = persons.map(|persons| params::sha256(format!("{:?}", by_person(images, persons)).as_bytes()));
    format!(" {} {}", images.len(), by_person.unwrap_or_default()).trim_end().into()
}
