//! A folder of pictures, with one sub-folder per class, or flat with a single class.
//!
//! The splits are sub-folders such as `train/` and `test/` ([`layout`]); otherwise every tenth image of each class, in the order of
//! paths, is the test split ([`test_split`]). Labels number the sub-folders that hold training images, sorted by name. Folders within
//! a class belong to it, and links are followed, but each folder and each picture is read once ([`walk`], [`linked_pictures`]). Hidden
//! files are ignored; whatever else is not read is noted.

mod cache;
mod classes;
mod deep_values;
mod entries;
mod file_list;
mod layout;
mod linked_pictures;
mod not_read;
mod only_links;
mod splits;
mod summary;
mod tree;
mod walk;

pub use file_list::FileList;
pub use summary::FolderSummary;

use super::{
    LeftOut,
    budget::{Budget, Decoders},
    picture::{self, Facts, Header, Levels},
    reading::{Count, Reading},
    test_split,
};
use crate::{
    DataError, ImageSet, Person,
    parallel::{in_parallel, in_parallel_into},
    resize,
};
use cache::{Cache, Pictures};
use classes::{Classes, class_name, shown};
pub(super) use deep_values::DeepValues;
use layout::{Layout, is_split};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::{Path, PathBuf},
};
use tree::Tree;

/// The files of a folder, not opened yet.
pub(super) struct Listing {
    dir: PathBuf,
    /// Names of the classes, in the order of their labels.
    pub(super) classes: Vec<String>,
    /// Whether the names of the classes were given, so that some may have no images.
    are_given: bool,
    /// Training files and test files, with classes interleaved.
    pub(super) splits: [Vec<Entry>; 2],
    /// Whether the test split is every tenth image.
    pub(super) every_tenth: bool,
    /// Whether the classes are in sub-folders of `train/`.
    has_splits: bool,
    /// Links to folders, which were followed.
    links: Vec<PathBuf>,
    /// As [`Dataset::notes`](super::Dataset::notes).
    pub(super) notes: Vec<String>,
}

/// A picture and its label.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) label: u8,
    /// Whose picture it is, of a training image, where folders name persons.
    pub(super) person: Option<Person>,
}

/// Options for reading a folder.
pub(super) struct ReadOptions {
    pub(super) size: Option<usize>,
    pub(super) channels: Option<usize>,
    pub(super) skip_broken: bool,
    pub(super) levels: Option<Levels>,
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
    /// Lists `dir`. Labels are indices into `known` or, without it, number the folders that have training images. `person` says which folder on
    /// the way to a training image is the person's, from 1.
    pub(super) fn of(dir: &Path, known: Option<&[String]>, person: Option<usize>) -> Result<Self, DataError> {
        let layout = Layout::of(dir)?;
        let parts = splits::classes(dir, &layout)?;
        let mut notes = not_read::lines(dir, &layout, &parts, known);
        let labels = match known {
            None => {
                check_pictures(&parts)?;
                check_splits(&layout, &parts)?;
                notes.extend(not_trained(&parts));
                notes.extend(named_like_splits(&parts));
                number(parts[0].names(), dir)?
            }
            Some(known) => labels_among(known, parts.iter().flat_map(Classes::names), dir)?,
        };
        let links = parts.iter().flat_map(|part| part.trees.values()).flat_map(|tree| tree.links.clone());
        let links = layout.links().chain(links).collect();
        let classes = known.map_or_else(|| labels.keys().map(|name| shown(name)).collect(), <[String]>::to_vec);
        let mut splits = parts.into_iter().map(|part| entries(part, &labels));
        let (mut first, second) = (splits.next().unwrap_or_default(), splits.next());
        if let Some(level) = person {
            first.iter_mut().try_for_each(|entry| entry.find_person(&layout.train, level))?;
        }
        let every_tenth = second.is_none();
        let (train, test) = match second {
            Some(test) => (first, test),
            None => hold_out(first),
        };
        let splits = [train, test].map(classes_in_turn);
        let has_splits = layout.train != dir;
        let are_given = known.is_some();
        let mut listing =
            Self { dir: dir.to_owned(), classes, are_given, splits, every_tenth, has_splits, links, notes };
        // Folders of persons have the same names in several classes.
        if known.is_none() && person.is_none() {
            listing.notes.extend(summary::data_sets_line(&listing));
        }
        Ok(listing)
    }

