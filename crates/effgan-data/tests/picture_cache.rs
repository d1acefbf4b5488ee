//! Decoded pictures that are kept between runs: a later start reads the same bits, and decodes what has changed and nothing else.

use effgan_data::datasets::{MaxMemory, Reading, Report};
use effgan_data::{Dataset, DatasetConfig, DatasetName};
use image::{GrayImage, ImageBuffer, Luma, Rgb, RgbImage};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// As many as are kept.
const ENOUGH: usize = 1000;

/// A folder of pictures, and a cache.
struct Place {
    pictures: TempDir,
    cache: TempDir,
}

impl Place {
    /// `n` pictures of two classes and several formats, which were written long enough ago to be trusted.
    fn of(n: usize) -> Self {
        let place = Self { pictures: TempDir::new().unwrap(), cache: TempDir::new().unwrap() };
        (0..n).for_each(|i| place.write(i, i as u8));
        settle();
        place
    }

    fn path(&self, i: usize) -> PathBuf {
        let extension = ["png", "jpg", "bmp"][i % 3];
        self.pictures.path().join(["cat", "dog"][i % 2]).join(format!("{i:04}.{extension}"))
    }

    /// Writes picture `i`: 9 × 6 pixels that begin with `shade`.
    fn write(&self, i: usize, shade: u8) {
        let path = self.path(i);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(9, 6, |x, y| Rgb([shade, (x * 25) as u8, (y * 40) as u8])).save(path).unwrap();
    }

    fn config(&self) -> DatasetConfig {
        let dir = Some(self.pictures.path().into());
        DatasetConfig { dir, size: Some(4), channels: Some(3), ..DatasetConfig::of(DatasetName::Folder) }
    }

