//! IDX files, plain or gzip: both splits of a data set are the same two files.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use effgan_data::{Dataset, DatasetConfig, DatasetName};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::scratch;

/// Reads `images` and `labels`, whose names end in `suffix`: nothing or `.gz`.
pub fn check(images: &[u8], labels: &[u8], suffix: &str) {
    let folder = format!("idx{suffix}");
    let images = scratch::file(&format!("{folder}/train-images-idx3-ubyte{suffix}"), images);
    let labels = scratch::file(&format!("{folder}/train-labels-idx1-ubyte{suffix}"), labels);
    link(&images, &format!("{folder}/t10k-images-idx3-ubyte{suffix}"));
    link(&labels, &format!("{folder}/t10k-labels-idx1-ubyte{suffix}"));
    let folder = images.parent().expect("a file in a folder");
    let any = load(DatasetName::Idx, folder);
    if let Some(dataset) = load(DatasetName::Mnist, folder) {
        assert_eq!(dataset.train, dataset.test, "equal files are equal splits");
        assert_eq!(
            any.expect("a data set of ten classes is one").train.pixels(),
            dataset.train.pixels(),
            "equal pixels"
        );
    }
}

/// Reads `images`, a gzip file, with as many labels as it says it has images.
pub fn check_gzip(images: &[u8]) {
    let mut header = [0; 8];
    let _ = GzDecoder::new(images).read_exact(&mut header); // a file without a header has no image
    let num = u32::from_be_bytes([header[4], header[5], header[6], header[7]]).min(100);
    let labels = [&[0, 0, 8, 1][..], &num.to_be_bytes(), &vec![0; num as usize]].concat();
    check(images, &gzip(&labels), ".gz");
}

/// `contents` as a gzip file.
pub fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut file = GzEncoder::new(Vec::new(), Compression::fast());
    file.write_all(contents).and_then(|()| file.finish()).expect("a Vec takes all bytes")
}

/// Cuts one input in two: its first two bytes say how long the first part is.
pub fn parts(bytes: &[u8]) -> (&[u8], &[u8]) {
    let Some((len, rest)) = bytes.split_first_chunk() else { return (bytes, &[]) };
    rest.split_at(usize::from(u16::from_le_bytes(*len)).min(rest.len()))
}

/// The same file under a second name.
pub fn link(from: &Path, name: &str) {
    let to = scratch::path(name);
    if !to.exists() {
        fs::hard_link(from, to).expect("a temporary file can be linked");
    }
}

/// What the program makes of the data set at `path`, where it makes something of it.
pub fn load(name: DatasetName, path: &Path) -> Option<Dataset> {
    let dataset = DatasetConfig { dir: Some(path.to_owned()), ..DatasetConfig::of(name) }.load().ok()?;
    check_splits(&dataset);
    Some(dataset)
}

/// Checks what is true of every data set.
pub fn check_splits(dataset: &Dataset) {
    for split in [&dataset.train, &dataset.test] {
        let len = split.shape().iter().product::<usize>() * split.len();
        assert_eq!(split.pixels().len(), len, "as many pixels as the shape says");
        assert!(split.labels().iter().all(|&label| usize::from(label) < split.num_classes()), "labels are classes");
    }
}
