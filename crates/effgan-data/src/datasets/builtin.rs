//! Data sets inside the binary, so that a first run needs no download.
//!
//! They are ordinary IDX files, made by `assets/<name>/make.py`; their licence is `assets/<name>/LICENSE.md`.

use super::{budget::Budget, idx};
use crate::{DataError, ImageSet};

macro_rules! mnist_mini_file {
    ($file:literal) => {
        idx::IdxFile::in_memory($file, include_bytes!(concat!("../../assets/mnist-mini/", $file)))
    };
}

/// The training split, 10,000 images, and the test split, 2,000 images, of mnist-mini.
pub(super) fn mnist_mini(budget: &mut Budget) -> Result<(ImageSet, ImageSet), DataError> {
    let train = idx::parse_split(
        mnist_mini_file!("train-images-idx3-ubyte.gz"),
        mnist_mini_file!("train-labels-idx1-ubyte.gz"),
        Some(10),
        budget,
    )?;
    let test = idx::parse_split(
        mnist_mini_file!("t10k-images-idx3-ubyte.gz"),
        mnist_mini_file!("t10k-labels-idx1-ubyte.gz"),
        Some(10),
        budget,
    )?;
    Ok((train, test))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_counts(images: &ImageSet) -> [usize; 10] {
        let mut counts = [0; 10];
        for &label in images.labels() {
            counts[usize::from(label)] += 1;
        }
        counts
    }

    #[test]
    fn mnist_mini_has_equally_many_images_of_each_class() {
        let (train, test) = mnist_mini(&mut Budget::as_they_are()).unwrap();
        assert_eq!((train.shape(), test.shape()), ([1, 28, 28], [1, 28, 28]));
        assert_eq!(class_counts(&train), [1000; 10]);
        assert_eq!(class_counts(&test), [200; 10]);
    }

    #[test]
    fn mnist_mini_begins_like_mnist() {
        // The first labels of MNIST's files, which many tutorials show.
        let (train, test) = mnist_mini(&mut Budget::as_they_are()).unwrap();
        assert_eq!(train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
        assert_eq!(test.labels()[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    }
}
