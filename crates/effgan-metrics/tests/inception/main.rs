//! FID's network and the three methods of resizing, compared with the packages that they are named after.
//!
//! `fixtures/inception.py` made the numbers with pytorch-fid 0.3.0, torch-fidelity 0.4.0 and clean-fid 0.1.35, on weights
//! and images that both sides compute by the same formula.

mod formula;
mod images;
mod state_dict;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use effgan_metrics::{FeatureStats, Inception, Resize, frechet_distance};
use effgan_nn::{Array, Device, Params, checkpoint};
use tempfile::TempDir;

static FIXTURE: LazyLock<Params> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/inception.safetensors");
    checkpoint::load(&path).expect("the fixture lies beside its script")
});
static WEIGHTS: LazyLock<Params> = LazyLock::new(formula::weights);

/// The formula's weights as a state dict and as a safetensors file.
static FILES: LazyLock<(TempDir, [PathBuf; 2])> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let files = ["weights.pth", "weights.safetensors"].map(|name| folder.path().join(name));
    fs::write(&files[0], state_dict::to_bytes(&WEIGHTS)).unwrap();
    checkpoint::save(&files[1], &WEIGHTS).unwrap();
    (folder, files)
});

fn fixture(resize: Resize, name: &str) -> &'static [f32] {
    FIXTURE.get(&format!("{resize}.{name}")).unwrap().values()
}

/// The largest difference.
fn off(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(ours, theirs)| (ours - theirs).abs()).fold(0.0, f32::max)
}

/// Every 23rd row and column of each plane.
fn grid(input: &[f32]) -> Vec<f32> {
    let rows = input.chunks_exact(299 * 299).flat_map(|plane| plane.chunks_exact(299).step_by(23));
    rows.flat_map(|row| row.iter().step_by(23)).copied().collect()
}

#[test]
fn images_are_resized_as_each_package_does() {
    // Of 28 x 28, 32 x 32, 64 x 48 and 300 x 400 pixels.
    let images: Vec<_> = (0..4).map(images::image).collect();
    for resize in Resize::ALL {
        let ours: Vec<f32> = images.iter().flat_map(|(image, shape)| grid(&resize.input(image, *shape))).collect();
        let off = off(&ours, fixture(resize, "inputs"));
        println!("{resize}: inputs off by {off:e}");
        // f32 rounding of numbers in -1..1; two of the three come out equal.
        assert!(off < 1e-6, "{resize}: off by {off}");
    }
}

fn load(path: &Path, resize: Resize) -> effgan_metrics::Result<Inception> {
    Inception::load(path, resize, Device::cpu().unwrap())
}

#[test]
fn features_and_distances_match_each_package() {
    for (resize, file) in [(Resize::PytorchFid, 0), (Resize::TorchFidelity, 1), (Resize::Clean, 1)] {
        let inception = load(&FILES.1[file], resize).unwrap();
        let features_of = |i| {
            let (image, shape) = images::image(i);
            inception.features(&[(&image, shape)], 1).unwrap()
        };
        let features: Vec<f32> = (0..images::NUM_IMAGES).flat_map(features_of).collect();
        let off = off(&features, fixture(resize, "features"));
        println!("{resize}: features off by {off:e}");
        // f32 sums in another order, through some forty layers; features are up to 12.
        assert!(off < 1e-4, "{resize}: features are off by {off}");

        // All 2048 x 2048 numbers of the covariances once; their eigenvalues take seconds.
        let rows = if resize == Resize::PytorchFid { features } else { in_their_span(&features) };
        let [real, fake] = [0, 1].map(|half| {
            let half = &rows[half * rows.len() / 2..][..rows.len() / 2];
            FeatureStats::of(half, rows.len() / images::NUM_IMAGES).unwrap()
        });
        let (ours, theirs) = (frechet_distance(&real, &fake).unwrap(), f64::from(fixture(resize, "fid")[0]));
        println!("{resize}: FID {ours}, theirs {theirs}");
        // Twice the relative error of features that differ by some hundredths.
        assert!((ours - theirs).abs() < 1e-3 * theirs, "{resize}: FID {ours}, theirs {theirs}");
    }
}

/// The features' coordinates in an orthonormal basis of their span (Gram and Schmidt), which leaves their distances and therefore
/// FID unchanged.
fn in_their_span(features: &[f32]) -> Vec<f32> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let rows: Vec<Vec<f64>> =
        features.chunks(Inception::FEATURES).map(|row| row.iter().map(|&value| f64::from(value)).collect()).collect();
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for row in &rows {
        let mut rest = row.clone();
        for unit in &basis {
            let along = dot(&rest, unit);
            rest.iter_mut().zip(unit).for_each(|(rest, unit)| *rest -= along * unit);
        }
        let length = dot(&rest, &rest).sqrt();
        basis.push(rest.iter().map(|value| value / length).collect());
    }
    rows.iter().flat_map(|row| basis.iter().map(|unit| dot(row, unit) as f32)).collect()
}

