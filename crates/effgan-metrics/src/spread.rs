//! How much images differ from one another, whatever they show.

/// The spread of u8 `images`, all of the same length, in grey levels: the root of the mean over the values of an image of their
/// variance across the images. 0 for images that are all equal, 128 at most. `None` for fewer than two images.
///
/// Its square is half the mean squared difference of two values of two different images. Sums are whole numbers, so that the order
/// of the images does not matter.
///
/// # Panics
/// When the images differ in length.
pub fn spread<'a>(images: impl IntoIterator<Item = &'a [u8]>) -> Option<f64> {
    let mut images = images.into_iter();
    let first = images.next()?;
    let mut sums: Vec<[u64; 2]> = first.iter().map(|&value| with_square(value)).collect();
    let mut n = 1_u64;
    for image in images {
        assert_eq!(image.len(), sums.len(), "all images have the same length");
        for ([sum, squares], [value, square]) in sums.iter_mut().zip(image.iter().map(|&value| with_square(value))) {
            *sum += value;
            *squares += square;
        }
        n += 1;
    }
    // n Σx² − (Σx)² is n (n − 1) times the unbiased variance.
    let of_value = |[sum, squares]: [u64; 2]| u128::from(n) * u128::from(squares) - u128::from(sum).pow(2);
    let total: u128 = sums.iter().copied().map(of_value).sum();
    (n > 1).then(|| (total as f64 / (n * (n - 1)) as f64 / sums.len() as f64).sqrt())
}

fn with_square(value: u8) -> [u64; 2] {
    [u64::from(value), u64::from(value).pow(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_images_of_two_values_by_hand() {
        // The variances are ((0 − 20)² + 0 + 20²) / 2 = 400 and 0.
        let images = [[0, 7], [20, 7], [40, 7]];
        let near = (200.0_f64).sqrt();
        for order in [[0, 1, 2], [2, 0, 1]] {
            assert_eq!(spread(order.map(|i| &images[i][..])), Some(near));
        }
    }

    #[test]
    fn equal_images_have_none_and_one_image_has_no_number() {
        assert_eq!(spread([[9; 12]; 5].iter().map(|image| &image[..])), Some(0.0));
        assert_eq!(spread([&[1, 2, 3][..]]), None);
        assert_eq!(spread([]), None);
    }

    #[test]
    fn half_black_and_half_white_is_the_largest() {
        let images: Vec<[u8; 4]> = (0..1000).map(|i| [if i % 2 == 0 { 0 } else { 255 }; 4]).collect();
        let spread = spread(images.iter().map(|image| &image[..])).unwrap();
        // 127.5 of all images; of n = 1000 of them, √(n / (n − 1)) times that.
        assert!((spread - 127.5 * (1000.0_f64 / 999.0).sqrt()).abs() < 1e-9, "{spread}");
    }
}
