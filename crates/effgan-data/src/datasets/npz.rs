//! Images as `NumPy` arrays: an `.npz` file with `images` and `labels` or with the names of `MedMNIST`, or a single `.npy` file.
//!
//! Images are u8 `[n, h, w]`, `[n, c, h, w]` or `[n, h, w, c]` with c = 1 or 3; labels are integers 0..=255, `[n]` or `[n, 1]`,
//! and all 0 when there are none. The splits are `train_images` and `test_images` (`MedMNIST` v2, Yang et al. 2023) when both
//! exist; otherwise every tenth image of each class is the test split. Images keep the order of the file.

use super::{
    DEFLATE_RATIO, Splits,
    budget::Budget,
    npy::{Array, Header, Kind},
    test_split,
};
use crate::{DataError, ImageSet};
use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};
use zip::ZipArchive;

/// Reads an `.npz` or `.npy` file.
pub(super) fn read(path: &Path, budget: &mut Budget) -> Result<Splits, DataError> {
    let mut source = Source::open(path)?;
    let names = source.names();
    let has = |name: &str| names.iter().any(|known| known == name);
    let splits: &[[&str; 2]] = match (has("train_images"), has("test_images")) {
        (true, true) => &[["train_images", "train_labels"], ["test_images", "test_labels"]],
        (true, false) => &[["train_images", "train_labels"]],
        _ => &[["images", "labels"]],
    };
    let mut sets = Vec::new();
    for [images, labels] in splits {
        let images = source.read_images(images, budget)?;
        let labels = if has(labels) { Some(source.read_labels(labels, images.num, budget)?) } else { None };
        sets.push(image_set(images, labels)?);
    }
    let not_read =
        names.into_iter().filter(|name| !splits.iter().flatten().any(|read| read == name)).collect::<Vec<_>>();
    let notes = if not_read.is_empty() {
        Vec::new()
    } else {
        vec![format!("arrays that are not read: {}", not_read.join(", "))]
    };
    let file = path.display().to_string();
    let every_tenth = sets.len() == 1;
    let (train, test) = match (sets.pop(), sets.pop()) {
        (Some(test), Some(train)) => (train, test),
        (Some(whole), None) => hold_out(whole, &file, budget)?,
        _ => unreachable!("there is at least one split"),
    };
    let num_classes = train.num_classes().max(test.num_classes());
    let [train, test] = [train, test].map(|split| split.of_classes(num_classes));
    Ok(Splits { notes, every_tenth, ..Splits::of((train, test)) })
}

/// Shape `[c, h, w]` and pixels `[n, c, h, w]` of the array `images`; all other arrays are ignored.
pub(super) fn read_images(path: &Path) -> Result<([usize; 3], Vec<u8>), DataError> {
    let Images { shape, pixels, .. } = Source::open(path)?.read_images("images", &mut Budget::as_they_are())?;
    Ok((shape, pixels))
}

/// Splits into all but every tenth image of each class, and every tenth.
fn hold_out(whole: ImageSet, file: &str, budget: &mut Budget) -> Result<(ImageSet, ImageSet), DataError> {
    let is_test = test_split::every_tenth(whole.labels());
    let num_test = is_test.iter().filter(|&&is_test| is_test).count();
    if num_test == 0 {
        return Err(DataError::NoTestImages { place: file.to_owned() });
    }
    budget.reserve_in_place(num_test, whole.shape())?;
    Ok(whole.split(&is_test))
}

/// An array, with its name in messages.
struct Named {
    file: String,
    array: Array,
}

/// Images `[n, c, h, w]`, with their name in messages.
struct Images {
    file: String,
    num: usize,
    shape: [usize; 3],
    pixels: Vec<u8>,
}

/// An opened file of one or several arrays.
enum Source {
    One { file: String, reader: BufReader<File>, len: u64 },
    Zip { file: String, archive: ZipArchive<BufReader<File>>, len: u64 },
}

