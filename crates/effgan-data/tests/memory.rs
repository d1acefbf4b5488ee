//! What reading takes: an allocator counts, and each reader stays within `dataset.max_memory` and close to what its images need.

#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use effgan_data::datasets::MaxMemory;
use effgan_data::{DatasetConfig, DatasetName};
use image::{DynamicImage, ImageBuffer, ImageFormat, RgbImage};
use tempfile::TempDir;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Ordering::SeqCst) + layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    // Memory that nobody has written to yet is counted too, and not taken: many images fit into the test.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        MOST.fetch_max(NOW.fetch_add(layout.size(), Ordering::SeqCst) + layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// One reader at a time is counted.
static ALONE: Mutex<()> = Mutex::new(());

/// MiB that `config` takes at most, and what it says where it does not load.
fn most(config: &DatasetConfig) -> (usize, Option<String>) {
    let before = NOW.load(Ordering::SeqCst);
    MOST.store(before, Ordering::SeqCst);
    let said = config.load().err().map(|error| error.to_string());
    ((MOST.load(Ordering::SeqCst) - before).div_ceil(1 << 20), said)
}

fn config(name: DatasetName, dir: &Path) -> DatasetConfig {
    DatasetConfig { dir: Some(dir.into()), ..DatasetConfig::of(name) }
}

fn mib(mib: u64) -> MaxMemory {
    MaxMemory::from_mib(mib).unwrap()
}

/// An `.npz` file of `n` black images `[64, 64, 3]`, which pack a thousandfold; its header says that there are `said`. Answers with the header's length.
fn npz(path: &Path, n: usize, said: usize) -> usize {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    zip.start_file("images.npy", options).unwrap();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({said}, 64, 64, 3), }}");
    zip.write_all(b"\x93NUMPY\x01\0").unwrap();
    zip.write_all(&(header.len() as u16).to_le_bytes()).unwrap();
    zip.write_all(header.as_bytes()).unwrap();
    (0..n).for_each(|_| zip.write_all(&[0; 64 * 64 * 3]).unwrap());
    zip.finish().unwrap();
    10 + header.len()
}

/// A folder of `n` files that are this picture.
fn folder(dir: &Path, picture: &DynamicImage, format: ImageFormat, n: usize) {
    fs::create_dir(dir.join("class")).unwrap();
    let first = dir.join("class/0.png");
    picture.save_with_format(&first, format).unwrap();
    (1..n).for_each(|i| fs::hard_link(&first, dir.join(format!("class/{i}.png"))).unwrap());
}

#[test]
fn a_packed_array_takes_little_more_than_its_images_and_nothing_beyond_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    npz(&path, 4000, 4000); // 46.9 MiB, packed to 0.05
    let config = config(DatasetName::Npz, &path);
    let (most_mib, said) = most(&config);
    // The images, a tenth of them for the test split once more, labels, and room for the decoder.
    assert!(said.is_none() && most_mib <= 47 + 5 + 2, "{most_mib} MiB: {said:?}");
    let (most_mib, said) = most(&DatasetConfig { max_memory: mib(40), ..config.clone() });
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    let said = said.unwrap();
    assert!(
        said.starts_with("reading 4000 images of shape [3, 64, 64] takes 49152000 bytes of memory, more than"),
        "{said}"
    );
    // Brought to another size, both are held.
    let smaller = DatasetConfig { size: Some(32), max_memory: mib(68), ..config };
    let (most_mib, said) = most(&smaller);
    assert!(said.is_none() && most_mib <= 68, "{most_mib} MiB: {said:?}");
}

#[test]
fn an_array_that_promises_more_than_its_file_can_hold_takes_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.npz");
    // 1.2 GB by the array's header and by the archive's directory, from 12 KB.
    let len = npz(&path, 1000, 100_000) + 100_000 * 64 * 64 * 3;
    let mut bytes = fs::read(&path).unwrap();
    let entry = bytes.windows(4).rposition(|start| start == b"PK\x01\x02").unwrap();
    bytes[entry + 24..entry + 28].copy_from_slice(&(len as u32).to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let (most_mib, said) = most(&config(DatasetName::Npz, &path));
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    assert!(said.unwrap().contains(&format!("images: says it holds {len} bytes, more than the")));
}

#[test]
fn thumbnails_that_are_brought_to_many_pixels_are_decoded_into_their_place() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = TempDir::new().unwrap();
    folder(dir.path(), &DynamicImage::ImageRgb8(RgbImage::new(16, 16)), ImageFormat::Png, 40);
    let config = DatasetConfig { size: Some(512), channels: Some(3), ..config(DatasetName::Folder, dir.path()) };
    let (most_mib, said) = most(&DatasetConfig { max_memory: mib(29), ..config.clone() });
    assert!(most_mib <= 1, "{most_mib} MiB before it is refused");
    assert_eq!(
        said.unwrap(),
        "reading 40 images of shape [3, 512, 512] takes 31457280 bytes of memory, more than dataset.max_memory = 29 MiB; \
         lower dataset.size, leave images away or raise dataset.max_memory"
    );
    // 30 MiB of images, and what each thread resizes in.
    let (most_mib, said) = most(&DatasetConfig { max_memory: mib(40), ..config });
    assert!(said.is_none() && most_mib <= 40, "{most_mib} MiB: {said:?}");
}

#[test]
fn large_pictures_that_are_brought_to_few_pixels_are_decoded_within_the_bound() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // 4 million pixels: 32 MiB as the widest PNG has them, from a file of 32 KB.
    let deep = DynamicImage::ImageRgba16(ImageBuffer::new(2048, 2048));
    let rgb = DynamicImage::ImageRgb8(RgbImage::new(2048, 2048));
    for (picture, format, one) in [(&deep, ImageFormat::Png, 50), (&rgb, ImageFormat::Jpeg, 51)] {
        let dir = TempDir::new().unwrap();
        folder(dir.path(), picture, format, 10);
        let config = DatasetConfig { size: Some(32), channels: Some(3), ..config(DatasetName::Folder, dir.path()) };
        let (most_mib, said) = most(&DatasetConfig { max_memory: mib(one), ..config.clone() });
        assert!(said.is_none() && most_mib <= one as usize, "{format:?}: {most_mib} of {one} MiB: {said:?}");
        let (most_mib, said) = most(&DatasetConfig { max_memory: mib(30), ..config });
        let said = said.unwrap();
        assert!(most_mib <= 3, "{format:?}: {most_mib} MiB before it is refused");
        assert!(said.contains("MiB to decode, of which dataset.max_memory = 30 MiB leaves 29; raise it"), "{said}");
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
    let (most_mib, said) = most(&DatasetConfig { max_memory: mib(bound), ..config });
    assert!(said.is_none() && most_mib <= bound as usize, "{most_mib} of {bound} MiB: {said:?}");
}
