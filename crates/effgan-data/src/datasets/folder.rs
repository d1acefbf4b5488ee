//! A folder of PNG and JPEG files, one sub-folder a class; or a flat folder, all of one class.
//!
//! `train/` and `test/` are the splits where both are there; otherwise every tenth image of each class, in order of its
//! path, is the test split ([`split`]). Labels number the sub-folders that hold images, sorted by name. Folders inside
//! of a class belong to it. Hidden files and other kinds of files are passed over; links to folders are not followed.

use super::{
    LeftOut,
    memory::{Budget, Decoders},
    picture::{self, Header},
    split,
};
use crate::{
    DataError, ImageSet,
    parallel::{in_parallel, in_places},
    resize, steering,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

/// The files of a folder, none of them opened yet.
pub(super) struct Listing {
    dir: PathBuf,
    /// Names of the classes, in the order of their labels.
    pub(super) classes: Vec<String>,
    /// Training files and test files, classes in turn.
    pub(super) splits: [Vec<Entry>; 2],
    /// Whether the test split is every tenth image of the folder.
    pub(super) every_tenth: bool,
    /// Files that are neither PNG nor JPEG by their names.
    pub(super) passed_over: usize,
}

/// A picture and its label.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) label: u8,
}

/// How a folder is read.
pub(super) struct Wanted {
    pub(super) size: Option<usize>,
    pub(super) channels: Option<usize>,
    pub(super) skip_broken: bool,
    pub(super) budget: Budget,
}