    /// Decodes all pictures and converts them to one shape; those that are kept of an earlier time are not decoded again.
    pub(super) fn load(&self, options: &ReadOptions, reading: &Reading<'_>) -> Result<Loaded, DataError> {
        self.check_test_images()?;
        let mut cache = Cache::open(self, options, reading);
        let shape = self.shape(options, cache.as_ref())?;
        let num_images = self.num_images();
        let mut budget = options.budget.clone();
        budget.reserve_in_place(num_images, shape)?;
        let count = reading.count(num_images);
        let [mut train, mut test] =
            self.splits.each_ref().map(|split| vec![0; split.len() * shape.iter().product::<usize>()]);
        let kept = match &mut cache {
            Some(cache) => cache.read(self, shape, [&mut train, &mut test], &count),
            None => self.splits.each_ref().map(|split| vec![None; split.len()]),
        };
        let (decoders, deep_values) = (budget.decoders(), DeepValues::default());
        let levels = options.levels.unwrap_or_default();
        let how = Decoding { shape, levels, decoders: &decoders, deep_values: &deep_values, count: &count };
        let splits = [self.decode(0, train, &kept[0], &how), self.decode(1, test, &kept[1], &how)];
        if let Some(cache) = &cache {
            let pictures =
                [0, 1].map(|i| Pictures { kept: &kept[i], facts: &splits[i].facts, pixels: &splits[i].pixels });
            cache.save(self, shape, &pictures, reading);
        }
        let mut left_out: Vec<LeftOut> = splits.iter().flat_map(|split| split.left_out.iter().cloned()).collect();
        left_out.sort_by(|a, b| a.file.cmp(&b.file));
        if !left_out.is_empty() && !options.skip_broken {
            return Err(DataError::Broken { dir: self.dir.clone(), num_images, files: left_out });
        }
        let set = |split: Decoded| {
            let images = ImageSet::new(shape, split.pixels, split.labels, self.classes.len())?;
            Ok(split.persons.into_iter().fold(images, ImageSet::of_persons))
        };
        let [train, test] = splits.map(set);
        let (train, test) = (train?, test?);
        if test.is_empty() || train.is_empty() {
            return Err(DataError::AllBroken { dir: self.dir.clone() });
        }
        self.check_trained(&train, &left_out)?;
        let notes = self.notes.iter().cloned().chain(deep_values.note(options.levels)?).collect();
        Ok(Loaded { train, test, classes: self.classes.clone(), left_out, notes })
    }

    /// Checks that there is something to compare samples with.
    pub(super) fn check_test_images(&self) -> Result<(), DataError> {
        match (self.splits[1].is_empty(), self.every_tenth) {
            (false, _) => Ok(()),
            (true, true) => {
                let has_persons = self.splits[0].iter().any(|entry| entry.person.is_some());
                let what = if has_persons { "persons" } else { "images" };
                Err(DataError::NoTestImages { place: self.dir.display().to_string(), what })
            }
            (true, false) => Err(DataError::OtherTestClasses { dir: self.dir.clone(), train: self.classes.clone() }),
        }
    }

    /// Checks that each class has a training image that could be read, unless its name was given: then it may lack images anyway.
    fn check_trained(&self, train: &ImageSet, left_out: &[LeftOut]) -> Result<(), DataError> {
        let is_trained =
            |label: usize| self.are_given || train.labels().iter().any(|&found| usize::from(found) == label);
        let Some(label) = (0..self.classes.len()).find(|&label| !is_trained(label)) else { return Ok(()) };
        let of_class = || self.splits[0].iter().filter(|entry| usize::from(entry.label) == label);
        let names: BTreeSet<&Path> = of_class().map(|entry| self.name_of(&entry.path)).collect();
        let first = left_out.iter().find(|broken| names.contains(broken.file.as_path()));
        Err(DataError::BrokenClass {
            class: self.classes[label].clone(),
            num: names.len(),
            first: first.map(ToString::to_string).unwrap_or_default(),
        })
    }

    /// Number of files of both splits.
    pub(super) fn num_images(&self) -> usize {
        self.splits.iter().map(Vec::len).sum()
    }

    /// The header of each file, by split.
    fn headers(&self, decoders: &Decoders, cache: Option<&Cache>) -> [Vec<Result<Header, String>>; 2] {
        [0, 1].map(|split| {
            in_parallel(&self.numbered(split), |(i, entry)| {
                let kept = cache.and_then(|cache| cache.header(split, *i, self.name_of(&entry.path)));
                kept.map_or_else(|| picture::header(&entry.path, decoders), Ok)
            })
        })
    }

    /// The entries of a split, and which they are.
    fn numbered(&self, split: usize) -> Vec<(usize, &Entry)> {
        self.splits[split].iter().enumerate().collect()
    }

    /// The name of `path` in messages: its path within the folder.
    pub(super) fn name(&self, path: &Path) -> PathBuf {
        self.name_of(path).to_owned()
    }