    /// Loads `config` with the cache: the data set, and what was said.
    fn load(&self, config: &DatasetConfig) -> (Dataset, Vec<String>) {
        let lines = Mutex::new(Vec::new());
        let report = |report: Report<'_>| match report {
            Report::Line(line) => lines.lock().unwrap().push(line.to_owned()),
            Report::Pictures { .. } => {}
        };
        let dataset = config.read(None, &Reading::reported_to(&report).with_cache(self.cache.path().into())).unwrap();
        (dataset, lines.into_inner().unwrap())
    }

    /// The one cache file.
    fn file(&self) -> PathBuf {
        let [file] = &self.files()[..] else { panic!("one file, not {:?}", self.files()) };
        file.clone()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache.path().join("decoded")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// Waits until what was written is trusted.
fn settle() {
    thread::sleep(Duration::from_millis(2100));
}

fn is_kept(lines: &[String]) -> bool {
    matches!(lines, [line] if line.starts_with("decoded pictures are kept in "))
}

#[test]
fn a_second_start_reads_the_same_bits_from_the_cache_for_each_way_of_decoding() {
    let place = Place::of(ENOUGH);
    let whole = place.config();
    let grey = DatasetConfig { channels: Some(1), ..whole.clone() };
    let as_they_are = DatasetConfig { size: None, channels: None, ..whole.clone() };
    for (i, config) in [whole, grey, as_they_are].iter().enumerate() {
        let decoded = config.load().unwrap();
        assert_eq!(place.files().len(), i, "a plain call keeps nothing");
        let (first, lines) = place.load(config);
        assert!(is_kept(&lines) && lines[0].contains(&place.cache.path().display().to_string()), "{lines:?}");
        let times =
            |files: Vec<PathBuf>| files.iter().map(|file| fs::metadata(file).unwrap().modified().unwrap()).max();
        let written = times(place.files());
        let (second, lines) = place.load(config);
        assert_eq!((&first, &second), (&decoded, &decoded));
        assert_eq!((lines, times(place.files())), (Vec::new(), written));
    }
}

#[test]
fn a_second_start_says_the_same_of_pictures_with_16_bits_and_maps_them_by_other_levels_anew() {
    let place = Place::of(0);
    for i in 0..ENOUGH {
        let path = place.path(3 * i);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        ImageBuffer::from_pixel(4, 4, Luma([i as u16 + 7])).save(path).unwrap();
    }
    settle();
    let config = DatasetConfig { channels: Some(1), ..place.config() };
    let levels = DatasetConfig { white: Some(4095), ..config.clone() };
    for config in [&config, &levels, &config] {
        let decoded = config.load().unwrap();
        assert_eq!([place.load(config).0, place.load(config).0], [decoded.clone(), decoded]);
    }
    assert!(place.load(&config).0.notes[0].contains("no 16-bit image has a value above 1006"));
}

#[test]
fn pictures_that_are_changed_added_and_removed_are_read_as_they_are_now() {
    let place = Place::of(ENOUGH + 10);
    place.load(&place.config());
    let pixels = fs::read(place.file()).unwrap();
    place.write(3, 200);
    place.write(ENOUGH + 20, 201);
    fs::remove_file(place.path(8)).unwrap();
    // In place, with the same number of bytes and the same date: a BMP is not compressed.
    let (path, date) = (place.path(5), fs::metadata(place.path(5)).unwrap().modified().unwrap());
    place.write(5, 202);
    File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
    // A picture that takes the place of another one, with its date.
    fs::rename(place.path(11), place.path(14)).unwrap();
    let now = place.config().load().unwrap();
    let (read, lines) = place.load(&place.config());
    assert_eq!(read, now);
    assert!(is_kept(&lines), "{lines:?}");
    // What was removed is no longer there: 1,010 less two that are gone, three that were written and one that was renamed just now.
    assert_eq!(pixels.len() - fs::read(place.file()).unwrap().len(), 5 * record_len());
    settle();
    assert!(is_kept(&place.load(&place.config()).1));
    assert_eq!(place.load(&place.config()), (now, Vec::new()));
}

/// Bytes of a picture in the file: a path such as `cat/0000.png`, times and size, and the rest of its record; and 4 × 4 × 3 pixels.
fn record_len() -> usize {
    4 + 12 + 32 + 8 + 2 + 4 + 4 + 48
}

#[test]
fn a_picture_that_changed_a_moment_ago_is_not_kept() {
    let place = Place::of(0);
    (0..ENOUGH).for_each(|i| place.write(i, i as u8));
    let (_, lines) = place.load(&place.config());
    // Writing a thousand pictures may take longer than the two seconds; the last of them are new in any case.
    let last = place.path(ENOUGH - 1).file_name().unwrap().to_owned();
    let holds_last = place.files().iter().any(|file| holds(file, last.as_encoded_bytes()));
    assert!(!holds_last, "{lines:?}");
    settle();
    place.load(&place.config());
    assert!(holds(&place.file(), last.as_encoded_bytes()));
}

fn holds(file: &Path, bytes: &[u8]) -> bool {
    fs::read(file).unwrap().windows(bytes.len()).any(|window| window == bytes)
}

#[test]
fn a_picture_that_cannot_be_read_is_not_kept_and_is_told_each_time() {
    let place = Place::of(0);
    (0..ENOUGH).for_each(|i| place.write(i, i as u8));
    fs::write(place.path(7), "no picture").unwrap();
    settle();
    let config = DatasetConfig { skip_broken: true, ..place.config() };
    let decoded = config.load().unwrap();
    assert_eq!(decoded.left_out.len(), 1);
    assert_eq!([place.load(&config).0, place.load(&config).0], [decoded.clone(), decoded]);
    assert!(!holds(&place.file(), b"0007."));
    // Those that can be read are kept even where the folder is refused, so that a repair does not cost all of them again.
    let refused = |size| {
        DatasetConfig { size: Some(size), ..place.config() }
            .read(None, &Reading::quiet().with_cache(place.cache.path().into()))
    };
    assert!(refused(5).unwrap_err().to_string().contains("0007."));
    assert_eq!(place.files().len(), 2);
}

#[test]
fn a_damaged_or_foreign_file_is_made_anew_and_said_once() {
    let place = Place::of(ENOUGH);
    let decoded = place.config().load().unwrap();
    place.load(&place.config());
    let (path, good) = (place.file(), fs::read(place.file()).unwrap());
    let other = Place::of(ENOUGH);
    other.load(&other.config());
    let foreign = fs::read(other.file()).unwrap();
    let cut = [0, 1, 7, 47, 48, 60, good.len() / 2, good.len() - 1].map(|len| good[..len].to_vec());
    let flipped = [0, 8, 12, 20, 24, 32, 40, 44, 50, 200, 1000, good.len() / 2, good.len() - 30_000, good.len() - 1]
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x40;
            bytes
        });
    let longer = [&good[..], b"x"].concat();
    for (i, bytes) in cut.into_iter().chain(flipped).chain([longer, foreign, b"GIF89a".repeat(99)]).enumerate() {
        fs::write(&path, bytes).unwrap();
        let (dataset, lines) = place.load(&place.config());
        assert_eq!(dataset, decoded, "damage {i}");
        assert_eq!(lines, [format!("{} was damaged, and has been made anew", path.display())], "damage {i}");
        assert!(fs::read(&path).unwrap() == good, "damage {i}");
    }
    assert_eq!(place.load(&place.config()), (decoded, Vec::new()));
}