#[test]
fn any_number_of_jobs_gives_the_same_bits_and_an_image_alone_too_whatever_the_shapes_beside_it() {
    let inception = load(&FILES.1[1], Resize::Clean).unwrap();
    let (image, shape) = images::image(0);
    let others: Vec<_> = (1..5).map(images::image).collect();
    let mut images: Vec<_> = others.iter().map(|(image, shape)| (&image[..], *shape)).collect();
    images.push((&image, shape));
    let one = inception.features(&images, 1).unwrap();
    assert_eq!(inception.features(&images, 3).unwrap(), one);
    let alone = inception.features(&[(&image, shape)], 1).unwrap();
    assert_eq!(alone, one[4 * Inception::FEATURES..]);
}

#[test]
fn grey_is_three_equal_channels_and_files_of_both_kinds_are_the_same_network() {
    let [dict, safetensors] = [0, 1].map(|file| load(&FILES.1[file], Resize::PytorchFid).unwrap());
    assert_eq!(dict.sha256(), safetensors.sha256());
    assert_eq!(dict.sha256(), WEIGHTS.hash());
    let (image, [_, height, width]) = images::image(0);
    let grey = dict.features(&[(&image, [1, height, width])], 1).unwrap();
    assert_eq!(safetensors.features(&[(&image.repeat(3), [3, height, width])], 1).unwrap(), grey);
}

/// The error of loading the formula's weights after `change`.
fn error_of(change: impl FnOnce(&mut Params)) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut params = WEIGHTS.clone();
    change(&mut params);
    checkpoint::save(&path, &params).unwrap();
    let error = load(&path, Resize::Clean).err().expect("an error").to_string();
    error.replace(&path.display().to_string(), "w.safetensors")
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let missing = error_of(|params| {
        let kept = params.iter().filter(|(name, _)| !name.starts_with("Mixed_7c.branch_pool"));
        *params = kept.map(|(name, array)| (name.clone(), array.clone())).collect();
    });
    assert!(
        missing.starts_with(
            "weights of Inception-2015: w.safetensors: no tensor `Mixed_7c.branch_pool.conv.weight` among 465 tensors"
        ),
        "{missing}"
    );
    let shape = error_of(|params| params.insert("Conv2d_1a_3x3.bn.bias", Array::new([16], vec![0.0; 16])));
    assert_eq!(
        shape,
        "weights of Inception-2015: w.safetensors: tensor `Conv2d_1a_3x3.bn.bias` has shape [16], expected [32]"
    );
    let unknown = error_of(|params| params.insert("conv1.weight", Array::new([1], vec![0.0])));
    assert!(unknown.contains("unexpected tensor `conv1.weight`"), "{unknown}");
    let variance =
        error_of(|params| params.insert("Mixed_6a.branch3x3.bn.running_var", Array::new([384], vec![-0.5; 384])));
    assert!(variance.ends_with("tensor `Mixed_6a.branch3x3.bn.running_var` is -0.5 at index 0, below 0"), "{variance}");
    let infinite =
        error_of(|params| params.insert("Mixed_6a.branch3x3.bn.bias", Array::new([384], vec![f32::NAN; 384])));
    assert!(infinite.contains("`Mixed_6a.branch3x3.bn.bias` has a non-finite value"), "{infinite}");
    let missing = load(Path::new("nowhere.pth"), Resize::Clean).err().expect("an error").to_string();
    assert!(missing.starts_with("weights of Inception-2015: nowhere.pth: "), "{missing}");
}

#[test]
fn the_classifiers_tensors_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut params = WEIGHTS.clone();
    params.insert("fc.weight", Array::new([1], vec![0.0]));
    params.insert("AuxLogits.fc.bias", Array::new([1], vec![0.0]));
    checkpoint::save(&path, &params).unwrap();
    assert_eq!(load(&path, Resize::Clean).unwrap().sha256(), WEIGHTS.hash());
}

#[test]
fn images_of_two_channels_or_incomplete_ones_are_refused() {
    let inception = load(&FILES.1[1], Resize::Clean).unwrap();
    for (values, shape) in [(8, [2, 2, 2]), (5, [1, 2, 2]), (0, [3, 0, 4])] {
        let error = inception.features(&[(&[7], [1, 1, 1]), (&vec![0; values], shape)], 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{values} values are not an image of shape {shape:?} ")), "{error}");
    }
    assert!(inception.features(&[], 1).unwrap().is_empty());
}

/// `cargo test --release --workspace --test inception -- --ignored --nocapture` prints it; `inception.py --speed` has PyTorch's.
#[test]
#[ignore = "a measurement"]
fn milliseconds_per_image_on_one_core() {
    let inception = load(&FILES.1[1], Resize::PytorchFid).unwrap();
    let (image, shape) = images::image(1);
    for _ in 0..5 {
        let started = Instant::now();
        inception.features(&[(&image[..], shape); 24], 1).unwrap();
        println!("{:.1} ms per image", started.elapsed().as_secs_f64() * 1e3 / 24.0);
    }
}
