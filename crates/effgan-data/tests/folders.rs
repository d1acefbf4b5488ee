//! Folders of pictures, read by a config as in a run.

mod mixed_folder;

use effgan_data::{
    DatasetConfig, DatasetName,
    datasets::{Contents, ContentsKind, ImageFiles},
};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::{fs, path::Path};
use tempfile::TempDir;

fn folder(dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(DatasetName::Folder) }
}

fn error(config: &DatasetConfig) -> String {
    let error = config.load().unwrap_err().to_string();
    error.replace(&config.dir.as_ref().unwrap().display().to_string(), "DIR")
}

/// `count` grey pictures of 4 × 4 pixels, picture i of shade i.
fn grey(dir: &Path, class: &str, count: u8) {
    fs::create_dir_all(dir.join(class)).unwrap();
    for i in 0..count {
        GrayImage::from_pixel(4, 4, Luma([i])).save(dir.join(class).join(format!("{i:03}.png"))).unwrap();
    }
}

#[test]
fn three_broken_images_of_a_thousand_are_one_message_or_are_skipped() {
    let dir = TempDir::new().unwrap();
    mixed_folder::make(dir.path());
    let config = DatasetConfig { size: Some(16), channels: Some(3), ..folder(dir.path()) };
    assert_eq!(
        error(&config),
        "3 of 1000 images of DIR cannot be read: cats/0020.png (is empty), dogs/0405.jpg (is truncated), \
         frogs/0908.png (is not a picture of a format that is read (PNG, JPEG, WebP, TIFF, BMP, GIF, PNM, DICOM)); repair or remove them, or set dataset.skip_broken = true to leave them out"
    );
    let dataset = DatasetConfig { skip_broken: true, ..config }.load().unwrap();
    let left_out: Vec<_> = dataset.left_out.iter().map(|file| file.file.to_str().unwrap()).collect();
    assert_eq!(left_out, mixed_folder::BROKEN);
    // 334 + 334 + 332 images, of which the 10th, 20th … 330th of a class are test; none of the broken is one of them.
    assert_eq!((dataset.train.len(), dataset.test.len(), dataset.train.shape()), (1000 - 99 - 3, 99, [3, 16, 16]));
    assert_eq!(dataset.class_names, ["cats", "dogs", "frogs"]);
    assert!(dataset.notes[0].starts_with("left out 3 of 1000 images, which cannot be read: cats/0020.png"));
}

#[test]
fn a_class_of_broken_pictures_alone_is_an_error_even_where_broken_ones_are_skipped() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), "cat", 20);
    fs::create_dir(dir.path().join("dog")).unwrap();
    for i in 0..3 {
        fs::write(dir.path().join(format!("dog/{i}.png")), b"").unwrap();
    }
    let config = DatasetConfig { skip_broken: true, ..folder(dir.path()) };
    let line = "none of the 3 training images of class dog can be read, such as dog/0.png (is empty); repair them, or move the folder \
                of the class elsewhere";
    assert_eq!(error(&config), line);
    let note = "no training image can be read, which skip_broken does not pass over, of: dog; repair their images, or move their folders \
                elsewhere";
    assert_eq!(Contents::of(dir.path()).unwrap().notes, [note]);
    // A site may lack images of a class that all sites have agreed on.
    let known = ["cat".to_owned(), "dog".into()];
    let site = config.load_named(Some(&known)).unwrap();
    assert_eq!((site.train.len(), site.left_out.len()), (18, 3));
    // One picture is enough.
    grey(dir.path(), "dog", 1);
    assert_eq!(config.load().unwrap().train.len(), 19);
}

#[test]
fn a_single_picture_is_no_data_set() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), "", 1);
    let file = dir.path().join("000.png");
    let line = "DIR is one picture; name the folder that holds the pictures, or a file of arrays (.npz, .npy)";
    for name in [DatasetName::Folder, DatasetName::Npz, DatasetName::Mnist, DatasetName::Cifar10] {
        assert_eq!(error(&DatasetConfig { name, ..folder(&file) }), line, "{name}");
    }
    let of_path = |error: effgan_data::DataError| error.to_string().replace(&file.display().to_string(), "DIR");
    assert_eq!(of_path(Contents::of(&file).unwrap_err()), line);
    assert_eq!(of_path(ImageFiles::open(&file).unwrap_err()), line);
}

