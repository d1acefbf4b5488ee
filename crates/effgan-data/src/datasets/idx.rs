//! IDX, the format of MNIST's files: a magic number, big-endian u32 sizes, then bytes.
//!
//! A file may be hostile: sizes are checked before memory is allocated, and no more is decompressed than the header promises. Whether it is
//! in gzip is told by its first bytes, since programs that unpack files, or serve them, leave the names as they are or change them alone.

use super::{
    DEFLATE_RATIO, DatasetName, Splits,
    budget::Budget,
    idx_files::{IdxSet, SplitFiles},
    lfs_pointer::{self, Opened},
};
use crate::{DataError, ImageSet};
use flate2::read::MultiGzDecoder;
use std::{
    io::{self, BufReader, Read},
    path::Path,
};

/// Maximum number of bytes that are read from one file. EMNIST, the largest data set in this format, has 0.6 GB of images.
const MAX_BYTES: u64 = 1 << 31;
/// The first bytes of every gzip file (RFC 1952).
const GZIP: &[u8] = b"\x1f\x8b";
/// Classes of MNIST, and of what has its files and name.
const TEN: usize = 10;
/// What a user should know about EMNIST's images.
const UPRIGHT: &str = "images are turned upright: EMNIST stores their pixels column by column";

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

/// Reads the data set `name` at `path`: one of ten classes or, for [`DatasetName::Idx`], of as many as the largest label says. Files of
/// EMNIST hold transposed images, which are turned upright.
pub(super) fn read(name: DatasetName, path: &Path, budget: &mut Budget) -> Result<Splits, DataError> {
    let mut files = IdxSet::find(name, path)?;
    let num_classes = (name != DatasetName::Idx).then_some(TEN);
    let mut read = |SplitFiles { images, labels }| {
        parse_split(IdxFile::open(&images)?, IdxFile::open(&labels)?, num_classes, budget)
    };
    let (mut train, mut test) = (read(files.train()?)?, read(files.test()?)?);
    if files.is_transposed() {
        (train, test) = (train.transposed(), test.transposed());
        files.notes.push(UPRIGHT.to_owned());
    }
    let num_classes = train.num_classes().max(test.num_classes());
    let [train, test] = [train, test].map(|split| split.of_classes(num_classes));
    Ok(Splits { notes: files.notes, ..Splits::of((train, test)) })
}

/// Reads the images and labels of one split, equally many of each, with every label below `num_classes`; without it, there are as many
/// classes as the largest label says.
pub(super) fn parse_split(
    images: IdxFile,
    labels: IdxFile,
    num_classes: Option<usize>,
    budget: &mut Budget,
) -> Result<ImageSet, DataError> {
    let (images_file, labels_file) = (images.name.clone(), labels.name.clone());
    let (image_sizes, pixels) = images.read(IMAGES, budget)?;
    let (label_sizes, labels) = labels.read(LABELS, budget)?;
    let (num_images, num_labels) = (image_sizes[0], label_sizes[0]);
    if num_images != num_labels {
        return Err(DataError::CountMismatch { images_file, num_images, labels_file, num_labels });
    }
    let num_classes = num_classes.unwrap_or_else(|| labels.iter().max().map_or(1, |&label| usize::from(label) + 1));
    ImageSet::new([1, image_sizes[1], image_sizes[2]], pixels, labels, num_classes).map_err(|reason| match reason {
        DataError::Label { image, label, num_classes } => {
            DataError::OtherClasses { file: labels_file, image, label, num_classes }
        }
        reason => DataError::InFile { file: images_file, reason: Box::new(reason) },
    })
}

