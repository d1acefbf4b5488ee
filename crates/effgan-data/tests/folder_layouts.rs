//! Folders in the layouts of other tools: splits, classes, links, and what lies beside them.

use effgan_data::{
    Dataset, DatasetConfig, DatasetName,
    datasets::{Contents, FileList},
};
use image::{GrayImage, Luma};
use std::{fs, path::Path};
use tempfile::TempDir;

/// A folder with `count` grey pictures of 4 × 4 pixels in each of the folders.
fn folder(folders: &[(&str, u8)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (folder, count) in folders {
        grey(&dir.path().join(folder), *count);
    }
    dir
}

fn grey(dir: &Path, count: u8) {
    fs::create_dir_all(dir).unwrap();
    for i in 0..count {
        GrayImage::from_pixel(4, 4, Luma([i])).save(dir.join(format!("{i:03}.png"))).unwrap();
    }
}

fn config(dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(DatasetName::Folder) }
}

/// What a run reads of the folder, after a check that `data check` says the same of it.
fn load(dir: &TempDir) -> Dataset {
    let dataset = config(dir.path()).load().unwrap();
    let contents = Contents::of(dir.path()).unwrap();
    let count = |labels: &[u8], class| labels.iter().filter(|&&label| usize::from(label) == class).count();
    let counts = |class| [&dataset.train, &dataset.test].map(|split| count(split.labels(), class));
    let classes: Vec<_> = dataset.class_names.iter().cloned().enumerate().map(|(i, name)| (name, counts(i))).collect();
    assert_eq!((&contents.classes, &contents.notes), (&classes, &dataset.notes));
    dataset
}

/// The one error of a run and of `data check`.
fn error(dir: &TempDir) -> String {
    let error = config(dir.path()).load().unwrap_err().to_string();
    assert_eq!(Contents::of(dir.path()).unwrap_err().to_string(), error);
    error.replace(&dir.path().display().to_string(), "DIR")
}

fn list(dir: &TempDir) -> FileList {
    config(dir.path()).list(None).unwrap().unwrap()
}

#[test]
fn splits_are_known_by_the_names_that_tools_give_them() {
    let names = [("train", "test"), ("train", "val"), ("train", "valid"), ("train", "validation")];
    let more = [("training", "testing"), ("Train", "Test"), ("TRAIN", "VAL")];
    for (train, test) in names.into_iter().chain(more) {
        let dir = folder(&[]);
        for (split, count) in [(train, 12), (test, 3)] {
            grey(&dir.path().join(split).join("cat"), count);
            grey(&dir.path().join(split).join("dog"), count);
        }
        let dataset = load(&dir);
        assert_eq!(dataset.class_names, ["cat", "dog"], "{train} and {test}");
        assert_eq!((dataset.train.len(), dataset.test.len(), dataset.notes.len()), (24, 6, 0), "{train} and {test}");
    }
}

#[test]
fn of_a_training_split_alone_every_tenth_image_is_held_out() {
    let dir = folder(&[("train/cat", 20), ("train/dog", 20)]);
    let dataset = load(&dir);
    assert_eq!(
        (dataset.class_names, dataset.train.len(), dataset.test.len()),
        (vec!["cat".into(), "dog".into()], 36, 4)
    );
    assert!(Contents::of(dir.path()).unwrap().every_tenth);
}

#[test]
fn of_three_splits_the_validation_split_is_named_as_not_read() {
    let dir = folder(&[("train/cat", 12), ("val/cat", 5), ("test/cat", 3), ("", 1)]);
    let dataset = load(&dir);
    assert_eq!((dataset.train.len(), dataset.test.len()), (12, 3));
    assert_eq!(dataset.notes, ["not read, beside the splits: 000.png, val"]);
}

