//! Summaries of folders by their headers, and whether a folder is one data set or several.

use effgan_data::datasets::FolderSummary;
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::{fs, path::Path};
use tempfile::TempDir;

/// `count` grey pictures of 4 × 4 pixels.
fn grey(dir: &Path, count: usize) {
    fs::create_dir_all(dir).unwrap();
    for i in 0..count {
        GrayImage::from_pixel(4, 4, Luma([9])).save(dir.join(format!("{i:03}.png"))).unwrap();
    }
}

fn data_sets(dir: &TempDir) -> Vec<String> {
    FolderSummary::of(dir.path(), None).unwrap().data_sets
}

#[test]
fn a_summary_counts_images_by_class_size_and_mode() {
    let dir = TempDir::new().unwrap();
    grey(&dir.path().join("cats"), 20);
    grey(&dir.path().join("dogs"), 10);
    RgbImage::from_pixel(6, 5, Rgb([9; 3])).save(dir.path().join("dogs/large.png")).unwrap();
    fs::write(dir.path().join("dogs/damaged.png"), b"\x89PNG").unwrap();
    let summary = FolderSummary::of(dir.path(), None).unwrap();
    // Every tenth file of a class is a test image: 2 of 20 and 1 of 12. The damaged one is not counted.
    assert_eq!(summary.classes, [("cats".into(), [18, 2]), ("dogs".into(), [10, 1])]);
    assert_eq!(summary.num_images(), 32);
    let first = summary.sizes[0].2.clone();
    assert!(first.starts_with("cats"), "{}", first.display());
    assert_eq!(summary.sizes, [([4, 4], 30, first), ([6, 5], 1, "dogs/large.png".into())]);
    let modes: Vec<_> = summary.modes.iter().map(|(mode, count)| (mode.to_string(), *count)).collect();
    assert_eq!(modes, [("grey".into(), 30), ("colour".into(), 1)]);
    let broken: Vec<_> = summary.broken.iter().map(|file| file.file.clone()).collect();
    assert_eq!(broken, [Path::new("dogs/damaged.png")]);
}

#[test]
fn pixels_are_not_decoded() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), 20);
    let path = dir.path().join("000.png");
    let mut bytes = fs::read(&path).unwrap();
    // The first byte of the compressed pixels, after the signature, IHDR and the head of IDAT.
    bytes[41] ^= 0xff;
    fs::write(path, bytes).unwrap();
    assert_eq!(FolderSummary::of(dir.path(), None).unwrap().broken, []);
}

#[test]
fn a_folder_of_several_sites_folders_holds_several_data_sets() {
    let dir = TempDir::new().unwrap();
    for (site, classes) in
        [("north", ["animals", "food"]), ("south", ["animals", "smileys"]), ("east", ["food", "smileys"])]
    {
        for class in classes {
            grey(&dir.path().join(site).join(class), 10);
        }
    }
    assert_eq!(data_sets(&dir), ["east", "north", "south"]);
    let named = ["east", "north", "south"].map(String::from);
    assert_eq!(FolderSummary::of(dir.path(), Some(&named)).unwrap().data_sets, [""; 0]);
    let others = ["animals", "food", "smileys"].map(String::from);
    assert!(FolderSummary::of(dir.path(), Some(&others)).is_err());
}

#[test]
fn a_folder_of_folders_with_splits_holds_data_sets() {
    let dir = TempDir::new().unwrap();
    for split in ["train", "test"] {
        grey(&dir.path().join("images").join(split).join("cats"), 10);
    }
    assert_eq!(data_sets(&dir), ["images"]);
}

#[test]
fn classes_with_folders_of_their_own_are_one_data_set() {
    let dir = TempDir::new().unwrap();
    for folder in ["benign/patient-1", "benign/patient-2", "malignant/patient-3"] {
        grey(&dir.path().join(folder), 10);
    }
    // A folder within a class that also has images is ignored here.
    for class in ["normal", "other"] {
        grey(&dir.path().join(class), 10);
        grey(&dir.path().join(class).join("more"), 10);
    }
    assert_eq!(data_sets(&dir), [""; 0]);
    assert_eq!(FolderSummary::of(dir.path(), None).unwrap().nested, ["benign", "malignant"]);
    let split = TempDir::new().unwrap();
    for class in ["train/cats", "train/dogs", "test/cats", "test/dogs"] {
        grey(&split.path().join(class), 10);
    }
    assert_eq!(data_sets(&split), [""; 0]);
}
