//! Resizing images to the 299 × 299 pixels of Inception. FID changes by several points with the method (Parmar et al. 2022,
//! arXiv:2104.11222), so each method here reproduces one package digit by digit.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use effgan_nn::networks::INCEPTION_SIDE as SIDE;
use serde::{Deserialize, Serialize};

/// The package whose resizing and scaling is reproduced. None of them resizes an image of 299 × 299 pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// pytorch-fid 0.3.0: `F.interpolate(x / 255, mode="bilinear", align_corners=False)`, then 2x − 1. Pixel
    /// centres are at half-integers, and there is no antialiasing.
    #[default]
    PytorchFid,
    /// torch-fidelity 0.4.0, and the original FID: TensorFlow 1's `resize_bilinear`, whose pixel i lies at i · size / 299,
    /// then (x − 128) / 128.
    TorchFidelity,
    /// clean-fid 0.1.35, mode `clean`: Pillow's bicubic filter (a = −0.5, with antialiasing) without rounding, clamped to
    /// 0..=255, then (x − 128) / 128.
    Clean,
}

impl Resize {
    /// All methods.
    pub const ALL: [Self; 3] = [Self::PytorchFid, Self::TorchFidelity, Self::Clean];

    /// The name in configs and results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PytorchFid => "pytorch-fid",
            Self::TorchFidelity => "torch-fidelity",
            Self::Clean => "clean",
        }
    }

    /// The network's input for `image`, u8 `[c, h, w]` with c = 1 or 3: `[3, 299, 299]` in −1..1. A single channel is repeated three times.
    ///
    /// # Panics
    /// When the length of `image` does not fit `shape`, or `shape` has another number of channels.
    pub fn input(self, image: &[u8], shape: [usize; 3]) -> Vec<f32> {
        let [channels, height, width] = shape;
        assert!(matches!(channels, 1 | 3), "{channels} channels, expected 1 or 3");
        assert!(!image.is_empty() && image.len() == channels * height * width, "an image of shape {shape:?}");
        let planes = image.chunks_exact(height * width);
        let planes: Vec<f32> = planes.flat_map(|plane| self.plane(plane, [height, width])).collect();
        if channels == 1 { planes.repeat(3) } else { planes }
    }

    fn plane(self, plane: &[u8], size: [usize; 2]) -> Vec<f32> {
        match self {
            Self::PytorchFid => {
                let plane: Vec<f32> = plane.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
                let at_half = |i: f32, scale: f32| (scale * (i + 0.5) - 0.5).max(0.0);
                bilinear(&plane, size, at_half).into_iter().map(|x| 2.0 * x - 1.0).collect()
            }
            Self::TorchFidelity => scaled(bilinear(&floats(plane), size, |i, scale| i * scale)),
            Self::Clean => scaled(bicubic(&floats(plane), size).into_iter().map(|x| x.clamp(0.0, 255.0)).collect()),
        }
    }
}

impl Display for Resize {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|resize| resize.as_str() == name)
            .ok_or(format!("resize = {name} is not one of {all}"))
    }
}

fn floats(plane: &[u8]) -> Vec<f32> {
    plane.iter().map(|&pixel| f32::from(pixel)).collect()
}

/// (x − 128) / 128.
fn scaled(plane: Vec<f32>) -> Vec<f32> {
    plane.into_iter().map(|x| (x - 128.0) / 128.0).collect()
}

/// Interpolates between the four pixels around `position(i, side / 299)`, in f32 as in both packages.
fn bilinear(plane: &[f32], [height, width]: [usize; 2], position: impl Fn(f32, f32) -> f32) -> Vec<f32> {
    let places = |side: usize| -> Vec<(usize, usize, f32)> {
        let scale = side as f32 / SIDE as f32;
        let place = |i: usize| {
            let at = position(i as f32, scale);
            let low = (at as usize).min(side - 1);
            (low, (low + 1).min(side - 1), at - low as f32)
        };
        (0..SIDE).map(place).collect()
    };
    let (rows, columns) = (places(height), places(width));
    let mut out = Vec::with_capacity(SIDE * SIDE);
    for (top, bottom, down) in rows {
        let (top, bottom) = (&plane[top * width..][..width], &plane[bottom * width..][..width]);
        out.extend(columns.iter().map(|&(left, right, across)| {
            let above = top[left] + (top[right] - top[left]) * across;
            let below = bottom[left] + (bottom[right] - bottom[left]) * across;
            above + (below - above) * down
        }));
    }
    out
}

