//! A folder of PNG and JPEG files, with one sub-folder per class, or flat with a single class.
//!
//! The splits are `train/` and `test/` when both exist; otherwise every tenth image of each class, in the order of paths, is the
//! test split ([`test_split`]). Labels number the sub-folders that hold images, sorted by name. Folders within a class belong to
//! it. Hidden files and other kinds of files are ignored; symbolic links to folders are not followed.

use super::{
    LeftOut,
    budget::{Budget, Decoders},
    picture::{self, Header},
    test_split,
};
use crate::{
    DataError, ImageSet, control_chars,
    parallel::{in_parallel, in_parallel_into},
    resize,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

/// The files of a folder, not opened yet.
pub(super) struct Listing {
    dir: PathBuf,
    /// Names of the classes, in the order of their labels.
    pub(super) classes: Vec<String>,
    /// Training files and test files, with classes interleaved.
    pub(super) splits: [Vec<Entry>; 2],
    /// Whether the test split is every tenth image of the folder.
    pub(super) every_tenth: bool,
    /// Number of files that are neither PNG nor JPEG by their names.
    pub(super) ignored: usize,
}

/// A picture and its label.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) label: u8,
}

/// Options for reading a folder.
pub(super) struct ReadOptions {
    pub(super) size: Option<usize>,
    pub(super) channels: Option<usize>,
    pub(super) skip_broken: bool,
    pub(super) budget: Budget,
}

/// A folder that has been read.
pub(super) struct Loaded {
    pub(super) train: ImageSet,
    pub(super) test: ImageSet,
    pub(super) classes: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
    /// As [`Dataset::notes`](super::Dataset::notes).
    pub(super) notes: Vec<String>,
}

impl Listing {
    /// Lists `dir`. Labels are indices into `known` or, without it, number the folders that exist.
    pub(super) fn of(dir: &Path, known: Option<&[String]>) -> Result<Self, DataError> {
        let parts = ["train", "test"].map(|part| dir.join(part));
        let every_tenth = !parts.iter().all(|part| part.is_dir());
        let parts =
            if every_tenth { vec![Classes::of(dir)?] } else { vec![Classes::of(&parts[0])?, Classes::of(&parts[1])?] };
        let names: BTreeSet<&OsString> = parts.iter().flat_map(|part| part.files.keys()).collect();
        if names.len() > 256 {
            return Err(DataError::TooManyClasses { dir: dir.to_owned(), num_classes: names.len() });
        }
        let labels: BTreeMap<&OsString, u8> = match known {
            None => names.iter().copied().zip(0..=255).collect(),
            Some(known) => labels_among(known, &names, dir)?,
        };
        let mut splits = parts.iter().map(|part| part.entries(&labels));
        let (first, second) = (splits.next().unwrap_or_default(), splits.next().unwrap_or_default());
        let (train, test) = if every_tenth { hold_out(first) } else { (first, second) };
        Ok(Self {
            dir: dir.to_owned(),
            classes: known.map_or_else(|| names.iter().map(|name| shown(name)).collect(), <[String]>::to_vec),
            splits: [train, test].map(classes_in_turn),
            every_tenth,
            ignored: parts.iter().map(|part| part.ignored).sum(),
        })
    }

    /// Decodes all pictures and converts them to one shape.
    pub(super) fn load(&self, options: &ReadOptions) -> Result<Loaded, DataError> {
        if self.splits[1].is_empty() {
            return Err(DataError::NoTestImages { place: self.dir.display().to_string() });
        }
        let shape = self.shape(options)?;
        let num_images = self.num_images();
        let mut budget = options.budget.clone();
        budget.reserve_in_place(num_images, shape)?;
        let (decoders, mut left_out) = (budget.decoders(), Vec::new());
        let [train, test] = [0, 1].map(|split| self.decode(split, shape, &decoders, &mut left_out));
        left_out.sort_by(|a, b| a.file.cmp(&b.file));
        if !left_out.is_empty() && !options.skip_broken {
            return Err(DataError::Broken { dir: self.dir.clone(), num_images, files: left_out });
        }
        let (train, test) = (train?, test?);
        if test.is_empty() || train.is_empty() {
            return Err(DataError::AllBroken { dir: self.dir.clone() });
        }
        Ok(Loaded { train, test, classes: self.classes.clone(), left_out, notes: self.notes() })
    }