impl Source {
    fn open(path: &Path) -> Result<Self, DataError> {
        let file = path.display().to_string();
        let unreadable = |reason| DataError::Unreadable { file: path.display().to_string(), reason };
        if !path.is_file() {
            return Err(DataError::Missing { file: path.to_owned() });
        }
        let opened = File::open(path).map_err(unreadable)?;
        let len = opened.metadata().map_err(unreadable)?.len();
        let reader = BufReader::new(opened);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
            return Ok(Self::One { file, reader, len });
        }
        match ZipArchive::new(reader) {
            Ok(archive) => Ok(Self::Zip { file, archive, len }),
            Err(error) => Err(DataError::Malformed { file, reason: format!("is not an .npz file: {error}") }),
        }
    }

    /// Names of the arrays, sorted; a single array is called `images`.
    fn names(&self) -> Vec<String> {
        let Self::Zip { archive, .. } = self else { return vec!["images".into()] };
        let files = archive.file_names().filter_map(Result::ok);
        let mut names: Vec<String> = files.filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect();
        names.sort();
        names
    }

    /// Reads the images `name`, whose memory is reserved first.
    fn read_images(&mut self, name: &str, budget: &mut Budget) -> Result<Images, DataError> {
        let mut layout = None;
        let Named { file, array } = self.read(name, |file, header| {
            let read = layout.insert(Layout::of(header).map_err(|reason| malformed(file, reason))?);
            budget.reserve(read.num, read.shape)
        })?;
        let Layout { num, shape, channels_last } = layout.expect("an array has a header");
        Ok(Images {
            file,
            num,
            shape,
            pixels: if channels_last { channels_first(array.bytes, shape) } else { array.bytes },
        })
    }

    /// Reads the labels `name` of `num_images` images.
    fn read_labels(&mut self, name: &str, num_images: usize, budget: &mut Budget) -> Result<Named, DataError> {
        // A label has at most eight bytes. Small arrays of a wrong shape are read too, so that the error can name the shape.
        let max = 8_u64.saturating_mul(num_images as u64).max(1 << 20);
        self.read(name, |file, Header { shape, num_bytes, .. }| {
            if *num_bytes > max {
                let reason =
                    format!("claims to hold {num_bytes} bytes of shape {shape:?}, more than the {max} that are read");
                return Err(malformed(file, reason));
            }
            budget.reserve_in_place(*num_bytes as usize, [1; 3])
        })
    }

    /// Reads the array `name`, after `check` has accepted its header.
    fn read(
        &mut self,
        name: &str,
        check: impl FnOnce(&str, &Header) -> Result<(), DataError>,
    ) -> Result<Named, DataError> {
        let names = self.names();
        match self {
            Self::One { file, reader, len } => read_array(file.clone(), reader, [*len; 2], check),
            Self::Zip { file, archive, len } => match archive.by_name(&format!("{name}.npy")) {
                Ok(entry) => {
                    let max_len = DEFLATE_RATIO.saturating_mul(entry.compressed_size().min(*len));
                    let lens = [entry.size(), max_len];
                    read_array(format!("{file}: {name}"), entry, lens, check)
                }
                Err(_) if !names.iter().any(|known| known == name) => {
                    Err(DataError::NoArray { file: file.clone(), wanted: name.into(), found: names.join(", ") })
                }
                Err(error) => Err(malformed(&format!("{file}: {name}"), error.to_string())),
            },
        }
    }
}

/// Reads the array in `reader`. `lens` are the bytes that the file claims to have, and the maximum that it can have.
fn read_array(
    file: String,
    mut reader: impl Read,
    lens: [u64; 2],
    check: impl FnOnce(&str, &Header) -> Result<(), DataError>,
) -> Result<Named, DataError> {
    let header = Header::read(&mut reader).map_err(|reason| malformed(&file, reason))?;
    check(&file, &header)?;
    let array = header.values(reader, lens).map_err(|reason| malformed(&file, reason))?;
    Ok(Named { file, array })
}

fn malformed(file: &str, reason: String) -> DataError {
    DataError::Malformed { file: file.to_owned(), reason }
}

/// Images with their labels; the number of classes follows from the largest label.
fn image_set(Images { file, num, shape, pixels }: Images, labels: Option<Named>) -> Result<ImageSet, DataError> {
    let labels = match labels {
        Some(labels) => self::labels(&labels, num, &file)?,
        None => vec![0; num],
    };
    let num_classes = labels.iter().max().map_or(1, |&label| usize::from(label) + 1);
    ImageSet::new(shape, pixels, labels, num_classes)
        .map_err(|reason| DataError::InFile { file, reason: Box::new(reason) })
}

