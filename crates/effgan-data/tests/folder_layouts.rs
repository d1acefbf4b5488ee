//! Folders in the layouts of other tools: splits, classes, and what lies beside them.

mod made_folder;

use effgan_data::datasets::Contents;
use made_folder::{config, error, folder, grey, load};
use std::fs;

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
fn a_class_folder_without_pictures_is_an_error_that_names_it() {
    let dir = folder(&[("cat", 10), ("dog", 0)]);
    let empty = "class dog has no picture, as DIR/dog holds no file; put pictures there, or remove the folder";
    assert_eq!(error(&dir), empty);
    fs::create_dir(dir.path().join("dog/inside")).unwrap();
    fs::write(dir.path().join("dog/.gitkeep"), "").unwrap();
    assert_eq!(error(&dir), empty);
    // The images of a class that is not trained would not be read.
    let tested = folder(&[("train/cat", 10), ("train/dog", 0), ("test/cat", 2), ("test/dog", 2)]);
    assert_eq!(error(&tested), empty.replace("DIR/dog", "DIR/train/dog"));
    // Where the sites have agreed on the classes, each may lack some.
    let known = ["cat".to_owned(), "dog".into()];
    let site = config(dir.path()).load_named(Some(&known)).unwrap();
    assert_eq!((site.train.len(), site.notes), (9, vec!["not read, folders of classes that hold no file: dog".into()]));
    // An empty folder beside pictures of no class is none, and a class may have no test images.
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
        ["not read, folders that programs leave behind: cat/@eaDir, dog/.ipynb_checkpoints, __MACOSX"]
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
