//! Memory of reading, counted by an allocator: each reader stays within `dataset.max_memory` and close to what its images need.

#[path = "../../effgan-kernels/tests/counting/allocator.rs"]
mod allocator;
mod dicom_file;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use allocator::{HELD, PEAK};
use dicom_file::{BASELINE_JPEG, BITS, BITS_STORED, COLUMNS, DicomFile, PHOTOMETRIC, ROWS, RUN_LENGTHS, SAMPLES};
use effgan_data::datasets::{MaxMemory, ValueRange};
use effgan_data::{DatasetConfig, DatasetName};
use image::{DynamicImage, ImageBuffer, ImageFormat, Rgb, RgbImage};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Only one reader is counted at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Peak MiB of loading `config`, and the error if it does not load.
fn peak(config: &DatasetConfig) -> (usize, Option<String>) {
    let before = HELD.load(Ordering::SeqCst);
    PEAK.store(before, Ordering::SeqCst);
    let said = config.load().err().map(|error| error.to_string());
    ((PEAK.load(Ordering::SeqCst) - before).div_ceil(1 << 20), said)
}

fn config(name: DatasetName, dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(name) }
}

fn mib(mib: u64) -> MaxMemory {
    MaxMemory::from_mib(mib).unwrap()
}

/// An `.npz` file of `n` black images `[64, 64, 3]`, which compress a thousandfold; its header claims `said` images. Returns the
/// header's length.
fn npz(path: &Path, n: usize, said: usize) -> usize {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let len = add(&mut zip, "images", "|u1", &format!("({said}, 64, 64, 3)"), n * 64 * 64 * 3);
    zip.finish().unwrap();
    len
}

/// Adds an array of zeros to an `.npz` file; returns the length of its header.
fn add(zip: &mut ZipWriter<File>, name: &str, descr: &str, shape: &str, num_bytes: usize) -> usize {
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file(format!("{name}.npy"), options).unwrap();
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    zip.write_all(b"\x93NUMPY\x01\0").unwrap();
    zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    zip.write_all(header.as_bytes()).unwrap();
    io::copy(&mut io::repeat(0).take(num_bytes as u64), zip).unwrap();
    10 + header.len()
}

/// A folder of `n` copies of a picture.
fn folder(dir: &Path, picture: &DynamicImage, format: ImageFormat, n: usize) {
    let mut file = io::Cursor::new(Vec::new());
    picture.write_to(&mut file, format).unwrap();
    folder_of(dir, file.get_ref(), n);
}

/// A folder of `n` copies of a file.
fn folder_of(dir: &Path, file: &[u8], n: usize) {
    fs::create_dir(dir.join("class")).unwrap();
    let first = dir.join("class/0.png");
    fs::write(&first, file).unwrap();
    (1..n).for_each(|i| fs::hard_link(&first, dir.join(format!("class/{i}.png"))).unwrap());
}

#[test]
fn a_compressed_array_needs_little_more_than_its_images_and_stays_within_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    npz(&path, 4000, 4000); // 46.9 MiB, compressed to 0.05
    let config = config(DatasetName::Npz, &path);
    let (most_mib, said) = peak(&config);
    // The images, a tenth of them for the test split once more, labels, and room for the decoder.
    assert!(said.is_none() && most_mib <= 47 + 5 + 2, "{most_mib} MiB: {said:?}");
    let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(40), ..config.clone() });
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    let said = said.unwrap();
    assert!(
        said.starts_with("reading 4000 images of shape [3, 64, 64] takes 49152000 bytes of memory, more than"),
        "{said}"
    );
    // With another size, both copies are in memory.
    let smaller = DatasetConfig { size: Some(32), max_memory: mib(68), ..config };
    let (most_mib, said) = peak(&smaller);
    assert!(said.is_none() && most_mib <= 68, "{most_mib} MiB: {said:?}");
}

#[test]
fn an_array_that_claims_more_than_its_file_can_hold_allocates_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    // 1.2 GB by the array's header and by the archive's directory, from 12 KB.
    let len = npz(&path, 1000, 100_000) + 100_000 * 64 * 64 * 3;
    let mut bytes = fs::read(&path).unwrap();
    let entry = bytes.windows(4).rposition(|start| start == b"PK\x01\x02").unwrap();
    bytes[entry + 24..entry + 28].copy_from_slice(&(len as u32).to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let (most_mib, said) = peak(&config(DatasetName::Npz, &path));
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    assert!(said.unwrap().contains(&format!("images: claims to hold {len} bytes, more than the")));
}