#[test]
fn a_class_may_be_called_like_a_split_beside_other_classes() {
    let dir = folder(&[("bus", 10), ("train", 10), ("car", 10)]);
    let dataset = load(&dir);
    assert_eq!(dataset.class_names, ["bus", "car", "train"]);
    assert_eq!(
        dataset.notes,
        [
            "read as classes, though they are named like splits: train; where they are splits, move what lies beside them elsewhere"
        ]
    );
    // Without pictures, a folder beside the splits is not a class.
    let dir = folder(&[("train/cat", 10)]);
    fs::create_dir(dir.path().join("docs")).unwrap();
    assert_eq!(load(&dir).notes, ["not read, beside the splits: docs"]);
}

#[test]
fn a_split_of_classes_beside_another_folder_of_pictures_is_not_a_class() {
    for split in ["train", "Training", "test", "val"] {
        let line = error(&folder(&[(&format!("{split}/cat"), 10), (&format!("{split}/dog"), 10), ("zebra", 10)]));
        assert_eq!(
            line,
            format!(
                "DIR has a folder {split}, which is named like a split and holds folders with pictures, and beside it zebra, which \
                 would be a class; set dataset.dir to the split, move zebra elsewhere, or rename {split} if it is a class"
            )
        );
    }
    // Classes that a config names are known to be classes.
    let dir = folder(&[("train/steam", 10), ("train/electric", 10), ("bus", 10)]);
    let named = config(dir.path()).load_named(Some(&["bus".into(), "train".into()])).unwrap();
    assert_eq!((named.train.len() + named.test.len(), named.notes), (30, Vec::new()));
}

#[test]
fn splits_that_cannot_be_told_apart_are_errors() {
    let twice = error(&folder(&[("train/a", 10), ("Training/a", 10), ("test/a", 1)]));
    assert_eq!(
        twice,
        "DIR/Training and DIR/train are both folders of the same split; move one of them elsewhere, or merge them"
    );
    let no_train = error(&folder(&[("test/a", 10), ("val/a", 10)]));
    assert!(
        no_train.starts_with("DIR/test looks like a split for tests, and DIR has no folder train beside it"),
        "{no_train}"
    );
    let others = error(&folder(&[("train/a", 10), ("test/b", 10)]));
    assert!(
        others.starts_with("the test images of DIR are of none of the classes of its training images (a)"),
        "{others}"
    );
}

#[test]
fn test_images_of_a_class_that_is_not_trained_are_not_read() {
    let dataset = load(&folder(&[("train/a", 10), ("train/c", 10), ("test/a", 2), ("test/b", 2), ("test/c", 2)]));
    assert_eq!((dataset.class_names.join(" "), dataset.test.labels()), ("a c".into(), &[0, 1, 0, 1][..]));
    assert_eq!(dataset.notes, ["not read, test images of classes without training images: b"]);
    // Where the sites have agreed on the classes, each may lack some.
    let dir = folder(&[("train/a", 10), ("test/a", 2), ("test/b", 2)]);
    let known = ["b".to_owned(), "a".into()];
    let dataset = config(dir.path()).load_named(Some(&known)).unwrap();
    assert_eq!((dataset.train.labels()[0], dataset.test.labels()), (1, &[0, 1, 0, 1][..]));
}

