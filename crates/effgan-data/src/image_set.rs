//! Images as files store them: bytes, in order, each with a label.

use crate::{DataError, Person, resize};

/// Images `[n, c, h, w]`, u8 in 0..=255, with one label each.
///
/// Labels are below `num_classes`. Partitions and measures of heterogeneity use them; of the networks only conditional ones see them.
/// Where the data set names persons, each image has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u8>,
    num_classes: usize,
    /// The person of each image, `[n]`; `None` where the data set names none.
    persons: Option<Vec<Person>>,
}

impl ImageSet {
    /// `labels.len()` images of `shape` (channels, height, width), with the pixels of one image after the other.
    ///
    /// # Errors
    /// [`DataError::ImageShape`], [`DataError::NumClasses`] and [`DataError::TooManyImages`] for sizes out of range,
    /// [`DataError::PixelCount`] when the pixels do not fill the images, [`DataError::Label`] for a label that is not below `num_classes`.
    pub fn new(shape: [usize; 3], pixels: Vec<u8>, labels: Vec<u8>, num_classes: usize) -> Result<Self, DataError> {
        let image_len = shape.iter().try_fold(1, |len: usize, &side| len.checked_mul(side));
        let Some(image_len) = image_len.filter(|&len| len > 0) else {
            return Err(DataError::ImageShape { shape });
        };
        if !(1..=256).contains(&num_classes) {
            return Err(DataError::NumClasses { num_classes });
        }
        if u32::try_from(labels.len()).is_err() {
            return Err(DataError::TooManyImages { num_images: labels.len() });
        }
        if labels.len().checked_mul(image_len) != Some(pixels.len()) {
            return Err(DataError::PixelCount { num_images: labels.len(), shape, got: pixels.len() });
        }
        match labels.iter().position(|&label| usize::from(label) >= num_classes) {
            Some(image) => Err(DataError::Label { image, label: labels[image], num_classes }),
            None => Ok(Self { shape, pixels, labels, num_classes, persons: None }),
        }
    }

    /// Number of images n, below 2³².
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Channels, height and width of each image, all at least 1.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of classes, 1..=256; some may have no image.
    pub fn num_classes(&self) -> usize {
        self.num_classes
    }

    /// All pixels, `[n, c, h, w]` row by row.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All labels, `[n]`, each below [`num_classes`](Self::num_classes).
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The person of each image, `[n]`; `None` where the data set names none.
    pub fn persons(&self) -> Option<&[Person]> {
        self.persons.as_deref()
    }

    /// The same images, of these persons.
    ///
    /// # Panics
    /// When there is not one person for each image.
    #[must_use]
    pub fn of_persons(self, persons: Vec<Person>) -> Self {
        assert!(persons.len() == self.len(), "one person per image");
        Self { persons: Some(persons), ..self }
    }

    /// Pixels of image `i`, `[c, h, w]`.
    ///
    /// # Panics
    /// When `i` is not below [`len`](Self::len).
    pub fn image(&self, i: usize) -> &[u8] {
        let image_len = self.image_len();
        &self.pixels[i * image_len..(i + 1) * image_len]
    }

    /// The first `n` images, or all of them when there are fewer.
    #[must_use]
    pub fn first(&self, n: usize) -> Self {
        let n = n.min(self.len());
        Self {
            pixels: self.pixels[..n * self.image_len()].to_vec(),
            labels: self.labels[..n].to_vec(),
            persons: self.persons.as_ref().map(|persons| persons[..n].to_vec()),
            ..*self
        }
    }

    /// Splits into the images for which `is_second` is false and those for which it is true, each in their order. The former stay
    /// in the same allocation.
    ///
    /// # Panics
    /// When `is_second` does not have one value per image.
    #[must_use]
    pub(crate) fn split(mut self, is_second: &[bool]) -> (Self, Self) {
        assert!(is_second.len() == self.len(), "one value per image");
        let (len, num_second) = (self.image_len(), is_second.iter().filter(|&&is_second| is_second).count());
        let (mut pixels, mut labels) = (Vec::with_capacity(num_second * len), Vec::with_capacity(num_second));
        let mut kept = 0;
        for (i, &is_second) in is_second.iter().enumerate() {
            if is_second {
                pixels.extend_from_slice(self.image(i));
                labels.push(self.labels[i]);
            } else {
                self.pixels.copy_within(i * len..(i + 1) * len, kept * len);
                self.labels[kept] = self.labels[i];
                kept += 1;
            }
        }
        self.pixels.truncate(kept * len);
        self.labels.truncate(kept);
        let persons = |second: bool| {
            let persons = self.persons.as_ref()?.iter().zip(is_second);
            Some(persons.filter(|(_, is_second)| **is_second == second).map(|(person, _)| person.clone()).collect())
        };
        let (first_persons, second_persons) = (persons(false), persons(true));
        let second = Self { pixels, labels, persons: second_persons, ..self };
        (Self { persons: first_persons, ..self }, second)
    }