/// The layout of images in an array.
struct Layout {
    num: usize,
    /// `[c, h, w]`
    shape: [usize; 3],
    channels_last: bool,
}

impl Layout {
    /// The layout by the array's shape; an error is the reason why these are not images.
    fn of(Header { shape, kind, num_bytes, .. }: &Header) -> Result<Self, String> {
        if *kind != Kind::U8 {
            return Err("does not hold u8 values; images are bytes 0..=255".into());
        }
        if *num_bytes == 0 {
            return Err(format!("holds no images, its shape is {shape:?}"));
        }
        let is_channels = |size: usize| matches!(size, 1 | 3);
        match **shape {
            [num, h, w] => Ok(Self { num, shape: [1, h, w], channels_last: false }),
            [num, a, b, c] => match (is_channels(a), is_channels(c)) {
                (true, false) => Ok(Self { num, shape: [a, b, c], channels_last: false }),
                (false, true) => Ok(Self { num, shape: [c, a, b], channels_last: true }),
                _ => Err(format!(
                    "has shape {shape:?}, expected [n, h, w], [n, c, h, w] or [n, h, w, c] with c = 1 or 3 in one place only"
                )),
            },
            _ => Err(format!("has shape {shape:?}, expected [n, h, w], [n, c, h, w] or [n, h, w, c]")),
        }
    }
}

/// `[n, h, w, c]` as `[n, c, h, w]`.
fn channels_first(mut pixels: Vec<u8>, [c, h, w]: [usize; 3]) -> Vec<u8> {
    let mut planes = Vec::with_capacity(h * w * c);
    for image in pixels.chunks_exact_mut(h * w * c) {
        planes.extend((0..c).flat_map(|channel| image.iter().skip(channel).step_by(c)));
        image.copy_from_slice(&planes);
        planes.clear();
    }
    pixels
}

