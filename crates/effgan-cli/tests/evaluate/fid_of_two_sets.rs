//! FIDs of sets of different colours and sizes, beside those of pytorch-fid, torch-fidelity and clean-fid.
//!
//! `fixtures/inception_sets.py` of effgan-metrics made the numbers, with weights and images that both sides compute by the same formula.

use effgan_nn::checkpoint;
use image::{GrayImage, ImageBuffer, Rgb, RgbImage};
use serde_json::Value;

use super::program::{effgan, run_tiny};
use super::{Place, formula};

const SETS: [&str; 5] = ["grey-reference", "coloured", "larger", "mixed-sizes", "mixed-colours"];
const SIDE: u32 = 28;

/// A place with all sets as folders of PNG files, and the formula's weights in `weights.safetensors`.
fn place() -> Place {
    let place = Place::new();
    checkpoint::save(&place.path("weights.safetensors"), &formula::weights()).unwrap();
    for set in SETS {
        std::fs::create_dir(place.path(set)).unwrap();
        for i in 0..8 {
            let (name, path) = (format!("{set} {i}"), place.path(&format!("{set}/{i}.png")));
            match (set, i % 2, i % 3) {
                ("coloured", ..) | ("mixed-colours", 1, _) => coloured(&name).save(path).unwrap(),
                ("larger", ..) => grey(&name, 64).save(path).unwrap(),
                ("mixed-sizes", _, step) => grey(&name, SIDE + 4 * step).save(path).unwrap(),
                _ => grey(&name, SIDE).save(path).unwrap(),
            }
        }
    }
    place
}

fn grey(name: &str, side: u32) -> GrayImage {
    let pixels = formula::numbers(name).take((side * side) as usize).map(|number| 90 + (number % 30) as u8);
    ImageBuffer::from_raw(side, side, pixels.collect()).unwrap()
}

/// Red and blue far apart, and the luma of the noise where green can make it up.
fn coloured(name: &str) -> RgbImage {
    let mut luma = formula::numbers(name).map(|number| (number % 256) as u32);
    ImageBuffer::from_fn(SIDE, SIDE, |_, _| {
        let luma = luma.next().unwrap();
        let (red, blue) = ((luma * 9 / 5).min(255), luma / 5);
        let green = ((1000 * luma - 299 * red - 114 * blue) / 587).min(255);
        Rgb([red, green, blue].map(|value| value as u8))
    })
}

#[test]
fn fid_is_that_of_each_package_whatever_the_colours_and_sizes_and_whichever_set_is_the_reference() {
    let (place, theirs) = (place(), theirs());
    let mut pairs = vec![];
    for set in &SETS[1..] {
        pairs.extend([("pytorch-fid", *set, SETS[0]), ("pytorch-fid", SETS[0], *set)]);
    }
    pairs.extend([("pytorch-fid", "coloured", "mixed-sizes"), ("pytorch-fid", "mixed-sizes", "coloured")]);
    for resize in ["torch-fidelity", "clean"] {
        pairs.extend([
            (resize, "coloured", SETS[0]),
            (resize, SETS[0], "coloured"),
            (resize, "mixed-colours", "mixed-sizes"),
        ]);
    }
    for (resize, images, reference) in pairs {
        let found = place.json(images, &with_inception(&["--reference", reference, "--resize", resize]));
        let (ours, theirs) = (found["fid"].as_f64().unwrap(), theirs[resize][images][reference].as_f64().unwrap());
        println!("{resize}: {images} against {reference}: {ours}, theirs {theirs}, off by {:e}", ours / theirs - 1.0);
        // Features in f32 differ by 1e-5 of their size.
        assert!((ours / theirs - 1.0).abs() < 1e-4, "{resize}: {images} against {reference}: {ours}, theirs {theirs}");
    }
}

#[test]
fn sets_of_different_sizes_are_compared_with_a_warning() {
    let place = place();
    let last_warning = |images: &str| -> String {
        let found = place.json(images, &with_inception(&["--reference", "grey-reference", "--num", "6"]));
        found["warnings"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned()
    };
    assert_eq!(
        last_warning("mixed-sizes"),
        "images of 3 shapes from 1 × 28 × 28 to 1 × 36 × 36 and reference images of 1 × 28 × 28 are resized from different sizes: scores \
         also see which are sharper"
    );
    assert!(!last_warning("coloured").contains("sizes"), "colours are no size");
}

#[test]
fn a_model_in_colours_is_scored_in_its_colours_as_its_samples_are() {
    let place = place();
    assert!(run_tiny(&place.path("run"), &["--set", "dataset.channels=3"]).status.success());
    let (run, samples) = (place.path("run"), place.path("samples.npy"));
    let sample = ["sample", run.to_str().unwrap(), "--num", "8", "--out", samples.to_str().unwrap()];
    assert!(effgan(&sample).status.success());
    let fid = |images: &str, reference: &str| {
        place.json(images, &with_inception(&["--reference", reference, "--num", "8"]))["fid"].as_f64().unwrap()
    };
    let of_model = fid("run", "grey-reference");
    assert_eq!(of_model, fid("samples.npy", "grey-reference"));
    // The order of f64 sums.
    assert!((of_model / fid("grey-reference", "samples.npy") - 1.0).abs() < 1e-9);
}

fn with_inception<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["--features", "inception", "--weights", "weights.safetensors"], more].concat()
}

/// FIDs by resize, images and reference.
fn theirs() -> Value {
    serde_json::from_str(include_str!("../../../effgan-metrics/tests/fixtures/inception_sets.json")).unwrap()
}
