//! Arrays as other tools write them: names, types and shapes of images and of labels.

mod array_file;

use std::fs;
use std::path::{Path, PathBuf};

use array_file::{Named, npy, npy_of, write_npz};
use effgan_data::datasets::{Contents, ValueRange};
use effgan_data::{DataError, Dataset, DatasetConfig, DatasetName, ImageFiles};
use tempfile::TempDir;

/// 20 images of 2 × 2 pixels, all of which have the number of their image.
fn images() -> Vec<u8> {
    images_of(20)
}

fn images_of(n: u8) -> Vec<u8> {
    npy(&[n.into(), 2, 2], &(0..n).flat_map(|i| [i; 4]).collect::<Vec<u8>>())
}

/// 0, 1, 0, 1, … for `n` images.
fn labels_of(n: u8) -> Vec<u8> {
    npy(&[n.into()], &(0..n).map(|i| i64::from(i % 2)).collect::<Vec<i64>>())
}

fn labels() -> Vec<u8> {
    labels_of(20)
}

/// A file, and the folder that it is in.
struct Place {
    dir: TempDir,
    path: PathBuf,
}

impl Place {
    fn of(name: &str, contents: &[u8]) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        Self { dir, path }
    }

    fn npz(arrays: &[Named<'_>]) -> Self {
        let place = Self::of("a.npz", b"");
        write_npz(&place.path, arrays);
        place
    }

    fn config(&self) -> DatasetConfig {
        DatasetConfig { dir: Some(self.path.clone()), ..DatasetConfig::of(DatasetName::Npz) }
    }

    fn load(&self) -> Dataset {
        self.config().load().unwrap()
    }

    fn load_in(&self, range: [f64; 2]) -> Result<Dataset, String> {
        self.said(&DatasetConfig { range: ValueRange::new(range[0], range[1]), ..self.config() })
    }

    /// The error, which `effgan data check` reports as well.
    fn error(&self) -> String {
        let error = self.said(&self.config()).unwrap_err();
        assert_eq!(self.short(&Contents::of(&self.path).unwrap_err()), error);
        error
    }

    fn said(&self, config: &DatasetConfig) -> Result<Dataset, String> {
        config.load().map_err(|error| self.short(&error))
    }

    /// The error without the folder's name.
    fn short(&self, error: &DataError) -> String {
        error.to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }
}

