//! Folders with symbolic links: each real folder and each real picture is read once.
#![cfg(unix)]

mod made_folder;

use effgan_data::{ImageSet, datasets::Contents};
use image::{GrayImage, Luma};
use made_folder::{config, error, folder, list, load};
use std::{fs, os::unix::fs::symlink};
use tempfile::TempDir;

/// Makes the links, each `(link, target)`, in the folder.
fn with_links(dir: TempDir, links: &[(&str, &str)]) -> TempDir {
    for (link, target) in links {
        symlink(target, dir.path().join(link)).unwrap();
    }
    dir
}

/// The numbers of training and test images of each class.
fn counts(dir: &TempDir) -> Vec<(String, [usize; 2])> {
    load(dir);
    Contents::of(dir.path()).unwrap().classes
}

fn of_classes(classes: &[(&str, [usize; 2])]) -> Vec<(String, [usize; 2])> {
    classes.iter().map(|(name, counts)| ((*name).into(), *counts)).collect()
}

#[test]
fn a_class_that_is_a_link_is_read_like_any_other() {
    let elsewhere = folder(&[("dog", 10)]);
    let dir = folder(&[("cat", 10), ("zebra", 10)]);
    symlink(elsewhere.path().join("dog"), dir.path().join("dog")).unwrap();
    let dataset = load(&dir);
    assert_eq!((dataset.class_names.join(" "), dataset.train.len()), ("cat dog zebra".into(), 27));
    assert_eq!(list(&dir).link_outside().unwrap(), Some(dir.path().join("dog").as_path()));
    // Further down, and around the files themselves.
    let below = folder(&[("cat/kittens", 10)]);
    symlink(elsewhere.path().join("dog"), below.path().join("cat/more")).unwrap();
    assert_eq!(list(&below).link_outside().unwrap(), Some(below.path().join("cat/more").as_path()));
    let inside = folder(&[("cat", 10), ("dog", 10)]);
    symlink("../dog", inside.path().join("cat/also")).unwrap();
    assert_eq!((load(&inside).train.len(), list(&inside).link_outside().unwrap()), (18, None));
}

#[test]
fn a_split_that_is_a_link_to_outside_is_one() {
    let elsewhere = folder(&[("cat", 10)]);
    let dir = folder(&[("test/cat", 2)]);
    symlink(elsewhere.path(), dir.path().join("train")).unwrap();
    assert_eq!(load(&dir).train.len(), 10);
    assert_eq!(list(&dir).link_outside().unwrap(), Some(dir.path().join("train").as_path()));
}

#[test]
fn a_link_to_a_folder_above_is_not_followed_and_said() {
    let dir = folder(&[("a", 10), ("a/deep", 10)]);
    symlink(dir.path().join("a"), dir.path().join("a/deep/round")).unwrap();
    let dataset = load(&dir);
    assert_eq!(dataset.train.len(), 18);
    assert_eq!(dataset.notes, ["not read, links to what is read already: a/deep/round (to a)"]);
}

#[test]
fn a_link_to_a_folder_further_above_is_not_followed_so_that_no_test_image_is_trained_on() {
    let dir = folder(&[("train/a", 10), ("train/b", 10), ("test/a", 2), ("test/b", 2)]);
    symlink("../..", dir.path().join("train/a/up")).unwrap();
    let dataset = load(&dir);
    assert_eq!((dataset.train.len(), dataset.test.len()), (20, 4));
    assert_eq!(dataset.notes, ["not read, links to what is read already: train/a/up (to .)"]);
}

#[test]
fn links_that_multiply_are_each_read_once() {
    // 2^30 ways lead from the first folder to the last.
    let dir = folder(&[("a", 10), ("b", 10), ("a/0", 1)]);
    for i in 0..30 {
        fs::create_dir_all(dir.path().join(format!("a/{}", i + 1))).unwrap();
        for link in ["x", "y"] {
            let place = dir.path().join(format!("a/{i}/{link}"));
            symlink(format!("../{}", i + 1), place).unwrap();
        }
    }
    assert_eq!(load(&dir).train.len() + load(&dir).test.len(), 21);
}

#[test]
fn a_link_to_nothing_is_an_error_that_names_it_since_it_may_have_been_a_class() {
    let dir = folder(&[("a", 10), ("b", 10)]);
    symlink("/nowhere/c", dir.path().join("c")).unwrap();
    let line = error(&dir);
    assert_eq!(line, "DIR/c is a link to /nowhere/c, which does not exist; mount or restore it, or remove the link");
}

