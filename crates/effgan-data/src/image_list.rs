//! Images in memory that may have different shapes.

use crate::resize;
use std::borrow::Cow;

/// Images in order, each of its own shape `[c, h, w]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageList<'a> {
    /// Images of one shape that follow each other, u8 `[n, c, h, w]`.
    parts: Vec<(Cow<'a, [u8]>, [usize; 3])>,
}

impl<'a> ImageList<'a> {
    /// Images u8 `[n, c, h, w]` of one shape `[c, h, w]`.
    ///
    /// # Panics
    /// When `pixels` is not a whole number of images, or an image has no pixels.
    pub fn of_one_shape(pixels: impl Into<Cow<'a, [u8]>>, shape: [usize; 3]) -> Self {
        Self::of_parts(vec![(pixels.into(), shape)])
    }

    /// Images `[c, h, w]` with their shapes.
    pub(crate) fn of_each(images: impl IntoIterator<Item = (Vec<u8>, [usize; 3])>) -> Self {
        Self::of_parts(images.into_iter().map(|(pixels, shape)| (pixels.into(), shape)).collect())
    }

    fn of_parts(parts: Vec<(Cow<'a, [u8]>, [usize; 3])>) -> Self {
        for (pixels, shape) in &parts {
            let len = image_len(*shape);
            assert!(len > 0 && pixels.len().is_multiple_of(len), "there is a whole number of images");
        }
        Self { parts }
    }

    /// The pixels `[c, h, w]` and the shape of each image.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], [usize; 3])> {
        self.parts
            .iter()
            .flat_map(|(pixels, shape)| pixels.chunks_exact(image_len(*shape)).map(|image| (image, *shape)))
    }

    /// The images, each converted to the shape `to` by the rule of [`resize`]: u8 `[n, c, h, w]`.
    ///
    /// # Panics
    /// As [`resize::fit`].
    pub fn fit(&self, to: [usize; 3]) -> Cow<'_, [u8]> {
        match &self.parts[..] {
            [(pixels, shape)] => resize::fit(pixels, *shape, to),
            _ => resize::fit_each(&self.iter().collect::<Vec<_>>(), to).into(),
        }
    }
}

fn image_len(shape: [usize; 3]) -> usize {
    shape.iter().product()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_is_fitted_as_it_would_be_alone() {
        let images = [(vec![9; 4], [1, 2, 2]), ((0..27).collect(), [3, 3, 3]), ((0..15).collect(), [1, 3, 5])];
        let list = ImageList::of_each(images.clone());
        assert_eq!(list.iter().map(|(image, shape)| (image.to_vec(), shape)).collect::<Vec<_>>(), images);
        for to in [[1, 2, 2], [3, 4, 4]] {
            let alone: Vec<u8> =
                images.iter().flat_map(|(image, from)| resize::fit(image, *from, to).into_owned()).collect();
            assert_eq!(*list.fit(to), alone, "{to:?}");
        }
    }

    #[test]
    fn images_of_one_shape_that_fits_are_not_copied() {
        let pixels = [1, 2, 3, 4];
        let list = ImageList::of_one_shape(&pixels[..], [1, 1, 2]);
        assert_eq!(list.iter().collect::<Vec<_>>(), [(&[1, 2][..], [1, 1, 2]), (&[3, 4], [1, 1, 2])]);
        assert!(matches!(list.fit([1, 1, 2]), Cow::Borrowed(same) if same.as_ptr() == pixels.as_ptr()));
    }
}