/// Pillow's `Image.resize` of mode `F` with `Image.BICUBIC` (`src/libImaging/Resample.c`): first rows, then columns,
/// with sums in f64 and intermediate values in f32.
fn bicubic(plane: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let kernels = kernels(width);
    let across: Vec<f32> = plane
        .chunks_exact(width)
        .flat_map(|row| kernels.iter().map(|(first, weights)| weighted_sum(&row[*first..], weights)))
        .collect();
    let mut out = Vec::with_capacity(SIDE * SIDE);
    let mut sums = [0.0; SIDE];
    for (first, weights) in self::kernels(height) {
        sums.fill(0.0);
        for (row, &weight) in across[first * SIDE..].chunks_exact(SIDE).zip(&weights) {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) * weight);
        }
        out.extend(sums.iter().map(|&sum| sum as f32));
    }
    out
}

fn weighted_sum(values: &[f32], weights: &[f64]) -> f32 {
    values.iter().zip(weights).map(|(&value, weight)| f64::from(value) * weight).sum::<f64>() as f32
}

/// For each of the 299 output pixels: the first input pixel (of `side`), and the weights, which sum to 1.
fn kernels(side: usize) -> Vec<(usize, Vec<f64>)> {
    let scale = side as f64 / SIDE as f64;
    // The support of the filter is 2 pixels of the coarser grid on each side.
    let (widening, support) = (scale.max(1.0), 2.0 * scale.max(1.0));
    let kernel = |i: usize| {
        let centre = (i as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(side);
        let weights: Vec<f64> = (first..end).map(|x| cubic((x as f64 - centre + 0.5) / widening)).collect();
        let sum: f64 = weights.iter().sum();
        (first, weights.iter().map(|weight| weight / sum).collect())
    };
    (0..SIDE).map(kernel).collect()
}

/// Keys' cubic with a = −0.5 (1981, IEEE Trans. ASSP 29).
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    match x.abs() {
        x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_image_stays_constant_at_any_size() {
        for (resize, expected) in
            [(Resize::PytorchFid, 0.2), (Resize::TorchFidelity, 25.0 / 128.0), (Resize::Clean, 25.0 / 128.0)]
        {
            for [height, width] in [[1, 1], [2, 7], [299, 299], [640, 300]] {
                let input = resize.input(&vec![153; height * width], [1, height, width]);
                assert_eq!(input.len(), 3 * SIDE * SIDE);
                // The weights sum to 1 up to f32 rounding; 2 · 153 / 255 − 1 = 0.2 and (153 − 128) / 128.
                assert!(input.iter().all(|x| (x - expected).abs() < 1e-6), "{resize} of {height} x {width}");
            }
        }
    }

    #[test]
    fn an_image_of_the_networks_size_is_only_scaled() {
        let image: Vec<u8> = (0..SIDE * SIDE).map(|i| (i * i / 5 % 256) as u8).collect();
        for resize in Resize::ALL {
            let scale = |&pixel: &u8| match resize {
                Resize::PytorchFid => 2.0 * (f32::from(pixel) / 255.0) - 1.0,
                _ => (f32::from(pixel) - 128.0) / 128.0,
            };
            let expected: Vec<f32> = image.iter().map(scale).collect();
            assert!(resize.input(&image, [1, SIDE, SIDE])[..SIDE * SIDE] == expected, "{resize}");
        }
    }

    #[test]
    fn names_are_those_of_the_packages() {
        for resize in Resize::ALL {
            assert_eq!(resize.to_string().parse(), Ok(resize));
            assert_eq!(serde_json::to_string(&resize).unwrap(), format!("\"{resize}\""));
        }
        let error = "bicubic".parse::<Resize>().unwrap_err();
        assert_eq!(error, "resize = bicubic is not one of pytorch-fid, torch-fidelity, clean");
    }
}
