//! A rehearsal: what a site would reply to a run that has not asked yet. It takes the site's own steps up to the training, and leaves
//! nothing behind.

use effgan_fl::{Refusal, RunRequest};

use super::context::SiteContext;
use super::ledger_entry::RequestRecord;
use super::site_error::SiteError;
use super::{SiteSettings, decide, prepare, server_request};
use crate::config::Config;
use crate::protocol::Content;
use crate::protocol::message::QUERY;

/// The result of a rehearsal.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// What the run requests, given the site's images as far as they were counted.
    pub run_request: Option<RunRequest>,
    /// How many images would train and how many would be held out; or the code of the refusal, and its reason in one line.
    pub outcome: Result<[u64; 2], (Refusal, String)>,
}

/// Answers the query of a run of this `config` as if the run had been approved, and prepares its first training. Every image is decoded. The
/// ledger gets no line, and a process that works for the site is not disturbed.
pub fn rehearse(settings: &SiteSettings, config: &Config) -> Rehearsal {
    let mut record = RequestRecord::default();
    let outcome = answer(settings, config, &mut record).map_err(|error| (error.refusal, error.why));
    Rehearsal { run_request: record.run_request, outcome }
}

fn answer(settings: &SiteSettings, config: &Config, record: &mut RequestRecord) -> Result<[u64; 2], SiteError> {
    let context = settings.policy_file().map(|policy| SiteContext::read_only(&policy)).transpose()?;
    let query = Content::query().of_run(&config.for_sites().to_toml(), "", config.federation.deadline);
    let request;
    (record.asked, request) = server_request::read(QUERY, query);
    let (request, history) = prepare(settings, context.as_ref(), request?, record)?;
    if history.is_fine_tuned {
        let why = "the fine-tuned generator has already left, or was withheld, for a run of this config, and the site trains no more for it";
        return Err(SiteError::new(Refusal::AlreadyFineTuned, why));
    }
    let images = decide(settings, context.as_ref(), &request, &history, record)?;
    images.algorithm(&request.config)?;
    Ok([&images.share.train, &images.share.held_out].map(|images| images.len() as u64))
}
