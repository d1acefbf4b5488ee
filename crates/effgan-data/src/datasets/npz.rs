//! Images as `NumPy` arrays: an `.npz` file, whose arrays are told apart by their names, or a single `.npy` file.
//!
//! Images are `[n, h, w]`, `[n, c, h, w]` or `[n, h, w, c]` with c = 1 or 3, of bytes or, with `dataset.range`, of other numbers;
//! labels are whole numbers 0..=255, `[n]` or `[n, 1]`, or columns of 0 and 1, `[n, k]`, and all 0 when there are none. The
//! names are those of `MedMNIST` v2 (Yang et al. 2023), Keras and others: see [`array_names`]. Where there is no test split, it
//! is every tenth image of each class. Images keep the order of the file.

use super::{
    DEFLATE_RATIO, Splits,
    array_images::Images,
    array_labels::Labels,
    array_names::{self, Arrays, Listed, Split, Unclear},
    array_persons,
    budget::Budget,
    lfs_pointer::{self, Opened},
    npy::OpenArray,
    picture, test_split,
    value_range::ValueRange,
};
use crate::{DataError, ImageSet};
use std::{
    borrow::Cow,
    fs::File,
    io::{BufReader, Seek},
    path::Path,
};
use zip::{ZipArchive, result::ZipError};

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK";

/// How arrays are read.
#[derive(Clone, Copy, Default)]
pub(super) struct ReadOptions<'a> {
    /// The values of black and white, for images that are not bytes.
    pub(super) range: Option<ValueRange>,
    /// The number of classes that all sites agree on, if they do.
    pub(super) num_classes: Option<usize>,
    /// The array of the persons of images, if they are named.
    pub(super) persons: Option<&'a str>,
}

/// Reads an `.npz` or `.npy` file.
pub(super) fn read(path: &Path, options: ReadOptions<'_>, budget: &mut Budget) -> Result<Splits, DataError> {
    let mut source = Source::open(path)?;
    let all = source.arrays()?;
    let found = all.found();
    let arrays = all.without_persons(options.persons);
    let splits = arrays.splits().map_err(|unclear| source.unclear(unclear, &arrays))?;
    let is_class = |labels: &Labels| labels.check_columns(options.num_classes);
    let (train, test) = match &splits {
        array_names::Splits::Whole(whole) => {
            let whole = source.read_split(whole, options.range, is_class, budget)?;
            let whole = source.with_persons(whole, options.persons, &["", "train_"], &found, budget)?;
            hold_out(whole, &source.file, budget)?
        }
        array_names::Splits::TrainAndTest([train, test]) => {
            let train = source.read_split(train, options.range, is_class, budget)?;
            let train = source.with_persons(train, options.persons, &["train_"], &found, budget)?;
            // A class may lack test images.
            (train, source.read_split(test, options.range, |_| Ok(()), budget)?)
        }
    };
    let num_classes = train.num_classes().max(test.num_classes());
    let [train, test] = [train, test].map(|split| split.of_classes(num_classes));
    let every_tenth = matches!(splits, array_names::Splits::Whole(_));
    let not_read =
        [arrays.not_read(&splits).map(|names| format!("arrays that are not read: {names}")), source.others()];
    Ok(Splits { every_tenth, notes: not_read.into_iter().flatten().collect(), ..Splits::of((train, test)) })
}

/// The images alone, and the name of their array where it is that of a split: see [`Arrays::images_alone`].
pub(super) fn read_images(path: &Path) -> Result<(Images, Option<String>), DataError> {
    let mut source = Source::open(path)?;
    let arrays = source.arrays()?;
    let (name, is_split) = arrays.images_alone().map_err(|unclear| source.unclear(unclear, &arrays))?;
    let images = Images::read(source.array(&name)?, None, &mut Budget::as_they_are())?;
    Ok((images, is_split.then_some(name)))
}

