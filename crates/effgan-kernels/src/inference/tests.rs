use proptest::prelude::*;

use super::*;
use crate::Isa;
use crate::naive::{assert_close, noise};

/// Images `[n, c, height, width]` as plain numbers, and a window that fits them.
fn shapes() -> impl Strategy<Value = (usize, [usize; 3], Window)> {
    let window = (1..=7_usize, 1..=7_usize, 1..=2_usize).prop_flat_map(|(height, width, stride)| {
        (0..=height / 2, 0..=width / 2).prop_map(move |(y, x)| Window {
            size: [height, width],
            stride,
            padding: [y, x],
        })
    });
    (1..=3_usize, prop_oneof![Just(3_usize), Just(16), Just(48)], 0..=12_usize, 0..=12_usize, window)
        .prop_map(|(n, c, height, width, window)| (n, [c, height + window.size[0], width + window.size[1]], window))
}

/// Calls `visit` with the output pixel, the tap and the input pixel of each tap of each window that is inside the
/// image.
fn each_tap([_, height, width]: [usize; 3], window: Window, mut visit: impl FnMut(usize, usize, usize)) {
    let [out_height, out_width] = window.of_map([height, width]);
    for (out, tap) in
        (0..out_height * out_width).flat_map(|out| (0..window.size[0] * window.size[1]).map(move |tap| (out, tap)))
    {
        let y = (out / out_width * window.stride + tap / window.size[1]).checked_sub(window.padding[0]);
        let x = (out % out_width * window.stride + tap % window.size[1]).checked_sub(window.padding[1]);
        if let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
            visit(out, tap, y * width + x);
        }
    }
}

/// `[n, channels, pixels]` of maps.
fn plain(maps: &Maps) -> Vec<f32> {
    let (pixels, rows) = (maps.height * maps.width, maps.rows());
    let value = |image: usize, channel: usize, pixel: usize| {
        maps.values[(channel / BLOCK * rows + image * pixels + pixel) * BLOCK + channel % BLOCK]
    };
    let each =
        |image| (0..maps.channels).flat_map(move |channel| (0..pixels).map(move |pixel| (image, channel, pixel)));
    (0..maps.n).flat_map(each).map(|(image, channel, pixel)| value(image, channel, pixel)).collect()
}

/// The maps of the images, also for more than one block of channels.
fn maps_of(images: &[f32], n: usize, [c, height, width]: [usize; 3]) -> Maps {
    if c <= BLOCK {
        return Maps::of_images(images, [c, height, width]);
    }
    let mut maps = Maps::of(c, n, [height, width]);
    let (pixels, rows) = (height * width, n * height * width);
    for (i, &value) in images.iter().enumerate() {
        let (image, channel, pixel) = (i / (c * pixels), i / pixels % c, i % pixels);
        maps.values[(channel / BLOCK * rows + image * pixels + pixel) * BLOCK + channel % BLOCK] = value;
    }
    maps
}

/// Number of output pixels.
fn pixels_after([_, height, width]: [usize; 3], window: Window) -> usize {
    window.of_map([height, width]).iter().product()
}

/// `ReLU` of the convolution of `images` `[n, c, pixels]`, as `[n, outputs, pixels]`.
fn convolved(images: &[f32], shape: [usize; 3], window: Window, weight: &[f32], bias: &[f32]) -> Vec<f64> {
    let (c, pixels, taps) = (shape[0], shape[1] * shape[2], window.size[0] * window.size[1]);
    let mut all = Vec::new();
    for image in images.chunks(c * pixels) {
        for (weight, &bias) in weight.chunks(c * taps).zip(bias) {
            let mut sums = vec![f64::from(bias); pixels_after(shape, window)];
            for (plane, weight) in image.chunks(pixels).zip(weight.chunks(taps)) {
                each_tap(shape, window, |out, tap, pixel| {
                    sums[out] += f64::from(plane[pixel]) * f64::from(weight[tap]);
                });
            }
            all.extend(sums.iter().map(|sum| sum.max(0.0)));
        }
    }
    all
}

