//! The gate: the site audits a generator that has trained on its images before the generator leaves. The policy's `[release]` says when it stays.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use anyhow::anyhow;
use effgan_fl::policy::{IfUnsure, Release};
use effgan_fl::{Broadcast, ExchangeKind, Refusal};
use effgan_metrics::{Membership, Memorisation};
use effgan_nn::gan::{GENERATOR, recompute_statistics};
use effgan_nn::{DeviceName, Params};

use super::SiteResult;
use super::context::SiteContext;
use super::exchange_work::ExchangeWork;
use super::ledger_entry::RequestRecord;
use super::site_error::SiteError;
use crate::failure::{Failure, Kind};
use crate::protocol::ledger::{Audited, Entry};
use crate::scores::{Attacked, Audit, Auditor, FeatureNet, Generator, Images, MemberAudit, Share};

/// Samples of a generator by which it is audited.
const SAMPLES: usize = 10_000;

/// Whether the limits are kept, and otherwise what was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Finding {
    Kept,
    Unsure(String),
    Exceeded(String),
}

impl ExchangeWork<'_> {
    /// Audits the generator among the parameters `trained` from `broadcast`, and writes into the ledger what was found. Where training was private,
    /// the generator leaves whatever was found: to withhold one would tell something about the images that no ε counts.
    ///
    /// # Errors
    /// [`Refusal::Withheld`] when it may not leave; a ledger that cannot be written.
    pub(super) fn release(
        &self,
        context: &SiteContext,
        broadcast: &Broadcast,
        trained: &Params,
        record: &RequestRecord,
        stop: &AtomicBool,
    ) -> SiteResult<()> {
        let limits = context.policy.release;
        let is_audited = match broadcast.kind {
            ExchangeKind::Collect => true,
            ExchangeKind::Average => limits.audit_rounds,
            _ => false,
        };
        if !is_audited {
            return Ok(());
        }
        let audit = match self.audit((context.audit_seed()?, context.device()), broadcast, trained, stop) {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error.into()),
            audit => audit.map_err(|error| error.line()),
        };
        let finding = finding(&limits, audit.as_ref().map_err(String::as_str));
        let (leaves, why) = match finding {
            Finding::Kept => (true, audit.as_ref().err().cloned().unwrap_or_default()),
            Finding::Unsure(why) => (limits.if_unsure == IfUnsure::Release, why),
            Finding::Exceeded(why) => (false, why),
        };
        let leaves = leaves || self.request.config.privacy.is_some();
        let (asked, audit) = (record.asked.clone(), audit.ok());
        context.ledger.append(Entry::Audited(Box::new(Audited { asked, limits, leaves, why: why.clone(), audit })))?;
        if leaves { Ok(()) } else { Err(SiteError::new(Refusal::Withheld, why)) }
    }

    fn audit(
        &self,
        (seed, device): (u64, DeviceName),
        broadcast: &Broadcast,
        trained: &Params,
        stop: &AtomicBool,
    ) -> Result<MemberAudit, Failure> {
        let (dataset, share) = (&self.images.dataset, &self.images.share);
        let (pixels, shape) = (dataset.train.pixels(), dataset.train.shape());
        let (model, device) = (self.images.model(&self.request.config)?, device.open()?);
        let network = FeatureNet::without_training(dataset, device);
        let labels = dataset.train.labels();
        let trained_on: BTreeSet<u8> = share.train.iter().map(|&image| labels[image as usize]).collect();
        let without: Vec<u8> = (0..dataset.train.num_classes())
            .map(|class| class as u8)
            .filter(|class| !trained_on.contains(class))
            .collect();
        let samples = |tensors| Images::Generator(Generator { model: &model, tensors, without: &without, seed });
        // In the first round, the networks that came have not seen an image.
        let reference = (broadcast.round > 1)
            .then(|| recompute_statistics(&model.network, &broadcast.params.under(GENERATOR), device))
            .transpose()?;
        let subset = |indices: &[u32]| Images::Subset(pixels, shape, indices.to_vec());
        let share = Share {
            name: share.name.to_string(),
            train: subset(&share.train),
            held_out: subset(&share.held_out),
            samples: Some(samples(trained.under(GENERATOR))),
        };
        let auditor = Auditor {
            name: self.request.config.name.clone(),
            shares: vec![share],
            reference: reference.map(samples),
            network: &network,
            samples: SAMPLES,
            device,
            jobs: self.settings.jobs,
            stop,
            progress: &|_, _| {},
        };
        let Audit { mut members, notes, .. } = auditor.audit()?;
        members.pop().ok_or_else(|| Failure::data(anyhow!(notes.join("; "))))
    }
}

