//! The test split of data sets that have none, and the order of images.
//!
//! Both depend on labels and order alone, never on a seed: the test split is part of the data set, and no seed may influence what
//! a score compares with.

use crate::persons::{Person, by_person, most_frequent_class};

/// Whether each image belongs to the test split, which has the tenth, twentieth, … image of each class in the given order.
pub(super) fn every_tenth(labels: &[u8]) -> Vec<bool> {
    let mut seen = [0_usize; 256];
    let is_tenth = |&label: &u8| {
        let count = &mut seen[usize::from(label)];
        *count += 1;
        count.is_multiple_of(10)
    };
    labels.iter().map(is_tenth).collect()
}

/// The same where the images are of `persons`: every tenth person of each class is one of the test split, with all images. A person is of the
/// class that most of these have, and comes where the first of them does.
pub(super) fn every_tenth_person(labels: &[u8], persons: &[Person]) -> Vec<bool> {
    let all: Vec<u32> = (0..labels.len() as u32).collect();
    let groups = by_person(&all, persons);
    let classes: Vec<u8> = groups.iter().map(|images| most_frequent_class(images, labels)).collect();
    let mut is_test = vec![false; labels.len()];
    for (images, is_tenth) in groups.iter().zip(every_tenth(&classes)) {
        for &image in images {
            is_test[image as usize] = is_tenth;
        }
    }
    is_test
}

/// An order of the images that interleaves the classes, so that the first n images have the overall mix of classes, for any n.
///
/// Image k of a class of m images has the position (k + ½) / m; of equal positions, the smaller label comes first.
pub(super) fn interleaved(labels: &[u8]) -> Vec<usize> {
    let mut sizes = [0_u64; 256];
    let mut ranks = Vec::with_capacity(labels.len());
    for &label in labels {
        ranks.push(sizes[usize::from(label)]);
        sizes[usize::from(label)] += 1;
    }
    let mut order: Vec<usize> = (0..labels.len()).collect();
    let size = |i: usize| sizes[usize::from(labels[i])];
    order.sort_by(|&a, &b| {
        let by_position = ((2 * ranks[a] + 1) * size(b)).cmp(&((2 * ranks[b] + 1) * size(a)));
        by_position.then(labels[a].cmp(&labels[b]))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_image_of_each_class_is_test() {
        let labels: Vec<u8> = (0..45).map(|i| i % 2).collect();
        let test: Vec<usize> = every_tenth(&labels).iter().enumerate().filter_map(|(i, &t)| t.then_some(i)).collect();
        // Of 23 and 22 images: the tenth and the twentieth.
        assert_eq!(test, [18, 19, 38, 39]);
        assert!(every_tenth(&[3; 9]).iter().all(|test| !test));
    }

    #[test]
    fn a_person_is_a_test_person_with_all_images() {
        // 20 persons with two images each; of the last one there are images of both classes.
        let labels: Vec<u8> = (0..40).map(|i| u8::from(i == 39)).collect();
        let persons: Vec<Person> = (0..40).map(|i| Person::from((i / 2).to_string())).collect();
        let is_test = every_tenth_person(&labels, &persons);
        let test: Vec<usize> = (0..40).filter(|&i| is_test[i]).collect();
        assert_eq!(test, [18, 19, 38, 39]);
    }

    #[test]
    fn classes_are_interleaved_in_proportion() {
        // Positions: class 0 at 1/8, 3/8, 5/8, 7/8; class 1 at 1/4, 3/4.
        assert_eq!(interleaved(&[0, 0, 0, 0, 1, 1]), [0, 4, 1, 2, 5, 3]);
        assert_eq!(interleaved(&[1, 0]), [1, 0]);
        let labels = [vec![0; 300], vec![1; 100], vec![2; 200]].concat();
        for n in [6, 60, 300] {
            let mut counts = [0; 3];
            interleaved(&labels)[..n].iter().for_each(|&i| counts[usize::from(labels[i])] += 1);
            assert_eq!(counts, [n / 2, n / 6, n / 3]);
        }
    }
}
