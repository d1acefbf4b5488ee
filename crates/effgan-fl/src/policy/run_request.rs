//! What a run wants of a site, and what the site has done before.

use serde::{Deserialize, Serialize};

use crate::local::LocalWork;

/// What the config of a run wants, in plain numbers. What hangs on the images is `None` until it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own")]
pub struct RunRequest {
    /// What the server calls the run.
    pub name: String,
    /// The algorithm's name in a config.
    pub algorithm: String,
    /// Rounds after each of which both networks are sent; 0 where nothing is averaged.
    pub rounds: u32,
    /// The work of each of them.
    pub local: LocalWork,
    /// The work after them, with the generator sent in the end; none where nothing is collected.
    pub fine_tune: Option<LocalWork>,
    /// Whether answers are made of single batches, in the middle of a pass.
    pub by_the_batch: bool,
    /// Share of the images that is kept from training, 0..1.
    pub held_out: f64,
    /// n_k: images that train.
    pub images: Option<u64>,
    /// Images in a batch; a site with fewer takes them all.
    pub batch_size: u64,
    /// Batches in a step.
    pub batches_a_step: u64,
    /// Pixels of an image's longer side.
    pub image_size: Option<u64>,
    /// 1 or 3.
    pub channels: Option<u64>,
    /// Bytes of both networks' parameters.
    pub model: Option<u64>,
    /// Bytes that the images and the training take, about.
    pub memory: Option<u64>,
    /// Seconds that the server waits for an answer.
    pub seconds: f64,
    /// Whether the number of images of each class is to be told.
    pub label_counts: bool,
    /// Whether the names of classes are to be told.
    pub class_names: bool,
    /// Whether the generator is told the class of each image, so that it can be asked for one.
    pub conditional: bool,
}

/// An amount of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Amount {
    /// Answers of training.
    pub rounds: u64,
    /// Training steps.
    pub steps: u64,
    /// Passes over the images that train.
    pub passes: f64,
}

impl Amount {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            rounds: self.rounds.saturating_add(other.rounds),
            steps: self.steps.saturating_add(other.steps),
            passes: self.passes + other.passes,
        }
    }
}

/// What a site has trained before a question.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// In the run that asks.
    pub run: Amount,
    /// In all others.
    pub others: Amount,
}

impl RunRequest {
    /// The number of the last question: nothing is asked after it.
    pub fn last_round(&self) -> u32 {
        self.rounds.saturating_add(u32::from(self.fine_tune.is_some()))
    }

    /// Images of a step, where `images` train.
    pub fn images_a_step(&self, images: u64) -> u64 {
        self.batches_a_step.saturating_mul(self.batch_size.min(images).max(1)).max(1)
    }

    /// Steps of `work`; known without images where it is given in steps.
    pub fn steps(&self, work: LocalWork) -> Option<u64> {
        match (work, self.images) {
            (LocalWork::Steps(steps), _) => Some(u64::from(steps)),
            (LocalWork::Epochs(epochs), Some(images)) => {
                Some(u64::from(epochs).saturating_mul(images.div_ceil(self.images_a_step(images))))
            }
            (LocalWork::Epochs(_), None) => None,
        }
    }

    /// Passes of `work`; known without images where it is given in passes.
    pub fn passes(&self, work: LocalWork) -> Option<f64> {
        match (work, self.images) {
            (LocalWork::Epochs(epochs), _) => Some(f64::from(epochs)),
            (LocalWork::Steps(steps), Some(images)) => Some(self.passes_of(u64::from(steps), images)),
            (LocalWork::Steps(_), None) => None,
        }
    }

    /// Passes that `steps` over so many images are.
    pub fn passes_of(&self, steps: u64, images: u64) -> f64 {
        steps as f64 * self.images_a_step(images) as f64 / images.max(1) as f64
    }

    /// What an answer of `work` costs, as far as is known.
    pub fn amount(&self, work: LocalWork) -> Option<Amount> {
        Some(Amount { rounds: 1, steps: self.steps(work)?, passes: self.passes(work)? })
    }

    /// Steps of the whole run.
    pub fn all_steps(&self) -> Option<u64> {
        self.pieces()
            .try_fold(0_u64, |all, (times, work)| Some(all.saturating_add(times.saturating_mul(self.steps(work)?))))
    }

    /// Passes of the whole run.
    pub fn all_passes(&self) -> Option<f64> {
        self.pieces().try_fold(0.0, |all, (times, work)| Some(all + times as f64 * self.passes(work)?))
    }

    /// Pieces of work: how many times, and what.
    pub fn pieces(&self) -> impl Iterator<Item = (u64, LocalWork)> {
        let rounds = (self.rounds > 0).then_some((u64::from(self.rounds), self.local));
        rounds.into_iter().chain(self.fine_tune.map(|work| (1, work)))
    }
}
