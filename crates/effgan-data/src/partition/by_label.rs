//! Each client has only a few classes, in the spirit of the pathological split of `McMahan` et al. 2017 (arXiv:1602.05629).
//!
//! There, images are sorted by label and cut into two shards per client, so that most clients have two classes. Here, each client
//! has exactly `classes_per_client` different classes, and all classes are used as evenly as possible.

use super::{CommonKeys, even_parts, images_by_class};
use crate::DataError;
use rand::{Rng, seq::SliceRandom};
use serde::{Deserialize, Serialize};

/// `kind = "by-label"`: each client has `classes_per_client` classes, and each class is split evenly among its clients.
///
/// With m clients of c classes each and k classes among the images, every class has ⌊mc/k⌋ or ⌈mc/k⌉ clients. The combinations of
/// classes are random. If a class has fewer images than clients, some of them get no image of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByLabel {
    /// Number of different classes per client, at least 1 and at most the number of classes among the images.
    pub classes_per_client: usize,
    /// The keys that all kinds share.
    #[serde(flatten)]
    pub common: CommonKeys,
}

impl ByLabel {
    /// Checks everything that can be checked without images.
    pub(super) fn check(&self) -> Result<(), DataError> {
        if self.classes_per_client == 0 {
            return Err(DataError::Zero { key: "partition.classes_per_client" });
        }
        Ok(())
    }

    /// Assigns images to clients.
    ///
    /// # Errors
    /// [`DataError::ClassesPerClient`] when a client cannot have that many different classes, and [`DataError::UnheldClass`] when
    /// all clients together cannot have every class.
    pub(super) fn assign<R: Rng + ?Sized>(&self, labels: &[u8], rng: &mut R) -> Result<Vec<Vec<u32>>, DataError> {
        let mut classes = images_by_class((0..).take(labels.len()), labels);
        classes.retain(|images| !images.is_empty());
        self.check_classes(classes.len())?;
        let holders = self.draw_holders(classes.len(), rng);
        let mut assigned = vec![Vec::new(); self.common.clients];
        for (images, holders) in classes.iter_mut().zip(&holders) {
            images.shuffle(rng);
            for (part, &client) in even_parts(images, holders.len()).zip(holders) {
                assigned[client].extend_from_slice(part);
            }
        }
        Ok(assigned)
    }

    fn check_classes(&self, num_present: usize) -> Result<(), DataError> {
        let Self { classes_per_client, common: CommonKeys { clients, .. } } = *self;
        if classes_per_client > num_present {
            return Err(DataError::ClassesPerClient { classes_per_client, num_present });
        }
        if clients * classes_per_client < num_present {
            return Err(DataError::UnheldClass { clients, classes_per_client, num_present });
        }
        Ok(())
    }

    /// Draws the clients of each class.
    ///
    /// Classes are drawn like cards from one shuffled deck after the other, so that the numbers of clients of any two classes
    /// differ by at most one. Clients draw in random order, because consecutive ones share a deck, and clients with adjacent
    /// names should not.
    fn draw_holders<R: Rng + ?Sized>(&self, num_classes: usize, rng: &mut R) -> Vec<Vec<usize>> {
        let mut clients: Vec<usize> = (0..self.common.clients).collect();
        clients.shuffle(rng);
        let mut deck = Vec::new();
        let mut holders = vec![Vec::new(); num_classes];
        for client in clients {
            for class in draw_hand(&mut deck, self.classes_per_client, num_classes, rng) {
                holders[class].push(client);
            }
        }
        holders
    }
}

/// Draws `size` different classes from the top of the deck; a deck that runs out is followed by a fresh one.
fn draw_hand<R: Rng + ?Sized>(deck: &mut Vec<usize>, size: usize, num_classes: usize, rng: &mut R) -> Vec<usize> {
    let mut hand = deck.split_off(deck.len().saturating_sub(size));
    if hand.len() < size {
        deck.extend(0..num_classes);
        deck.shuffle(rng);
        // Classes that are already drawn move to the bottom of the fresh deck, which has enough others.
        deck.sort_by_key(|class| !hand.contains(class));
        let missing = size - hand.len();
        hand.extend(deck.split_off(deck.len() - missing));
        deck.shuffle(rng);
    }
    hand
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use std::collections::BTreeSet;

    fn by_label(classes_per_client: usize, clients: usize) -> ByLabel {
        ByLabel { classes_per_client, common: CommonKeys::of(clients) }
    }

    fn labels(num_images: usize) -> Vec<u8> {
        (0..num_images).map(|i| (i % 10) as u8).collect()
    }

    fn classes_of(images: &[u32]) -> BTreeSet<u32> {
        images.iter().map(|image| image % 10).collect()
    }

    #[test]
    fn each_client_has_its_number_of_classes_and_classes_are_used_evenly() {
        for (classes_per_client, clients) in [(1, 10), (2, 5), (2, 7), (3, 4), (3, 50), (7, 9), (10, 3)] {
            let mut rng = ChaCha8Rng::seed_from_u64(clients as u64);
            let assigned = by_label(classes_per_client, clients).assign(&labels(1000), &mut rng).unwrap();
            assert!(assigned.iter().all(|images| classes_of(images).len() == classes_per_client));
            let hands = clients * classes_per_client;
            for class in 0..10 {
                let holders = assigned.iter().filter(|images| classes_of(images).contains(&class)).count();
                assert!((hands / 10..=hands.div_ceil(10)).contains(&holders), "class {class} has {holders} holders");
            }
        }
    }

    #[test]
    fn clients_of_a_class_get_equally_many_images_of_it() {
        let assigned = by_label(2, 10).assign(&labels(1000), &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        assert!(assigned.iter().all(|images| images.len() == 100));
    }

    #[test]
    fn combinations_of_classes_depend_on_the_random_generator() {
        let pairs = |seed| -> BTreeSet<BTreeSet<u32>> {
            let assigned = by_label(2, 5).assign(&labels(100), &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            assigned.iter().map(|images| classes_of(images)).collect()
        };
        assert_eq!(pairs(0), pairs(0));
        assert_ne!(pairs(0), pairs(1));
    }

    #[test]
    fn classes_without_images_are_not_assigned() {
        let assigned = by_label(1, 2).assign(&[3, 200, 3, 200], &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        assert!(assigned.iter().all(|images| images.len() == 2));
    }

    #[test]
    fn more_classes_than_there_are_is_an_error() {
        let error = by_label(11, 5).assign(&labels(100), &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err();
        let message =
            "partition.classes_per_client = 11 must be from 1 to 10, the number of classes among the assigned images";
        assert_eq!(error.to_string(), message);
        let error = by_label(0, 5).check().unwrap_err();
        assert_eq!(error.to_string(), "partition.classes_per_client = 0 must be at least 1");
    }

    #[test]
    fn a_class_without_a_client_is_an_error() {
        let error = by_label(2, 4).assign(&labels(100), &mut ChaCha8Rng::seed_from_u64(0)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "4 clients with classes_per_client = 2 hold at most 8 of the 10 classes among the assigned images; \
             raise clients or classes_per_client"
        );
    }
}
