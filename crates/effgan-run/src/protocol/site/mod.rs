//! A site's side: it decides whether to do what it is asked, opens its images, says which site it is, and does the work.
//!
//! A site with images of its own is under its policy, and so is a site of an experiment that is given a policy. Whatever goes wrong, the
//! server learns only a code.
//!
//! `server_request` reads a request, `context` is the site's folder, `checks` says what has to hold, `images` are read once it does,
//! `exchange_work` trains, and `site_error` is why there is no answer.

pub mod approval;
mod checks;
pub mod class_labels;
mod config_request;
mod context;
mod exchange_work;
pub mod hold_out;
mod late_join;
mod ledger_entry;
mod rehearse;
mod release;
mod server_request;
mod site_error;
mod site_images;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use effgan_data::ClientShare;
use effgan_data::control_chars::without_control;
use effgan_data::datasets::FileList;
use effgan_fl::{FlError, Refusal};

pub use self::config_request::{last_run_request, privacy_statement, run_request_of, with_noise};
pub use self::context::POLICY;
use self::context::SiteContext;
use self::exchange_work::ExchangeWork;
pub use self::late_join::{CONFIG as JOIN_CONFIG, LateGenerator, NETWORKS, fine_tune, networks};
use self::ledger_entry::RequestRecord;
pub use self::rehearse::{Rehearsal, rehearse};
use self::release::Leaving;
use self::server_request::ServerRequest;
use self::site_error::SiteError;
use self::site_images::Images;
pub use self::site_images::SiteImages;
use super::ledger::{Asked, History};
use super::message::LEDGER;
use super::{Content, RequestId};
use crate::config::Config;
use crate::failure::{Failure, Result};
use crate::privacy::Counts;

type SiteResult<T> = std::result::Result<T, SiteError>;

/// What a site is started with.
#[derive(Clone, Debug)]
pub struct SiteSettings {
    /// Whose images, and which.
    pub images: SiteImages,
    /// Where the site keeps what it remembers between requests.
    pub state_dir: PathBuf,
    /// The site's `policy.toml`, beside which its ledger and its hold-out secret lie. Without one, a site that names files of its machine has
    /// the default policy and these files in `state_dir`; a site of an experiment on a built-in or cached data set then has no policy.
    pub policy: Option<PathBuf>,
    /// Threads, ≥ 1.
    pub jobs: usize,
}

/// The site's reply to `message`, of Flower's type `kind`: an answer, or the code of a refusal, whose reason stays at the site.
///
/// # Errors
/// [`Kind::Interrupted`](crate::Kind::Interrupted) when `stop` becomes true.
pub fn answer(settings: &SiteSettings, kind: &str, message: Content, stop: &AtomicBool) -> Result<Content> {
    let (id, mut record, mut context) = (message.request_id(), RequestRecord::default(), None);
    let work = AssertUnwindSafe(|| {
        let request;
        (record.asked, request) = server_request::read(kind, message);
        make_private(&settings.state_dir)?;
        context = settings.policy_file().map(|policy| SiteContext::open(&policy, stop)).transpose()?;
        let content = work(settings, context.as_ref(), request?, &mut record, stop)?;
        Ok(content.replying_to(id.clone()))
    });
    let panicked = |_| Err(SiteError::new(Refusal::WorkFailed, "a panic, which is a bug: please report it"));
    let reply: SiteResult<Content> = catch_unwind(work).unwrap_or_else(panicked);
    if matches!(reply, Err(SiteError { is_interrupted: true, .. })) {
        // Whoever sets `stop` knows why, and refuses the request.
        return Err(FlError::Interrupted.into());
    }
    let head = match (&context, settings.policy_file(), &reply) {
        (Some(context), ..) => context.record(record, reply.as_ref()).map(Some),
        (None, Some(policy), Err(error)) => SiteContext::record_refusal(&policy, record, error).map(Some),
        (None, ..) => Ok(None),
    };
    Ok(leaving(reply, head, id))
}

/// Writes into the ledger beside `policy` that the request `asked` was refused by the program that carries the site's messages, where
/// [`answer`] was interrupted or could not be called. `why` goes to the site's log and ledger and does not leave. Returns the ledger's head.
///
/// # Errors
/// When the line could not be written to the disk.
pub fn write_refusal(policy: &Path, asked: Asked, refusal: Refusal, why: &str) -> Result<String> {
    let error = SiteError::new(refusal, why);
    log::warn!("{}", without_control(&error.line()));
    let record = RequestRecord { asked, ..RequestRecord::default() };
    SiteContext::record_refusal(policy, record, &error).map_err(|error| Failure::from(anyhow!(error.why)))
}

/// What a ledger records of `message`, of Flower's type `kind`.
pub fn asked_of(kind: &str, message: Content) -> Asked {
    server_request::read(kind, message).0
}

/// The reply that leaves, with the head of the ledger after the reply's line. A reply that could not be recorded does not leave.
fn leaving(reply: SiteResult<Content>, head: SiteResult<Option<String>>, request: RequestId) -> Content {
    let (reply, head) = match head {
        Ok(head) => (reply, head),
        Err(error) => (Err(error), None),
    };
    let refuse = |error: SiteError| {
        log::warn!("{}", without_control(&error.line()));
        Content::refusing(error.refusal).replying_to(request)
    };
    let mut content = reply.unwrap_or_else(refuse);
    content.words.extend(head.map(|head| (LEDGER.to_owned(), head)));
    content
}

