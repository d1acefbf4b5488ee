//! The audit of generators: whether the images that each was trained on can be told from images that it never saw, by samples.
//!
//! Each member is attacked by [membership inference](effgan_metrics::membership) among its own client's training and held-out images, on features
//! and on pixels: by its samples alone, and again less what samples of the generator that all members began with tell already.

mod text;

use std::sync::atomic::{AtomicBool, Ordering};

use effgan_fl::FlError;
use effgan_metrics::metric::Network;
use effgan_metrics::{Membership, Memorisation, MetricError, low_pass, membership, memorisation};
use effgan_nn::Device;
use serde::{Deserialize, Serialize};

use super::feature_net::FeatureNet;
use super::scored_images::Images;
use super::share::Share;
use crate::failure::{Failure, Result};

/// Images of more values than these are compared by their low-passes.
const MOST_PIXELS: usize = 3 * 32 * 32;
/// With fewer training or held-out images, an interval says nothing: among 36 and 4 images that nothing tells apart, one in fifteen was above 0.5.
pub const MIN_AUDITED: usize = 20;

/// What is known of all members.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audit {
    /// The audited model.
    pub of: String,
    /// The network whose features are compared.
    pub features: String,
    /// Samples of each generator.
    pub samples: usize,
    /// The averaged generator of the last round, among the images of all clients; `None` where there was no round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average: Option<MemberAudit>,
    /// The ensemble, among the images of all clients; `None` where there are no members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ensemble: Option<MemberAudit>,
    /// The members, in the order of the model.
    pub members: Vec<MemberAudit>,
    /// What to know about the numbers, such as members that cannot be audited.
    pub notes: Vec<String>,
}

/// What is known of one generator: a member, the average, or the ensemble.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemberAudit {
    /// The member, or `average` or `ensemble`.
    pub member: String,
    /// Number of images that it was trained on.
    pub num_train: usize,
    /// Number of images of its client, or of all clients, that it never saw.
    pub num_held_out: usize,
    /// Whether samples are nearer to training images than held-out images are, on features; `None` where held-out images equal training images.
    pub copies: Option<Memorisation>,
    /// The outcome of each attack.
    pub attacks: Vec<Attacked>,
    /// The outcome of the attack by the discriminator, which stays at its client, on images alone; `None` where it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator: Option<Membership>,
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

/// Images as vectors of one kind.
struct Vectors {
    space: Space,
    values: Vec<f32>,
    dim: usize,
}

impl Auditor<'_> {
    /// Audits all members that have images enough.
    ///
    /// # Errors
    /// When images cannot be read or drawn, or a feature is not finite.
    pub fn audit(&self) -> Result<Audit> {
        let reference = self.reference.as_ref().map(|images| self.vectors(images, self.samples)).transpose()?;
        let (mut members, mut notes) = (Vec::new(), Vec::new());
        for (i, share) in self.shares.iter().enumerate() {
            let [train, held_out] =
                [&share.train, &share.held_out].map(|images| images.count().expect("shares have a number of images"));
            if train.min(held_out) < MIN_AUDITED {
                notes.push(format!(
                    "{} is not audited: {train} of its images trained and {held_out} were held out, and {MIN_AUDITED} of both are needed; a \
                     larger partition.held_out holds out more",
                    share.name
                ));
            } else {
                members.push(self.member(share, [train, held_out], reference.as_deref())?);
            }
            (self.progress)(i + 1, self.shares.len());
        }
        let (of, features, samples) = (self.name.clone(), self.network.name(), self.samples);
        Ok(Audit { of, features, samples, average: None, ensemble: None, members, notes })
    }

    fn member(
        &self,
        share: &Share,
        [num_train, num_held_out]: [usize; 2],
        reference: Option<&[Vectors]>,
    ) -> Result<MemberAudit> {
        let samples = share.samples.as_ref().expect("a member has samples");
        let train = self.vectors(&share.train, num_train)?;
        let held_out = self.vectors(&share.held_out, num_held_out)?;
        let samples = self.vectors(samples, self.samples)?;
        let (mut copies, mut attacks) = (None, Vec::new());
        for (i, Vectors { space, values, dim }) in train.iter().enumerate() {
            let (held_out, samples) = (&held_out[i].values, &samples[i].values);
            let reference = reference.map(|sets| &sets[i].values[..]);
            let found = membership(values, held_out, samples, reference, *dim, self.jobs).map_err(Failure::data)?;
            attacks.extend(found.into_iter().map(|membership| Attacked { space: *space, membership }));
            if *space == Space::Features {
                copies = match memorisation(samples, values, held_out, *dim, self.jobs) {
                    Err(MetricError::HeldOutCopies { .. }) => None,
                    found => Some(found.map_err(Failure::data)?),
                };
            }
        }
        Ok(MemberAudit { member: share.name.clone(), num_train, num_held_out, copies, attacks, discriminator: None })
    }

    /// The first `n` ≥ 1 images in each space.
    fn vectors(&self, images: &Images, n: usize) -> Result<Vec<Vectors>> {
        let shape = images.shape(0);
        let is_large = shape.iter().product::<usize>() > MOST_PIXELS;
        // Low-passes are compared once.
        let has_pixels = !(is_large && self.network.network() == Network::LowPass);
        let (mut features, mut pixels) = (Vec::new(), Vec::new());
        for piece in images.pieces(n, self.network.piece()) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(FlError::Interrupted.into());
            }
            let read = images.read(piece, self.device, self.jobs, self.stop)?;
            features.extend(self.network.extract(&read, self.jobs).map_err(Failure::data)?.values);
            if has_pixels {
                let bytes = read.fit(shape);
                if is_large {
                    pixels.extend(low_pass(&bytes, shape, self.jobs));
                } else {
                    pixels.extend(bytes.iter().map(|&byte| f32::from(byte) / 255.0));
                }
            }
        }
        let dim = pixels.len() / n;
        let features = Vectors { space: Space::Features, values: features, dim: self.network.dim() };
        let pixels = has_pixels.then_some(Vectors { space: Space::Pixels, values: pixels, dim });
        Ok([features].into_iter().chain(pixels).collect())
    }
}

#[cfg(test)]
mod tests;
