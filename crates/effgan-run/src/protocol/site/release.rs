//! The release of a generator: the site audits one that has trained on its images before it leaves. The policy's `[release]` says when it stays.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use effgan_data::{Dataset, by_person};
use effgan_fl::local::LocalWork;
use effgan_fl::message::Update;
use effgan_fl::policy::{IfUnsure, OnFail, Release};
use effgan_fl::{ExchangeKind, Refusal, Reply, SiteMessage};
use effgan_metrics::{Attack, Membership, Memorisation, membership_of_scores};
use effgan_nn::gan::{DISCRIMINATOR, GENERATOR, GanModel, discriminator_logits, recompute_statistics};
use effgan_nn::{Device, Params};

use super::SiteResult;
use super::context::SiteContext;
use super::exchange_work::ExchangeWork;
use super::ledger_entry::{RequestRecord, arrays};
use super::site_error::{SiteError, check_leaving};
use crate::failure::{Failure, Kind};
use crate::protocol::Content;
use crate::protocol::ledger::{Audited, AuditedGenerator, Entry, History};
use crate::scores::{Attacked, Audit, Auditor, FeatureNet, Generator, Images, MemberAudit, Share};

/// Samples for each training image by which a generator is audited, but at least and at most so many in all: of few images that a generator knows by
/// heart, each is among few samples.
const SAMPLES_PER_IMAGE: usize = 50;
const SAMPLES: [usize; 2] = [1_000, 10_000];
/// Images of each kind that are compared, at most: more make the intervals no narrower than anyone needs, and the audit longer.
const MAX_AUDITED: usize = 2_000;

/// Whether a generator is within the limits, and otherwise what was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Within,
    Unsure(String),
    Exceeded(String),
}

/// A reply with a generator that has trained on the site's images, and is about to leave.
pub(super) struct Leaving<'a> {
    pub(super) work: &'a ExchangeWork<'a>,
    pub(super) context: &'a SiteContext,
    pub(super) history: &'a History,
    pub(super) site_message: &'a SiteMessage,
    pub(super) stop: &'a AtomicBool,
}

impl SiteContext {
    /// Whether the generators of such replies are audited before they leave.
    pub(super) fn audits(&self, kind: ExchangeKind) -> bool {
        match kind {
            ExchangeKind::Collect => true,
            ExchangeKind::Average => self.policy.release.audit_rounds,
            _ => false,
        }
    }
}

