//! What has to hold before a site opens its images, trains and answers, in the order in which it is checked.

use effgan_data::datasets::FileList;
use effgan_fl::local::LocalWork;
use effgan_fl::policy::{Amount, Approve, Spent};
use effgan_fl::{Broadcast, ExchangeKind, Refusal, RunRequest, SiteMessage};

use super::context::SiteContext;
use super::ledger_entry::{RequestRecord, arrays};
use super::server_request::ServerRequest;
use super::site_error::SiteError;
use super::site_images::Images;
use super::{config_request, hold_out};
use crate::privacy::Counts;
use crate::protocol::Content;
use crate::protocol::ledger::{Began, Entry, History};

impl SiteContext {
    /// Checks the request by itself: nothing here depends on the site's files.
    ///
    /// # Errors
    /// What the policy does not allow; a run for which the fine-tuned generator has already left.
    pub(super) fn check_request(&self, request: &ServerRequest, history: &History) -> Result<(), SiteError> {
        self.policy.check(&request.run_request, &Spent::default())?;
        // A second request to collect would yield a second generator, from parameters that the server chooses.
        let is_known = history.has_answered() || history.decided.is_some();
        let is_repeated = |site_message: &SiteMessage| site_message.broadcast.kind == ExchangeKind::Collect && is_known;
        if history.is_fine_tuned && request.site_message.as_ref().is_some_and(|site_message| !is_repeated(site_message))
        {
            let why = "the fine-tuned generator has already left for this run, or was withheld; only the same request has an answer, the same one";
            return Err(SiteError::new(Refusal::AlreadyFineTuned, why));
        }
        if history.decided == Some((self.policy.release, false)) {
            let why = "this generator was audited before and may not leave, by the same [release] of policy.toml; effgan federation ledger says why";
            return Err(SiteError::new(Refusal::Withheld, why));
        }
        request
            .site_message
            .as_ref()
            .map_or(Ok(()), |site_message| Ok(self.policy.check_params(&site_message.broadcast.params)?))
    }

    /// Checks the request against what the site has answered before.
    ///
    /// # Errors
    /// A spent budget; a ledger that lacks what the server has; a hold-out secret that is gone; another hold-out than the site's.
    pub(super) fn check_history(&self, request: &ServerRequest, history: &History) -> Result<(), SiteError> {
        self.policy.check(&request.run_request, &history.spent)?;
        self.check_ledger(request)?;
        if history.held_out.is_some() && !self.has_secret() {
            let why = "hold-out.secret is missing, which decides which images are held out; restore it from a backup";
            return Err(SiteError::new(Refusal::WorkFailed, why));
        }
        let held_out = request.run_request.held_out;
        match history.held_out.filter(|first| *first != held_out) {
            None => Ok(()),
            Some(first) => {
                let why = format!(
                    "this site's hold-out was fixed by its first answer, with held_out = {first}, and the run requests {held_out}"
                );
                Err(SiteError::new(Refusal::HoldOutDiffers, why))
            }
        }
    }

    /// Checks that the ledger has all that private training has cost, as far as the server knows: one that was restored from a backup lacks what
    /// was answered later.
    ///
    /// # Errors
    /// [`Refusal::LedgerRestored`] for a private run.
    fn check_ledger(&self, request: &ServerRequest) -> Result<(), SiteError> {
        let Some(head) = request.ledger_head.as_ref().filter(|_| request.config.privacy.is_some()) else {
            return Ok(());
        };
        if self.ledger.has_line(head)? {
            return Ok(());
        }
        let why = "ledger.jsonl lacks a line that the server has the hash of, so it does not say all that private training has cost: it was \
                   restored from a backup; restore the newest one";
        Err(SiteError::new(Refusal::LedgerRestored, why))
    }