/// Splits into all but every tenth image or person of each class, and every tenth.
fn hold_out(whole: ImageSet, file: &str, budget: &mut Budget) -> Result<(ImageSet, ImageSet), DataError> {
    let is_test = match whole.persons() {
        Some(persons) => test_split::every_tenth_person(whole.labels(), persons),
        None => test_split::every_tenth(whole.labels()),
    };
    let num_test = is_test.iter().filter(|&&is_test| is_test).count();
    if num_test == 0 {
        let what = if whole.persons().is_some() { "persons" } else { "images" };
        return Err(DataError::NoTestImages { place: file.to_owned(), what });
    }
    budget.reserve_in_place(num_test, whole.shape())?;
    Ok(whole.split(&is_test))
}

/// An opened file of one or several arrays.
struct Source {
    /// Its name in messages.
    file: String,
    len: u64,
    reader: Reader,
}

enum Reader {
    One(BufReader<File>),
    Zip(ZipArchive<BufReader<File>>),
}

impl Source {
    fn open(path: &Path) -> Result<Self, DataError> {
        let file = path.display().to_string();
        if !path.is_file() {
            return Err(DataError::Missing { file: path.to_owned() });
        }
        let Opened { file: opened, len, start } = lfs_pointer::open(path)?;
        let reader = BufReader::new(opened);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) {
            return Ok(Self { file, len, reader: Reader::One(reader) });
        }
        match ZipArchive::new(reader) {
            Ok(archive) => Ok(Self { file, len, reader: Reader::Zip(archive) }),
            Err(_) if picture::is_picture(path) => Err(DataError::OnePicture { file: path.to_owned() }),
            Err(error) => Err(DataError::Malformed { file, reason: not_a_zip(&start, &error) }),
        }
    }

    /// The names of the files in the archive.
    fn entries(&self) -> Vec<String> {
        let Reader::Zip(archive) = &self.reader else { return Vec::new() };
        archive.file_names().filter_map(Result::ok).map(Cow::into_owned).collect()
    }

    /// All arrays, sorted by name; a single array is called `images`.
    fn arrays(&mut self) -> Result<Arrays, DataError> {
        if matches!(self.reader, Reader::One(_)) {
            let header = Some(self.array("images")?.header);
            return Ok(Arrays(vec![Listed { name: "images".into(), header }]));
        }
        let mut names: Vec<String> =
            self.entries().into_iter().filter_map(|name| name.strip_suffix(".npy").map(str::to_owned)).collect();
        names.sort();
        let listed = |name: String| Listed { header: self.array(&name).ok().map(|array| array.header), name };
        Ok(Arrays(names.into_iter().map(listed).collect()))
    }

    /// A line about the files of an archive that are not arrays.
    fn others(&self) -> Option<String> {
        let is_other = |name: &String| name.strip_suffix(".npy").is_none() && !name.ends_with('/');
        let names: Vec<String> = self.entries().into_iter().filter(is_other).collect();
        (!names.is_empty()).then(|| {
            format!(
                "files that are not arrays: {}",
                array_names::listed(names.iter().map(|name| array_names::short(name)))
            )
        })
    }

    /// The error that it is unclear what the arrays are, or that one of them is damaged, since its shape may then be wrong.
    fn unclear(&mut self, Unclear { problem, remedy }: Unclear, arrays: &Arrays) -> DataError {
        let is_damaged = |array: &Listed| {
            array.header.as_ref().and_then(|_| self.array(&array.name).and_then(|array| array.check_size()).err())
        };
        if let Some(damaged) = arrays.0.iter().find_map(is_damaged) {
            return damaged;
        }
        DataError::UnclearArrays { file: self.file.clone(), problem, found: arrays.found(), remedy }
    }

    /// Reads the images and labels of a split, after `check` has accepted the labels.
    fn read_split(
        &mut self,
        Split { images, labels }: &Split,
        range: Option<ValueRange>,
        check: impl Fn(&Labels) -> Result<(), DataError>,
        budget: &mut Budget,
    ) -> Result<ImageSet, DataError> {
        let images = Images::read(self.array(images)?, range, budget)?;
        let labels = match labels {
            Some(labels) => {
                let labels = Labels::read(self.array(labels)?, &images, budget)?;
                check(&labels)?;
                labels.of_images
            }
            None => vec![0; images.num],
        };
        image_set(images, labels)
    }

    /// `images` with the persons of an array: the first that exists of `name` behind one of `prefixes`; as they are without a name. `found` says
    /// which arrays there are.
    fn with_persons(
        &mut self,
        images: ImageSet,
        name: Option<&str>,
        prefixes: &[&str],
        found: &str,
        budget: &mut Budget,
    ) -> Result<ImageSet, DataError> {
        let Some(name) = name else { return Ok(images) };
        let names = prefixes.iter().map(|prefix| format!("{prefix}{name}"));
        let entries = self.entries();
        let Some(name) = names.clone().find(|name| entries.contains(&format!("{name}.npy"))) else {
            let (file, array) =
                (self.file.clone(), names.map(|name| array_names::short(&name)).collect::<Vec<_>>().join(" or "));
            return Err(DataError::NoPersonArray { file, array, found: found.to_owned() });
        };
        let persons = array_persons::read(self.array(&name)?, images.len(), budget)?;
        Ok(images.of_persons(persons))
    }

    /// Opens the array `name`.
    fn array(&mut self, name: &str) -> Result<OpenArray<'_>, DataError> {
        let Self { file, len, reader } = self;
        match reader {
            Reader::One(reader) => {
                let unreadable = |reason| DataError::Unreadable { file: file.clone(), reason };
                reader.rewind().map_err(unreadable)?;
                OpenArray::new(file.clone(), reader, [*len; 2])
            }
            Reader::Zip(archive) => {
                let file = format!("{file}: {name}");
                match archive.by_name(&format!("{name}.npy")) {
                    Ok(entry) => {
                        let max_len = DEFLATE_RATIO.saturating_mul(entry.compressed_size().min(*len));
                        let lens = [entry.size(), max_len];
                        OpenArray::new(file, entry, lens)
                    }
                    Err(error) => Err(DataError::Malformed { file, reason: error.to_string() }),
                }
            }
        }
    }
}