impl Leaving<'_> {
    /// The reply that leaves: `reply` when its audit allows it, or one of an earlier state of its training; one that has left before leaves again.
    /// The decision is in the ledger before it is known to anyone.
    ///
    /// # Errors
    /// What the policy does not allow; [`Refusal::Withheld`]; a file that cannot be read or written.
    pub(super) fn choose(&self, reply: Reply, record: &mut RequestRecord) -> SiteResult<Reply> {
        let Self { work, context, history, site_message, .. } = *self;
        let content = Content::of_reply(reply.clone()).packed();
        check_leaving(&context.policy, &content)?;
        let kept = if work.is_audited { work.kept(site_message)? } else { Vec::new() };
        if history.has_answered()
            && let Some(sent) = kept.iter().map(|update| with(&reply, update)).find(|sent| self.has_sent(sent))
        {
            return Ok(sent);
        }
        if !context.check_answer(work.request, history, &content, record)? || !work.is_audited {
            return Ok(reply);
        }
        let Ok(update) = &reply.outcome else { return Ok(reply) };
        let (limits, mut generators) = (context.policy.release, Vec::new());
        let mut leaves = None;
        for candidate in self.candidates(update, &kept, record) {
            let (may_leave, audited) = self.audit(candidate)?;
            generators.push(audited);
            if may_leave {
                leaves = Some(candidate);
                break;
            }
        }
        // A generator that takes too long to judge is not judged: a refusal that followed the decision would tell it. Of private training there is
        // nothing to tell, and no audit may keep its answer back.
        if !self.is_private() {
            work.check_time()?;
        }
        let why = generators.last().map(|generator| generator.why.clone()).unwrap_or_default();
        let (asked, trained) = (record.asked.clone(), record.trained.clone());
        let audited = Audited { asked, limits, leaves: leaves.is_some(), generators, trained };
        context.ledger.append(Entry::Audited(Box::new(audited)))?;
        match leaves {
            None => Err(SiteError::new(Refusal::Withheld, why)),
            Some(candidate) if candidate.steps() == update.steps() => Ok(reply),
            Some(earlier) => {
                let reply = with(&reply, earlier);
                check_leaving(&context.policy, &Content::of_reply(reply.clone()))?;
                Ok(reply)
            }
        }
    }

    /// What may leave, in this order: what was trained, with the discriminator where it was kept, and what was kept earlier.
    fn candidates<'a>(&self, update: &'a Update, kept: &'a [Update], record: &RequestRecord) -> Vec<&'a Update> {
        let latest = kept.first().filter(|kept| kept.steps() == update.steps()).unwrap_or(update);
        let has_earlier = self.context.policy.release.on_fail == OnFail::Earlier;
        let earlier = kept.iter().filter(|kept| has_earlier && is_earlier(kept, update, record));
        [latest].into_iter().chain(earlier).collect()
    }

    fn is_private(&self) -> bool {
        self.work.request.config.privacy.is_some()
    }

    fn has_sent(&self, reply: &Reply) -> bool {
        self.history.has_sent(&arrays(&Content::of_reply(reply.clone()).packed()))
    }

    /// Whether the generator of `update` may leave, and what its audit found. Where training was private, it may whatever was found: to withhold
    /// one would tell something about the images that no ε counts.
    ///
    /// # Errors
    /// An audit that was interrupted, or failed where a limit depends on it.
    fn audit(&self, update: &Update) -> SiteResult<(bool, AuditedGenerator)> {
        let limits = self.context.policy.release;
        let is_private = self.is_private();
        let (seed, device) = (self.context.audit_seed()?, self.context.device().open()?);
        let audit = match self.attacked(update, seed, device) {
            Err(failure) if failure.kind() == Kind::Interrupted => return Err(failure.into()),
            Err(failure) if (limits.has_limit() || limits.require_audit) && !is_private => return Err(failure.into()),
            Err(failure) => Err(failure.line()),
            Ok(audit) => audit,
        };
        let (may_leave, why) = match finding(&limits, audit.as_ref().map_err(String::as_str)) {
            Finding::Within => (true, audit.as_ref().err().cloned().unwrap_or_default()),
            Finding::Unsure(why) => (limits.if_unsure == IfUnsure::Release, why),
            Finding::Exceeded(why) => (false, why),
        };
        Ok((may_leave || is_private, AuditedGenerator { steps: update.steps(), why, audit: audit.ok() }))
    }

    /// The audit of the generator of `update`, or why there cannot be one. Its batch-norm statistics are computed anew, as anyone can who has it:
    /// those that it was sent with could make its samples say nothing.
    fn attacked(&self, update: &Update, seed: u64, device: Device) -> Result<Result<MemberAudit, String>, Failure> {
        let Self { work, stop, .. } = *self;
        let (config, broadcast) = (&work.request.config, &self.site_message.broadcast);
        let (dataset, share) = (&work.images.dataset, &work.images.share);
        let (model, network) = (work.images.model(config)?, FeatureNet::without_training(dataset, device));
        let without = classes_without(dataset, &share.train);
        let samples = |params: &Params| -> Result<Images<'_>, Failure> {
            let tensors = recompute_statistics(&model.network, &params.under(GENERATOR), device)?;
            Ok(Images::Generator(Generator { model: &model, tensors, without: &without, seed }))
        };
        // In the first round, the networks that came have not seen an image.
        let reference = (broadcast.round > 1).then(|| samples(&broadcast.params)).transpose()?;
        let [train, held_out] = [&share.train, &share.held_out].map(|images| independent(dataset, images));
        let subset = |indices: &[u32]| Images::Subset(dataset.train.pixels(), dataset.train.shape(), indices.to_vec());
        let of_site = Share {
            name: share.name.to_string(),
            train: subset(&train),
            held_out: subset(&held_out),
            samples: Some(samples(&update.params)?),
        };
        let (name, jobs, progress) = (config.name.clone(), work.settings.jobs, &|_, _| {});
        let (shares, network) = (vec![of_site], &network);
        let samples = (SAMPLES_PER_IMAGE * train.len()).clamp(SAMPLES[0], SAMPLES[1]);
        let auditor = Auditor { name, shares, reference, network, samples, device, jobs, stop, progress };
        let Audit { mut members, notes, .. } = auditor.audit()?;
        let Some(found) = members.pop() else { return Ok(Err(notes.join("; "))) };
        let discriminator = update.params.under(DISCRIMINATOR);
        if discriminator.is_empty() {
            return Ok(Ok(found));
        }
        let logits = |images: &[u32]| logits(&model, &discriminator, dataset, images, device);
        let of_logits = membership_of_scores(Attack::Discriminator, logits(&train)?, logits(&held_out)?);
        Ok(Ok(MemberAudit { discriminator: Some(of_logits.map_err(Failure::data)?), ..found }))
    }
}