    /// As [`Dataset::notes`](super::Dataset::notes).
    pub(super) fn notes(&self) -> Vec<String> {
        let plural = if self.ignored == 1 { "" } else { "s" };
        (self.ignored > 0).then(|| format!("{} other file{plural} not read", self.ignored)).into_iter().collect()
    }

    /// Number of files of both splits.
    pub(super) fn num_images(&self) -> usize {
        self.splits.iter().map(Vec::len).sum()
    }

    /// The header of each file, by split.
    pub(super) fn headers(&self, decoders: &Decoders) -> [Vec<Result<Header, String>>; 2] {
        self.splits.each_ref().map(|split| in_parallel(split, |entry| picture::header(&entry.path, decoders)))
    }

    /// The name of `path` in messages: its path within the folder.
    pub(super) fn name(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.dir).unwrap_or(path).to_owned()
    }

    /// The shape of all images: from the options, or else the one that all images have.
    fn shape(&self, options: &ReadOptions) -> Result<[usize; 3], DataError> {
        let is_known = options.size.is_some() && options.channels.is_some();
        let headers = if is_known { Default::default() } else { self.headers(&options.budget.decoders()) };
        let known: Vec<(&Entry, Header)> = self
            .splits
            .iter()
            .flatten()
            .zip(headers.into_iter().flatten())
            .filter_map(|(entry, header)| Some((entry, header.ok()?)))
            .collect();
        let [mut c, mut h, mut w] = known.first().map_or([1; 3], |(_, header)| header.shape());
        match options.size {
            Some(size) => (h, w) = (size, size),
            None => self.check_sizes(&known)?,
        }
        match options.channels {
            Some(channels) => c = channels,
            None => self.check_colours(&known)?,
        }
        Ok([c, h, w])
    }

    fn check_sizes(&self, known: &[(&Entry, Header)]) -> Result<(), DataError> {
        let size = |header: &Header| [header.width, header.height];
        let Some((first, header)) = known.first() else { return Ok(()) };
        let first_size = size(header);
        match known.iter().find(|(_, header)| size(header) != first_size) {
            Some((other, header)) => Err(DataError::MixedSizes {
                first: self.name(&first.path),
                first_size,
                other: self.name(&other.path),
                other_size: size(header),
            }),
            None => Ok(()),
        }
    }

    fn check_colours(&self, known: &[(&Entry, Header)]) -> Result<(), DataError> {
        let of = |colour| known.iter().find(|(_, header)| header.mode.colour == colour).map(|(entry, _)| entry);
        match (of(false), of(true)) {
            (Some(grey), Some(colour)) => {
                Err(DataError::MixedColours { grey: self.name(&grey.path), colour: self.name(&colour.path) })
            }
            _ => Ok(()),
        }
    }

    /// Decodes the pictures of one split; those that cannot be read are added to `left_out`.
    fn decode(
        &self,
        split: usize,
        shape: [usize; 3],
        decoders: &Decoders,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<ImageSet, DataError> {
        let (entries, image_len) = (&self.splits[split], shape.iter().product::<usize>());
        let mut pixels = vec![0; entries.len() * image_len];
        let read = |entry: &Entry, output: &mut [u8]| {
            let fit = |pixels: Vec<u8>, from| output.copy_from_slice(&resize::fit_image(&pixels, from, shape));
            picture::read(&entry.path, shape, decoders, fit)
        };
        let mut labels = Vec::with_capacity(entries.len());
        for (i, (entry, read)) in entries.iter().zip(in_parallel_into(entries, &mut pixels, read)).enumerate() {
            match read {
                Ok(()) => {
                    pixels.copy_within(i * image_len..(i + 1) * image_len, labels.len() * image_len);
                    labels.push(entry.label);
                }
                Err(reason) => left_out.push(LeftOut { file: self.name(&entry.path), reason }),
            }
        }
        pixels.truncate(labels.len() * image_len);
        ImageSet::new(shape, pixels, labels, self.classes.len())
    }

    /// The pictures that cannot be read, found by decoding all of them.
    pub(super) fn broken(&self) -> Vec<LeftOut> {
        let decoders = Budget::as_they_are().decoders();
        let check = |entry: &Entry| {
            let reason = picture::read(&entry.path, [0; 3], &decoders, |_, _| ()).err()?;
            Some(LeftOut { file: self.name(&entry.path), reason })
        };
        let mut broken: Vec<LeftOut> =
            self.splits.iter().flat_map(|split| in_parallel(split, check)).flatten().collect();
        broken.sort_by(|a, b| a.file.cmp(&b.file));
        broken
    }
}