fn error(arrays: &[Named<'_>]) -> String {
    Place::npz(arrays).error()
}

#[test]
fn one_array_of_images_and_one_of_labels_are_read_under_every_known_name() {
    let pairs = [
        ["images", "labels"],
        ["images", "label"],
        ["images", "y"],
        ["image", "label"],
        ["x", "y"],
        ["X", "Y"],
        ["data", "targets"],
        ["Data", "target"],
        ["train_images", "train_labels"],
        ["train_images", "labels"],
        ["x_train", "y_train"],
        ["X_train", "y_train"],
        ["train_x", "train_y"],
        ["images_train", "y"],
        ["train_data", "train_targets"],
        ["arr_0", "arr_1"],
        // Whatever their order.
        ["arr_1", "arr_0"],
    ];
    for [x, y] in pairs {
        let dataset = Place::npz(&[(x, images()), (y, labels())]).load();
        // Every tenth image of each class: 18 is the tenth of class 0.
        assert_eq!((dataset.train.len(), dataset.test.labels()), (18, &[0, 1][..]), "{x}, {y}");
        assert_eq!(
            (dataset.test.pixels(), dataset.notes.len()),
            (&[18, 18, 18, 18, 19, 19, 19, 19][..], 0),
            "{x}, {y}"
        );
        assert_eq!(dataset.train.labels()[..4], [0, 1, 0, 1], "{x}, {y}");
    }
}

#[test]
fn splits_are_read_under_the_names_of_keras_and_of_medmnist() {
    for [x, y, test_x, test_y] in [
        ["x_train", "y_train", "x_test", "y_test"],
        ["X_train", "y_train", "X_test", "y_test"],
        ["train_images", "train_labels", "test_images", "test_labels"],
        ["train_data", "train_label", "test_data", "test_label"],
        ["train_images", "train_labels", "x_test", "y_test"],
    ] {
        let dataset =
            Place::npz(&[(x, images()), (y, labels()), (test_x, images_of(3)), (test_y, labels_of(3))]).load();
        assert_eq!((dataset.train.len(), dataset.test.labels()), (20, &[0, 1, 0][..]), "{x}");
        assert_eq!(dataset.test.pixels()[..8], [0, 0, 0, 0, 1, 1, 1, 1], "{x}");
    }
}

#[test]
fn images_without_labels_are_one_class() {
    for arrays in [
        &[("images", images())][..],
        &[("arr_0", images())],
        &[("x_train", images())],
        &[("train_images", images()), ("test_images", images_of(3))],
        // These are not one number for each image.
        &[("images", images()), ("names", npy_of("<U1", "(20,)", &[0; 80])), ("age", npy(&[20], &[0.5_f32; 20]))],
        &[("images", images()), ("seed", npy::<i64>(&[], &[1])), ("boxes", npy(&[20, 4], &[0_u8; 80]))],
    ] {
        let dataset = Place::npz(arrays).load();
        assert_eq!(dataset.class_names, ["0"], "{:?}", arrays[0].0);
        assert_eq!(dataset.notes.is_empty(), arrays.len() < 3, "{:?}", dataset.notes);
    }
}

#[test]
fn arrays_that_are_not_read_are_named() {
    let many: Vec<String> = (0..20).map(|i| format!("extra_{i:02}")).collect();
    let mut arrays = vec![("images", images()), ("labels", labels()), ("readme.txt", b"text".to_vec())];
    arrays.extend(many.iter().map(|name| (name.as_str(), npy(&[1], &[0_u8]))));
    let dataset = Place::npz(&arrays).load();
    let first = many[..12].join(", ");
    assert_eq!(
        dataset.notes,
        [format!("arrays that are not read: {first} and 8 more"), "files that are not arrays: readme.txt".to_owned()]
    );
    // Arrays of splits come before others, of whatever names.
    let dataset =
        Place::npz(&[("x_train", images()), ("y_train", labels()), ("x", labels()), ("data", labels())]).load();
    assert_eq!((dataset.train.len(), dataset.notes), (18, vec!["arrays that are not read: data, x".to_owned()]));
    // effgan's own names come before other words.
    let dataset = Place::npz(&[("images", images()), ("labels", labels()), ("y", images()), ("data", images())]).load();
    assert_eq!(dataset.notes, ["arrays that are not read: data, y"]);
}

#[test]
fn labels_of_one_split_alone_are_an_error_that_names_those_that_are_missing() {
    assert_eq!(
        error(&[("train_images", images()), ("train_labels", labels()), ("test_images", images_of(3))]),
        "a.npz has labels of the training images, train_labels, and none of the test images; it holds test_images (uint8 [3, 2, 2]), \
         train_images (uint8 [20, 2, 2]), train_labels (int64 [20]); add test_labels, or remove all labels"
    );
    let said = error(&[("x_train", images()), ("x_test", images_of(3)), ("y_test", labels_of(3))]);
    assert!(
        said.starts_with("a.npz has labels of the test images, y_test, and none of the training images; it holds "),
        "{said}"
    );
    assert!(said.ends_with("; add train_labels, or remove all labels"), "{said}");
}

#[test]
fn labels_are_never_lost() {
    let of_one_split = |name, lost| error(&[("images", images()), (name, lost)]);
    assert_eq!(
        of_one_split("ids", labels()),
        "a.npz has images without labels, and ids, which may be their labels; it holds ids (int64 [20]), images (uint8 [20, 2, 2]); \
         name it labels (train_labels and test_labels of two splits); name it in dataset.person if it says whose the images are; or \
         remove it"
    );
    for (name, lost) in [
        ("class", npy(&[20, 1], &[0_u8; 20])),
        ("benign", npy(&[20], &[true; 20])),
        ("y_train", labels()),
        ("val_labels", labels_of(3)),
    ] {
        let said = of_one_split(name, lost);
        assert!(said.contains(&format!("images without labels, and {name}, which may be")), "{said}");
    }
    // Of which of both splits?
    let said = error(&[("train_images", images()), ("test_images", images_of(3)), ("labels", labels())]);
    assert!(said.contains("images without labels, and labels, which may be"), "{said}");
}

#[test]
fn arrays_that_cannot_be_told_apart_are_an_error_that_lists_them() {
    assert_eq!(
        error(&[("pictures", images()), ("y", labels())]),
        "a.npz has no array of a known name; it holds pictures (uint8 [20, 2, 2]), y (int64 [20]); \
         name them images and labels, or train_images, train_labels, test_images and test_labels"
    );
    for (arrays, problem) in [
        (&["x", "data"][..], "several arrays that may be its images, such as data and x;"),
        (&["x", "X"], "several arrays that may be its images, such as X and x;"),
        (&["x_train", "train_data"], "several arrays that may be its train_images, such as train_data and x_train;"),
        (&["x_test", "y_test"], "test images, x_test, and no training images;"),
        (&["images", "x_test"], "test images, x_test, and no training images;"),
        (&["train", "test"], "no array of a known name;"),
        (&["my_train_images"], "no array of a known name;"),
        (&["arr_0", "arr_1"], "no names, and not one array of images and one of labels by their shapes;"),
        (&["arr_0", "arr_1", "arr_2", "arr_3"], "no names, and more arrays than images and their labels;"),
        (&["arr_0", "labels"], "no array of a known name;"),
    ] {
        let said = error(&arrays.iter().map(|name| (*name, images())).collect::<Vec<_>>());
        assert!(said.starts_with(&format!("a.npz has {problem} it holds ")), "{said}");
        assert!(arrays.iter().all(|name| said.contains(&format!("{name} (uint8 [20, 2, 2])"))), "{said}");
    }
    let said = error(&[("images", images()), ("targets", labels()), ("target", labels())]);
    assert!(said.contains("several arrays that may be its labels, such as target and targets;"), "{said}");
    let said = error(&[("a", npy_of("|O", "(3,)", &[])), ("b", b"text".to_vec()), ("c", npy_of("<U3", "(1, 2)", &[]))]);
    assert!(said.contains("it holds a (object [3]), b (not an array), c ('<U3' [1, 2]);"), "{said}");
    assert!(error(&[]).contains("no array of a known name; it holds nothing;"));
}

#[test]
fn labels_of_every_type_of_number_are_classes() {
    let wanted: Vec<u8> = (0..20).map(|i| i % 2).collect();
    for array in [
        npy(&[20], &wanted),
        npy(&[20, 1], &wanted.iter().map(|&y| f64::from(y)).collect::<Vec<_>>()),
        npy(&[20], &wanted.iter().map(|&y| f32::from(y)).collect::<Vec<_>>()),
        npy(&[20], &wanted.iter().map(|&y| y == 1).collect::<Vec<_>>()),
        npy_of("<f2", "(20,)", &wanted.iter().flat_map(|&y| [0, 0x3c * y]).collect::<Vec<u8>>()),
        npy(&[20, 2], &wanted.iter().flat_map(|&y| [1 - y, y]).collect::<Vec<_>>()),
        npy(&[20, 2], &wanted.iter().flat_map(|&y| [f64::from(1 - y), f64::from(y)]).collect::<Vec<_>>()),
        npy(&[20, 2], &wanted.iter().flat_map(|&y| [y == 0, y == 1]).collect::<Vec<_>>()),
    ] {
        let dataset = Place::npz(&[("images", images()), ("labels", array)]).load();
        assert_eq!((dataset.train.labels(), dataset.class_names.len()), (&wanted[..18], 2));
    }
}

#[test]
fn numbers_that_are_no_class_are_an_error_that_names_the_image() {
    let with_seventh = |value: f64| (0..20).map(|i| if i == 7 { value } else { 0.0 }).collect::<Vec<f64>>();
    for (value, shown) in [(0.5, "0.5"), (-1.0, "-1"), (256.0, "256"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_eq!(
            error(&[("images", images()), ("labels", npy(&[20], &with_seventh(value)))]),
            format!("a.npz: labels: has label {shown} for image 7, expected a whole number from 0 to 255")
        );
    }
}

/// The error of labels `[20, 3]` of which each row is `[1, 0, 0]`, `[0, 1, 0]` or `[0, 0, 1]`, but that of image 7.
fn error_of_row(row: [f32; 3]) -> String {
    let one_hot = |i| if i == 7 { row } else { [0, 1, 2].map(|column| f32::from(u8::from(i % 3 == column))) };
    error(&[("images", images()), ("labels", npy(&[20, 3], &(0..20).flat_map(one_hot).collect::<Vec<f32>>()))])
}

#[test]
fn several_labels_of_an_image_are_refused_and_no_label_as_well() {
    assert_eq!(
        error_of_row([0.0, 1.0, 1.0]),
        "a.npz: labels: has several labels for image 7, a 1 in column 1 and in column 2; an image has one class, \
         so save one number for each image"
    );
    assert_eq!(
        error_of_row([0.0; 3]),
        "a.npz: labels: has no label for image 7, a 0 in all 3 columns; an image has one class, so save one number for each image"
    );
    assert_eq!(
        error_of_row([0.9, 0.1, 0.0]),
        format!("a.npz: labels: has value {} at [7, 0], expected 0 or 1 in 3 columns", f64::from(0.9_f32))
    );
}

/// Labels `[n, 3]`, all in column 0 but the last, which is in column 1.
fn without_third_column(n: u64) -> Vec<u8> {
    npy(&[n, 3], &(0..n).flat_map(|i| if i + 1 < n { [1_u8, 0, 0] } else { [0, 1, 0] }).collect::<Vec<_>>())
}

#[test]
fn columns_without_an_image_are_classes_only_where_these_are_known() {
    let place = Place::npz(&[("images", images()), ("labels", without_third_column(20))]);
    assert_eq!(
        place.error(),
        "a.npz: labels: has 3 columns, and no image has a 1 in column 2, so these may be labels of which an image can have several, \
         which are not read; if each image has one class, save numpy.argmax(labels, 1)"
    );
    let classes = ["cat", "dog", "zebra", "elk"].map(str::to_owned);
    assert_eq!(place.config().load_named(Some(&classes[..3])).unwrap().class_names, classes[..3]);
    assert!(place.config().load_named(Some(&classes)).is_err(), "4 classes are not 3 columns");
    // Of the test images, no class has to be there.
    let every = (0..20).flat_map(|i| [0, 1, 2].map(|column| u8::from(i % 3 == column))).collect::<Vec<u8>>();
    let test_alone = Place::npz(&[
        ("train_images", images()),
        ("train_labels", npy(&[20, 3], &every)),
        ("test_images", images_of(3)),
        ("test_labels", without_third_column(3)),
    ]);
    assert_eq!((test_alone.load().class_names.len(), test_alone.load().test.labels()), (3, &[0, 0, 1][..]));
}

#[test]
fn labels_of_another_shape_or_type_are_refused() {
    for (labels, expected) in [
        (
            npy(&[2, 2, 5], &[0_u8; 20]),
            "labels: has shape [2, 2, 5], expected [n] or [n, 1], one number for each image",
        ),
        (npy(&[20, 257], &[0_u8; 20 * 257]), "labels: has shape [20, 257], expected [n] or [n, 1]"),
        (npy(&[20, 0], &[0_u8; 0]), "labels: has shape [20, 0], expected [n] or [n, 1]"),
        (npy(&[19, 2], &[0_u8; 38]), "images holds 20 images but a.npz: labels holds 19 labels, expected as many"),
        (npy_of("<U3", "(20,)", &[0; 240]), "labels: holds text, expected numbers; save the number of each class"),
        (npy_of("|O", "(20,)", b"pickle"), "labels: holds Python objects, which are never unpickled"),
        (npy_of("<c8", "(20,)", &[0; 160]), "labels: holds values of type '<c8', expected numbers"),
    ] {
        let said = error(&[("images", images()), ("labels", labels)]);
        assert!(said.starts_with("a.npz: ") && said.contains(expected), "{said}");
    }
}

#[test]
fn objects_are_never_unpickled() {
    for shape in ["(20,)", "(20, 2, 2)"] {
        let said = error(&[("images", npy_of("|O", shape, b"\x80\x04cos\nsystem\n.")), ("labels", labels())]);
        assert!(said.starts_with("a.npz: images: holds Python objects, which are never unpickled, because"), "{said}");
    }
}

#[test]
fn other_numbers_than_bytes_are_images_in_their_range() {
    let bytes: Vec<u8> = (0..80).map(|i| i * 3).collect();
    let of = |range: [f64; 2], array: Vec<u8>| {
        let dataset = Place::npz(&[("images", array)]).load_in(range).unwrap();
        [dataset.train.pixels(), dataset.test.pixels()].concat().len() == 80
            && dataset.train.pixels()[..36] == bytes[..36]
    };
    let shape = &[20, 2, 2];
    let map = |to: fn(f32) -> f32| bytes.iter().map(|&byte| to(byte.into())).collect::<Vec<f32>>();
    let doubles = |of: Vec<f32>| of.into_iter().map(f64::from).collect::<Vec<f64>>();
    assert!(of([0.0, 1.0], npy(shape, &map(|x| x / 255.0))));
    assert!(of([-1.0, 1.0], npy(shape, &map(|x| x / 127.5 - 1.0))));
    assert!(of([-1.0, 1.0], npy(shape, &doubles(map(|x| x / 127.5 - 1.0)))));
    assert!(of([0.0, 255.0], npy(shape, &map(|x| x))));
    assert!(of([0.0, 255.0], npy(shape, &bytes.iter().map(|&x| i64::from(x)).collect::<Vec<_>>())));
    assert!(of([0.0, 65535.0], npy(shape, &bytes.iter().map(|&x| u16::from(x) * 257).collect::<Vec<_>>())));
    assert!(of([-1000.0, -745.0], npy(shape, &bytes.iter().map(|&x| i16::from(x) - 1000).collect::<Vec<_>>())));
    let big_endian: Vec<u8> = map(|x| x / 255.0).into_iter().flat_map(f32::to_be_bytes).collect();
    assert!(of([0.0, 1.0], npy_of(">f4", "(20, 2, 2)", &big_endian)));
    assert!(!of([0.0, 1.0], npy(shape, &map(|x| 1.0 - x / 255.0))), "another picture is another one");
}

#[test]
fn halves_and_booleans_are_images_in_their_range_too() {
    // 0, 0.5 and 1 as binary16.
    let halves = [[0, 0], [0, 0x38], [0, 0x3c], [0, 0x38]].concat().repeat(20);
    let dataset = Place::npz(&[("images", npy_of("<f2", "(20, 2, 2)", &halves))]).load_in([0.0, 1.0]).unwrap();
    assert_eq!(dataset.train.image(0), [0, 128, 255, 128]);
    let masks = npy(&[20, 2, 2], &[true, false, false, true].repeat(20));
    let dataset = Place::npz(&[("images", masks)]).load_in([0.0, 1.0]).unwrap();
    assert_eq!(dataset.train.image(0), [255, 0, 0, 255]);
}

#[test]
fn both_splits_and_the_last_axis_of_channels_are_read_in_their_range() {
    let colours = npy(&[20, 2, 2, 3], &(0..240).map(|i| f64::from(i) / 255.0).collect::<Vec<_>>());
    let place = Place::npz(&[("train_images", colours.clone()), ("test_images", colours)]);
    let dataset = place.load_in([0.0, 1.0]).unwrap();
    for split in [&dataset.train, &dataset.test] {
        assert_eq!((split.shape(), split.image(1)), ([3, 2, 2], &[12, 15, 18, 21, 13, 16, 19, 22, 14, 17, 20, 23][..]));
    }
}

#[test]
fn images_that_are_not_bytes_need_a_range_and_the_error_says_how() {
    let floats = npy(&[20, 2, 2], &(0..80).map(|i| f64::from(i) / 64.0 - 0.25).collect::<Vec<_>>());
    assert_eq!(
        error(&[("images", floats)]),
        "a.npz: images: holds float64 values from -0.25 to 0.984375; declare in a config which are black and white, by \
         dataset.range = [0, 1], [-1, 1] or other values, or save uint8 values from 0 to 255"
    );
    let wide = npy(&[20, 2, 2], &(0..80).map(|i| i * 50).collect::<Vec<u16>>());
    let said = Place::of("a.npy", &wide).error();
    assert!(said.starts_with("a.npy: holds uint16 values from 0 to 3950; declare in a config"), "{said}");
}

#[test]
fn a_value_outside_of_the_range_is_an_error_that_names_it_and_where_it_is() {
    let with = |value: f32| (0..80).map(|i| if i == 29 { value } else { 0.0 }).collect::<Vec<f32>>();
    for (value, shown) in [(1.5, "1.5"), (-0.5, "-0.5"), (f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        assert_eq!(
            Place::of("a.npy", &npy(&[20, 2, 2], &with(value))).load_in([0.0, 1.0]).unwrap_err(),
            format!(
                "a.npy: has value {shown} at [7, 0, 1], outside of dataset.range = [0, 1]; widen it, or correct the value"
            )
        );
    }
}

#[test]
fn a_range_without_a_use_is_an_error() {
    assert_eq!(
        Place::of("a.npy", &images()).load_in([0.0, 1.0]).unwrap_err(),
        "a.npy: holds bytes, which are images as they are; remove dataset.range = [0, 1], which is for other numbers"
    );
    let of_folder = DatasetConfig { range: ValueRange::new(-1.0, 1.0), ..DatasetConfig::of(DatasetName::Folder) };
    assert_eq!(
        of_folder.check().unwrap_err().to_string(),
        "dataset.range = [-1, 1] is for name = \"npz\", but the data set is folder; remove dataset.range"
    );
}

#[test]
fn images_are_read_with_their_channels_first_or_last() {
    let pixels: Vec<u8> = (0..80).collect();
    for shape in [&[20, 2, 2][..], &[20, 2, 2, 1], &[20, 1, 2, 2]] {
        let dataset = Place::of("a.npy", &npy(shape, &pixels)).load();
        assert_eq!((dataset.train.shape(), dataset.train.pixels()[..8].to_vec()), ([1, 2, 2], (0..8).collect()));
    }
    for (shape, expected) in [
        (
            &[20, 1, 4, 1][..],
            "has shape [20, 1, 4, 1], of which both 1 and 1 may be the channels; save images of another size",
        ),
        (&[10, 2, 2, 2], "has shape [10, 2, 2, 2], expected [n, c, h, w] or [n, h, w, c] with c = 1 (grey) or 3"),
        (&[80], "has shape [80], expected [n, h, w], [n, c, h, w] or [n, h, w, c]"),
    ] {
        let said = Place::of("a.npy", &npy(shape, &pixels)).error();
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn test_images_of_none_of_the_trained_classes_are_an_error_in_a_check_too() {
    let arrays = [
        ("x_train", images()),
        ("y_train", npy(&[20], &[1_u8; 20])),
        ("x_test", images()),
        ("y_test", npy(&[20], &[2_u8; 20])),
    ];
    let line = Place::npz(&arrays).error();
    assert!(line.contains("are of none of the classes of its training images (1)"), "{line}");
}

#[test]
fn labels_from_1_and_with_gaps_are_classes_by_their_numbers() {
    let with_gaps: Vec<i64> = (0..20).map(|i| i % 2 * 50 + 1).collect();
    let place = Place::npz(&[("x", images()), ("y", npy(&[20], &with_gaps))]);
    let dataset = place.load();
    assert_eq!((dataset.class_names, &dataset.train.labels()[..2]), (vec!["1".to_owned(), "51".into()], &[0, 1][..]));
    assert!(dataset.notes[0].starts_with("labels have 2 values from 1 to 51"), "{:?}", dataset.notes);
    // Another site may have images of the other numbers.
    let at_site = place.config().load_at_site(None, None).unwrap();
    assert_eq!((at_site.class_names.len(), &at_site.train.labels()[..2]), (52, &[1, 51][..]));
}

/// The name, the number and the first pixel of the images to be scored.
fn scored(path: &Path) -> (String, usize, u8) {
    let files = ImageFiles::open(path).unwrap();
    let name = files.name().rsplit('/').next().unwrap().to_owned();
    (name, files.len(), files.read(0..1).unwrap().iter().next().unwrap().0[0])
}

#[test]
fn the_images_of_a_file_of_splits_are_those_of_the_test_split() {
    let place = Place::npz(&[
        ("train_images", images()),
        ("train_labels", labels()),
        ("val_images", images_of(4)),
        ("test_images", npy(&[3, 2, 2], &[7_u8; 12])),
    ]);
    assert_eq!(scored(&place.path), ("a.npz (test_images)".into(), 3, 7));
    let of_keras = Place::npz(&[("x_test", images_of(4)), ("x_train", images()), ("y_train", labels())]);
    assert_eq!(scored(&of_keras.path), ("a.npz (x_test)".into(), 4, 0));
    let training = Place::npz(&[("x_train", images()), ("y_train", labels())]);
    assert_eq!(scored(&training.path), ("a.npz (x_train)".into(), 20, 0));
    // These are all images that the file has, or were always read.
    for arrays in [
        &[("images", images()), ("ids", labels())][..],
        &[("arr_0", images()), ("arr_1", labels())],
        &[("arr_0", images())],
        &[("x", images()), ("test_images", images_of(3))],
        &[("images", images()), ("test_images", images_of(3)), ("x_train", labels()), ("train_x", labels())],
    ] {
        assert_eq!(scored(&Place::npz(arrays).path), ("a.npz".into(), 20, 0));
    }
    assert_eq!(scored(&Place::of("a.npy", &images()).path), ("a.npy".into(), 20, 0));
    let place = Place::npz(&[("pictures", images())]);
    let said = place.short(&ImageFiles::open(&place.path).unwrap_err());
    assert!(
        said.starts_with("a.npz has no array of a known name; it holds pictures (uint8 [20, 2, 2]); name"),
        "{said}"
    );
}
