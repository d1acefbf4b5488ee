//! How images lie in an array, by its shape.

/// The layout of images in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArrayLayout {
    /// Number of images, ≥ 1.
    pub num: usize,
    /// `[c, h, w]` of each image, c = 1 or 3.
    pub shape: [usize; 3],
    /// Whether an array has the channels of a pixel beside each other, `[n, h, w, c]`.
    channels_last: bool,
}

impl ArrayLayout {
    /// The layout of an array of this `shape`: `[n, h, w]`, `[n, c, h, w]` or `[n, h, w, c]` with c = 1 or 3.
    ///
    /// # Errors
    /// The reason why these are not images, or not clearly so, with the shape; to be put behind the name of the array.
    pub fn of(shape: &[usize]) -> Result<Self, String> {
        if shape.contains(&0) {
            return Err(format!("holds no images, its shape is {shape:?}"));
        }
        let is_channels = |size: usize| matches!(size, 1 | 3);
        match *shape {
            [num, h, w] => Ok(Self { num, shape: [1, h, w], channels_last: false }),
            [num, a, b, c] => match [a, c].map(is_channels) {
                [true, false] => Ok(Self { num, shape: [a, b, c], channels_last: false }),
                [false, true] => Ok(Self { num, shape: [c, a, b], channels_last: true }),
                [true, true] => Err(format!(
                    "has shape {shape:?}, of which both {a} and {c} may be the channels; save images of another size, or grey ones as [n, h, w]"
                )),
                [false, false] => Err(format!(
                    "has shape {shape:?}, expected [n, c, h, w] or [n, h, w, c] with c = 1 (grey) or 3 (red, green, blue)"
                )),
            },
            _ => Err(format!("has shape {shape:?}, expected [n, h, w], [n, c, h, w] or [n, h, w, c]")),
        }
    }

    /// The `pixels` of an array of this layout as `[n, c, h, w]`.
    ///
    /// # Panics
    /// When they are not a whole number of images.
    pub fn channels_first(self, mut pixels: Vec<u8>) -> Vec<u8> {
        let [c, h, w] = self.shape;
        assert!(pixels.len().is_multiple_of(c * h * w), "there is a whole number of images");
        if !self.channels_last || c == 1 {
            return pixels;
        }
        let mut planes = Vec::with_capacity(h * w * c);
        for image in pixels.chunks_exact_mut(h * w * c) {
            planes.extend((0..c).flat_map(|channel| image.iter().skip(channel).step_by(c)));
            image.copy_from_slice(&planes);
            planes.clear();
        }
        pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_follows_from_the_shape_where_that_is_clear() {
        let of = |shape: &[usize]| ArrayLayout::of(shape).map(|layout| (layout.num, layout.shape));
        for (shape, expected) in [
            (&[9, 28, 20][..], (9, [1, 28, 20])),
            (&[9, 1, 28, 20], (9, [1, 28, 20])),
            (&[9, 3, 28, 20], (9, [3, 28, 20])),
            (&[9, 28, 20, 1], (9, [1, 28, 20])),
            (&[9, 28, 20, 3], (9, [3, 28, 20])),
        ] {
            assert_eq!(of(shape), Ok(expected), "{shape:?}");
        }
        for (shape, said) in [
            (&[9, 3, 28, 3][..], "both 3 and 3 may be the channels"),
            (&[9, 1, 28, 3], "both 1 and 3 may be the channels"),
            (&[9, 2, 28, 28], "with c = 1 (grey) or 3"),
            (&[28, 28], "expected [n, h, w], [n, c, h, w] or [n, h, w, c]"),
            (&[9, 0, 28], "holds no images"),
        ] {
            assert!(of(shape).unwrap_err().contains(said), "{shape:?}");
        }
    }

    #[test]
    fn pixels_with_their_channels_beside_each_other_become_planes() {
        let pixels: Vec<u8> = (0..24).collect();
        // By NumPy: np.arange(24).reshape(2, 2, 2, 3).transpose(0, 3, 1, 2).ravel().
        let planes = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11, 12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23];
        assert_eq!(ArrayLayout::of(&[2, 2, 2, 3]).unwrap().channels_first(pixels.clone()), planes);
        assert_eq!(ArrayLayout::of(&[2, 3, 2, 2]).unwrap().channels_first(pixels.clone()), pixels);
    }
}