    fn name_of<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.dir).unwrap_or(path)
    }

    /// The shape of all images: from the options, or else the one that all images have.
    fn shape(&self, options: &ReadOptions, cache: Option<&Cache>) -> Result<[usize; 3], DataError> {
        let is_known = options.size.is_some() && options.channels.is_some();
        let headers = if is_known { Default::default() } else { self.headers(&options.budget.decoders(), cache) };
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

    /// Decodes the pictures of one split into their places in `pixels`, but for those that are there: what is known of them is `kept`.
    fn decode(&self, split: usize, mut pixels: Vec<u8>, kept: &[Option<Facts>], how: &Decoding<'_>) -> Decoded {
        let (entries, image_len) = (self.numbered(split), how.shape.iter().product::<usize>());
        let read = |(i, entry): &(usize, &Entry), output: &mut [u8]| {
            let facts = kept[*i].map_or_else(|| decode(&entry.path, how, output), Ok);
            how.deep_values.see(facts.as_ref().ok().and_then(|facts| facts.range));
            facts
        };
        let (mut labels, mut left_out, mut facts) = (Vec::with_capacity(entries.len()), Vec::new(), Vec::new());
        let mut persons = Vec::new();
        for ((i, entry), read) in entries.iter().zip(in_parallel_into(&entries, &mut pixels, read)) {
            match &read {
                Ok(_) => {
                    pixels.copy_within(i * image_len..(i + 1) * image_len, labels.len() * image_len);
                    labels.push(entry.label);
                    persons.push(entry.person.clone());
                }
                Err(reason) => left_out.push(LeftOut { file: self.name(&entry.path), reason: reason.clone() }),
            }
            facts.push(read.ok());
        }
        pixels.truncate(labels.len() * image_len);
        Decoded { pixels, labels, persons: persons.into_iter().collect(), facts, left_out }
    }

    /// Decodes all pictures without keeping any: what is known of each by split, or why it cannot be read.
    pub(super) fn look(&self, reading: &Reading<'_>) -> [Vec<Result<Facts, String>>; 2] {
        let (decoders, count) = (Budget::as_they_are().decoders(), reading.count(self.num_images()));
        let look = |entry: &Entry| {
            let seen = picture::read(&entry.path, [0; 3], Levels::default(), &decoders, |_, _| ());
            count.one();
            seen.map(|((), facts)| facts)
        };
        self.splits.each_ref().map(|split| in_parallel(split, look))
    }
}

/// How the pictures of a folder are decoded.
struct Decoding<'a> {
    shape: [usize; 3],
    levels: Levels,
    decoders: &'a Decoders,
    deep_values: &'a DeepValues,
    count: &'a Count<'a>,
}

/// The pictures of one split.
struct Decoded {
    /// The images that can be read, and their labels.
    pixels: Vec<u8>,
    labels: Vec<u8>,
    /// The person of each, where folders name persons.
    persons: Option<Vec<Person>>,
    /// What is known of each entry; `None` of one that cannot be read.
    facts: Vec<Option<Facts>>,
    left_out: Vec<LeftOut>,
}

/// Decodes one picture into `output`.
fn decode(path: &Path, how: &Decoding<'_>, output: &mut [u8]) -> Result<Facts, String> {
    let &Decoding { shape, levels, decoders, .. } = how;
    let fit = |pixels: Vec<u8>, from| {
        let pixels = if from == shape { pixels } else { resize::fit_image(&pixels, from, shape) };
        output.copy_from_slice(&pixels);
    };
    let decoded = picture::read(path, shape, levels, decoders, fit);
    how.count.one();
    decoded.map(|((), facts)| facts)
}

/// Refuses a class folder without pictures, since its class would be missing. One of the test split needs none where its class has
/// training images.
fn check_pictures(parts: &[Classes]) -> Result<(), DataError> {
    let trained: BTreeSet<&String> = parts.iter().take(1).flat_map(Classes::names).collect();
    for part in parts {
        let no_pictures = |(class, tree): &(&String, &Tree)| tree.pictures.is_empty() && !trained.contains(class);
        if let Some((class, tree)) = part.trees.iter().find(no_pictures) {
            return Err(without_pictures(class, tree, part));
        }
    }
    Ok(())
}

/// The error of a class without pictures.
fn without_pictures(class: &str, tree: &Tree, part: &Classes) -> DataError {
    let links = tree.again.iter().map(|again| &again.link);
    let not_read = tree.others.iter().chain(&tree.skipped).chain(links).next();
    let empty = part.empty.iter().find(|(name, _)| name == class);
    match (not_read, empty) {
        (None, Some((_, dir))) => DataError::EmptyClass { class: shown(class), dir: dir.clone() },
        (first, _) => {
            DataError::ClassWithoutPictures { class: shown(class), first: first.cloned().unwrap_or_default() }
        }
    }
}

