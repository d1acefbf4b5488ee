//! Pictures in each format that is read, and 16-bit pictures whose values fill a part of their range.

use effgan_data::{DatasetConfig, DatasetName, datasets::Contents};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage};
use std::{fs, path::Path};
use tempfile::TempDir;

fn config(dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(DatasetName::Folder) }
}

/// Ten copies of a file, and what is read of them: the shape, and the pixels of one.
fn read(name: &str, file: &[u8]) -> Result<([usize; 3], Vec<u8>), String> {
    let dir = TempDir::new().unwrap();
    for i in 0..10 {
        fs::write(dir.path().join(format!("{i}{name}")), file).unwrap();
    }
    let dataset = config(dir.path()).load().map_err(|error| error.to_string())?;
    Ok((dataset.train.shape(), dataset.train.image(0).to_vec()))
}

fn saved(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    picture.into().write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// 40 × 40 pixels that do not compress.
fn noise() -> RgbImage {
    RgbImage::from_fn(40, 40, |x, y| Rgb([(x * 37) as u8, (y * 91) as u8, (x * y) as u8]))
}

#[test]
fn each_format_without_loss_gives_the_same_pixels() {
    use ImageFormat as F;
    let expected = read(".png", &saved(noise(), F::Png)).unwrap();
    assert_eq!(expected.0, [3, 40, 40]);
    for (name, format) in
        [(".webp", F::WebP), (".TIF", F::Tiff), (".tiff", F::Tiff), (".bmp", F::Bmp), (".ppm", F::Pnm)]
    {
        assert!(read(name, &saved(noise(), format)).unwrap() == expected, "{name}");
    }
    // GIF has 256 colours.
    let few = RgbImage::from_fn(8, 8, |x, y| Rgb([(x * 30) as u8, (y * 30) as u8, 7]));
    assert_eq!(read(".gif", &saved(few.clone(), F::Gif)).unwrap(), read(".png", &saved(few, F::Png)).unwrap());
    for name in [".jfif", ".jpe", ".JPEG"] {
        let [by_name, as_jpg] = [name, ".jpg"].map(|name| read(name, &saved(noise(), F::Jpeg)).unwrap());
        assert!(by_name == as_jpg, "{name}");
    }
}

#[test]
fn grey_and_deep_pictures_stay_what_they_are_in_each_format_that_has_them() {
    let grey = GrayImage::from_fn(3, 2, |x, y| Luma([(60 * x + 30 * y) as u8]));
    let deep = ImageBuffer::from_fn(3, 2, |x, y| Luma([257 * (60 * x + 30 * y) as u16]));
    for (name, format) in [(".png", ImageFormat::Png), (".tif", ImageFormat::Tiff), (".pgm", ImageFormat::Pnm)] {
        let expected = ([1, 2, 3], vec![0, 60, 120, 30, 90, 150]);
        assert_eq!(read(name, &saved(grey.clone(), format)).unwrap(), expected, "{name}");
        if format != ImageFormat::Pnm {
            assert_eq!(
                read(name, &saved(DynamicImage::ImageLuma16(deep.clone()), format)).unwrap(),
                expected,
                "{name}"
            );
        }
    }
    // 16 bits of PGM, written by hand: big-endian values after the header.
    let file = [b"P5 3 1 65535\n".as_slice(), &[0, 0, 60, 60, 255, 255]].concat();
    assert_eq!(read(".pgm", &file).unwrap(), ([1, 1, 3], vec![0, 60, 255]));
}

#[test]
fn a_file_cut_anywhere_is_an_error_in_every_format() {
    use ImageFormat as F;
    for (name, format) in [(".webp", F::WebP), (".tif", F::Tiff), (".bmp", F::Bmp), (".ppm", F::Pnm), (".gif", F::Gif)]
    {
        let whole = saved(noise(), format);
        for len in (0..whole.len() - 20).step_by(whole.len() / 40) {
            assert!(read(name, &whole[..len]).is_err(), "{name} cut at {len} of {}", whole.len());
        }
    }
}

#[test]
fn what_a_decoder_cannot_read_says_what_to_do() {
    let bmp = saved(noise(), ImageFormat::Bmp);
    assert!(read(".bmp", &bmp[..bmp.len() / 2]).unwrap_err().contains("0.bmp (is truncated)"));
    let float = DynamicImage::ImageRgb32F(ImageBuffer::from_pixel(4, 4, Rgb([0.5; 3])));
    let line = read(".tif", &saved(float, ImageFormat::Tiff)).unwrap_err();
    assert!(line.contains("has pixels of an unknown kind, Rgb32F; convert it to PNG"), "{line}");
}

#[test]
fn what_follows_a_jpeg_does_not_matter_and_what_is_missing_does() {
    let photo = saved(noise(), ImageFormat::Jpeg);
    let expected = read(".jpg", &photo).unwrap();
    // A film behind its end, as phones append it: random bytes hold starts of scans.
    let next = |state: &u64| Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    let film: Vec<u8> = std::iter::successors(Some(1), next).take(300_000).map(|state| (state >> 56) as u8).collect();
    assert!(film.windows(2).any(|marker| marker == [0xff, 0xda]), "or this tests nothing");
    for tail in [&film[..], &vec![0; 100_000], b"\0\0\0\x18ftypmp42"] {
        assert!(read(".jpg", &[&photo, tail].concat()).unwrap() == expected, "{} bytes", tail.len());
        let cut = [&photo[..photo.len() * 4 / 5], &vec![0; tail.len()]].concat();
        assert!(read(".jpg", &cut).unwrap_err().contains("is truncated"), "{} bytes", tail.len());
    }
}

/// Ten pictures of 16 bits with the values 0, `largest` / 2 and `largest`.
fn deep(largest: u16) -> TempDir {
    let dir = TempDir::new().unwrap();
    let picture = ImageBuffer::from_fn(3, 1, |x, _| Luma([largest / 2 * x as u16]));
    for i in 0..10 {
        DynamicImage::ImageLuma16(picture.clone()).save(dir.path().join(format!("{i}.png"))).unwrap();
    }
    dir
}

#[test]
fn twelve_bits_in_sixteen_are_noticed_and_fill_the_range_when_white_says_so() {
    let dir = deep(4094);
    let dataset = config(dir.path()).load().unwrap();
    let note =
        "no 16-bit image has a value above 4094 of 65535, so that they are dark; dataset.white = 4094 makes that white";
    assert_eq!((dataset.notes, dataset.train.image(0)), (vec![note.to_owned()], &[0, 8, 16][..]));
    let contents = Contents::of(dir.path()).unwrap();
    assert_eq!((contents.notes, contents.levels), (vec![note.to_owned()], Some([0, 4094])));
    // 2047 / 4094 · 255 = 127.5; (2047 − 1000) / 1047 and (4094 − 1000) / 1047 are clipped.
    for (black, white, expected) in [(None, Some(4094), [0, 128, 255]), (Some(1000), Some(2047), [0, 255, 255])] {
        let dataset = DatasetConfig { black, white, ..config(dir.path()) }.load().unwrap();
        assert_eq!((dataset.notes, dataset.train.image(0)), (vec![], &expected[..]));
    }
    // A quarter of the range is enough to be seen.
    assert_eq!(config(deep(65534).path()).load().unwrap().notes, [""; 0]);
    assert_eq!(config(deep(16_384).path()).load().unwrap().notes, [""; 0]);
    assert!(config(deep(16_382).path()).load().unwrap().notes[0].contains("above 16382"));
}

#[test]
fn levels_that_mean_nothing_are_errors() {
    let dir = deep(4094);
    let error = |config: DatasetConfig| config.load().unwrap_err().to_string();
    let wrong = DatasetConfig { black: Some(9), white: Some(9), ..config(dir.path()) };
    assert_eq!(error(wrong), "dataset.white = 9 must be above dataset.black = 9");
    let digits = DatasetConfig { white: Some(4095), ..DatasetConfig::of(DatasetName::MnistMini) };
    assert_eq!(
        error(digits),
        "dataset.black and dataset.white are for name = \"folder\", but the data set is mnist-mini; remove them"
    );
    let shallow = TempDir::new().unwrap();
    for i in 0..10 {
        GrayImage::new(3, 1).save(shallow.path().join(format!("{i}.png"))).unwrap();
    }
    let unused = DatasetConfig { white: Some(4095), ..config(shallow.path()) };
    assert_eq!(
        error(unused),
        "dataset.black and dataset.white are for pictures of 16 bits without a window of their own, and there are none; remove them"
    );
}
