//! Folders of pictures that a test makes, and what is read of them.

#![allow(unreachable_pub, dead_code, reason = "several test crates use this module, and not all use all of it")]

use effgan_data::{
    Dataset, DatasetConfig, DatasetName,
    datasets::{Contents, FileList},
};
use image::{GrayImage, Luma};
use std::{fs, path::Path};
use tempfile::TempDir;

/// A folder with `count` grey pictures of 4 × 4 pixels in each of the folders.
pub fn folder(folders: &[(&str, u8)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (folder, count) in folders {
        grey(&dir.path().join(folder), *count);
    }
    dir
}

pub fn grey(dir: &Path, count: u8) {
    fs::create_dir_all(dir).unwrap();
    for i in 0..count {
        GrayImage::from_pixel(4, 4, Luma([i])).save(dir.join(format!("{i:03}.png"))).unwrap();
    }
}

pub fn config(dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(DatasetName::Folder) }
}

/// What a run reads of the folder, after a check that `data check` says the same of it.
pub fn load(dir: &TempDir) -> Dataset {
    let dataset = config(dir.path()).load().unwrap();
    let contents = Contents::of(dir.path()).unwrap();
    let count = |labels: &[u8], class| labels.iter().filter(|&&label| usize::from(label) == class).count();
    let counts = |class| [&dataset.train, &dataset.test].map(|split| count(split.labels(), class));
    let classes: Vec<_> = dataset.class_names.iter().cloned().enumerate().map(|(i, name)| (name, counts(i))).collect();
    assert_eq!((&contents.classes, &contents.notes), (&classes, &dataset.notes));
    dataset
}

/// The one error of a run and of `data check`.
pub fn error(dir: &TempDir) -> String {
    let error = config(dir.path()).load().unwrap_err().to_string();
    assert_eq!(Contents::of(dir.path()).unwrap_err().to_string(), error);
    error.replace(&dir.path().display().to_string(), "DIR")
}

pub fn list(dir: &TempDir) -> FileList {
    config(dir.path()).list(None).unwrap().unwrap()
}
