//! The audit of members: whether the images that each was trained on can be told from images that it never saw, by its samples alone.
//!
//! Each member is attacked by [membership inference](effgan_metrics::membership) among its own client's training and held-out images, on features
//! and on pixels. What the generator that all members began with tells already is subtracted, so the result says what the fine-tuning added.

mod text;

use std::sync::atomic::{AtomicBool, Ordering};

use effgan_fl::FlError;
use effgan_metrics::{Membership, Memorisation, MetricError, low_pass, membership, memorisation};
use effgan_nn::Device;
use serde::{Deserialize, Serialize};

use super::feature_net::FeatureNet;
use super::scored_images::Images;
use super::share::Share;
use crate::failure::{Failure, Result};

/// Images of more values than these are compared by their low-passes.
const MOST_PIXELS: usize = 3 * 32 * 32;

/// What is known of all members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The audited model.
    pub of: String,
    /// The network whose features are compared.
    pub features: String,
    /// Samples of each member.
    pub samples: usize,
    /// Whether what the generator that the members began with tells is subtracted.
    pub is_calibrated: bool,
    /// The members, in the order of the model.
    pub members: Vec<MemberAudit>,
    /// Members that cannot be audited, each with the reason.
    pub not_audited: Vec<String>,
}

/// What is known of one member.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberAudit {
    /// The member.
    pub member: String,
    /// Number of images that it was trained on.
    pub num_train: usize,
    /// Number of images of its client that it never saw.
    pub num_held_out: usize,
    /// Whether samples are nearer to training images than held-out images are, on features.
    pub copies: Memorisation,
    /// The outcome of each attack.
    pub attacks: Vec<Attacked>,
}

/// The outcome of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attacked {
    /// What is compared.
    pub space: Space,
    /// The outcome.
    #[serde(flatten)]
    pub membership: Membership,
}

/// What an attack compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Space {
    /// Features of a network.
    Features,
    /// Pixels; low-passes of images with more than 3,072 values.
    Pixels,
}

/// What audits members.
pub struct Auditor<'a> {
    /// The name of the model in the result.
    pub name: String,
    /// Who was trained on what, each with samples.
    pub shares: Vec<Share<'a>>,
    /// Samples of the generator that all members began with; `None` where there is none.
    pub reference: Option<Images<'a>>,
    /// The network whose features are compared.
    pub network: &'a FeatureNet,
    /// Samples of each member, ≥ 2.
    pub samples: usize,
    /// The device that samples are drawn on.
    pub device: Device,
    /// Threads, ≥ 1; changes no result.
    pub jobs: usize,
    /// Ends the audit with [`Kind::Interrupted`](crate::Kind::Interrupted) when it becomes true.
    pub stop: &'a AtomicBool,
    /// Called with how many of how many members are done.
    pub progress: &'a dyn Fn(usize, usize),
}

/// Vectors of images in both spaces, each with the number of its values per image.
struct Vectors([(Vec<f32>, usize); 2]);

impl Auditor<'_> {
    /// Audits all members.
    ///
    /// # Errors
    /// When images cannot be read or drawn, or a feature is not finite.
    pub fn audit(&self) -> Result<Audit> {
        let reference = self.reference.as_ref().map(|images| self.vectors(images, self.samples)).transpose()?;
        let (mut members, mut not_audited) = (Vec::new(), Vec::new());
        for (i, share) in self.shares.iter().enumerate() {
            match self.member(share, reference.as_ref())? {
                Ok(member) => members.push(member),
                Err(why) => not_audited.push(format!("{}: {why}", share.name)),
            }
            (self.progress)(i + 1, self.shares.len());
        }
        let (of, features) = (self.name.clone(), self.network.name());
        Ok(Audit { of, features, samples: self.samples, is_calibrated: reference.is_some(), members, not_audited })
    }

    /// The audit of one member, or why there is none.
    fn member(
        &self,
        share: &Share,
        reference: Option<&Vectors>,
    ) -> Result<std::result::Result<MemberAudit, MetricError>> {
        let [train, held_out] = [&share.train, &share.held_out].map(|images| {
            let n = images.count().expect("shares have a number of images");
            self.vectors(images, n)
        });
        let (train, held_out) = (train?, held_out?);
        let samples = share.samples.as_ref().expect("a member has samples");
        let samples = self.vectors(samples, self.samples)?;
        let attack = |space: usize| {
            let [(train, dim), (held_out, _), (samples, _)] = [&train, &held_out, &samples].map(|set| &set.0[space]);
            let reference = reference.map(|set| &set.0[space].0[..]);
            membership(train, held_out, samples, reference, *dim, self.jobs)
        };
        let copies = || {
            let [(train, dim), (held_out, _), (samples, _)] = [&train, &held_out, &samples].map(|set| &set.0[0]);
            memorisation(samples, train, held_out, *dim, self.jobs)
        };
        let found = || {
            let attacks = [(Space::Features, attack(0)?), (Space::Pixels, attack(1)?)];
            let attacks = attacks
                .into_iter()
                .flat_map(|(space, all)| all.into_iter().map(move |membership| Attacked { space, membership }));
            let (num_train, num_held_out) = (share.train.count(), share.held_out.count());
            Ok(MemberAudit {
                member: share.name.clone(),
                num_train: num_train.unwrap_or_default(),
                num_held_out: num_held_out.unwrap_or_default(),
                copies: copies()?,
                attacks: attacks.collect(),
            })
        };
        match found() {
            Err(error @ (MetricError::TooFewFor { .. } | MetricError::HeldOutCopies { .. })) => Ok(Err(error)),
            found => found.map(Ok).map_err(Failure::data),
        }
    }

    /// The first `n` images in both spaces.
    fn vectors(&self, images: &Images, n: usize) -> Result<Vectors> {
        if n == 0 {
            return Ok(Vectors([(Vec::new(), self.network.dim()), (Vec::new(), 1)]));
        }
        let shape = images.shape(0);
        let (mut features, mut pixels) = (Vec::new(), Vec::new());
        for piece in images.pieces(n, self.network.piece()) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(FlError::Interrupted.into());
            }
            let read = images.read(piece, self.device, self.jobs, self.stop)?;
            features.extend(self.network.extract(&read, self.jobs).map_err(Failure::data)?.values);
            let bytes = read.fit(shape);
            if shape.iter().product::<usize>() > MOST_PIXELS {
                pixels.extend(low_pass(&bytes, shape, self.jobs));
            } else {
                pixels.extend(bytes.iter().map(|&byte| f32::from(byte) / 255.0));
            }
        }
        let dim = pixels.len() / n;
        Ok(Vectors([(features, self.network.dim()), (pixels, dim)]))
    }
}