#[test]
fn a_test_split_of_links_to_training_images_is_an_error_that_names_both() {
    let what_to_do = "; remove the link, or put other pictures in its place";
    let whole = with_links(folder(&[("train/a", 10), ("train/b", 10)]), &[("test", "train")]);
    let starts = "the split DIR/test has no picture of its own: DIR/test leads to DIR/train, which is read already";
    assert_eq!(error(&whole), format!("{starts}{what_to_do}"));
    let links = [("test/a", "../train/a"), ("test/b", "../train/b")];
    let by_class = with_links(folder(&[("train/a", 10), ("train/b", 10), ("test", 0)]), &links);
    let starts = "the split DIR/test has no picture of its own: DIR/test/a leads to DIR/train/a, which is read already";
    assert_eq!(error(&by_class), format!("{starts}{what_to_do}"));
    let by_file = folder(&[("train/a", 10), ("test/a", 0)]);
    for i in 0..3 {
        symlink(format!("../../train/a/00{i}.png"), by_file.path().join(format!("test/a/{i}.png"))).unwrap();
    }
    assert!(error(&by_file).contains("DIR/test/a/0.png leads to DIR/train/a/000.png"), "{}", error(&by_file));
    // Whichever of the two is the link, and by links to the data set itself and to what lies above it.
    let train = with_links(folder(&[("test/a", 10)]), &[("train", "test")]);
    assert!(error(&train).starts_with("the split DIR/train has no picture of its own"), "{}", error(&train));
    for target in [".", ".."] {
        let above = with_links(folder(&[("train/a", 10)]), &[("test", target)]);
        assert!(error(&above).starts_with("the split DIR/test has no picture of its own"), "{}", error(&above));
    }
    // The classes that a config names change nothing.
    assert!(config(whole.path()).load_named(Some(&["a".into(), "b".into()])).is_err());
}

#[test]
fn a_class_of_the_test_split_that_is_a_link_to_training_images_is_left_out() {
    for link in ["../train/a", "../train"] {
        let made = folder(&[("train/a", 10), ("train/b", 10), ("test/b", 2)]);
        let dir = with_links(made, &[("test/a", link)]);
        assert_eq!(counts(&dir), of_classes(&[("a", [10, 0]), ("b", [10, 2])]));
        let target = link.trim_start_matches("../");
        let note = format!("not read, links to what is read already: test/a (to {target})");
        assert_eq!(load(&dir).notes, [note]);
    }
}

#[test]
fn a_class_that_is_a_link_to_another_class_is_an_error_that_names_both() {
    // In either order of names.
    for (link, real) in [("b", "a"), ("a", "b")] {
        let dir = with_links(folder(&[(real, 10), ("c", 10)]), &[(link, real)]);
        assert_eq!(
            error(&dir),
            format!(
                "the class {link} has no picture of its own: DIR/{link} leads to DIR/{real}, which is read already; \
                 remove the link, or put other pictures in its place"
            )
        );
        let known = ["a".to_owned(), "b".into(), "c".into()];
        assert!(config(dir.path()).load_named(Some(&known)).is_err());
    }
    let three = with_links(folder(&[("a", 10)]), &[("b", "a"), ("c", "a")]);
    assert!(error(&three).starts_with("the class b has no picture of its own"), "{}", error(&three));
    let within = with_links(folder(&[("a", 0), ("b", 10)]), &[("a/x", "../b")]);
    assert!(error(&within).contains("class a has no picture of its own: DIR/a/x leads to DIR/b"), "{}", error(&within));
    // Of links to one folder elsewhere, the first is read.
    let elsewhere = folder(&[("dog", 10)]);
    let dog = elsewhere.path().join("dog");
    let twice = folder(&[("cat", 10)]);
    for class in ["dog", "hound"] {
        symlink(&dog, twice.path().join(class)).unwrap();
    }
    assert!(error(&twice).contains("class hound has no picture of its own: DIR/hound leads to DIR/dog"));
}

#[test]
fn a_link_within_a_class_to_the_folder_of_another_is_left_out_whatever_the_order_of_names() {
    for (class, other) in [("a", "b"), ("b", "a")] {
        let dir = with_links(folder(&[("a", 10), ("b", 10)]), &[(&format!("{class}/x"), &format!("../{other}"))]);
        assert_eq!(counts(&dir), of_classes(&[("a", [9, 1]), ("b", [9, 1])]));
        assert_eq!(load(&dir).notes, [format!("not read, links to what is read already: {class}/x (to {other})")]);
    }
}