#[test]
fn a_bound_on_memory_that_is_enough_to_decode_is_enough_with_a_cache() {
    let place = Place::of(ENOUGH);
    // 972,000 bytes of images. The index takes up to 0.4 MB, which decoding does not have to do without.
    let of =
        |mib: u64| DatasetConfig { max_memory: MaxMemory::from_mib(mib).unwrap(), size: Some(18), ..place.config() };
    let least = (1..9).map(of).find(|config| config.load().is_ok()).unwrap();
    let decoded = least.load().unwrap();
    for _ in 0..3 {
        place.write(7, 7);
        assert_eq!(place.load(&least).0, decoded);
    }
}

#[test]
fn little_is_not_kept_and_nothing_where_the_config_says_so() {
    let place = Place::of(ENOUGH - 1);
    assert_eq!(place.load(&place.config()).1, [""; 0]);
    place.write(ENOUGH - 1, 1);
    settle();
    assert_eq!(place.load(&DatasetConfig { cache: false, ..place.config() }).1, [""; 0]);
    assert!(!place.cache.path().join("decoded").exists());
    assert!(is_kept(&place.load(&place.config()).1));
}

#[test]
fn few_pictures_are_kept_where_their_files_are_large() {
    let place = Place::of(40);
    for i in 0..40 {
        // What follows a picture in its file does not matter.
        File::options().append(true).open(place.path(i)).unwrap().set_len(1 << 20).unwrap();
    }
    settle();
    let decoded = place.config().load().unwrap();
    assert!(is_kept(&place.load(&place.config()).1));
    assert_eq!(place.load(&place.config()), (decoded, Vec::new()));
}

#[test]
fn where_nothing_can_be_kept_the_pictures_are_read_all_the_same() {
    let place = Place::of(ENOUGH);
    let (elsewhere, folder) = (TempDir::new().unwrap(), place.cache.path().join("decoded"));
    std::os::unix::fs::symlink(elsewhere.path(), &folder).unwrap();
    let (dataset, lines) = place.load(&place.config());
    assert_eq!(dataset, place.config().load().unwrap());
    let expected = format!(
        "decoded pictures cannot be kept in {}: it is a link or a file; remove it, or set dataset.cache = false",
        folder.display()
    );
    assert_eq!(lines, [expected]);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn each_picture_is_reported_once_and_in_turn() {
    let place = Place::of(0);
    for i in 0..100 {
        let path = place.path(3 * i);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::new(4, 4).save(path).unwrap();
    }
    let reports = Mutex::new(Vec::new());
    let report = |report: Report<'_>| match report {
        Report::Pictures { done, of } => reports.lock().unwrap().push((done, of)),
        Report::Line(line) => panic!("{line}"),
    };
    place.config().read(None, &Reading::reported_to(&report)).unwrap();
    assert_eq!(reports.into_inner().unwrap(), (1..=100).map(|done| (done, 100)).collect::<Vec<_>>());
}
