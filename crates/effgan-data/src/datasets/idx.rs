//! IDX, the format of MNIST's files: a magic number, big-endian u32 sizes, then bytes.
//!
//! A file may be hostile: sizes are checked before memory is allocated, and no more is decompressed than the header promises.

use super::{DEFLATE_RATIO, budget::Budget};
use crate::{DataError, ImageSet};
use flate2::read::MultiGzDecoder;
use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

/// Maximum number of bytes that are read from one file. EMNIST, the largest data set in this format, has 0.6 GB of images.
const MAX_BYTES: u64 = 1 << 31;

/// The kind of a file: its magic number (u8 values with three sizes or one) and its name in messages.
#[derive(Clone, Copy)]
struct Kind {
    magic: u32,
    num_sizes: usize,
    what: &'static str,
}

const IMAGES: Kind = Kind { magic: 0x803, num_sizes: 3, what: "images" };
const LABELS: Kind = Kind { magic: 0x801, num_sizes: 1, what: "labels" };

/// An IDX file that has been opened.
pub(super) struct IdxFile {
    /// Name of the file in errors.
    name: String,
    reader: Box<dyn Read>,
    len: Length,
}

/// Length of a file in bytes.
#[derive(Clone, Copy)]
enum Length {
    /// Length of an uncompressed file.
    Plain(u64),
    /// Length of a compressed file.
    Compressed(u64),
}

/// The training and test split of MNIST, or of a data set with MNIST's files.
pub(super) fn read_splits(dir: &Path, budget: &mut Budget) -> Result<(ImageSet, ImageSet), DataError> {
    Ok((read_split(dir, "train", 10, budget)?, read_split(dir, "t10k", 10, budget)?))
}

/// Reads `<split>-images-idx3-ubyte` and `<split>-labels-idx1-ubyte` of `dir`, each uncompressed or else with `.gz`.
///
/// `split` is `train` or `t10k`.
fn read_split(dir: &Path, split: &str, num_classes: usize, budget: &mut Budget) -> Result<ImageSet, DataError> {
    let images = IdxFile::open(&dir.join(format!("{split}-images-idx3-ubyte")))?;
    let labels = IdxFile::open(&dir.join(format!("{split}-labels-idx1-ubyte")))?;
    parse_split(images, labels, num_classes, budget)
}

/// Reads the images and labels of one split, equally many of each, with every label below `num_classes`.
pub(super) fn parse_split(
    images: IdxFile,
    labels: IdxFile,
    num_classes: usize,
    budget: &mut Budget,
) -> Result<ImageSet, DataError> {
    let (images_file, labels_file) = (images.name.clone(), labels.name.clone());
    let (image_sizes, pixels) = images.read(IMAGES, budget)?;
    let (label_sizes, labels) = labels.read(LABELS, budget)?;
    let (num_images, num_labels) = (image_sizes[0], label_sizes[0]);
    if num_images != num_labels {
        return Err(DataError::CountMismatch { images_file, num_images, labels_file, num_labels });
    }
    ImageSet::new([1, image_sizes[1], image_sizes[2]], pixels, labels, num_classes).map_err(|reason| {
        let file = if matches!(reason, DataError::Label { .. }) { labels_file } else { images_file };
        DataError::InFile { file, reason: Box::new(reason) }
    })
}

impl IdxFile {
    /// Opens `plain`, or else the file of that name with `.gz`.
    fn open(plain: &Path) -> Result<Self, DataError> {
        let mut packed = plain.as_os_str().to_owned();
        packed.push(".gz");
        let packed = Path::new(&packed);
        if plain.is_file() {
            let (name, file) = open_file(plain)?;
            let len = file.metadata().map_err(|reason| unreadable(&name, reason))?.len();
            Ok(Self { name, reader: Box::new(BufReader::new(file)), len: Length::Plain(len) })
        } else if packed.is_file() {
            let (name, file) = open_file(packed)?;
            let len = file.metadata().map_err(|reason| unreadable(&name, reason))?.len();
            Ok(Self { name, reader: Box::new(MultiGzDecoder::new(BufReader::new(file))), len: Length::Compressed(len) })
        } else {
            Err(DataError::MissingFile { plain: plain.to_owned() })
        }
    }

    /// A gzip file that is built into the binary.
    pub(super) fn in_memory(name: &str, packed: &'static [u8]) -> Self {
        let len = Length::Compressed(packed.len() as u64);
        Self { name: name.to_owned(), reader: Box::new(MultiGzDecoder::new(packed)), len }
    }

    /// Reads the sizes in the header and the values after it, exactly as many as the sizes say.
    fn read(mut self, kind: Kind, budget: &mut Budget) -> Result<(Vec<usize>, Vec<u8>), DataError> {
        let header_len = 4 + 4 * kind.num_sizes as u64;
        let header = self.take(header_len, header_len)?;
        let words: Vec<u32> = header.as_chunks().0.iter().map(|&word| u32::from_be_bytes(word)).collect();
        let num_bytes = self.check_header(kind, &words)?;
        let total = header_len + num_bytes;
        self.check_len(total)?;
        match words[1..] {
            [n, h, w] => budget.reserve(n as usize, [1, h as usize, w as usize])?,
            _ => budget.reserve_in_place(num_bytes as usize, [1; 3])?,
        }
        let bytes = self.take(num_bytes, total)?;
        self.check_end(total)?;
        Ok((words[1..].iter().map(|&size| size as usize).collect(), bytes))
    }

