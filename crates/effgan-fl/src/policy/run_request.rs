//! What a run asks of a site, and how much the site has trained before.

use effgan_data::datasets::PersonKey;
use serde::{Deserialize, Serialize};

use crate::local::LocalWork;

/// What a run asks of a site, as numbers of the run's config. Numbers that depend on the site's images are `None` until they are known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is independent of the others")]
pub struct RunRequest {
    /// The server's name for the run.
    pub name: String,
    /// The algorithm's name in a config.
    pub algorithm: String,
    /// Number of rounds in which the site sends both networks; 0 where nothing is averaged.
    pub rounds: u32,
    /// The work of each of these rounds.
    pub local: LocalWork,
    /// The work after these rounds, after which the site sends its generator; `None` where the server does not collect.
    pub fine_tune: Option<LocalWork>,
    /// Whether each reply is made of a single batch, as those of MD-GAN and UA-GAN are.
    #[serde(rename = "by_the_batch")]
    pub single_batch_replies: bool,
    /// Share of the images that is held out from training, 0..1.
    pub held_out: f64,
    /// n_k: number of training images.
    pub images: Option<u64>,
    /// Where the site's data name the person of each image; `None` where they name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonKey>,
    /// How many persons the training images are of; `None` until they are counted, and where the data name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persons: Option<u64>,
    /// Images per batch; a site with fewer images takes all of them.
    pub batch_size: u64,
    /// Batches per training step.
    #[serde(rename = "batches_a_step")]
    pub batches_per_step: u64,
    /// Pixels of the images' longer side.
    pub image_size: Option<u64>,
    /// Channels of the images, 1 or 3.
    pub channels: Option<u64>,
    /// Bytes of both networks' parameters.
    pub model: Option<u64>,
    /// Bytes of memory that the images and the training need, approximately.
    pub memory: Option<u64>,
    /// Seconds that the server waits for an answer.
    pub seconds: f64,
    /// Whether the site is to send the number of images of each class.
    pub label_counts: bool,
    /// Whether the site is to send the names of classes.
    pub class_names: bool,
    /// Whether the generator is conditional on the class of an image.
    pub conditional: bool,
    /// How the training hides each image; `None` where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privacy: Option<PrivacyRequest>,
}

/// How a run's training hides each image of a site, or each person (DP-SGD).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivacyRequest {
    /// σ, the noise's standard deviation in units of the clip; `None` until it can be planned for the number of images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_multiplier: Option<f64>,
    /// δ for which the run states its ε.
    pub delta: f64,
}

/// Updates of the discriminator that were made with noise, in each of which an image, or a person, is with the same probability.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrivateUpdates {
    /// σ, the noise's standard deviation in units of the clip.
    pub noise_multiplier: f64,
    /// q, the probability with which an image, or a person, is in an update.
    pub sample_rate: f64,
    /// How many updates.
    pub updates: u64,
}

/// An amount of training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// Replies that training was done for.
    pub rounds: u64,
    /// Training steps.
    pub steps: u64,
    /// Passes over the training images.
    pub passes: f64,
    /// The private updates among these steps, from which their ε follows; those of equal noise and probability together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<PrivateUpdates>,
}

impl Amount {
    /// The sum of both amounts.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.rounds = self.rounds.saturating_add(other.rounds);
        self.steps = self.steps.saturating_add(other.steps);
        self.passes += other.passes;
        other.private.iter().for_each(|more| self.add_private(more));
        self
    }

    fn add_private(&mut self, more: &PrivateUpdates) {
        let is_alike = |known: &&mut PrivateUpdates| {
            (known.noise_multiplier, known.sample_rate) == (more.noise_multiplier, more.sample_rate)
        };
        match self.private.iter_mut().find(is_alike) {
            Some(known) => known.updates = known.updates.saturating_add(more.updates),
            None => self.private.push(*more),
        }
    }
}

/// How much a site has trained before it is asked again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spent {
    /// In the run that asks.
    pub run: Amount,
    /// In all other runs.
    pub others: Amount,
}

impl RunRequest {
    /// The number of the last round in which the site is asked to work.
    pub fn last_round(&self) -> u32 {
        self.rounds.saturating_add(u32::from(self.fine_tune.is_some()))
    }

    /// Images per training step, with `images` training images.
    pub fn images_per_step(&self, images: u64) -> u64 {
        self.batches_per_step.saturating_mul(self.batch_size.min(images).max(1)).max(1)
    }

    /// Training steps of `work`; `None` where they depend on the number of images and that is not known yet.
    pub fn steps(&self, work: LocalWork) -> Option<u64> {
        match (work, self.images) {
            (LocalWork::Steps(steps), _) => Some(u64::from(steps)),
            (LocalWork::Epochs(epochs), Some(images)) => {
                Some(u64::from(epochs).saturating_mul(images.div_ceil(self.images_per_step(images))))
            }
            (LocalWork::Epochs(_), None) => None,
        }
    }

    /// Passes of `work`; `None` where they depend on the number of images and that is not known yet.
    pub fn passes(&self, work: LocalWork) -> Option<f64> {
        match (work, self.images) {
            (LocalWork::Epochs(epochs), _) => Some(f64::from(epochs)),
            (LocalWork::Steps(steps), Some(images)) => Some(self.passes_of(u64::from(steps), images)),
            (LocalWork::Steps(_), None) => None,
        }
    }

    /// Passes that `steps` over `images` training images amount to.
    pub fn passes_of(&self, steps: u64, images: u64) -> f64 {
        steps as f64 * self.images_per_step(images) as f64 / images.max(1) as f64
    }

    /// The amount of one reply's `work`; `None` where it is not known yet.
    pub fn amount(&self, work: LocalWork) -> Option<Amount> {
        let (steps, passes) = (self.steps(work)?, self.passes(work)?);
        Some(Amount { rounds: 1, steps, passes, private: self.private_updates(steps).into_iter().collect() })
    }

    /// How many persons, or images where persons are not named, private training hides one of; `None` until they are counted.
    pub fn num_hidden(&self) -> Option<u64> {
        if self.person.is_some() { self.persons } else { self.images }
    }

    /// The private updates of `steps` training steps; `None` where they are not private, or where their noise is not known yet.
    fn private_updates(&self, steps: u64) -> Option<PrivateUpdates> {
        let num_hidden = self.num_hidden()?.max(1);
        Some(PrivateUpdates {
            noise_multiplier: self.privacy?.noise_multiplier?,
            sample_rate: (self.batch_size as f64 / num_hidden as f64).min(1.0),
            updates: steps.saturating_mul(self.batches_per_step),
        })
    }

    /// The private updates of the whole run; `None` as for a part of it.
    pub fn total_private_updates(&self) -> Option<PrivateUpdates> {
        self.private_updates(self.total_steps()?)
    }

    /// Training steps of the whole run.
    pub fn total_steps(&self) -> Option<u64> {
        self.pieces()
            .try_fold(0_u64, |all, (times, work)| Some(all.saturating_add(times.saturating_mul(self.steps(work)?))))
    }

    /// Passes of the whole run.
    pub fn total_passes(&self) -> Option<f64> {
        self.pieces().try_fold(0.0, |all, (times, work)| Some(all + times as f64 * self.passes(work)?))
    }

    /// The pieces of work in the run: how often each is done, and what it is.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, LocalWork)> {
        let rounds = (self.rounds > 0).then_some((u64::from(self.rounds), self.local));
        rounds.into_iter().chain(self.fine_tune.map(|work| (1, work)))
    }
}