#[test]
fn an_array_of_floats_is_converted_as_it_is_read() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    // 93.8 MiB, of which 11.7 MiB of bytes are made.
    add(&mut zip, "images", "<f8", "(1000, 64, 64, 3)", 8 * 1000 * 64 * 64 * 3);
    add(&mut zip, "labels", "<f8", "(1000, 1)", 8 * 1000);
    zip.finish().unwrap();
    let undeclared = config(DatasetName::Npz, &path);
    let (most_mib, said) = peak(&undeclared);
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    assert!(said.unwrap().contains("images: holds float64 values from 0 to 0; declare in a config"));
    let declared = DatasetConfig { range: ValueRange::new(0.0, 1.0), ..undeclared };
    let (most_mib, said) = peak(&declared);
    // The images, a tenth of them for the test split once more, labels, and room for the decoder.
    assert!(said.is_none() && most_mib <= 12 + 2 + 2, "{most_mib} MiB: {said:?}");
    let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(11), ..declared });
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    assert!(said.unwrap().starts_with("reading 1000 images of shape [3, 64, 64] takes 12288000 bytes of memory"));
}

#[test]
fn floats_that_a_file_cannot_hold_are_refused_before_memory_is_taken() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    let promised = add(&mut zip, "images", "<f4", "(100000, 64, 64, 3)", 0) + 4 * 100_000 * 64 * 64 * 3;
    zip.finish().unwrap();
    for range in [None, ValueRange::new(0.0, 1.0)] {
        let (most_mib, said) = peak(&DatasetConfig { range, ..config(DatasetName::Npz, &path) });
        assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
        let said = said.unwrap();
        assert!(said.contains(&format!("expected {promised} by its shape [100000, 64, 64, 3]; get")), "{said}");
    }
}

#[test]
fn labels_in_columns_are_read_without_keeping_the_columns() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    let mut zip = ZipWriter::new(File::create(&path).unwrap());
    add(&mut zip, "images", "|u1", "(10000, 1, 2)", 20_000);
    // 19.5 MiB.
    add(&mut zip, "labels", "<f8", "(10000, 256)", 8 * 256 * 10_000);
    zip.finish().unwrap();
    let (most_mib, said) = peak(&config(DatasetName::Npz, &path));
    assert!(most_mib <= 1, "{most_mib} MiB");
    assert!(said.unwrap().contains("labels: has no label for image 0, a 0 in all 256 columns"));
}

#[test]
fn thumbnails_that_are_enlarged_are_decoded_in_place() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    folder(dir.path(), &DynamicImage::ImageRgb8(RgbImage::new(16, 16)), ImageFormat::Png, 40);
    let config = DatasetConfig { size: Some(512), channels: Some(3), ..config(DatasetName::Folder, dir.path()) };
    let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(29), ..config.clone() });
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    assert_eq!(
        said.unwrap(),
        "reading 40 images of shape [3, 512, 512] takes 31457280 bytes of memory, more than dataset.max_memory = 29 MiB; \
         lower dataset.size, remove images or raise dataset.max_memory"
    );
    // 30 MiB of images, and what each thread resizes in.
    let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(40), ..config });
    assert!(said.is_none() && most_mib <= 40, "{most_mib} MiB: {said:?}");
}

#[test]
fn large_pictures_that_are_shrunk_are_decoded_within_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // 4 million pixels: 32 MiB as the widest PNG has them, from a file of 32 KB.
    let deep = DynamicImage::ImageRgba16(ImageBuffer::new(2048, 2048));
    let rgb = DynamicImage::ImageRgb8(RgbImage::new(2048, 2048));
    for (picture, format, one) in [(&deep, ImageFormat::Png, 50), (&rgb, ImageFormat::Jpeg, 51)] {
        let dir = TempDir::new().unwrap();
        folder(dir.path(), picture, format, 10);
        let config = DatasetConfig { size: Some(32), channels: Some(3), ..config(DatasetName::Folder, dir.path()) };
        let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(one), ..config.clone() });
        assert!(said.is_none() && most_mib <= one as usize, "{format:?}: {most_mib} of {one} MiB: {said:?}");
        let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(30), ..config });
        let said = said.unwrap();
        assert!(most_mib <= 3, "{format:?}: {most_mib} MiB before it is refused");
        assert!(said.contains("MiB to decode, and dataset.max_memory = 30 MiB leaves 29 MiB; raise it"), "{said}");
    }
}