    /// Checks the header; returns the number of bytes that it promises, 1..=[`MAX_BYTES`].
    fn check_header(&self, kind: Kind, words: &[u32]) -> Result<u64, DataError> {
        let Kind { magic: expected, what, .. } = kind;
        if words[0] != expected {
            return Err(DataError::WrongMagic { file: self.name.clone(), got: words[0], expected, what });
        }
        let num_bytes = words[1..].iter().fold(1, |bytes: u64, &size| bytes.saturating_mul(u64::from(size)));
        if num_bytes == 0 {
            return Err(DataError::EmptyFile { file: self.name.clone(), what });
        }
        if num_bytes > MAX_BYTES {
            return Err(DataError::TooLarge { file: self.name.clone(), num_bytes, bound: MAX_BYTES });
        }
        Ok(num_bytes)
    }

    /// Compares the file's length with its header before any more of it is read.
    fn check_len(&self, expected: u64) -> Result<(), DataError> {
        let file = self.name.clone();
        match self.len {
            Length::Plain(got) if got < expected => Err(DataError::Truncated { file, expected, got }),
            Length::Plain(got) if got > expected => Err(DataError::TrailingBytes { file, expected }),
            Length::Compressed(len) if expected > DEFLATE_RATIO * len => {
                let reason = format!(
                    "claims to hold {expected} bytes, more than its {len} compressed bytes can hold; get the file again"
                );
                Err(DataError::Malformed { file, reason })
            }
            _ => Ok(()),
        }
    }

    /// Reads the next `len` bytes, which end at byte `total` of the file.
    ///
    /// Memory is allocated at once, because `len` has been checked against the file's own size.
    fn take(&mut self, len: u64, total: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::with_capacity(len as usize);
        match self.reader.by_ref().take(len).read_to_end(&mut bytes) {
            Err(reason) if reason.kind() != io::ErrorKind::UnexpectedEof => Err(unreadable(&self.name, reason)),
            _ if (bytes.len() as u64) < len => {
                let got = total - len + bytes.len() as u64;
                Err(DataError::Truncated { file: self.name.clone(), expected: total, got })
            }
            _ => Ok(bytes),
        }
    }

    /// Checks that the file ends here; for gzip, this also verifies the checksum.
    fn check_end(&mut self, total: u64) -> Result<(), DataError> {
        match self.reader.by_ref().take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => Ok(()),
            Ok(_) => Err(DataError::TrailingBytes { file: self.name.clone(), expected: total }),
            Err(reason) => Err(unreadable(&self.name, reason)),
        }
    }
}

/// Opens a file; returns its name in errors, too.
fn open_file(path: &Path) -> Result<(String, File), DataError> {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok((name, file)),
        Err(reason) => Err(unreadable(&name, reason)),
    }
}

