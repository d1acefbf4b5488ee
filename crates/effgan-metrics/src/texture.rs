//! Features of an image's texture, independent of its contents: a generator whose parameters are noise or far too large draws
//! another texture than a trained one, for any data set and any classes. (Under label skew, features of a classifier differ more
//! between honest members than between honest ones and noise.)

/// Scales at which roughness is measured: windows of 1, 2, 4 and 8 pixels.
const SCALES: usize = 4;
/// Keeps logarithms finite for constant images, and for images of only black and white.
const OFFSET: f64 = 0.01;

/// Texture features of u8 `images` `[n, c, h, w]` of `shape` `[c, h, w]`: `[n, d]` row-major, and d, which depends on the shape
/// and is 4 from 16 × 16 pixels on.
///
/// With x the grey values in −1..1, the features are log(0.01 + r₁) − log(0.01 + r₀) and so on, where rₛ is the mean absolute
/// difference of neighbours, vertically and horizontally, after averaging 2 × 2 pixels s times; and log(0.01 + mean(1 − x²)),
/// which is low when all pixels are black or white.
pub fn textures(images: &[u8], shape: [usize; 3]) -> (Vec<f32>, usize) {
    let len: usize = shape.iter().product();
    let features: Vec<Vec<f32>> = images.chunks_exact(len).map(|image| texture(image, shape)).collect();
    (features.concat(), dim(shape))
}

fn dim([_, height, width]: [usize; 3]) -> usize {
    (0..SCALES).filter(|scale| height.min(width) >> scale >= 2).count().max(1)
}

fn texture(image: &[u8], [_, height, width]: [usize; 3]) -> Vec<f32> {
    let mut grey = Grey::of(image, height, width);
    let between = grey.pixels.iter().map(|x| 1.0 - x * x).sum::<f64>() / grey.pixels.len() as f64;
    let mut roughness = Vec::new();
    while roughness.len() < SCALES && grey.height.min(grey.width) >= 2 {
        roughness.push((OFFSET + grey.roughness()).ln());
        grey = grey.halved();
    }
    let steps = roughness.windows(2).map(|pair| pair[1] - pair[0]);
    steps.chain([(OFFSET + between).ln()]).map(|feature| feature as f32).collect()
}

/// A grey image with pixels in −1..1.
struct Grey {
    height: usize,
    width: usize,
    pixels: Vec<f64>,
}

impl Grey {
    /// The mean over the channels of `image`.
    fn of(image: &[u8], height: usize, width: usize) -> Self {
        let channels = image.len() / (height * width);
        let mean = |pixel: usize| {
            let sum: f64 = image.iter().skip(pixel).step_by(height * width).map(|&value| f64::from(value)).sum();
            sum / channels as f64 / 127.5 - 1.0
        };
        Self { height, width, pixels: (0..height * width).map(mean).collect() }
    }

    /// Mean absolute difference of vertical neighbours, plus that of horizontal neighbours.
    fn roughness(&self) -> f64 {
        let rows = || self.pixels.chunks_exact(self.width);
        let down: f64 = rows().zip(rows().skip(1)).flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs()).sum();
        let across: f64 = rows().flat_map(|row| row.windows(2)).map(|pair| (pair[0] - pair[1]).abs()).sum();
        let (height, width) = (self.height as f64, self.width as f64);
        down / ((height - 1.0) * width) + across / (height * (width - 1.0))
    }

    /// Averages of 2 × 2 pixels; an odd row or column at the end is left out.
    fn halved(&self) -> Self {
        let (height, width) = (self.height / 2, self.width / 2);
        let mean = |i: usize| {
            let first = 2 * (i / width) * self.width + 2 * (i % width);
            let square = [first, first + 1, first + self.width, first + self.width + 1];
            square.map(|at| self.pixels[at]).iter().sum::<f64>() / 4.0
        };
        Self { height, width, pixels: (0..height * width).map(mean).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(ours: &[f32], by_hand: &[f64]) {
        assert_eq!(ours.len(), by_hand.len());
        for (ours, by_hand) in ours.iter().zip(by_hand) {
            // An f32 of a number below 10.
            assert!((f64::from(*ours) - by_hand).abs() < 1e-6, "{ours}, by hand {by_hand}");
        }
    }

    #[test]
    fn a_chess_board_by_hand() {
        // Neighbours differ by 2 in both directions, averages of four not at all; all is black or white.
        let board: Vec<u8> = (0..16).map(|i| if (i / 4 + i % 4) % 2 == 0 { 255 } else { 0 }).collect();
        let (features, dim) = textures(&board, [1, 4, 4]);
        assert_eq!(dim, 2);
        assert_near(&features, &[0.01_f64.ln() - 4.01_f64.ln(), 0.01_f64.ln()]);
    }

    #[test]
    fn halves_by_hand() {
        // The left half is black, the right one white: of 3 pairs across one differs by 2, at the next scale the only one.
        let halves: Vec<u8> = (0..16).map(|i| if i % 4 < 2 { 0 } else { 255 }).collect();
        let (features, _) = textures(&halves, [1, 4, 4]);
        assert_near(&features, &[2.01_f64.ln() - (0.01_f64 + 2.0 / 3.0).ln(), 0.01_f64.ln()]);
    }

    #[test]
    fn colours_are_averaged_and_images_are_independent() {
        let images = [[0; 16], [255; 16], [127; 16], [128; 16]].concat();
        let (features, dim) = textures(&images, [2, 4, 4]);
        // Both images are an even grey, 127.5 of 255.
        assert_eq!((dim, &features[..2]), (2, &features[2..]));
        assert_near(&features[..2], &[0.0, 1.01_f64.ln()]);
    }

    #[test]
    fn there_are_four_features_from_16_pixels_a_side_on() {
        for (side, expected) in [(1, 1), (2, 1), (4, 2), (8, 3), (15, 3), (16, 4), (28, 4), (64, 4)] {
            let (features, dim) = textures(&vec![7; side * side * 3], [3, side, side]);
            assert_eq!((dim, features.len()), (expected, expected), "{side}");
        }
    }
}