#[test]
fn mixed_sizes_and_colours_are_errors_that_name_the_keys() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), "a", 12);
    RgbImage::from_pixel(6, 4, Rgb([9; 3])).save(dir.path().join("a/100.png")).unwrap();
    let config = folder(dir.path());
    assert_eq!(
        error(&config),
        "a/000.png has 4 × 4 pixels but a/100.png has 6 × 4; set dataset.size to the pixels per side of all images"
    );
    let config = DatasetConfig { size: Some(8), ..config };
    assert_eq!(
        error(&config),
        "a/000.png is grey but a/100.png has colours; set dataset.channels to 1 or 3 for all images"
    );
    let dataset = DatasetConfig { channels: Some(1), ..config }.load().unwrap();
    assert_eq!((dataset.train.shape(), dataset.train.len(), dataset.test.len()), ([1, 8, 8], 12, 1));
}

#[test]
fn equal_images_need_no_keys_and_are_unchanged() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), "b", 20);
    grey(dir.path(), "a", 10);
    let dataset = folder(dir.path()).load().unwrap();
    assert_eq!((dataset.class_names.join(" "), dataset.train.shape()), ("a b".into(), [1, 4, 4]));
    // Of a the tenth is test; of b the tenth and the twentieth. Interleaved by position: 1/2; 1/4, 3/4.
    let shades = |set: &effgan_data::ImageSet| (0..set.len()).map(|i| set.image(i)[0]).collect::<Vec<_>>();
    assert_eq!((shades(&dataset.test), dataset.test.labels()), (vec![9, 9, 19], &[1, 0, 1][..]));
    // Positions of a: 1/18, 3/18 …; of b: 1/36, 3/36, 5/36 …
    assert_eq!(
        (&shades(&dataset.train)[..6], &dataset.train.labels()[..6]),
        (&[0, 0, 1, 2, 1, 3][..], &[1, 0, 1, 1, 0, 1][..])
    );
}

#[test]
fn a_flat_folder_is_one_class_and_folders_within_a_class_belong_to_it() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), "", 20);
    let dataset = folder(dir.path()).load().unwrap();
    assert_eq!((dataset.class_names.len(), dataset.train.num_classes(), dataset.train.len()), (1, 1, 18));
    let nested = TempDir::new().unwrap();
    grey(nested.path(), "healthy/patient-1", 6);
    grey(nested.path(), "healthy/patient-2", 6);
    grey(nested.path(), "ill/patient-3/left", 12);
    let dataset = folder(nested.path()).load().unwrap();
    assert_eq!((dataset.class_names.join(" "), dataset.train.len()), ("healthy ill".into(), 22));
}

#[test]
fn ambiguous_folders_are_errors() {
    let dir = TempDir::new().unwrap();
    assert_eq!(
        error(&folder(dir.path())),
        "DIR holds no pictures (PNG, JPEG, WebP, TIFF, BMP, GIF, PNM, DICOM); set dataset.dir to a folder of them, or of one folder for each class"
    );
    grey(dir.path(), "a", 9);
    assert!(error(&folder(dir.path())).starts_with("DIR has no class of 10 images, so there are no test images"));
    grey(dir.path(), "", 1);
    assert!(error(&folder(dir.path())).contains("but also the image DIR/000.png; move it into one"));
    let everything_broken = TempDir::new().unwrap();
    for i in 0..10 {
        fs::write(everything_broken.path().join(format!("{i}.png")), b"").unwrap();
    }
    let config = DatasetConfig { skip_broken: true, ..folder(everything_broken.path()) };
    assert_eq!(error(&config), "none of the training images or none of the test images of DIR can be read");
    let many = DatasetConfig { skip_broken: false, ..config };
    assert!(error(&many).starts_with("10 of 10 images of DIR cannot be read: 0.png (is empty), 1.png"));
}