/// Which of the site's images train under `config`, and which are held out by the site's secret.
///
/// # Errors
/// What is wrong with the images or the site's folder.
pub fn split(settings: &SiteSettings, mut config: Config) -> Result<ClientShare> {
    let context = settings.policy_file().map(|policy| SiteContext::open(&policy, &AtomicBool::new(false))).transpose();
    let images = context.and_then(|context| {
        settings.images.adapt(&mut config, context.as_ref().map(|context| &context.policy));
        let listed = config.dataset.list(config.federation.classes.as_deref())?;
        Images::open(&settings.images, &config, context.as_ref(), listed.as_ref())
    });
    Ok(images.map_err(|error| Failure::data(anyhow!(error.why)))?.share)
}

/// Creates the folder, for its owner alone.
fn make_private(folder: &Path) -> SiteResult<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    let private = made.and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)));
    private.map_err(|error| SiteError::new(Refusal::WorkFailed, format!("{}: {error}", folder.display())))
}

/// Decides, opens the images, and answers.
fn work(
    settings: &SiteSettings,
    context: Option<&SiteContext>,
    request: ServerRequest,
    record: &mut RequestRecord,
    stop: &AtomicBool,
) -> SiteResult<Content> {
    let started = Instant::now();
    let (request, history) = prepare(settings, context, request, record)?;
    if let (Some(context), None) = (context, &request.site_message) {
        context.remove_old_runs(&settings.state_dir);
    }
    let images = decide(settings, context, &request, &history, record)?;
    let Some(site_message) = &request.site_message else {
        return Ok(images.introduction(&request.config).into_content().packed());
    };
    let max_time = context.map_or(Duration::MAX, |context| Duration::from_secs_f64(context.policy.max_seconds));
    let algorithm = images.algorithm(&request.config)?;
    let (images, algorithm) = (&images, &*algorithm);
    let is_audited = context.is_some_and(|context| context.audits(site_message.broadcast.kind));
    let work = ExchangeWork { settings, request: &request, images, algorithm, started, max_time, is_audited };
    if let Some(context) = context
        && !work.has_reply(site_message)?
    {
        context.charge(&history, site_message, record)?;
    }
    let reply = work.answer(site_message, stop)?;
    let Some(context) = context else { return Ok(Content::of_reply(reply).packed()) };
    let leaving = Leaving { work: &work, context, history: &history, site_message, stop };
    let reply = leaving.choose(reply, record)?;
    let content = Content::of_reply(reply).packed();
    context.check_still_approved(&request)?;
    Ok(content)
}

/// The request as it applies to this site's images, and what the ledger says about the run that sends it.
fn prepare(
    settings: &SiteSettings,
    context: Option<&SiteContext>,
    mut request: ServerRequest,
    record: &mut RequestRecord,
) -> SiteResult<(ServerRequest, History)> {
    settings.images.adapt(&mut request.config, context.map(|context| &context.policy));
    request.run_request.person.clone_from(&request.config.dataset.person);
    record.run_request = Some(request.run_request.clone());
    let history = context.map(|context| context.history(&record.asked)).transpose()?.unwrap_or_default();
    Ok((request, history))
}

/// The images, once everything allows the site to open them, and they are what was allowed.
fn decide(
    settings: &SiteSettings,
    context: Option<&SiteContext>,
    request: &ServerRequest,
    history: &History,
    record: &mut RequestRecord,
) -> SiteResult<Images> {
    let mut listed = None;
    if let Some(context) = context {
        context.check_request(request, history)?;
        let checked =
            context.check_history(request, history).and_then(|()| list(settings, context, request, history, record));
        let counts = record.run_request.as_ref().and_then(Counts::of_request);
        context.check_approved(request, history, counts, checked.as_ref().map(|_| ()))?;
        listed = checked?;
    }
    let images = Images::open(&settings.images, &request.config, context, listed.as_ref())?;
    if let Some(context) = context {
        context.check_images(request, history, &images, record)?;
    }
    Ok(images)
}

/// The files of the site's pictures, once so many may be trained on; `None` where one file holds many images.
fn list(
    settings: &SiteSettings,
    context: &SiteContext,
    request: &ServerRequest,
    history: &History,
    record: &mut RequestRecord,
) -> SiteResult<Option<FileList>> {
    let listed = request.config.dataset.list(request.config.federation.classes.as_deref())?;
    if let Some(own) = listed.as_ref().filter(|_| settings.images.is_own()) {
        context.check_counted(request, history, own, record)?;
    }
    Ok(listed)
}

impl SiteSettings {
    fn policy_file(&self) -> Option<PathBuf> {
        policy_file(self.policy.as_deref(), self.images.names_files(), &self.state_dir)
    }
}

/// Where the policy of a site lies that is given `policy`; `None` where the site is under none. A site that `names_files` of its machine is
/// always under a policy, whatever its images are called.
pub fn policy_file(policy: Option<&Path>, names_files: bool, state_dir: &Path) -> Option<PathBuf> {
    policy.map(Path::to_owned).or_else(|| names_files.then(|| state_dir.join(POLICY)))
}

#[cfg(test)]
mod tests;
