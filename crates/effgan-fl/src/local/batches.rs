//! Which of a client's images each training step sees, and the batch that they make.

use std::fmt;

use effgan_nn::model::{Batch, TrainingImages};
use effgan_nn::{Purpose, Streams};
use rand::seq::SliceRandom;

use super::Shard;

/// Chooses the images of each training step.
///
/// A choice depends on its arguments alone, so that a client that resumes at some step sees the images that it would have
/// seen without the interruption.
pub trait BatchSampler: fmt::Debug + Send + Sync {
    /// The images of step `first` (counted from 0) and later ones, without end: indices among `train`, of which a step sees
    /// about `images_per_step`. Steps may see different numbers of images, of which the model needs at least
    /// [`min_images`](effgan_nn::Model::min_images), and a multiple of
    /// [`batches_per_step`](effgan_nn::Model::batches_per_step); other numbers end the client's work with an error.
    fn batches<'a>(
        &self,
        train: &'a [u32],
        streams: &'a Streams,
        images_per_step: usize,
        first: u64,
    ) -> Box<dyn Iterator<Item = Vec<u32>> + 'a>;
}

/// Batches of equal size, cut from an endless sequence of shuffles: the last batch of an epoch is filled up from the next
/// shuffle.
#[derive(Clone, Copy, Debug)]
pub struct ShuffledEpochs;

impl BatchSampler for ShuffledEpochs {
    fn batches<'a>(
        &self,
        train: &'a [u32],
        streams: &'a Streams,
        images_per_step: usize,
        first: u64,
    ) -> Box<dyn Iterator<Item = Vec<u32>> + 'a> {
        let mut shuffles = Shuffles::after(first * images_per_step as u64, train, streams);
        Box::new(std::iter::repeat_with(move || (0..images_per_step).map(|_| shuffles.next_image()).collect()))
    }
}

/// An endless sequence of shuffles of a client's images.
struct Shuffles<'a> {
    train: &'a [u32],
    streams: &'a Streams,
    /// The current shuffle, of which `used` images have been returned.
    order: Vec<u32>,
    used: usize,
    /// Number of shuffles made so far.
    made: u64,
}

impl<'a> Shuffles<'a> {
    /// The sequence after its first `consumed` images.
    fn after(consumed: u64, train: &'a [u32], streams: &'a Streams) -> Self {
        let n = train.len() as u64;
        let mut shuffles = Self { train, streams, order: Vec::new(), used: 0, made: consumed / n };
        (0..consumed % n).for_each(|_| _ = shuffles.next_image());
        shuffles
    }

    fn next_image(&mut self) -> u32 {
        if self.used == self.order.len() {
            self.order = self.train.to_vec();
            self.order.shuffle(&mut self.streams.at(Purpose::Shuffle, self.made));
            self.made += 1;
            self.used = 0;
        }
        self.used += 1;
        self.order[self.used - 1]
    }
}

/// The images with these `indices` and their labels; `persons` are [those of the shard](Shard::by_person).
pub(crate) fn batch<'a>(shard: &Shard<'a>, persons: Option<&'a [Vec<u32>]>, indices: &'a [u32]) -> Batch<'a> {
    let (pixels, labels) = (shard.images.pixels(), shard.images.labels());
    Batch { from: TrainingImages { pixels, labels, indices: shard.train, persons }, indices }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn batches(images_per_step: usize, first: u64, steps: usize) -> Vec<Vec<u32>> {
        let (train, streams) = ((0..10).collect::<Vec<u32>>(), Streams::of_client(1, 1, "a"));
        ShuffledEpochs.batches(&train, &streams, images_per_step, first).take(steps).collect()
    }

    #[test]
    fn two_epochs_of_ten_images_by_four_hold_each_image_twice_and_four_a_third_time() {
        let mut seen = BTreeMap::<u32, usize>::new();
        for image in batches(4, 0, 6).concat() {
            *seen.entry(image).or_default() += 1;
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|&times| times == 2 || times == 3));
        assert_eq!(seen.values().filter(|&&times| times == 3).count(), 4);
    }

    #[test]
    fn batches_from_a_step_on_are_those_that_follow_it() {
        // 4 does not divide 10, 5 does, 25 is more than there are.
        for images_per_step in [4, 5, 25] {
            let sequence = batches(images_per_step, 0, 7);
            for (first, batch) in (0..).zip(&sequence) {
                assert_eq!(batches(images_per_step, first, 1), [batch.as_slice()], "step {first} by {images_per_step}");
            }
        }
    }
}
