//! Classes that have numbers instead of names, of which files may leave some out: EMNIST's letters are 1 to 26.

use crate::ImageSet;
use std::collections::BTreeMap;

/// Both splits with labels from 0 upwards, and what these stood for.
pub(super) struct Numbered {
    pub(super) train: ImageSet,
    pub(super) test: ImageSet,
    /// The number of each class in the files, in the order of the labels.
    pub(super) names: Vec<String>,
    /// As [`Dataset::notes`](super::Dataset::notes).
    pub(super) notes: Vec<String>,
}

/// Leaves out the classes that have no training image, and test images of such classes.
pub(super) fn without_empty(train: ImageSet, test: ImageSet) -> Numbered {
    let mut labels: BTreeMap<u8, u8> = train.labels().iter().map(|&number| (number, 0)).collect();
    labels.values_mut().zip(0..).for_each(|(label, position)| *label = position);
    let names: Vec<String> = labels.keys().map(ToString::to_string).collect();
    let is_unknown: Vec<bool> = test.labels().iter().map(|number| !labels.contains_key(number)).collect();
    let (test, unknown) = test.split(&is_unknown);
    let notes = [gaps(&names, train.num_classes()), not_trained(&unknown)].into_iter().flatten().collect();
    let [train, test] = [train, test].map(|split| split.relabelled(names.len(), |number| labels[&number]));
    Numbered { train, test, names, notes }
}

/// A line about numbers below the largest that no image has.
fn gaps(names: &[String], num_classes: usize) -> Option<String> {
    let (first, last) = (names.first()?, names.last()?);
    (names.len() < num_classes).then(|| {
        let (n, missing) = (names.len(), num_classes - names.len());
        format!("labels have {n} values from {first} to {last}; numbers that no training image has are not classes ({missing} of them)")
    })
}

/// A line about test images that are not read.
fn not_trained(unknown: &ImageSet) -> Option<String> {
    let label = unknown.labels().first()?;
    let count = unknown.len();
    Some(format!("{count} test images are of classes without training images, such as {label}, and are not read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One image of one pixel per label, whose value is the label.
    fn set(labels: &[u8], num_classes: usize) -> ImageSet {
        ImageSet::new([1, 1, 1], labels.to_vec(), labels.to_vec(), num_classes).unwrap()
    }

    #[test]
    fn numbers_without_images_are_not_classes() {
        let Numbered { train, test, names, notes } = without_empty(set(&[50, 0, 100], 101), set(&[100, 50], 101));
        assert_eq!((train.labels(), test.labels(), train.num_classes()), (&[1, 0, 2][..], &[2, 1][..], 3));
        assert_eq!((train.pixels(), names), (&[50, 0, 100][..], vec!["0".into(), "50".into(), "100".into()]));
        assert_eq!(
            notes,
            ["labels have 3 values from 0 to 100; numbers that no training image has are not classes (98 of them)"]
        );
    }

    #[test]
    fn labels_that_leave_nothing_out_stay_as_they_are() {
        let Numbered { train, names, notes, .. } = without_empty(set(&[1, 0, 1], 2), set(&[0], 2));
        assert_eq!((train, names.len(), notes.len()), (set(&[1, 0, 1], 2), 2, 0));
    }

    #[test]
    fn test_images_of_a_class_that_is_not_trained_are_left_out_and_said() {
        let Numbered { test, names, notes, .. } = without_empty(set(&[0, 1], 4), set(&[1, 3, 3], 4));
        assert_eq!((test.labels(), names.len()), (&[1][..], 2));
        assert_eq!(notes[1], "2 test images are of classes without training images, such as 3, and are not read");
    }
}