    /// Checks that somebody at the site has approved the run, where the policy wants that. `checked` is the result of the checks that depend on
    /// the site's files and earlier runs; until the run is approved it stays at the site. Otherwise a server could send a thousand different
    /// configs, and learn from those that are refused how many images there are, in which folders, and how much was trained. For a folder of
    /// pictures, an approval holds for the numbers of images and persons that were shown with it: when these change, somebody has to look again.
    ///
    /// # Errors
    /// [`Refusal::WaitingForApproval`], whatever else is wrong.
    pub(super) fn check_approved(
        &self,
        request: &ServerRequest,
        history: &History,
        counts: Option<Counts>,
        checked: Result<(), &SiteError>,
    ) -> Result<(), SiteError> {
        if self.policy.approve == Approve::Any {
            return Ok(());
        }
        let mut why = match history.approved.get(&request.config_hash) {
            Some(approval) if approval.last_round == request.run_request.last_round() => {
                let Some(now) = counts.filter(|now| approval.counts != Some(*now)) else { return Ok(()) };
                let before =
                    approval.counts.map_or_else(|| "an unknown number of images".into(), |before| before.to_string());
                format!(
                    "this run was approved for training on {before}, and now there are {now}; approve it again with effgan federation approve"
                )
            }
            _ => "this run has not been approved at this site; effgan federation approve shows what it requests"
                .to_owned(),
        };
        if let Err(error) = checked {
            why += &format!("; and it would be refused: {}", error.why);
        }
        Err(SiteError::new(Refusal::WaitingForApproval, why))
    }

    /// Checks what depends on the number of pictures, before one is opened; `listed` are the site's own files.
    ///
    /// # Errors
    /// What the policy does not allow.
    pub(super) fn check_counted(
        &self,
        request: &ServerRequest,
        history: &History,
        listed: &FileList,
        record: &mut RequestRecord,
    ) -> Result<(), SiteError> {
        let run_request = self.counted(request, listed)?;
        record.run_request = Some(run_request.clone());
        Ok(self.policy.check(&run_request, &history.spent)?)
    }

    /// What the run requests, given the number of pictures.
    fn counted(&self, request: &ServerRequest, listed: &FileList) -> Result<RunRequest, SiteError> {
        if !self.policy.allow_links
            && let Some(path) = listed.link_outside()?
        {
            let why =
                format!("{} is a link to outside of the data folder; allow_links = true allows it", path.display());
            return Err(SiteError::new(Refusal::DataUnusable, why));
        }
        let mut sizes = [0_usize; 256];
        listed.train.iter().for_each(|(_, label)| sizes[usize::from(*label)] += 1);
        let held_out = request.run_request.held_out;
        let train = |&size: &usize| (size - hold_out::num_held_out(size, held_out)) as u64;
        let counts = match self.count_persons(listed, held_out)? {
            Some(counts) => counts,
            None => Counts { images: sizes.iter().map(train).sum(), persons: None },
        };
        let run_request = config_request::with_noise(request.run_request.clone(), counts, &request.config);
        let dataset = &request.config.dataset;
        match (dataset.size, dataset.channels) {
            (Some(size), Some(channels)) => {
                let num_classes = sizes.iter().filter(|&&size| size > 0).count();
                let num_images = listed.train.len() + listed.test.len();
                let shape = [channels, size, size];
                Ok(config_request::with_image_shape(run_request, &request.config, shape, num_classes, num_images)?)
            }
            _ => Ok(run_request),
        }
    }

    /// Checks what depends on the images themselves, and on earlier training.
    ///
    /// # Errors
    /// What the policy does not allow.
    pub(super) fn check_images(
        &self,
        request: &ServerRequest,
        history: &History,
        images: &Images,
        record: &mut RequestRecord,
    ) -> Result<(), SiteError> {
        let Images { dataset, share, .. } = images;
        let (train, config) = (&dataset.train, &request.config);
        let counts = Counts::of(&share.train, train.persons());
        let counted = config_request::with_noise(request.run_request.clone(), counts, config);
        let num_images = train.len() + dataset.test.len();
        let run_request =
            config_request::with_image_shape(counted, config, train.shape(), train.num_classes(), num_images)?;
        record.run_request = Some(run_request.clone());
        self.policy.check(&run_request, &history.spent)?;
        match &request.site_message {
            Some(site_message) if !history.has_answered() && history.decided.is_none() => Ok(self.policy.check_work(
                &run_request,
                &history.spent,
                &amount(&run_request, &site_message.broadcast),
            )?),
            _ => Ok(()),
        }
    }