#[test]
fn a_class_of_files_that_are_not_pictures_is_an_error_and_an_empty_folder_a_note() {
    let dir = folder(&[("cat", 10)]);
    fs::create_dir(dir.path().join("dog")).unwrap();
    assert_eq!(load(&dir).notes, ["not read, folders without a file, which are not classes: dog"]);
    // Beside pictures of no class, and a class of which only the other split has none.
    let flat = folder(&[("", 10)]);
    fs::create_dir(flat.path().join("dog")).unwrap();
    assert_eq!(load(&flat).notes, ["not read, folders without a file, which are not classes: dog"]);
    let splits = folder(&[("train/cat", 10), ("train/dog", 10), ("test/cat", 2)]);
    fs::create_dir_all(splits.path().join("test/dog")).unwrap();
    assert_eq!(load(&splits).notes, ["not read, folders of classes that hold no file: test/dog"]);
    fs::write(dir.path().join("dog/1.heic"), b"\0\0\0\x18ftypheic").unwrap();
    let line = error(&dir);
    assert!(line.starts_with("class dog has no picture (PNG, ") && line.contains("such as DIR/dog/1.heic"), "{line}");
    // Some pictures and other files: a note by class.
    grey(&dir.path().join("dog"), 10);
    for i in 2..6 {
        fs::write(dir.path().join(format!("dog/{i}.txt")), "P5 is how a picture may begin, and a text").unwrap();
    }
    assert_eq!(
        load(&dir).notes,
        ["not read, files of class dog that are not read as pictures: dog/1.heic, dog/2.txt, dog/3.txt and 2 more"]
    );
}

#[test]
fn a_picture_without_an_extension_is_known_by_its_first_bytes() {
    let dir = folder(&[("cat", 10), ("dog", 10)]);
    fs::copy(dir.path().join("dog/003.png"), dir.path().join("dog/scan")).unwrap();
    fs::rename(dir.path().join("dog/004.png"), dir.path().join("dog/004.dat")).unwrap();
    assert_eq!(load(&dir).train.len() + load(&dir).test.len(), 21);
}

#[test]
fn what_programs_leave_behind_is_not_read_and_said() {
    let dir = folder(&[
        ("cat", 10),
        ("cat/@eaDir/000.png", 1),
        ("dog", 10),
        ("dog/.ipynb_checkpoints", 3),
        ("__MACOSX/cat", 2),
    ]);
    let dataset = load(&dir);
    assert_eq!((dataset.class_names.join(" "), dataset.train.len(), dataset.test.len()), ("cat dog".into(), 18, 2));
    assert_eq!(
        dataset.notes,
        [
            "not read, folders that programs leave behind, and links to a folder that is read already: cat/@eaDir, dog/.ipynb_checkpoints, __MACOSX"
        ]
    );
}

#[test]
fn a_name_in_two_unicode_forms_is_one_class() {
    // "café" composed and decomposed.
    let dir = folder(&[("train/caf\u{e9}", 10), ("train/tea", 10), ("test/cafe\u{301}", 2), ("test/tea", 2)]);
    let dataset = load(&dir);
    assert_eq!((dataset.class_names, dataset.test.len()), (vec!["caf\u{e9}".to_owned(), "tea".into()], 4));
    let known = ["cafe\u{301}".to_owned(), "tea".into()];
    assert_eq!(config(dir.path()).load_named(Some(&known)).unwrap().train.labels()[..2], [0, 1]);
}

#[cfg(unix)]
#[test]
fn a_class_that_is_a_link_is_read_like_any_other() {
    let elsewhere = folder(&[("dog", 10)]);
    let dir = folder(&[("cat", 10), ("zebra", 10)]);
    std::os::unix::fs::symlink(elsewhere.path().join("dog"), dir.path().join("dog")).unwrap();
    let dataset = load(&dir);
    assert_eq!((dataset.class_names.join(" "), dataset.train.len()), ("cat dog zebra".into(), 27));
    assert_eq!(list(&dir).link_outside().unwrap(), Some(dir.path().join("dog").as_path()));
    // Further down, and around the files themselves.
    let below = folder(&[("cat/kittens", 10)]);
    std::os::unix::fs::symlink(elsewhere.path().join("dog"), below.path().join("cat/more")).unwrap();
    assert_eq!(list(&below).link_outside().unwrap(), Some(below.path().join("cat/more").as_path()));
    let inside = folder(&[("cat", 10), ("dog", 10)]);
    std::os::unix::fs::symlink("../dog", inside.path().join("cat/also")).unwrap();
    assert_eq!((load(&inside).train.len(), list(&inside).link_outside().unwrap()), (27, None));
}