/// Why a file that begins with `start` is no archive of arrays.
fn not_a_zip(start: &[u8], error: &ZipError) -> String {
    if !start.starts_with(ZIP) {
        return "is no .npz file, which is a zip archive of arrays; name one, or save arrays by numpy.savez".into();
    }
    match error {
        // The archive's list of files is at its end.
        ZipError::InvalidArchive(_) => {
            "is cut off or damaged: it begins like an .npz file and has no end of one; get it again".into()
        }
        error => format!("is not an .npz file that can be read: {error}; get it again"),
    }
}

/// Images with their labels; the number of classes follows from the largest label.
fn image_set(Images { file, shape, pixels, .. }: Images, labels: Vec<u8>) -> Result<ImageSet, DataError> {
    let num_classes = labels.iter().max().map_or(1, |&label| usize::from(label) + 1);
    ImageSet::new(shape, pixels, labels, num_classes)
        .map_err(|reason| DataError::InFile { file, reason: Box::new(reason) })
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
        let read = read(&path, ReadOptions::default(), &mut Budget::as_they_are());
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
    fn a_file_that_is_no_archive_is_called_so_in_plain_words() {
        let of = |bytes: &[u8]| read_as("a.npz", bytes).err().unwrap();
        let other = "a.npz: is no .npz file, which is a zip archive of arrays; name one, or save arrays by numpy.savez";
        assert_eq!([of(b""), of(b"some text")], [other; 2]);
        let whole = npz(&[("images", npy(&[20, 1, 2], &[0_u8; 40]))]);
        let cut = "a.npz: is cut off or damaged: it begins like an .npz file and has no end of one; get it again";
        assert_eq!([of(&whole[..whole.len() - 30]), of(b"PK")], [cut; 2]);
    }

    #[test]
    fn images_that_are_all_nan_are_called_so() {
        let line =
            "a.npz: images: holds float32 values that are all NaN (not a number), which are no images; save them again";
        assert_eq!(error(&[("images", npy(&[20, 1, 2], &[f32::NAN; 40]))]), line);
        let mut values = [f32::NAN; 40];
        values[7] = 0.5;
        assert!(error(&[("images", npy(&[20, 1, 2], &values))]).contains("values from 0.5 to 0.5"));
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
            assert!(read_as("a.npy", &npy(shape, &pixels)).err().unwrap().contains("may be the channels"));
        }
        let Splits { train, test, .. } = read_as("a.npy", &npy(&[10, 3, 2, 2], &pixels.repeat(2))).unwrap();
        assert_eq!((train.len(), test.len(), train.shape(), train.num_classes()), (9, 1, [3, 2, 2], 1));
    }

    #[test]
    fn no_more_labels_are_read_than_images_can_have() {
        assert_eq!(
            error(&[("images", images()), ("labels", npy(&[200_000], &vec![0_i64; 200_000]))]),
            "a.npz: images holds 20 images but a.npz: labels holds 200000 labels, expected as many"
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
            (npy(shape, &[u64::MAX; 20]), "18446744073709552000"),
        ] {
            assert_eq!(
                error(&[("images", images()), ("labels", labels)]),
                format!("a.npz: labels: has label {label} for image 0, expected a whole number from 0 to 255")
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
        assert!(error(&[("images", npy(&[40], &[0_u8; 40]))]).contains("images: has shape [40], expected [n, h, w]"));
        assert!(error(&[("images", npy(&[0, 2, 2], &[0_u8; 0]))]).contains("holds no images, its shape is [0, 2, 2]"));
        assert_eq!(
            error(&[("images", images()), ("labels", npy(&[3], &[0_u8; 3]))]),
            "a.npz: images holds 20 images but a.npz: labels holds 3 labels, expected as many"
        );
        assert!(error(&[("images", npy(&[9, 1, 1], &[0_u8; 9]))]).contains("has no class of 10 images"));
        assert!(read_as("a.npz", b"not a zip").err().unwrap().starts_with("a.npz: is no .npz file"));
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
                "bytes, expected more than 18446744073709551615 by its shape [4000000000, 4000000000, 4000000000]; get",
            ),
            (of_shape("(4000000000, 1, 2)"), "bytes, expected 8000000"),
            (of_shape("(99999999999999999999,)"), "has a header without a 'shape'"),
            (of_shape("(-1,)"), "has a header without a 'shape'"),
            (of_shape(&format!("({})", "1,".repeat(65))), "has a header without a 'shape'"),
            (of_shape(&"(".repeat(50_000)), "has a header without a 'shape'"),
            (of_shape("(2, 8)").replace("False", "True"), "is in Fortran order; save numpy.ascontiguousarray of it"),
            (of_shape("(2, 2)").replace("'|u1'", "'|O'"), "holds Python objects, which are never unpickled"),
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
    fn a_file_that_is_shorter_or_longer_than_its_header_promises_is_told_before_what_the_header_says() {
        let of = |shape: &[u64], len: usize| {
            let whole = npy(shape, &vec![0_u8; shape.iter().product::<u64>() as usize]);
            let header = whole.len() - shape.iter().product::<u64>() as usize;
            // A multiple of 64 bytes, by NumPy's format.
            assert_eq!(header, 128);
            [&whole[..header], &vec![0; len][..]].concat()
        };
        for (shape, len, expected) in [
            // None of these shapes is one of images.
            (&[40][..], 39, "has 167 bytes, expected 168 by its shape [40]; get the file again"),
            (&[2, 2, 2, 5], 44, "has 172 bytes, expected 168 by its shape [2, 2, 2, 5]; get the file again"),
            (&[0, 2, 2], 1, "has 129 bytes, expected 128 by its shape [0, 2, 2]; get the file again"),
        ] {
            assert_eq!(read_as("a.npy", &of(shape, len)).err().unwrap(), format!("a.npy: {expected}"));
            let damaged = of(shape, len);
            assert_eq!(error(&[("images", damaged.clone())]), format!("a.npz: images: {expected}"));
            assert_eq!(
                error(&[("arr_0", images()), ("arr_1", damaged.clone()), ("arr_2", images())]),
                format!("a.npz: arr_1: {expected}")
            );
            assert_eq!(error(&[("images", images()), ("labels", damaged)]), format!("a.npz: labels: {expected}"));
        }
        let huge = with_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 1000, 1000), }");
        assert!(read_as("a.npy", &huge).err().unwrap().contains(" bytes, expected 800000000"));
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
        assert!(error.contains("holds no images, its shape is [15323324572348992385, 0]"), "{error}");
    }
}