    /// The same images with `num_classes` classes, at least as many as now.
    #[must_use]
    pub(crate) fn of_classes(self, num_classes: usize) -> Self {
        assert!((self.num_classes..=256).contains(&num_classes), "classes are only added");
        Self { num_classes, ..self }
    }

    /// The same images with the labels `new(label)`, all below `num_classes`.
    #[must_use]
    pub(crate) fn relabelled(self, num_classes: usize, new: impl Fn(u8) -> u8) -> Self {
        let labels: Vec<u8> = self.labels.into_iter().map(new).collect();
        assert!(labels.iter().all(|&label| usize::from(label) < num_classes), "labels are below the number of classes");
        Self { labels, num_classes, ..self }
    }

    /// The images converted to `size` pixels per side and to `channels` channels by [`resize`]; `None` leaves either unchanged.
    #[must_use]
    pub(crate) fn fitted(self, size: Option<usize>, channels: Option<usize>) -> Self {
        let [c, h, w] = self.shape;
        let (h, w) = size.map_or((h, w), |size| (size, size));
        let shape = [channels.unwrap_or(c), h, w];
        if shape == self.shape {
            return self;
        }
        Self { pixels: resize::fit(&self.pixels, self.shape, shape).into_owned(), shape, ..self }
    }

    /// The same images with rows and columns exchanged.
    #[must_use]
    pub(crate) fn transposed(mut self) -> Self {
        let [c, h, w] = self.shape;
        let mut plane = Vec::with_capacity(h * w);
        for pixels in self.pixels.chunks_exact_mut(h * w) {
            plane.extend((0..w).flat_map(|x| pixels.iter().skip(x).step_by(w)));
            pixels.copy_from_slice(&plane);
            plane.clear();
        }
        Self { shape: [c, w, h], ..self }
    }

    fn image_len(&self) -> usize {
        self.shape.iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three_images() -> ImageSet {
        ImageSet::new([1, 1, 2], vec![0, 1, 2, 3, 4, 5], vec![1, 0, 1], 2).unwrap()
    }

    fn message(result: Result<ImageSet, DataError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn an_image_is_a_slice_of_the_pixels() {
        let images = three_images();
        assert_eq!((images.len(), images.is_empty()), (3, false));
        assert_eq!(images.image(1), [2, 3]);
        assert_eq!(images.pixels().len(), 6);
    }

    #[test]
    fn first_clamps_to_all_images() {
        let images = three_images();
        assert_eq!(images.first(2), ImageSet::new([1, 1, 2], vec![0, 1, 2, 3], vec![1, 0], 2).unwrap());
        assert_eq!(images.first(9), images);
        assert!(images.first(0).is_empty());
    }

    #[test]
    fn persons_go_with_their_images() {
        let persons = |names: &[&str]| -> Vec<Person> { names.iter().map(|name| Person::from(*name)).collect() };
        let images = three_images().of_persons(persons(&["p", "q", "p"]));
        assert_eq!(images.first(2).persons(), Some(&persons(&["p", "q"])[..]));
        let (first, second) = images.split(&[true, false, false]);
        assert_eq!(first.persons(), Some(&persons(&["q", "p"])[..]));
        assert_eq!(second.persons(), Some(&persons(&["p"])[..]));
        assert_eq!(three_images().split(&[true, false, false]).1.persons(), None);
    }

    #[test]
    fn rows_and_columns_are_exchanged_in_each_channel() {
        // 0 1 2 / 3 4 5 becomes 0 3 / 1 4 / 2 5.
        let images = ImageSet::new([2, 2, 3], (0..24).collect(), vec![0, 0], 1).unwrap().transposed();
        assert_eq!(images.shape(), [2, 3, 2]);
        assert_eq!(images.image(1), [12, 15, 13, 16, 14, 17, 18, 21, 19, 22, 20, 23]);
        assert_eq!(images.clone().transposed().pixels(), (0..24).collect::<Vec<u8>>());
    }

    #[test]
    fn pixels_must_fill_the_images() {
        assert_eq!(
            message(ImageSet::new([1, 1, 2], vec![0; 5], vec![0, 1], 2)),
            "expected 2 images of shape [1, 1, 2], one per label, got 5 pixels in all"
        );
    }

    #[test]
    fn label_must_be_a_class() {
        assert_eq!(
            message(ImageSet::new([1, 1, 1], vec![0; 2], vec![0, 7], 2)),
            "image 1 has label 7, which is not below num_classes = 2"
        );
    }

    #[test]
    fn empty_or_enormous_shapes_are_errors() {
        for shape in [[1, 0, 28], [usize::MAX, 2, 2]] {
            let result = ImageSet::new(shape, vec![], vec![], 2);
            assert!(matches!(result, Err(DataError::ImageShape { .. })), "{shape:?}");
        }
        assert!(matches!(ImageSet::new([1, 1, 1], vec![], vec![], 257), Err(DataError::NumClasses { .. })));
    }
}