#[test]
fn pictures_of_every_other_format_are_decoded_within_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // Of one colour, which compresses best, and noise, which does not.
    let noise = RgbImage::from_fn(1024, 1024, |x, y| {
        Rgb((x * 1024 + y).wrapping_mul(2_654_435_761).to_be_bytes().first_chunk().copied().unwrap())
    });
    for picture in [RgbImage::new(1024, 1024), noise] {
        let deep = DynamicImage::ImageRgb16(DynamicImage::ImageRgb8(picture.clone()).to_rgb16());
        let rgb = DynamicImage::ImageRgb8(picture);
        let formats = [ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::Gif, ImageFormat::Pnm];
        for (picture, format) in formats.map(|format| (&rgb, format)).into_iter().chain([(&deep, ImageFormat::Tiff)]) {
            let dir = TempDir::new().unwrap();
            folder(dir.path(), picture, format, 10);
            let config = DatasetConfig { size: Some(32), channels: Some(3), ..config(DatasetName::Folder, dir.path()) };
            let fits = |bound: &u64| DatasetConfig { max_memory: mib(*bound), ..config.clone() }.load().is_ok();
            let bound = (1..60).find(fits).unwrap();
            let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(bound), ..config });
            assert!(said.is_none() && most_mib <= bound as usize, "{format:?}: {most_mib} of {bound} MiB: {said:?}");
        }
    }
}

#[test]
fn a_progressive_jpeg_of_four_channels_is_decoded_within_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // 2048 x 2048 pixels, by Pillow: Image.new("CMYK", (2048, 2048), (10, 200, 30, 40)).save(path, quality=50, progressive=True).
    let bytes = include_bytes!("fixtures/progressive-cmyk.jpg");
    let dir = TempDir::new().unwrap();
    for split in ["train", "test"] {
        fs::create_dir_all(dir.path().join(split).join("class")).unwrap();
        fs::write(dir.path().join(split).join("class/a.jpg"), bytes).unwrap();
    }
    let config = DatasetConfig { size: Some(32), channels: Some(3), ..config(DatasetName::Folder, dir.path()) };
    let fits = |bound: &u64| DatasetConfig { max_memory: mib(*bound), ..config.clone() }.load().is_ok();
    let bound = (40..60).find(fits).unwrap();
    let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(bound), ..config });
    assert!(said.is_none() && most_mib <= bound as usize, "{most_mib} of {bound} MiB: {said:?}");
}

#[test]
fn dicom_pictures_are_decoded_within_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let side = [1024; 2];
    let grey = DicomFile::grey(side, &vec![9; 1 << 21]).number(BITS, 16).number(BITS_STORED, 12);
    let rgb = DicomFile::grey(side, &vec![9; 3 << 20]).number(SAMPLES, 3).with(PHOTOMETRIC, "CS", b"RGB ");
    // Two segments of runs of 128 for the two bytes of a sample.
    let starts = [2_u32, 64, 64 + (1 << 14)].map(u32::to_le_bytes).concat();
    let runs = [&starts[..], &[0; 52], &[129, 9].repeat(1 << 14)].concat();
    let mut jpeg = io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::new(1024, 1024)).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let files = [
        grey.clone(),
        grey.compressed(RUN_LENGTHS, &runs),
        rgb.clone(),
        rgb.with(PHOTOMETRIC, "CS", b"YBR_FULL").compressed(BASELINE_JPEG, jpeg.get_ref()),
    ];
    for (i, file) in files.iter().enumerate() {
        let dir = TempDir::new().unwrap();
        folder_of(dir.path(), &file.bytes(), 10);
        // As they are: resizing would take more memory than decoding.
        let config = config(DatasetName::Folder, dir.path());
        let fits = |bound: &u64| DatasetConfig { max_memory: mib(*bound), ..config.clone() }.load().is_ok();
        let bound = (10..80).find(fits).unwrap();
        let (most_mib, said) = peak(&DatasetConfig { max_memory: mib(bound), ..config });
        assert!(said.is_none() && most_mib <= bound as usize, "file {i}: {most_mib} of {bound} MiB: {said:?}");
    }
}

#[test]
fn dicom_headers_of_many_pixels_allocate_no_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let many = DicomFile::grey([0; 2], &[]).number(ROWS, 8000).number(COLUMNS, 8000);
    for file in [many.clone(), many.clone().compressed(RUN_LENGTHS, &[0; 64]), many.compressed(BASELINE_JPEG, &[0; 64])]
    {
        let dir = TempDir::new().unwrap();
        folder_of(dir.path(), &file.bytes(), 10);
        let (most_mib, said) = peak(&config(DatasetName::Folder, dir.path()));
        assert!(said.is_some() && most_mib <= 1, "{most_mib} MiB: {said:?}");
    }
}