#[cfg(unix)]
#[test]
fn a_split_that_is_a_link_to_outside_is_one() {
    let elsewhere = folder(&[("cat", 10)]);
    let dir = folder(&[("test/cat", 2)]);
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("train")).unwrap();
    assert_eq!(load(&dir).train.len(), 10);
    assert_eq!(list(&dir).link_outside().unwrap(), Some(dir.path().join("train").as_path()));
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_above_is_not_followed_and_said() {
    let dir = folder(&[("a", 10), ("a/deep", 10)]);
    std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("a/deep/round")).unwrap();
    let dataset = load(&dir);
    assert_eq!(dataset.train.len(), 18);
    assert_eq!(
        dataset.notes,
        ["not read, folders that programs leave behind, and links to a folder that is read already: a/deep/round"]
    );
}

#[test]
fn a_folder_around_a_data_set_is_noted() {
    let dataset = load(&folder(&[("data/train/a", 10), ("data/test/a", 2)]));
    assert_eq!(
        dataset.notes,
        ["read as one class each, though they look like data sets: data; set dataset.dir to one of them"]
    );
    // Folders of patients are parts of a class.
    assert_eq!(load(&folder(&[("ill/patient-1", 10), ("ill/patient-2", 10), ("well/patient-3", 10)])).notes, [""; 0]);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_further_above_is_not_followed_so_that_no_test_image_is_trained_on() {
    let dir = folder(&[("train/a", 10), ("train/b", 10), ("test/a", 2), ("test/b", 2)]);
    std::os::unix::fs::symlink("../..", dir.path().join("train/a/up")).unwrap();
    let dataset = load(&dir);
    assert_eq!((dataset.train.len(), dataset.test.len()), (20, 4));
    assert!(dataset.notes[0].ends_with("links to a folder that is read already: train/a/up"), "{:?}", dataset.notes);
}

#[cfg(unix)]
#[test]
fn links_that_multiply_are_each_read_once() {
    // 2^30 ways lead from the first folder to the last.
    let dir = folder(&[("a", 10), ("b", 10), ("a/0", 1)]);
    for i in 0..30 {
        fs::create_dir_all(dir.path().join(format!("a/{}", i + 1))).unwrap();
        for link in ["x", "y"] {
            let place = dir.path().join(format!("a/{i}/{link}"));
            std::os::unix::fs::symlink(format!("../{}", i + 1), place).unwrap();
        }
    }
    assert_eq!(load(&dir).train.len() + load(&dir).test.len(), 21);
}

#[cfg(unix)]
#[test]
fn a_link_to_nothing_is_an_error_that_names_it_since_it_may_have_been_a_class() {
    let dir = folder(&[("a", 10), ("b", 10)]);
    std::os::unix::fs::symlink("/nowhere/c", dir.path().join("c")).unwrap();
    let line = error(&dir);
    assert_eq!(line, "DIR/c is a link to /nowhere/c, which does not exist; mount or restore it, or remove the link");
}

#[test]
fn a_class_of_thumbnails_alone_is_an_error() {
    let line = error(&folder(&[("a/@eaDir", 3), ("b", 10)]));
    assert!(line.starts_with("class a has no picture") && line.contains("such as DIR/a/@eaDir;"), "{line}");
    // In any case, and under the names of other makers.
    for left in ["@EADIR", "@Recycle", "#Recycle", "@Recently-Snapshot"] {
        assert_eq!(load(&folder(&[("a", 10), ("b", 10), (left, 3)])).class_names, ["a", "b"], "{left}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_not_utf8_are_refused_so_that_two_classes_do_not_become_one() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let dir = folder(&[("a", 10)]);
    grey(&dir.path().join(OsStr::from_bytes(b"x\xff")), 10);
    assert!(error(&dir).contains("is not UTF-8; rename it"), "{}", error(&dir));
}
