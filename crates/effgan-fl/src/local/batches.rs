//! The batches that a client trains on.

use effgan_nn::{Purpose, Streams, pixels};
use rand::seq::SliceRandom;

use super::Shard;

/// Batches cut from an endless sequence of shuffles, so that the last batch of an epoch is filled up from the next shuffle.
pub(crate) struct Batches<'a> {
    shard: &'a Shard<'a>,
    streams: &'a Streams,
    batch_size: usize,
    order: Vec<u32>,
    used: usize,
    shuffles: u64,
}

impl<'a> Batches<'a> {
    /// The batches of `step` (counted from 0) and later ones.
    pub(crate) fn from_step(shard: &'a Shard, streams: &'a Streams, batch_size: usize, step: u64) -> Self {
        let (n, consumed) = (shard.train.len() as u64, step * batch_size as u64);
        let mut batches = Self { shard, streams, batch_size, order: Vec::new(), used: 0, shuffles: consumed / n };
        (0..consumed % n).for_each(|_| _ = batches.next_image());
        batches
    }

    /// The next images `[batch_size, c, h, w]`, f32 in [-1, 1], and their labels.
    pub(crate) fn next_batch(&mut self) -> (Vec<f32>, Vec<u8>) {
        let images = self.shard.images;
        let indices: Vec<usize> = (0..self.batch_size).map(|_| self.next_image() as usize).collect();
        let pixels = indices.iter().flat_map(|&index| images.image(index)).map(|&pixel| pixels::to_f32(pixel));
        (pixels.collect(), indices.iter().map(|&index| images.labels()[index]).collect())
    }

    fn next_image(&mut self) -> u32 {
        if self.used == self.order.len() {
            self.order = self.shard.train.to_vec();
            self.order.shuffle(&mut self.streams.at(Purpose::Shuffle, self.shuffles));
            self.shuffles += 1;
            self.used = 0;
        }
        self.used += 1;
        self.order[self.used - 1]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use effgan_data::{ClientName, ImageSet};

    use super::*;

    #[test]
    fn two_epochs_of_ten_images_by_four_hold_each_image_twice_and_four_a_third_time() {
        let images = ImageSet::new([1, 1, 1], (0..10).collect(), vec![0; 10], 1).unwrap();
        let (client, train) = (ClientName::new("a").unwrap(), (0..10).collect::<Vec<u32>>());
        let shard = Shard { client: &client, images: &images, train: &train };
        let streams = Streams::of_client(1, 1, "a");
        let mut batches = Batches::from_step(&shard, &streams, 4, 0);
        let mut seen = BTreeMap::<u8, usize>::new();
        for _ in 0..6 {
            batches.next_batch().0.into_iter().for_each(|x| *seen.entry(pixels::to_u8(x)).or_default() += 1);
        }
        assert_eq!(seen.len(), 10);
        assert!(seen.values().all(|&times| times == 2 || times == 3));
        assert_eq!(seen.values().filter(|&&times| times == 3).count(), 4);
    }

    #[test]
    fn batches_from_a_step_on_are_those_that_follow_it() {
        let images = ImageSet::new([1, 1, 1], (0..10).collect(), vec![0; 10], 1).unwrap();
        let (client, train) = (ClientName::new("a").unwrap(), (0..10).collect::<Vec<u32>>());
        let shard = Shard { client: &client, images: &images, train: &train };
        let streams = Streams::of_client(1, 1, "a");
        // 4 does not divide 10, 5 does, 25 is more than there are.
        for batch_size in [4, 5, 25] {
            let mut sequence = Batches::from_step(&shard, &streams, batch_size, 0);
            for step in 0..7 {
                let batch = Batches::from_step(&shard, &streams, batch_size, step).next_batch();
                assert_eq!(batch, sequence.next_batch(), "step {step} by {batch_size}");
            }
        }
    }
}