impl IdxFile {
    /// Opens a file, which may be in gzip.
    fn open(path: &Path) -> Result<Self, DataError> {
        let name = path.display().to_string();
        let Opened { file, len, start } = lfs_pointer::open(path)?;
        let reader = BufReader::new(file);
        Ok(if start.starts_with(GZIP) {
            Self { name, reader: Box::new(MultiGzDecoder::new(reader)), len: Length::Compressed(len) }
        } else {
            Self { name, reader: Box::new(reader), len: Length::Plain(len) }
        })
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

fn unreadable(file: &str, reason: io::Error) -> DataError {
    DataError::Unreadable { file: file.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::Numbers;
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

    /// The training split of MNIST in these files, with a test split beside it.
    fn read(files: &[(&str, &[u8])]) -> Result<ImageSet, DataError> {
        let test = [("t10k-images-idx3-ubyte", &*images()), ("t10k-labels-idx1-ubyte", &*labels())];
        read_as(DatasetName::Mnist, &[files, &test].concat()).map(|splits| splits.train)
    }

    fn read_as(name: DatasetName, files: &[(&str, &[u8])]) -> Result<Splits, DataError> {
        let dir = TempDir::new().unwrap();
        for (name, bytes) in files {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        super::read(name, dir.path(), &mut Budget::as_they_are())
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
    fn gzip_is_told_by_its_first_bytes_and_not_by_the_name() {
        let expected = read(&[(IMAGES_FILE, &images()), (LABELS_FILE, &labels())]).unwrap();
        let (images_gz, labels_gz) = (format!("{IMAGES_FILE}.gz"), format!("{LABELS_FILE}.gz"));
        assert_eq!(read(&[(IMAGES_FILE, &gzip(&images())), (LABELS_FILE, &gzip(&labels()))]).unwrap(), expected);
        assert_eq!(read(&[(&images_gz, &images()), (&labels_gz, &labels())]).unwrap(), expected);
        let error = read(&[(&images_gz, &images()[..20]), (&labels_gz, &labels())]).unwrap_err().to_string();
        assert!(
            error.ends_with("ubyte.gz is truncated: expected 22 bytes in all, got 20; get the file again"),
            "{error}"
        );
    }

    #[test]
    fn files_with_a_dot_in_their_names_are_read() {
        let expected = read(&[(IMAGES_FILE, &images()), (LABELS_FILE, &labels())]).unwrap();
        let dotted = [("train-images.idx3-ubyte", &*images()), ("train-labels.idx1-ubyte", &*labels())];
        assert_eq!(read(&dotted).unwrap(), expected);
    }

    #[test]
    fn a_pointer_of_git_lfs_is_called_one() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 47040016\n";
        let line = ": is a Git LFS pointer, not the file itself; run `git lfs pull`";
        for (file, files) in [
            (IMAGES_FILE, [(IMAGES_FILE, &pointer[..]), (LABELS_FILE, &labels())]),
            (LABELS_FILE, [(IMAGES_FILE, &images()), (LABELS_FILE, &pointer[..])]),
        ] {
            let error = read(&files).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{file}{line}")), "{error}");
        }
    }

    /// Files as EMNIST's, with these labels.
    fn emnist(name: &str, labels: [u8; 3]) -> [(String, Vec<u8>); 4] {
        // 0 1 2 over 3 4 5, and so on.
        let images = idx(&[0x803, 3, 2, 3], &(0..18).collect::<Vec<u8>>());
        let labels = idx(&[0x801, 3], &labels);
        [
            ("train-images-idx3", &images),
            ("train-labels-idx1", &labels),
            ("test-images-idx3", &images),
            ("test-labels-idx1", &labels),
        ]
        .map(|(file, bytes)| (format!("{name}{file}-ubyte.gz"), gzip(bytes)))
    }

    #[test]
    fn emnist_is_turned_upright_and_has_the_classes_of_its_labels() {
        let files = emnist("emnist-letters-", [1, 26, 2]);
        let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        let Splits { train, test, notes, .. } = read_as(DatasetName::Idx, &files).unwrap();
        assert_eq!((train.shape(), train.num_classes(), train.labels()), ([1, 3, 2], 27, &[1, 26, 2][..]));
        // Row by row: 0 3, 1 4, 2 5.
        assert_eq!(train.image(0), [0, 3, 1, 4, 2, 5]);
        assert_eq!(train, test);
        assert_eq!(notes, [UPRIGHT]);
        let numbered = Splits { notes: Vec::new(), ..Splits::of((train, test)) }.numbered(None, Numbers::OfImages);
        assert_eq!(
            (numbered.class_names, numbered.train.labels()),
            (vec!["1".into(), "2".into(), "26".into()], &[0, 2, 1][..])
        );
        assert!(read_as(DatasetName::Mnist, &files).is_err());
    }

    #[test]
    fn other_data_sets_keep_their_pixels() {
        for prefix in ["", "qmnist-"] {
            let files = emnist(prefix, [0, 255, 3]);
            let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
            let Splits { train, notes, .. } = read_as(DatasetName::Idx, &files).unwrap();
            assert_eq!((train.shape(), train.num_classes(), notes), ([1, 2, 3], 256, vec![]));
            assert_eq!(train.pixels(), (0..18).collect::<Vec<u8>>());
        }
    }

    #[test]
    fn a_damaged_training_split_is_named_before_a_missing_test_split() {
        let files = [(IMAGES_FILE, &images()[..20]), (LABELS_FILE, &labels())];
        let error = read_as(DatasetName::Mnist, &files).err().unwrap().to_string();
        assert!(error.contains(" is truncated: expected 22 bytes in all, got 20"), "{error}");
    }

    #[test]
    fn missing_file_is_named() {
        let error = read(&[(IMAGES_FILE, &images())]).unwrap_err().to_string();
        assert!(
            error.starts_with("found no ") && error.contains("/train-labels-idx1-ubyte, nor one with .gz"),
            "{error}"
        );
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
            error.ends_with(
                "train-labels-idx1-ubyte: image 1 has label 10, which is not below num_classes = 10; \
                 set dataset.name = \"idx\" for a data set of other classes"
            ),
            "{error}"
        );
    }

    #[test]
    fn file_without_images_is_an_error() {
        let message = "FILE holds no images, expected at least one";
        assert_eq!(error_of_images(&idx(&[0x803, 0, 28, 28], &[])), [message, message]);
    }
}