/// What became of a folder.
pub(super) struct Loaded {
    pub(super) train: ImageSet,
    pub(super) test: ImageSet,
    pub(super) classes: Vec<String>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Listing {
    /// Walks through `dir`, in which labels are places in `known`, or number the folders that are there.
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
            passed_over: parts.iter().map(|part| part.passed_over).sum(),
        })
    }

    /// Decodes all pictures into one shape.
    pub(super) fn load(&self, wanted: &Wanted) -> Result<Loaded, DataError> {
        if self.splits[1].is_empty() {
            return Err(DataError::NoTestImages { place: self.dir.display().to_string() });
        }
        let shape = self.shape(wanted)?;
        let num_images = self.num_images();
        let mut budget = wanted.budget.clone();
        budget.take_places(num_images, shape)?;
        let (decoders, mut left_out) = (budget.decoders(), Vec::new());
        let [train, test] = [0, 1].map(|split| self.decode(split, shape, &decoders, &mut left_out));
        left_out.sort_by(|a, b| a.file.cmp(&b.file));
        if !left_out.is_empty() && !wanted.skip_broken {
            return Err(DataError::Broken { dir: self.dir.clone(), num_images, files: left_out });
        }
        let (train, test) = (train?, test?);
        if test.is_empty() || train.is_empty() {
            return Err(DataError::AllBroken { dir: self.dir.clone() });
        }
        Ok(Loaded { train, test, classes: self.classes.clone(), left_out })
    }

    /// Number of files of both splits.
    pub(super) fn num_images(&self) -> usize {
        self.splits.iter().map(Vec::len).sum()
    }

    /// What each file's header says, by split.
    pub(super) fn headers(&self, decoders: &Decoders) -> [Vec<Result<Header, String>>; 2] {
        self.splits.each_ref().map(|split| in_parallel(split, |entry| picture::header(&entry.path, decoders)))
    }

    /// What `path` is called in messages: its path inside of the folder.
    pub(super) fn name(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.dir).unwrap_or(path).to_owned()
    }

    /// The shape of all images: as wanted, and as all have it where nothing is wanted.
    fn shape(&self, wanted: &Wanted) -> Result<[usize; 3], DataError> {
        let is_known = wanted.size.is_some() && wanted.channels.is_some();
        let headers = if is_known { Default::default() } else { self.headers(&wanted.budget.decoders()) };
        let known: Vec<(&Entry, Header)> = self
            .splits
            .iter()
            .flatten()
            .zip(headers.into_iter().flatten())
            .filter_map(|(entry, header)| Some((entry, header.ok()?)))
            .collect();
        let [mut c, mut h, mut w] = known.first().map_or([1; 3], |(_, header)| header.shape());
        match wanted.size {
            Some(size) => (h, w) = (size, size),
            None => self.check_sizes(&known)?,
        }
        match wanted.channels {
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

    /// The pictures of one split that can be read; the others go to `left_out`.
    fn decode(
        &self,
        split: usize,
        shape: [usize; 3],
        decoders: &Decoders,
        left_out: &mut Vec<LeftOut>,
    ) -> Result<ImageSet, DataError> {
        let (entries, image_len) = (&self.splits[split], shape.iter().product::<usize>());
        let mut pixels = vec![0; entries.len() * image_len];
        let read = |entry: &Entry, place: &mut [u8]| {
            let fit = |pixels: Vec<u8>, from| place.copy_from_slice(&resize::fit_image(&pixels, from, shape));
            picture::read(&entry.path, shape, decoders, fit)
        };
        let mut labels = Vec::with_capacity(entries.len());
        for (i, (entry, read)) in entries.iter().zip(in_places(entries, &mut pixels, read)).enumerate() {
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

    /// Decodes every picture and keeps none: those that cannot be read.
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

/// The places of folders' `names` among those of all classes, of which there are at most 256.
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

/// All pictures below `dir`, by path, whatever folders they lie in.
pub(super) fn pictures(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let (mut files, mut classes) = (Vec::new(), Classes { files: BTreeMap::new(), passed_over: 0 });
    classes.walk(dir, &mut files)?;
    files.sort();
    if files.is_empty() { Err(DataError::NoImages { dir: dir.to_owned() }) } else { Ok(files) }
}

/// Files by the class that their folder names.
struct Classes {
    files: BTreeMap<OsString, Vec<PathBuf>>,
    passed_over: usize,
}

impl Classes {
    fn of(dir: &Path) -> Result<Self, DataError> {
        let mut flat = Vec::new();
        let mut classes = Self { files: BTreeMap::new(), passed_over: 0 };
        for (name, path) in entries(dir)? {
            if path.is_dir() {
                let mut files = Vec::new();
                classes.walk(&path, &mut files)?;
                if !files.is_empty() {
                    classes.files.insert(name, files);
                }
            } else {
                classes.take(path, &mut flat);
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

    /// All pictures below `dir`, by path.
    fn walk(&mut self, dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
        for (_, path) in entries(dir)? {
            if path.is_dir() {
                self.walk(&path, files)?;
            } else {
                self.take(path, files);
            }
        }
        Ok(())
    }

    /// Notes a file: a picture by its name, or one that is passed over.
    fn take(&mut self, path: PathBuf, files: &mut Vec<PathBuf>) {
        let extension = path.extension().map(OsStr::to_ascii_lowercase);
        let is_picture =
            extension.is_some_and(|extension| ["png", "jpg", "jpeg"].iter().any(|known| extension == *known));
        if is_picture {
            files.push(path);
        } else {
            self.passed_over += 1;
        }
    }

    fn entries(&self, labels: &BTreeMap<&OsString, u8>) -> Vec<Entry> {
        let entries =
            self.files.iter().flat_map(|(class, files)| files.iter().map(|path| (labels[class], path.clone())));
        entries.map(|(label, path)| Entry { path, label }).collect()
    }
}

/// What lies in `dir`, by name, without hidden files and links to folders.
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

/// What a class is called after its folder, whose name may hold anything.
fn shown(name: &OsStr) -> String {
    steering::shown(&name.to_string_lossy())
}

/// All but every tenth of each class, and every tenth.
fn hold_out(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let mut is_test = split::every_tenth(&labels(&entries)).into_iter();
    let (test, train) = entries.into_iter().partition(|_| is_test.next() == Some(true));
    (train, test)
}

fn classes_in_turn(entries: Vec<Entry>) -> Vec<Entry> {
    let order = split::in_turn(&labels(&entries));
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| entries[i].take()).collect()
}

fn labels(entries: &[Entry]) -> Vec<u8> {
    entries.iter().map(|entry| entry.label).collect()
}