#[test]
fn a_picture_is_read_once_and_the_file_itself_before_links_to_it() {
    for (class, other) in [("a", "b"), ("b", "a")] {
        let link = format!("{class}/x.png");
        let dir = with_links(folder(&[("a", 10), ("b", 10)]), &[(&link, &format!("../{other}/001.png"))]);
        assert_eq!(counts(&dir), of_classes(&[("a", [9, 1]), ("b", [9, 1])]));
        assert_eq!(load(&dir).notes, [format!("not read, links to what is read already: {link} (to {other}/001.png)")]);
    }
    // Without classes, and of two links to a picture elsewhere the first.
    let elsewhere = folder(&[("", 2)]);
    let flat = with_links(folder(&[("", 10)]), &[("x.png", "000.png")]);
    for name in ["y.png", "z.png"] {
        symlink(elsewhere.path().join("001.png"), flat.path().join(name)).unwrap();
    }
    assert_eq!(counts(&flat), of_classes(&[("all", [10, 1])]));
    assert_eq!(load(&flat).notes, ["not read, links to what is read already: x.png (to 000.png), z.png (to y.png)"]);
    // A class of nothing but pictures of another.
    let dir = with_links(folder(&[("a", 0), ("b", 10)]), &[("a/1.png", "../b/001.png")]);
    assert!(error(&dir).contains("class a has no picture of its own: DIR/a/1.png leads to DIR/b/001.png"));
    // A picture beside the classes is still one that belongs to none.
    let dir = with_links(folder(&[("", 1), ("a", 0)]), &[("a/1.png", "../000.png")]);
    assert!(error(&dir).contains("but also the image DIR/000.png"), "{}", error(&dir));
}

#[test]
fn data_sets_of_links_alone_are_read() {
    let store = folder(&[("0", 10), ("1", 10)]);
    let classes = TempDir::new().unwrap();
    for (class, folder) in [("cat", "0"), ("dog", "1")] {
        symlink(store.path().join(folder), classes.path().join(class)).unwrap();
    }
    assert_eq!(counts(&classes), of_classes(&[("cat", [9, 1]), ("dog", [9, 1])]));
    // A link for each picture, into one folder that is not read itself: hidden, elsewhere, or beside the splits.
    let pictures = folder(&[(".store", 20), ("train/cat", 0), ("train/dog", 0)]);
    for i in 0..20 {
        let class = ["cat", "dog"][i % 2];
        symlink(format!("../../.store/{i:03}.png"), pictures.path().join(format!("train/{class}/{i}.png"))).unwrap();
    }
    assert_eq!(counts(&pictures), of_classes(&[("cat", [9, 1]), ("dog", [9, 1])]));
    assert_eq!(load(&pictures).notes, [""; 0]);
    let splits = TempDir::new().unwrap();
    for (split, folder) in [("train", classes.path()), ("test", store.path())] {
        symlink(folder, splits.path().join(split)).unwrap();
    }
    // Both splits are links to the same pictures, which the test split has with fewer links between.
    assert!(error(&splits).contains("DIR/train/cat leads to DIR/test/0, which is read already"), "{}", error(&splits));
}

#[test]
fn images_keep_the_order_of_paths_through_links() {
    let store = TempDir::new().unwrap();
    // Ten pictures of shades 0 to 9, then those of the link, 10 to 19, then one of shade 20.
    let dir = folder(&[("a", 10)]);
    for shade in 10..=20_u8 {
        let name = if shade < 20 { store.path().join(format!("{shade}.png")) } else { dir.path().join("a/c.png") };
        GrayImage::from_pixel(4, 4, Luma([shade])).save(name).unwrap();
    }
    symlink(store.path(), dir.path().join("a/b")).unwrap();
    let dataset = load(&dir);
    let shades = |set: &ImageSet| (0..set.len()).map(|i| set.image(i)[0]).collect::<Vec<_>>();
    assert_eq!(shades(&dataset.test), [9, 19]);
    assert_eq!(shades(&dataset.train), (0..=20).filter(|shade| shade % 10 != 9).collect::<Vec<u8>>());
}

#[test]
fn a_linked_split_with_a_way_back_reads_no_test_image_for_training() {
    let store = folder(&[("a", 10)]);
    let dir = folder(&[("test/a", 2)]);
    symlink(store.path(), dir.path().join("train")).unwrap();
    symlink(dir.path(), store.path().join("a/back")).unwrap();
    assert_eq!(counts(&dir), of_classes(&[("a", [10, 2])]));
    assert!(load(&dir).notes[0].starts_with("not read, links to what is read already: train/a/back"));
}