#[test]
fn size_and_channels_apply_to_the_built_in_data_set() {
    let plain = DatasetConfig::of(DatasetName::MnistMini).load().unwrap();
    let config = DatasetConfig { size: Some(32), channels: Some(3), ..DatasetConfig::of(DatasetName::MnistMini) };
    let dataset = config.load().unwrap();
    assert_eq!((dataset.train.shape(), dataset.test.shape()), ([3, 32, 32], [3, 32, 32]));
    assert_eq!(dataset.train.labels(), plain.train.labels());
    let (image, planes) = (dataset.train.image(0), 32 * 32);
    assert!(image[..planes] == image[planes..2 * planes] && image[..planes] == image[2 * planes..]);
    // The mean of a triangle-filtered digit, whose rim is black, is that of the digit to within rounding.
    let mean = |pixels: &[u8]| pixels.iter().map(|&pixel| f64::from(pixel)).sum::<f64>() / pixels.len() as f64;
    assert!((mean(&image[..planes]) - mean(plain.train.image(0))).abs() < 0.5);
}

#[test]
fn keys_out_of_range_are_named() {
    let error = |config: DatasetConfig| config.load().unwrap_err().to_string();
    let plain = DatasetConfig::of(DatasetName::MnistMini);
    assert_eq!(
        error(DatasetConfig { size: Some(0), ..plain.clone() }),
        "dataset.size = 0 must be from 1 to 1024, the pixels per side of an image"
    );
    assert_eq!(
        error(DatasetConfig { channels: Some(4), ..plain.clone() }),
        "dataset.channels = 4 is neither 1 (grey) nor 3 (red, green, blue)"
    );
    assert!(error(DatasetConfig { skip_broken: true, ..plain.clone() }).ends_with("remove dataset.skip_broken"));
    let large = error(DatasetConfig { size: Some(1024), channels: Some(3), ..plain });
    // 31,457,280,000 bytes of pixels, 7,840,000 as they are, and what each thread resizes in.
    assert!(large.starts_with("reading 10000 images of shape [3, 1024, 1024] takes 314"), "{large}");
    let what_to_do =
        "more than dataset.max_memory = 8 GiB; lower dataset.size, remove images or raise dataset.max_memory";
    assert!(large.ends_with(what_to_do), "{large}");
}

#[test]
fn contents_describe_a_folder() {
    let dir = TempDir::new().unwrap();
    mixed_folder::make(dir.path());
    let contents = Contents::of(dir.path()).unwrap();
    assert_eq!((contents.kind, contents.num_images(), contents.every_tenth), (ContentsKind::Folder, 997, true));
    // 334, 334 and 332 less one broken training image each, every tenth of them test.
    let classes = [("cats".into(), [300, 33]), ("dogs".into(), [300, 33]), ("frogs".into(), [298, 33])];
    assert_eq!(contents.classes, classes);
    let modes: Vec<String> = contents.modes.iter().map(|(mode, count)| format!("{count} {mode}")).collect();
    // Three in a row of each of five kinds, 334 runs, the last of one: 201, 201 and 201, one of each broken,
    // 199 and 198.
    assert_eq!(modes, ["397 grey", "200 16-bit grey", "200 colour", "200 colour with alpha"]);
    assert_eq!(contents.sizes.iter().map(|(_, count)| count).sum::<usize>(), 997);
    assert_eq!(
        (contents.broken.len(), contents.notes),
        (3, vec!["not read, files of class cats that are not read as pictures: cats/Thumbs.db".into()])
    );
}

#[cfg(unix)]
#[test]
fn names_with_control_characters_are_shown_without_them() {
    let dir = TempDir::new().unwrap();
    grey(dir.path(), "\u{1b}[2Jcats", 10);
    fs::write(dir.path().join("\u{1b}[2Jcats").join("\u{7}.png"), b"").unwrap();
    let config = DatasetConfig { skip_broken: true, ..folder(dir.path()) };
    let dataset = config.load().unwrap();
    assert_eq!(dataset.class_names, ["\u{fffd}[2Jcats"]);
    assert!(!dataset.notes[0].contains(char::is_control));
}