/// Labels of `n` images, `[n]` or `[n, 1]`.
fn labels(Named { file, array }: &Named, n: usize, images_file: &str) -> Result<Vec<u8>, DataError> {
    let refuse = |reason: String| Err(DataError::Malformed { file: file.clone(), reason });
    let ([num_labels] | [num_labels, 1]) = *array.shape else {
        return refuse(format!("has shape {:?}, expected [n] or [n, 1]: one label for each image", array.shape));
    };
    if num_labels != n {
        let (images_file, labels_file) = (images_file.to_owned(), file.clone());
        return Err(DataError::CountMismatch { images_file, num_images: n, labels_file, num_labels });
    }
    array.as_bytes().or_else(|label| refuse(format!("has label {label}, expected 0..=255")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use npyz::WriterBuilder;
    use std::{fs, io::Write};
    use tempfile::TempDir;
    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    /// An array, written by an independent library.
    fn npy<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut zip = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        for (name, bytes) in arrays {
            zip.start_file(format!("{name}.npy"), options).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn read_as(name: &str, bytes: &[u8]) -> Result<Splits, String> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let read = read(&path, &mut Budget::as_they_are());
        read.map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    fn error(arrays: &[(&str, Vec<u8>)]) -> String {
        read_as("a.npz", &npz(arrays)).err().expect("an error")
    }

    /// 20 images of 1 × 2 pixels; image i has the pixels 2 i and 2 i + 1.
    fn images() -> Vec<u8> {
        npy(&[20, 1, 2], &(0..40).collect::<Vec<u8>>())
    }

    #[test]
    fn every_tenth_image_of_a_class_is_test_and_the_order_is_kept() {
        let labels = npy(&[20], &(0..20).map(|i| i % 2).collect::<Vec<i64>>());
        let Splits { train, test, every_tenth, notes, .. } =
            read_as("a.npz", &npz(&[("images", images()), ("labels", labels), ("ids", images())])).unwrap();
        assert_eq!((train.len(), test.len(), train.shape(), train.num_classes()), (18, 2, [1, 1, 2], 2));
        assert_eq!((test.pixels(), test.labels()), (&[36, 37, 38, 39][..], &[0, 1][..]));
        assert_eq!(train.pixels(), &(0..36).collect::<Vec<u8>>());
        assert!(every_tenth && notes == ["arrays that are not read: ids"]);
    }

    #[test]
    fn names_of_medmnist_are_the_splits() {
        let labels = |labels: &[u8]| npy(&[labels.len() as u64, 1], labels);
        let arrays = [
            ("train_images", npy(&[2, 2, 2, 3], &(0..24).collect::<Vec<u8>>())),
            ("train_labels", labels(&[0, 4])),
            ("val_images", npy(&[1, 2, 2, 3], &[0_u8; 12])),
            ("val_labels", labels(&[1])),
            ("test_images", npy(&[1, 2, 2, 3], &[7_u8; 12])),
            ("test_labels", labels(&[6])),
        ];
        let Splits { train, test, every_tenth, notes, .. } = read_as("a.npz", &npz(&arrays)).unwrap();
        assert_eq!((train.num_classes(), test.num_classes(), every_tenth), (7, 7, false));
        assert_eq!((train.shape(), train.labels(), test.labels()), ([3, 2, 2], &[0, 4][..], &[6][..]));
        // Of [h, w, c], the planes: every third byte.
        assert_eq!(train.image(0), [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
        assert_eq!(notes, ["arrays that are not read: val_images, val_labels"]);
    }

    #[test]
    fn a_single_array_is_images_of_one_class() {
        let pixels: Vec<u8> = (0..60).collect();
        // Each of these shapes is ambiguous.
        for shape in [&[20, 3, 1, 1][..], &[20, 1, 3, 1], &[20, 1, 1, 3]] {
            assert!(read_as("a.npy", &npy(shape, &pixels)).err().unwrap().contains("in one place only"));
        }
        let Splits { train, test, .. } = read_as("a.npy", &npy(&[10, 3, 2, 2], &pixels.repeat(2))).unwrap();
        assert_eq!((train.len(), test.len(), train.shape(), train.num_classes()), (9, 1, [3, 2, 2], 1));
    }

    #[test]
    fn no_more_labels_are_read_than_images_can_have() {
        assert_eq!(
            error(&[("images", images()), ("labels", npy(&[200_000], &vec![0_i64; 200_000]))]),
            "a.npz: labels: claims to hold 1600000 bytes of shape [200000], more than the 1048576 that are read"
        );
    }

    #[test]
    fn labels_of_every_type_are_read_and_out_of_range_refused() {
        let shape = &[20];
        let wide: Vec<i32> = (0..20).map(|i| i % 2 + 254).collect();
        let arrays = read_as("a.npz", &npz(&[("images", images()), ("labels", npy(shape, &wide))])).unwrap();
        assert_eq!((arrays.train.num_classes(), arrays.train.labels()[1]), (256, 255));
        for (labels, label) in [
            (npy(shape, &[-1_i8; 20]), "-1"),
            (npy(shape, &[300_i16; 20]), "300"),
            (npy(shape, &[u64::MAX; 20]), "18446744073709551615"),
        ] {
            assert_eq!(
                error(&[("images", images()), ("labels", labels)]),
                format!("a.npz: labels: has label {label}, expected 0..=255")
            );
        }
        let mut big_endian = [&b"\x93NUMPY\x01\0\x46\0"[..], &[b' '; 70], &[0; 80]].concat();
        let header = b"{'descr': '>i4', 'fortran_order': False, 'shape': (20,), }";
        big_endian[10..10 + header.len()].copy_from_slice(header);
        big_endian[80 + 7] = 3;
        let arrays = read_as("a.npz", &npz(&[("images", images()), ("labels", big_endian)])).unwrap();
        assert_eq!(arrays.train.labels()[..3], [0, 3, 0]);
    }

    #[test]
    fn arrays_that_do_not_fit_are_named() {
        let floats = npy(&[20, 1, 2], &[0.5_f32; 40]);
        assert_eq!(
            error(&[("images", floats)]),
            "a.npz: images: holds values of type '<f4', expected integers (images are u8)"
        );
        assert!(error(&[("images", npy(&[40], &[0_u16; 40]))]).contains("images: does not hold u8 values"));
        assert!(error(&[("images", npy(&[40], &[0_u8; 40]))]).contains("images: has shape [40], expected [n, h, w]"));
        assert!(error(&[("images", npy(&[0, 2, 2], &[0_u8; 0]))]).contains("holds no images, its shape is [0, 2, 2]"));
        assert_eq!(
            error(&[("pictures", images()), ("y", images())]),
            "a.npz has no array `images`; it holds: pictures, y"
        );
        assert_eq!(
            error(&[("images", images()), ("labels", npy(&[3], &[0_u8; 3]))]),
            "a.npz: images holds 20 images but a.npz: labels holds 3 labels, expected as many"
        );
        assert!(
            error(&[("images", images()), ("labels", npy(&[20, 14], &[0_u8; 280]))]).contains("expected [n] or [n, 1]")
        );
        assert!(error(&[("images", npy(&[9, 1, 1], &[0_u8; 9]))]).contains("has no class of 10 images"));
        assert!(read_as("a.npz", b"not a zip").err().unwrap().starts_with("a.npz: is not an .npz file: "));
    }

    /// A header with this dictionary, padded, and a few values.
    fn with_header(dictionary: &str) -> Vec<u8> {
        let len = (dictionary.len() as u16).to_le_bytes();
        [&b"\x93NUMPY\x01\0"[..], &len, dictionary.as_bytes(), &[0; 16]].concat()
    }

    #[test]
    fn hostile_headers_allocate_no_memory() {
        let of_shape = |shape: &str| format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
        for (dictionary, expected) in [
            (
                of_shape("(4000000000, 4000000000, 4000000000)"),
                "bytes of memory, more than dataset.max_memory = 8 GiB; lower",
            ),
            (of_shape("(4000000000, 1, 2)"), "bytes, expected 8000000"),
            (of_shape("(99999999999999999999,)"), "has a header without a 'shape'"),
            (of_shape("(-1,)"), "has a header without a 'shape'"),
            (of_shape(&format!("({})", "1,".repeat(65))), "has a header without a 'shape'"),
            (of_shape(&"(".repeat(50_000)), "has a header without a 'shape'"),
            (of_shape("(2, 2)").replace("False", "True"), "is in Fortran order; save numpy.ascontiguousarray of it"),
            (of_shape("(2, 2)").replace("'|u1'", "'|O'"), "holds values of type '|O', expected integers"),
            (String::new(), "has a header without 'descr'"),
        ] {
            let alone = read_as("a.npy", &with_header(&dictionary)).err().unwrap();
            assert!(alone.contains(expected), "{dictionary:.80}: {alone}");
            let zipped = error(&[("images", with_header(&dictionary))]);
            assert!(zipped.contains(expected), "{dictionary:.80}: {zipped}");
        }
        let error =
            read_as("a.npy", &with_header(&of_shape("(2,)").replace("|u1", &"x".repeat(50_000)))).err().unwrap();
        assert!(error.len() < 300, "{error:.300}");
        let long = b"\x93NUMPY\x02\0\xff\xff\xff\xff{";
        assert!(read_as("a.npy", long).err().unwrap().contains("claims a header of 4294967295 bytes"));
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let (alone, zipped) = (images(), npz(&[("images", images())]));
        for len in 0..alone.len() {
            assert!(read_as("a.npy", &alone[..len]).is_err(), "npy cut at {len}");
        }
        for len in 0..zipped.len() {
            assert!(read_as("a.npz", &zipped[..len]).is_err(), "npz cut at {len}");
        }
        let longer = [alone, vec![0]].concat();
        assert!(read_as("a.npy", &longer).err().unwrap().contains("has 169 bytes, expected 168 by its shape"));
    }

    #[test]
    fn many_images_of_no_pixels_are_an_error() {
        // Found by fuzzing: with eight bytes per label, the bytes of this many labels overflow a u64.
        let dictionary = "{'descr': '|u2', 'fortran_order': False, 'shape': (15323324572348992385, 0), }";
        let file = with_header(dictionary);
        let error = read_as("a.npy", &file[..file.len() - 16]).err().unwrap();
        assert!(error.contains("does not hold u8 values"), "{error}");
    }
}
