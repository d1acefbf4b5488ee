//! Images of the same person, which stay together: whoever hides, deals or holds out a person does so with all their images.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of a person, as the data set has it. It never leaves the machine and is never shown.
pub type Person = Arc<str>;

/// `images` grouped by person, in the order in which each person comes first; `of` has the person of each image of the set.
///
/// # Panics
/// When an image is not below the length of `of`.
pub fn by_person(images: &[u32], of: &[Person]) -> Vec<Vec<u32>> {
    let mut groups = Vec::<Vec<u32>>::new();
    let mut places = BTreeMap::<&str, usize>::new();
    for &image in images {
        let place = *places.entry(&of[image as usize]).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(image),
            None => groups.push(vec![image]),
        }
    }
    groups
}

/// The class that most of these `images` have; of several the first.
///
/// # Panics
/// When an image is not below the number of labels.
pub fn most_frequent_class(images: &[u32], labels: &[u8]) -> u8 {
    let mut counts = [0_usize; 256];
    for &image in images {
        counts[usize::from(labels[image as usize])] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or_default();
    counts.iter().position(|&count| count == most).unwrap_or_default() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_grouped_by_person_in_the_order_of_their_first_images() {
        let of: Vec<Person> = ["b", "a", "b", "c", "a"].map(Person::from).into();
        assert_eq!(by_person(&[1, 2, 0, 3], &of), [vec![1], vec![2, 0], vec![3]]);
        assert!(by_person(&[], &of).is_empty());
    }

    #[test]
    fn the_class_of_a_person_is_that_of_most_images() {
        let labels = [3, 1, 1, 3, 0];
        assert_eq!([most_frequent_class(&[0, 1, 2], &labels), most_frequent_class(&[0, 1], &labels)], [1, 1]);
        assert_eq!(most_frequent_class(&[0, 3, 4], &labels), 3);
    }
}
