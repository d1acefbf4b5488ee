//! `dataset.person`: whose pictures the images of a folder or of an array are.

mod array_file;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use array_file::{Named, npy, write_npz};
use effgan_data::datasets::PersonKey;
use effgan_data::{Dataset, DatasetConfig, DatasetName};
use image::{GrayImage, Luma};
use tempfile::TempDir;

fn picture(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    GrayImage::from_pixel(2, 2, Luma([7])).save(path).unwrap();
}

/// Two classes with ten patients each, of whom each has three pictures.
fn patients(dir: &Path) {
    for (class, patient, picture_of) in
        (0..2).flat_map(|class| (0..10).flat_map(move |patient| (0..3).map(move |picture| (class, patient, picture))))
    {
        picture(&dir.join(format!("class-{class}/patient-{class}{patient}/{picture_of}.png")));
    }
}

fn config(name: DatasetName, dir: &Path, person: PersonKey) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.to_owned()), person: Some(person), ..DatasetConfig::of(name) }
}

fn names(persons: Option<&[effgan_data::Person]>) -> BTreeSet<String> {
    persons.unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn a_folder_names_persons_and_no_test_image_is_of_a_training_person() {
    let dir = TempDir::new().unwrap();
    patients(dir.path());
    let config = config(DatasetName::Folder, dir.path(), PersonKey::Folder(2));
    let Dataset { train, test, .. } = config.load().unwrap();
    assert_eq!((train.len(), test.len()), (54, 6));
    let (of_train, of_test) = (names(train.persons()), names(test.persons()));
    assert_eq!((of_train.len(), of_test.len()), (18, 2));
    assert!(of_train.is_disjoint(&of_test));
    // The list that a site makes before it decodes has the same persons in the same order.
    let listed = config.list(None).unwrap().unwrap();
    assert_eq!(listed.persons.as_deref(), train.persons());
    // Without the key, a person may have images on both sides.
    let plain = DatasetConfig { person: None, ..config }.load().unwrap();
    assert_eq!((plain.train.persons(), plain.train.len()), (None, 54));
}

#[test]
fn one_person_in_two_classes_is_one_person_and_splits_of_the_folder_stay() {
    let dir = TempDir::new().unwrap();
    for path in ["train/a/p1/0.png", "train/b/p1/1.png", "train/b/p2/0.png", "test/a/0.png", "test/b/p1/0.png"] {
        picture(&dir.path().join(path));
    }
    let Dataset { train, test, notes, .. } =
        config(DatasetName::Folder, dir.path(), PersonKey::Folder(2)).load().unwrap();
    assert_eq!(names(train.persons()).len(), 2);
    assert_eq!((test.len(), test.persons()), (2, None));
    // One name in several classes is a person, and not the sign of several data sets.
    assert!(notes.is_empty(), "{notes:?}");
}

#[test]
fn a_picture_in_no_folder_of_a_person_is_named() {
    let dir = TempDir::new().unwrap();
    patients(dir.path());
    picture(&dir.path().join("class-1/9.png"));
    let error = config(DatasetName::Folder, dir.path(), PersonKey::Folder(2)).load().unwrap_err();
    assert!(error.is_in_a_file());
    let line = error.to_string();
    assert!(line.starts_with("dataset.person = 2 is more than the number of folders on the way to "), "{line}");
    assert!(line.ends_with("class-1/9.png, 1; move the picture into a person's folder, or lower it"), "{line}");
}

#[test]
fn a_key_must_suit_the_data_set() {
    let error = |name, person| config(name, Path::new("x"), person).check().unwrap_err().to_string();
    let patients = || PersonKey::Array("patients".into());
    assert!(error(DatasetName::Folder, patients()).starts_with(
        "dataset.person = \"patients\" does not suit the data set folder: it is the number of a folder for name = \"folder\""
    ));
    assert!(error(DatasetName::Npz, PersonKey::Folder(1)).contains("does not suit the data set npz"));
    assert!(error(DatasetName::Mnist, PersonKey::Folder(1)).contains("does not suit the data set mnist"));
    assert!(error(DatasetName::Folder, PersonKey::Folder(0)).starts_with("dataset.person = 0 does not suit"));
}

/// What is read of an `.npz` file of these arrays with `dataset.person = "patients"`.
fn read(arrays: &[Named<'_>]) -> Result<Dataset, String> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    write_npz(&path, arrays);
    config(DatasetName::Npz, &path, PersonKey::Array("patients".into())).load().map_err(|error| error.to_string())
}

#[test]
fn an_array_names_persons() {
    let images = || npy(&[60, 2, 2], &[5_u8; 240]);
    let patients: Vec<i64> = (0..60).map(|image| i64::from(image / 3) - 7).collect();
    // Whole numbers, one for each image, would otherwise be taken for labels.
    let Dataset { train, test, notes, .. } =
        read(&[("images", images()), ("patients", npy(&[60], &patients))]).unwrap();
    assert_eq!((train.len(), test.len()), (54, 6));
    let (of_train, of_test) = (names(train.persons()), names(test.persons()));
    assert_eq!((of_train.len(), of_test.len()), (18, 2));
    assert!(of_train.is_disjoint(&of_test) && of_train.contains("-7"));
    assert!(notes.is_empty(), "{notes:?}");

    let split = |patients: &[i64]| {
        read(&[
            ("train_images", images()),
            ("test_images", npy(&[2, 2, 2], &[5_u8; 8])),
            ("train_patients", npy(&[patients.len() as u64, 1], patients)),
            ("test_patients", npy(&[2], &[1_i64, 2])),
        ])
    };
    let Dataset { train, test, .. } = split(&patients).unwrap();
    assert_eq!((train.len(), names(train.persons()).len(), test.persons()), (60, 20, None));
    assert!(split(&patients[..59]).unwrap_err().contains("has 59 numbers, expected one for each of the 60 images"));
}

#[test]
fn what_are_no_persons_is_refused() {
    let error = |array: &str, values: &[f64]| {
        read(&[("images", npy(&[4, 2, 2], &[5_u8; 16])), (array, npy(&[values.len() as u64], values))]).unwrap_err()
    };
    let line = error("patient", &[0.0; 4]);
    assert!(
        line.contains("a.npz has no array patients or train_patients, which dataset.person names; it has images "),
        "{line}"
    );
    let text = array_file::npy_of("<U1", "(4,)", &[0; 16]);
    let line = read(&[("images", npy(&[4, 2, 2], &[5_u8; 16])), ("patients", text)]).unwrap_err();
    assert!(line.ends_with("patients: holds no numbers, expected a whole one for each image; numpy.unique(persons, return_inverse=True)[1] numbers them"), "{line}");
    // Too few for a test person.
    let one = read(&[("images", npy(&[20, 2, 2], &[5_u8; 80])), ("patients", npy(&[20], &[7_i64; 20]))]).unwrap_err();
    assert!(
        one.contains("has no class of 10 persons, so there are no test images") && one.contains("add persons, or"),
        "{one}"
    );
    assert!(error("patients", &[0.0, 1.0, 1.5, 2.0]).contains("has 1.5 for image 2, expected a whole number"));
    assert!(error("patients", &[0.0, 1.0, f64::NAN, 2.0]).contains("has NaN for image 2"));
    // Numbers that floating point cannot tell apart would make two persons one.
    assert!(error("patients", &[0.0, 1.0, 1e16, 2.0]).contains("expected a whole number up to 9007199254740991"));
}