    /// Charges private training before it begins: what follows, an answer or a refusal and its time, may depend on the noised updates.
    ///
    /// # Errors
    /// What the policy does not allow; a fine-tuned generator that has left, since another one would not; a ledger that cannot be written.
    pub(super) fn charge(
        &self,
        history: &History,
        site_message: &SiteMessage,
        record: &RequestRecord,
    ) -> Result<(), SiteError> {
        let Some(run_request) = record.run_request.as_ref().filter(|run_request| run_request.privacy.is_some()) else {
            return Ok(());
        };
        if history.is_fine_tuned {
            let why = "the fine-tuned generator has left for this run and is no longer in state/, and its noise cannot be drawn again";
            return Err(SiteError::new(Refusal::AlreadyFineTuned, why));
        }
        let work = amount(run_request, &site_message.broadcast);
        self.policy.check_work(run_request, &history.spent, &work)?;
        self.ledger.append(Entry::Began(Box::new(Began { asked: record.asked.clone(), private: work.private })))?;
        Ok(())
    }

    /// Checks the answer, and returns whether it is new. The same answer as one that left before costs nothing; from other images it is another
    /// one, and counts as work.
    ///
    /// # Errors
    /// What the policy does not allow; another fine-tuned generator than the one that left.
    pub(super) fn check_answer(
        &self,
        request: &ServerRequest,
        history: &History,
        content: &Content,
        record: &mut RequestRecord,
    ) -> Result<bool, SiteError> {
        let (Some(site_message), Some(run_request)) = (&request.site_message, &record.run_request) else {
            return Ok(false);
        };
        if history.has_sent(&arrays(content)) {
            return Ok(false);
        }
        if history.decided.is_some() && !history.has_answered() {
            // Its training was charged with the first decision.
            return Ok(true);
        }
        if history.is_fine_tuned {
            let why = "a fine-tuned generator has already left for this run, and this is another one: the images or the files in state/ have changed";
            return Err(SiteError::new(Refusal::AlreadyFineTuned, why));
        }
        record.trained = amount(run_request, &site_message.broadcast);
        self.policy.check_work(run_request, &history.spent, &record.trained)?;
        Ok(true)
    }

    /// Checks that the approval was not withdrawn while the site worked on the answer.
    ///
    /// # Errors
    /// [`Refusal::WaitingForApproval`].
    pub(super) fn check_still_approved(&self, request: &ServerRequest) -> Result<(), SiteError> {
        let is_approved = || -> Result<bool, SiteError> {
            Ok(History::approvals(&self.ledger)?.approved.contains_key(&request.config_hash))
        };
        if self.policy.approve == Approve::Any || is_approved()? {
            return Ok(());
        }
        let why = "the approval of this run was withdrawn while the site worked on the answer";
        Err(SiteError::new(Refusal::WaitingForApproval, why))
    }
}

/// The training that an answer to `broadcast` takes.
fn amount(run_request: &RunRequest, broadcast: &Broadcast) -> Amount {
    let work = match broadcast.kind {
        ExchangeKind::Average => Some(run_request.local),
        ExchangeKind::Collect => run_request.fine_tune,
        ExchangeKind::Feedback | ExchangeKind::Logits => Some(LocalWork::Steps(1)),
        ExchangeKind::SwapUp | ExchangeKind::SwapDown => None,
    };
    let amount = work.and_then(|work| run_request.amount(work)).unwrap_or_default();
    Amount { rounds: u64::from(broadcast.iteration == 0), ..amount }
}