/// What an audit, or the reason why there is none, says of the limits; the worst of all.
fn finding(limits: &Release, audit: Result<&MemberAudit, &str>) -> Finding {
    let audit = match audit {
        Ok(audit) => audit,
        Err(why) if limits.require_audit => return Finding::Exceeded(format!("{why}, and require_audit = true")),
        Err(why) if limits.has_limit() => return Finding::Unsure(why.into()),
        Err(_) => return Finding::Kept,
    };
    let attacks = audit.attacks.iter().flat_map(|attacked| [area(limits, attacked), recognised(limits, attacked)]);
    attacks.chain([copies(limits, audit)]).max().expect("there is a finding about copies")
}

fn area(limits: &Release, attacked: &Attacked) -> Finding {
    let (Membership { auc, auc_low, auc_high, .. }, max) = (&attacked.membership, limits.max_auc);
    let what = format!(
        "{attacked} tells training images from held-out ones with an area of {auc:.3} ({auc_low:.3} to {auc_high:.3})"
    );
    within(max, *auc_low, *auc_high, format!("{what}, and max_auc = {max}"))
}

fn recognised(limits: &Release, attacked: &Attacked) -> Finding {
    let (Membership { fpr, tpr, tpr_low, tpr_high, .. }, max) = (&attacked.membership, limits.max_tpr_at_1);
    let why = format!(
        "{attacked} recognises {tpr:.3} ({tpr_low:.3} to {tpr_high:.3}) of the training images and mistakes {fpr} of the held-out ones, and \
         max_tpr_at_1 = {max}"
    );
    // With fewer held-out images more of them are mistaken, by whom more are recognised than by one in a hundred.
    let low = if *fpr > 0.01 { 0.0 } else { *tpr_low };
    within(max, low, *tpr_high, why)
}

fn copies(limits: &Release, audit: &MemberAudit) -> Finding {
    let min = limits.min_copy_ratio;
    match &audit.copies {
        Some(Memorisation { ratio, .. }) if *ratio < min => Finding::Exceeded(format!(
            "samples lie at {ratio:.3} of the distance of held-out images from the training images, and min_copy_ratio = {min}"
        )),
        None if min > 0.0 => Finding::Unsure("held-out images equal training images, so copies cannot be told".into()),
        _ => Finding::Kept,
    }
}

/// Whether an interval lies within a limit.
fn within(max: f64, low: f64, high: f64, why: String) -> Finding {
    if low > max {
        Finding::Exceeded(why)
    } else if high > max {
        Finding::Unsure(why)
    } else {
        Finding::Kept
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
        MemberAudit { member: "north".into(), num_train: 50, num_held_out: 50, copies, attacks }
    }

    #[test]
    fn the_whole_interval_must_be_within_the_limit_and_the_worst_finding_counts() {
        let limits = Release { max_auc: 0.6, max_tpr_at_1: 0.05, min_copy_ratio: 0.5, ..Release::default() };
        let found = |auc, tpr, ratio| match finding(&limits, Ok(&audit(auc, tpr, ratio))) {
            Finding::Kept => "kept".to_owned(),
            Finding::Unsure(why) => format!("unsure: {why}"),
            Finding::Exceeded(why) => format!("exceeded: {why}"),
        };
        let (auc, tpr, ratio) = ([0.4, 0.5, 0.6], [0.01, 0.0, 0.05], Some(0.5));
        assert_eq!(found(auc, tpr, ratio), "kept");
        assert_eq!(
            found([0.4, 0.5, 0.61], tpr, ratio),
            "unsure: nearest-sample on pixels tells training images from held-out ones with an area of 0.500 (0.400 to 0.610), and max_auc = 0.6"
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
            "exceeded: samples lie at 0.400 of the distance of held-out images from the training images, and min_copy_ratio = 0.5"
        );
        assert!(found(auc, tpr, None).starts_with("unsure: held-out images equal training images"));
        assert!(found([0.4, 0.5, 0.61], tpr, Some(0.4)).starts_with("exceeded: samples lie"));
    }

    #[test]
    fn without_limits_everything_is_kept() {
        let worst = audit([1.0, 1.0, 1.0], [0.01, 1.0, 1.0], None);
        assert_eq!(finding(&Release::default(), Ok(&worst)), Finding::Kept);
        assert_eq!(finding(&Release::default(), Err("too few")), Finding::Kept);
        let required = Release { require_audit: true, ..Release::default() };
        assert_eq!(finding(&required, Err("too few")), Finding::Exceeded("too few, and require_audit = true".into()));
        assert_eq!(finding(&required, Ok(&worst)), Finding::Kept);
    }
}
