//! What a site's ledger records of a request and its reply.

use std::collections::BTreeMap;

use effgan_fl::policy::Amount;
use effgan_fl::{RunRequest, one_line};

use super::site_error::SiteError;
use crate::protocol::Content;
use crate::protocol::ledger::{Answered, Array, Asked, Entry, Refused};
use crate::protocol::message::TENSORS;

/// What is known of a request, as far as the site has come with its answer.
#[derive(Default)]
pub(super) struct RequestRecord {
    pub(super) asked: Asked,
    /// What the run requests of the site.
    pub(super) run_request: Option<RunRequest>,
    /// The training that the answer took.
    pub(super) trained: Amount,
}

impl RequestRecord {
    pub(super) fn answered(self, content: &Content) -> Entry {
        let Self { asked, run_request, trained } = self;
        let held_out = run_request.as_ref().map_or(0.0, |run_request| run_request.held_out);
        let run_request = run_request.filter(|_| asked.round.is_none());
        Entry::Answered(Box::new(Answered { asked, held_out, run_request, trained, ..leaving(content) }))
    }

    pub(super) fn refused(self, error: &SiteError) -> Entry {
        let Self { asked, run_request, .. } = self;
        let (refusal, why) = (error.refusal, one_line(&error.why));
        Entry::Refused(Box::new(Refused { asked, refusal, why, run_request }))
    }
}

/// What leaves with a reply, without what only repeats the request.
fn leaving(content: &Content) -> Answered {
    let repeated = Content::default().replying_to(content.request_id());
    let (mut numbers, mut words) = (content.numbers.clone(), content.words.clone());
    numbers.retain(|name, _| !repeated.numbers.contains_key(name));
    words.retain(|name, _| !repeated.words.contains_key(name) && name != TENSORS);
    Answered { arrays: arrays(content), numbers, words, ..Answered::default() }
}

/// The arrays of a message, by the names under which they leave.
pub(super) fn arrays(content: &Content) -> BTreeMap<String, Array> {
    let array = |array: &effgan_nn::Array| Array { bytes: 4 * array.values().len() as u64, sha256: array.sha256() };
    content.params.iter().map(|(name, values)| (name.clone(), array(values))).collect()
}