/// The index of each folder's name in `known`, which has at most 256 names.
fn labels_among<'a>(
    known: &[String],
    names: &BTreeSet<&'a OsString>,
    dir: &Path,
) -> Result<BTreeMap<&'a OsString, u8>, DataError> {
    let label = |&name: &&'a OsString| match known.iter().position(|known| name.to_str() == Some(known)) {
        Some(place) => Ok((name, place as u8)),
        None => Err(DataError::UnknownClass { dir: dir.to_owned(), class: shown(name), known: known.to_vec() }),
    };
    names.iter().map(label).collect()
}

/// All pictures below `dir` at any depth, sorted by path.
pub(super) fn pictures(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut files, mut classes) = (Vec::new(), Classes { files: BTreeMap::new(), ignored: 0 });
    classes.walk(dir, &mut files)?;
    files.sort();
    if files.is_empty() { Err(DataError::NoImages { dir: dir.to_owned() }) } else { Ok(files) }
}

/// The files of each class.
struct Classes {
    files: BTreeMap<OsString, Vec<PathBuf>>,
    ignored: usize,
}

impl Classes {
    fn of(dir: &Path) -> Result<Self, DataError> {
        let mut flat = Vec::new();
        let mut classes = Self { files: BTreeMap::new(), ignored: 0 };
        for (name, path) in entries(dir)? {
            if path.is_dir() {
                let mut files = Vec::new();
                classes.walk(&path, &mut files)?;
                if !files.is_empty() {
                    classes.files.insert(name, files);
                }
            } else {
                classes.add(path, &mut flat);
            }
        }
        match (flat.is_empty(), classes.files.is_empty()) {
            (true, true) => Err(DataError::NoImages { dir: dir.to_owned() }),
            (false, false) => Err(DataError::StrayImage { dir: dir.to_owned(), file: flat.swap_remove(0) }),
            (true, false) => Ok(classes),
            (false, true) => {
                classes.files.insert("all".into(), flat);
                Ok(classes)
            }
        }
    }

    /// Adds all pictures below `dir` to `files`, sorted by path.
    fn walk(&mut self, dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
        for (_, path) in entries(dir)? {
            if path.is_dir() {
                self.walk(&path, files)?;
            } else {
                self.add(path, files);
            }
        }
        Ok(())
    }

    /// Adds a file to `files` if its name is that of a picture, and counts it as ignored otherwise.
    fn add(&mut self, path: PathBuf, files: &mut Vec<PathBuf>) {
        let extension = path.extension().map(OsStr::to_ascii_lowercase);
        let is_picture =
            extension.is_some_and(|extension| ["png", "jpg", "jpeg"].iter().any(|known| extension == *known));
        if is_picture {
            files.push(path);
        } else {
            self.ignored += 1;
        }
    }

    fn entries(&self, labels: &BTreeMap<&OsString, u8>) -> Vec<Entry> {
        let entries =
            self.files.iter().flat_map(|(class, files)| files.iter().map(|path| (labels[class], path.clone())));
        entries.map(|(label, path)| Entry { path, label }).collect()
    }
}

/// The entries of `dir`, sorted by name, without hidden files and links to folders.
fn entries(dir: &Path) -> Result<Vec<(OsString, PathBuf)>, DataError> {
    let list = || -> io::Result<Vec<(OsString, PathBuf)>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let linked_folder = entry.file_type()?.is_symlink() && entry.path().is_dir();
            if !linked_folder && !entry.file_name().to_string_lossy().starts_with('.') {
                entries.push((entry.file_name(), entry.path()));
            }
        }
        entries.sort();
        Ok(entries)
    };
    list().map_err(|reason| DataError::Unreadable { file: dir.display().to_string(), reason })
}

/// The class name for a folder, whose own name may hold control characters.
fn shown(name: &OsStr) -> String {
    control_chars::without_control(&name.to_string_lossy())
}

/// Splits into all but every tenth image of each class, and every tenth.
fn hold_out(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let mut is_test = test_split::every_tenth(&labels(&entries)).into_iter();
    let (test, train) = entries.into_iter().partition(|_| is_test.next() == Some(true));
    (train, test)
}

fn classes_in_turn(entries: Vec<Entry>) -> Vec<Entry> {
    let order = test_split::interleaved(&labels(&entries));
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| entries[i].take()).collect()
}

fn labels(entries: &[Entry]) -> Vec<u8> {
    entries.iter().map(|entry| entry.label).collect()
}