/// At most [`MAX_AUDITED`] of `images`, evenly chosen; one of each person where the data name persons, since intervals take each image for another.
fn independent(dataset: &Dataset, images: &[u32]) -> Vec<u32> {
    let ones = match dataset.train.persons() {
        Some(persons) => by_person(images, persons).into_iter().map(|images| images[0]).collect(),
        None => images.to_vec(),
    };
    let step = ones.len().div_ceil(MAX_AUDITED).max(1);
    ones.into_iter().step_by(step).collect()
}

/// Whether what was kept may leave in place of what was trained: it has seen every image.
fn is_earlier(kept: &Update, trained: &Update, record: &RequestRecord) -> bool {
    let steps = kept.steps();
    let passes = record.run_request.as_ref().and_then(|run_request| run_request.passes(LocalWork::Steps(steps as u32)));
    steps < trained.steps() && passes.is_some_and(|passes| passes >= 1.0)
}

/// `reply` with the generator of `update`.
fn with(reply: &Reply, update: &Update) -> Reply {
    let mut reply = reply.clone();
    let params = update.params.under(GENERATOR).named_under(GENERATOR);
    reply.outcome = Ok(Update { params, ..update.clone() });
    reply
}

/// The classes that none of `images` is of.
fn classes_without(dataset: &Dataset, images: &[u32]) -> Vec<u8> {
    let labels = dataset.train.labels();
    let there: BTreeSet<u8> = images.iter().map(|&image| labels[image as usize]).collect();
    (0..dataset.train.num_classes()).map(|class| class as u8).filter(|class| !there.contains(class)).collect()
}

fn logits(
    model: &GanModel,
    discriminator: &Params,
    dataset: &Dataset,
    images: &[u32],
    device: Device,
) -> Result<Vec<f64>, Failure> {
    let labels: Vec<u8> = images.iter().map(|&image| dataset.train.labels()[image as usize]).collect();
    let pixels: Vec<u8> = images.iter().flat_map(|&image| dataset.train.image(image as usize)).copied().collect();
    let logits = discriminator_logits(&model.network, discriminator, &pixels, &labels, device)?;
    Ok(logits.into_iter().map(f64::from).collect())
}

/// What an audit, or the reason why there is none, says of the limits; the worst of all.
fn finding(limits: &Release, audit: Result<&MemberAudit, &str>) -> Finding {
    let audit = match audit {
        Ok(audit) => audit,
        Err(why) if limits.require_audit => return Finding::Exceeded(format!("{why}, and require_audit = true")),
        Err(why) if limits.has_limit() => return Finding::Unsure(why.into()),
        Err(_) => return Finding::Within,
    };
    let attacks = audit.attacks.iter().flat_map(|attacked| [area(limits, attacked), recognised(limits, attacked)]);
    attacks.chain([copies(limits, audit)]).max().expect("there is a finding about copies")
}

fn area(limits: &Release, attacked: &Attacked) -> Finding {
    let Membership { auc, auc_low, auc_high, .. } = &attacked.membership;
    let found = format!(
        "{attacked} tells training images from held-out ones with an area of {auc:.3} ({auc_low:.3} to {auc_high:.3})"
    );
    interval(&found, [*auc_low, *auc_high], ("max_auc", limits.max_auc))
}

fn recognised(limits: &Release, attacked: &Attacked) -> Finding {
    let Membership { fpr, tpr, tpr_low, tpr_high, .. } = &attacked.membership;
    let found = format!(
        "{attacked} recognises {tpr:.3} ({tpr_low:.3} to {tpr_high:.3}) of the training images where it mistakes {fpr} of the held-out ones"
    );
    // With fewer held-out images more of them are mistaken, by whom more are recognised than by one in a hundred.
    let low = if *fpr > 0.01 { 0.0 } else { *tpr_low };
    interval(&found, [low, *tpr_high], ("max_tpr_at_1", limits.max_tpr_at_1))
}

fn copies(limits: &Release, audit: &MemberAudit) -> Finding {
    let min = limits.min_copy_ratio;
    match &audit.copies {
        Some(Memorisation { ratio, .. }) if *ratio < min => Finding::Exceeded(format!(
            "samples lie at {ratio:.3} of the distance of held-out images from the training images, below min_copy_ratio = {min}"
        )),
        None if min > 0.0 => Finding::Unsure("held-out images equal training images, so copies cannot be told".into()),
        _ => Finding::Within,
    }
}