/// The largest value and the mean of each window.
fn pooled(images: &[f32], shape: [usize; 3], window: Window) -> [Vec<f64>; 2] {
    let mut all = [Vec::new(), Vec::new()];
    for plane in images.chunks_exact(shape[1] * shape[2]) {
        let mut windows = vec![Vec::new(); pixels_after(shape, window)];
        each_tap(shape, window, |out, _, pixel| windows[out].push(f64::from(plane[pixel])));
        all[0].extend(windows.iter().map(|values| values.iter().copied().fold(f64::MIN, f64::max)));
        all[1].extend(windows.iter().map(|values| values.iter().sum::<f64>() / values.len() as f64));
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_convolution_matches_the_plain_loops((n, shape, window) in shapes(), seed in 0_u64..99) {
        let (c, taps, pixels) = (shape[0], window.size[0] * window.size[1], pixels_after(shape, window));
        let images = noise(n * shape.iter().product::<usize>(), seed);
        let (weight, bias) = (noise(32 * c * taps, seed + 1), noise(32, seed + 2));
        let exact = convolved(&images, shape, window, &weight, &bias);
        let maps = maps_of(&images, n, shape);
        for isa in Isa::available() {
            let mut out = Maps::of(16 + 32, n, window.of_map(maps.size()));
            out.values.fill(7.0);
            Convolution::new(window, c, &weight, bias.clone()).run(isa, &maps, &mut out, 16);
            for (ours, exact) in plain(&out).chunks(48 * pixels).zip(exact.chunks(32 * pixels)) {
                let (others, ours) = ours.split_at(16 * pixels);
                prop_assert!(others.iter().all(|&value| value == 7.0), "other channels stay");
                // f32 sums of at most 49 · 48 products, in any order.
                assert_close(isa.name(), ours, exact, 1e-5);
            }
        }
    }

    #[test]
    fn poolings_match_the_plain_loops((n, shape, window) in shapes(), seed in 0_u64..99) {
        let images = noise(n * BLOCK * shape[1] * shape[2], seed);
        let shape = [BLOCK, shape[1], shape[2]];
        let [largest, means] = pooled(&images, shape, window);
        let maps = maps_of(&images, n, shape);
        for isa in Isa::available() {
            let mut out = Maps::of(BLOCK, n, window.of_map(maps.size()));
            pool(isa, Pooling::Max, window, &maps, &mut out, 0);
            assert_close(isa.name(), &plain(&out), &largest, 0.0);
            pool(isa, Pooling::Average, window, &maps, &mut out, 0);
            // f32 sums of at most 49 values.
            assert_close(isa.name(), &plain(&out), &means, 1e-6);
        }
    }
}

#[test]
fn an_image_does_not_depend_on_its_neighbours() {
    let shape = [16, 9, 11];
    // By windows, and in Winograd's form.
    for window in [Window::same(1, 7), Window::same(3, 3)] {
        let weights = noise(16 * 16 * window.size.iter().product::<usize>(), 1);
        let convolution = Convolution::new(window, 16, &weights, noise(16, 2));
        let images = noise(3 * 16 * 9 * 11, 3);
        let run = |images: &[f32]| {
            let maps = maps_of(images, images.len() / (16 * 9 * 11), shape);
            let mut out = Maps::of(16, maps.n, maps.size());
            convolution.run(Isa::wanted().unwrap(), &maps, &mut out, 0);
            plain(&out)
        };
        let alone: Vec<f32> = images.chunks(16 * 9 * 11).flat_map(run).collect();
        assert_eq!(run(&images), alone);
    }
}

#[test]
fn means_of_two_images_by_hand() {
    // Two pixels of two channels: (1, 3) and (5, 6), then (0, 0) and (2, 4).
    let maps = Maps::of_images(&[1.0, 3.0, 5.0, 6.0, 0.0, 0.0, 2.0, 4.0], [2, 1, 2]);
    let means = maps.means();
    assert_eq!([&means[..3], &means[16..19]], [[2.0, 5.5, 0.0], [0.0, 3.0, 0.0]]);
}

#[test]
fn broken_weights_show_in_the_features_of_every_form() {
    // A pixel, Winograd's form, and windows.
    for window in [Window::same(1, 1), Window::same(3, 3), Window::same(1, 7)] {
        let mut weight = noise(16 * 16 * window.size[0] * window.size[1], 1);
        weight[0] = f32::NAN;
        let images = noise(16 * 9 * 11, 2);
        for isa in Isa::available() {
            let maps = maps_of(&images, 1, [16, 9, 11]);
            let mut out = Maps::of(16, 1, maps.size());
            Convolution::new(window, 16, &weight, vec![0.0; 16]).run(isa, &maps, &mut out, 0);
            assert!(plain(&out).iter().any(|value| value.is_nan()), "{window:?} with {}", isa.name());
        }
    }
}