fn unreadable(file: &str, reason: io::Error) -> DataError {
    DataError::Unreadable { file: file.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::{fs, io::Write};
    use tempfile::TempDir;

    const IMAGES_FILE: &str = "train-images-idx3-ubyte";
    const LABELS_FILE: &str = "train-labels-idx1-ubyte";

    fn idx(words: &[u32], bytes: &[u8]) -> Vec<u8> {
        let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        file.extend_from_slice(bytes);
        file
    }

    /// Three images of two pixels.
    fn images() -> Vec<u8> {
        idx(&[0x803, 3, 1, 2], &[0, 1, 2, 3, 4, 5])
    }

    fn labels() -> Vec<u8> {
        idx(&[0x801, 3], &[7, 8, 9])
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    fn read(files: &[(&str, &[u8])]) -> Result<ImageSet, DataError> {
        let dir = TempDir::new().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        read_split(dir.path(), "train", 10, &mut Budget::as_they_are())
    }

    /// The error of a split with the images file `images`, uncompressed and compressed, without the path of the folder.
    fn error_of_images(images: &[u8]) -> [String; 2] {
        let packed_name = format!("{IMAGES_FILE}.gz");
        [(IMAGES_FILE, images.to_vec()), (packed_name.as_str(), gzip(images))].map(|(name, bytes)| {
            let message = read(&[(name, &bytes), (LABELS_FILE, &labels())]).unwrap_err().to_string();
            message[message.find(IMAGES_FILE).unwrap()..].replacen(name, "FILE", 1)
        })
    }

    #[test]
    fn plain_and_gzip_hold_the_same_images() {
        let plain = read(&[(IMAGES_FILE, &images()), (LABELS_FILE, &labels())]).unwrap();
        assert_eq!(plain, ImageSet::new([1, 1, 2], (0..6).collect(), vec![7, 8, 9], 10).unwrap());
        let (images_gz, labels_gz) = (format!("{IMAGES_FILE}.gz"), format!("{LABELS_FILE}.gz"));
        assert_eq!(read(&[(&images_gz, &gzip(&images())), (&labels_gz, &gzip(&labels()))]).unwrap(), plain);
    }

    #[test]
    fn the_uncompressed_file_comes_first() {
        let packed = format!("{IMAGES_FILE}.gz");
        assert!(read(&[(IMAGES_FILE, &images()), (&packed, b"not gzip"), (LABELS_FILE, &labels())]).is_ok());
    }

    #[test]
    fn missing_file_is_named() {
        let error = read(&[(IMAGES_FILE, &images())]).unwrap_err().to_string();
        assert!(error.starts_with("found neither ") && error.contains("train-labels-idx1-ubyte.gz; set"), "{error}");
    }

    #[test]
    fn a_file_cut_anywhere_is_truncated() {
        for len in 0..images().len() {
            let expected = if len < 16 { 16 } else { 22 };
            let message = format!("FILE is truncated: expected {expected} bytes in all, got {len}; get the file again");
            assert_eq!(error_of_images(&images()[..len]), [message.clone(), message]);
        }
    }

    #[test]
    fn gzip_cut_anywhere_is_an_error() {
        let (packed, name) = (gzip(&images()), format!("{IMAGES_FILE}.gz"));
        for len in 0..packed.len() {
            assert!(read(&[(&name, &packed[..len]), (LABELS_FILE, &labels())]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn gzip_with_a_wrong_checksum_is_an_error() {
        let (mut packed, name) = (gzip(&images()), format!("{IMAGES_FILE}.gz"));
        let checksum = packed.len() - 8;
        packed[checksum] ^= 1;
        let error = read(&[(&name, &packed), (LABELS_FILE, &labels())]).unwrap_err();
        assert!(matches!(error, DataError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn trailing_bytes_are_an_error() {
        let mut long = images();
        long.push(0);
        let message = "FILE continues after the 22 bytes that its header promises; get the file again";
        assert_eq!(error_of_images(&long), [message, message]);
    }

    #[test]
    fn wrong_magic_names_both_numbers() {
        let message = "FILE starts with 0x00000801, expected 0x00000803 of an IDX file of u8 images";
        assert_eq!(error_of_images(&idx(&[0x801, 3, 1, 2], &[0; 6])), [message, message]);
    }

    #[test]
    fn a_header_beyond_the_bound_allocates_no_memory() {
        let message = format!(
            "FILE claims to hold {} bytes, more than the {MAX_BYTES} that are read at most; its header is damaged",
            u64::MAX
        );
        assert_eq!(error_of_images(&idx(&[0x803, u32::MAX, u32::MAX, u32::MAX], &[])), [message.clone(), message]);
    }

    #[test]
    fn a_header_within_the_bound_allocates_only_what_the_file_can_hold() {
        // The header promises 2 GiB, and there is nothing: allocating first would show in memory and time.
        let file = idx(&[0x803, 1 << 21, 32, 32], &[]);
        let len = gzip(&file).len();
        assert_eq!(
            error_of_images(&file),
            [
                "FILE is truncated: expected 2147483664 bytes in all, got 16; get the file again".to_owned(),
                format!(
                    "FILE: claims to hold 2147483664 bytes, more than its {len} compressed bytes can hold; get the file again"
                ),
            ]
        );
    }

    #[test]
    fn a_gzip_bomb_is_read_no_further_than_its_header_says() {
        // 64 MiB of zeros after three small images, compressed to 64 KiB.
        let mut bomb = images();
        bomb.resize(64 << 20, 0);
        let packed: &'static [u8] = gzip(&bomb).leak();
        let file = IdxFile::in_memory("bomb.gz", packed);
        assert_eq!(
            file.read(IMAGES, &mut Budget::as_they_are()).unwrap_err().to_string(),
            "bomb.gz continues after the 22 bytes that its header promises; get the file again"
        );
    }

    #[test]
    fn there_must_be_as_many_labels_as_images() {
        let four = idx(&[0x801, 4], &[0; 4]);
        let error = read(&[(IMAGES_FILE, &images()), (LABELS_FILE, &four)]).unwrap_err().to_string();
        assert!(
            error.contains("holds 3 images but ") && error.ends_with("holds 4 labels, expected as many"),
            "{error}"
        );
    }

    #[test]
    fn a_label_that_is_out_of_range_names_its_file() {
        let bad = idx(&[0x801, 3], &[7, 10, 9]);
        let error = read(&[(IMAGES_FILE, &images()), (LABELS_FILE, &bad)]).unwrap_err().to_string();
        assert!(
            error.ends_with("train-labels-idx1-ubyte: image 1 has label 10, which is not below num_classes = 10"),
            "{error}"
        );
    }

    #[test]
    fn file_without_images_is_an_error() {
        let message = "FILE holds no images, expected at least one";
        assert_eq!(error_of_images(&idx(&[0x803, 0, 28, 28], &[])), [message, message]);
    }
}