/// Whether an interval that was `found` lies within a limit.
fn interval(found: &str, [low, high]: [f64; 2], (key, max): (&str, f64)) -> Finding {
    if low > max {
        Finding::Exceeded(format!("{found}, beyond {key} = {max}"))
    } else if high > max {
        Finding::Unsure(format!("{found}, so it cannot be told whether {key} = {max} is kept"))
    } else {
        Finding::Within
    }
}

#[cfg(test)]
mod tests {
    use effgan_metrics::Attack;

    use super::*;
    use crate::scores::Space;

    fn audit(auc: [f64; 3], [fpr, tpr_low, tpr_high]: [f64; 3], ratio: Option<f64>) -> MemberAudit {
        let [auc_low, auc, auc_high] = auc;
        let attack = Attack::NearestSample;
        let tpr = f64::midpoint(tpr_low, tpr_high);
        let membership =
            Membership { attack, is_calibrated: false, auc, auc_low, auc_high, fpr, tpr, tpr_low, tpr_high };
        let copies = ratio.map(|ratio| {
            let (num_samples, num_held_out, num_train) = (10_000, 50, 50);
            Memorisation { ratio, auc: 0.5, auc_low: 0.4, auc_high: 0.6, num_samples, num_held_out, num_train }
        });
        // The first attack finds nothing.
        let nothing =
            Membership { auc: 0.5, auc_low: 0.5, auc_high: 0.5, tpr: 0.0, tpr_low: 0.0, tpr_high: 0.0, ..membership };
        let attacks = [(Space::Features, nothing), (Space::Pixels, membership)];
        let attacks = attacks.map(|(space, membership)| Attacked { space, membership }).into();
        MemberAudit { member: "north".into(), num_train: 50, num_held_out: 50, copies, attacks, discriminator: None }
    }

    #[test]
    fn the_whole_interval_must_be_within_the_limit_and_the_worst_finding_counts() {
        let limits = Release { max_auc: 0.6, max_tpr_at_1: 0.05, min_copy_ratio: 0.5, ..Release::default() };
        let found = |auc, tpr, ratio| match finding(&limits, Ok(&audit(auc, tpr, ratio))) {
            Finding::Within => "kept".to_owned(),
            Finding::Unsure(why) => format!("unsure: {why}"),
            Finding::Exceeded(why) => format!("exceeded: {why}"),
        };
        let (auc, tpr, ratio) = ([0.4, 0.5, 0.6], [0.01, 0.0, 0.05], Some(0.5));
        assert_eq!(found(auc, tpr, ratio), "kept");
        assert_eq!(
            found([0.4, 0.5, 0.61], tpr, ratio),
            "unsure: nearest-sample on pixels tells training images from held-out ones with an area of 0.500 (0.400 to 0.610), so it cannot be told whether max_auc = 0.6 is kept"
        );
        assert!(found([0.61, 0.7, 0.8], tpr, ratio).starts_with("exceeded: nearest-sample on pixels tells"));
        assert!(
            found(auc, [0.01, 0.06, 0.1], ratio).starts_with("exceeded: nearest-sample on pixels recognises 0.080")
        );
        assert!(found(auc, [0.01, 0.0, 0.1], ratio).starts_with("unsure: nearest-sample on pixels recognises"));
        // At ten in a hundred, more are recognised: that few are is known, and that many are says nothing about one in a hundred.
        assert_eq!(found(auc, [0.1, 0.0, 0.05], ratio), "kept");
        assert!(found(auc, [0.1, 0.2, 0.4], ratio).starts_with("unsure: nearest-sample on pixels recognises"));
        assert_eq!(
            found(auc, tpr, Some(0.4)),
            "exceeded: samples lie at 0.400 of the distance of held-out images from the training images, below min_copy_ratio = 0.5"
        );
        assert!(found(auc, tpr, None).starts_with("unsure: held-out images equal training images"));
        assert!(found([0.4, 0.5, 0.61], tpr, Some(0.4)).starts_with("exceeded: samples lie"));
    }

    #[test]
    fn without_limits_everything_is_kept() {
        let worst = audit([1.0, 1.0, 1.0], [0.01, 1.0, 1.0], None);
        assert_eq!(finding(&Release::default(), Ok(&worst)), Finding::Within);
        assert_eq!(finding(&Release::default(), Err("too few")), Finding::Within);
        let required = Release { require_audit: true, ..Release::default() };
        assert_eq!(finding(&required, Err("too few")), Finding::Exceeded("too few, and require_audit = true".into()));
        assert_eq!(finding(&required, Ok(&worst)), Finding::Within);
    }
}
