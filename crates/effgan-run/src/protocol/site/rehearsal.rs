//! What a site would say to a run that has not asked yet: its own steps, up to the training, which leave nothing behind.

use effgan_fl::{Refusal, RunRequest};

use super::{AtSite, House, Record, Unanswered, decide, understand};
use crate::config::Config;
use crate::protocol::Content;
use crate::protocol::content::QUERY;
use crate::protocol::question;

/// What came of it.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// What the run wants, of the images as far as they were counted.
    pub wishes: Option<RunRequest>,
    /// How many images train and how many are held out; or the code of the refusal, and why in one line.
    pub said: Result<[u64; 2], (Refusal, String)>,
}

/// Has the site answer the first question of a run of this `config` as if somebody there had said yes, and make ready for its first letter.
/// Every image is decoded. No line is written, and a site at work is not disturbed.
pub fn rehearse(at_site: &AtSite, config: &Config) -> Rehearsal {
    let mut record = Record::default();
    let said = answer(at_site, config, &mut record).map_err(|unanswered| (unanswered.refusal, unanswered.why));
    Rehearsal { wishes: record.wishes, said }
}

fn answer(at_site: &AtSite, config: &Config, record: &mut Record) -> Result<[u64; 2], Unanswered> {
    let house = at_site.policy_file().map(|policy| House::look(&policy)).transpose()?;
    let query = Content::query().asked(&config.for_sites().to_toml(), "", config.federation.deadline);
    let asked;
    (record.question, asked) = question::read(QUERY, query);
    let (question, history) = understand(at_site, house.as_ref(), asked?, record)?;
    if history.is_fine_tuned {
        let why =
            "the generator that was fine-tuned for a run of this config has left, and the site answers no more for it";
        return Err(Unanswered::new(Refusal::AlreadyFineTuned, why));
    }
    let images = decide(at_site, house.as_ref(), &question, &history, record)?;
    images.algorithm(&question.config)?;
    Ok([&images.share.train, &images.share.held_out].map(|images| images.len() as u64))
}