/// Refuses a class that is named like a split and holds only folders with pictures, which are then likely to be the classes.
fn check_splits(layout: &Layout, parts: &[Classes]) -> Result<(), DataError> {
    for (dir, part) in layout.dirs().zip(parts) {
        let holds_folders = |class: &String| {
            let folder = dir.join(class);
            part.trees[class].pictures.iter().all(|picture| picture.parent() != Some(&folder))
        };
        let Some(split) = part.names().find(|class| is_split(class) && holds_folders(class)) else { continue };
        let Some(other) = part.names().find(|class| *class != split) else { continue };
        return Err(DataError::SplitOrClass { dir: dir.clone(), split: shown(split), other: shown(other) });
    }
    Ok(())
}

/// A line about classes that are named like splits.
fn named_like_splits(parts: &[Classes]) -> Option<String> {
    let names: BTreeSet<&String> = parts.iter().flat_map(Classes::names).filter(|name| is_split(name)).collect();
    let names: Vec<String> = names.into_iter().map(|name| shown(name)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "read as classes, though they are named like splits: {}; where they are splits, move what lies beside them elsewhere",
            names.join(", ")
        )
    })
}

/// A line about test images of classes that have no training image: a model does not learn these classes.
fn not_trained(parts: &[Classes]) -> Option<String> {
    let [train, test] = parts else { return None };
    let trained: BTreeSet<&String> = train.names().collect();
    let mut unknown = test.names().filter(|name| !trained.contains(name)).map(|name| shown(name)).peekable();
    unknown.peek()?;
    Some(format!(
        "not read, test images of classes without training images: {}",
        unknown.collect::<Vec<_>>().join(", ")
    ))
}

/// The position of each name.
fn number<'a>(names: impl Iterator<Item = &'a String>, dir: &Path) -> Result<BTreeMap<String, u8>, DataError> {
    let names: Vec<&String> = names.collect();
    if names.len() > 256 {
        return Err(DataError::TooManyClasses { dir: dir.to_owned(), num_classes: names.len() });
    }
    Ok(names.into_iter().cloned().zip(0..=255).collect())
}

/// The index of each name in `known`, which has at most 256 names.
fn labels_among<'a>(
    known: &[String],
    names: impl Iterator<Item = &'a String>,
    dir: &Path,
) -> Result<BTreeMap<String, u8>, DataError> {
    let label = |name: &'a String| match known.iter().position(|known| class_name(known) == *name) {
        Some(place) => Ok((name.clone(), place as u8)),
        None => Err(DataError::UnknownClass { dir: dir.to_owned(), class: shown(name), known: known.to_vec() }),
    };
    names.map(label).collect()
}

impl Entry {
    /// Finds whose picture it is: the name of the folder at `level`, from 1, below the folder `split`.
    fn find_person(&mut self, split: &Path, level: usize) -> Result<(), DataError> {
        let below = self.path.strip_prefix(split).ok().and_then(Path::parent);
        let folders: Vec<&OsStr> = below.into_iter().flatten().collect();
        let Some(folder) = folders.get(level - 1) else {
            return Err(DataError::NoPersonFolder { file: self.path.clone(), level, folders: folders.len() });
        };
        let name = folder.to_str().ok_or_else(|| DataError::PersonNotUtf8 { file: self.path.clone() })?;
        self.person = Some(class_name(name).into());
        Ok(())
    }
}

/// The pictures of the classes that have labels.
fn entries(part: Classes, labels: &BTreeMap<String, u8>) -> Vec<Entry> {
    let known = part.trees.into_iter().filter_map(|(class, tree)| Some((*labels.get(&class)?, tree.pictures)));
    known.flat_map(|(label, paths)| paths.into_iter().map(move |path| Entry { path, label, person: None })).collect()
}

/// All pictures below `dir` at any depth, sorted by path.
pub(super) fn pictures(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = walk::tree_of(dir, dir)?.pictures;
    files.sort();
    if files.is_empty() { Err(DataError::NoImages { dir: dir.to_owned() }) } else { Ok(files) }
}

/// Splits into all but every tenth image or person of each class, and every tenth.
fn hold_out(entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let (labels, persons) =
        (labels(&entries), entries.iter().map(|entry| entry.person.clone()).collect::<Option<Vec<_>>>());
    let mut is_test = match persons {
        Some(persons) => test_split::every_tenth_person(&labels, &persons),
        None => test_split::every_tenth(&labels),
    }
    .into_iter();
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
