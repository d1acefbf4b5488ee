//! Data sets by name: the `[dataset]` table of a config, and the images that it stands for.

mod array_images;
mod array_labels;
mod array_layout;
mod array_names;
mod array_persons;
mod budget;
mod builtin;
pub(crate) mod cifar;
mod contents;
mod contents_kind;
mod dataset_name;
mod dicom;
mod files;
mod folder;
mod idx;
mod idx_files;
mod jpeg_end;
mod left_out;
mod lfs_pointer;
mod max_memory;
mod npy;
mod npz;
mod numbered_classes;
mod person_key;
mod pickle;
mod picture;
mod picture_formats;
mod reading;
mod test_split;
mod value_range;

pub use array_layout::ArrayLayout;
pub use contents::Contents;
pub use contents_kind::ContentsKind;
pub use dataset_name::DatasetName;
pub use files::ImageFiles;
pub use folder::{FileList, FolderSummary};
pub use left_out::LeftOut;
pub use max_memory::MaxMemory;
pub use person_key::PersonKey;
pub use picture::Mode;
pub(crate) use picture_formats::FORMATS;
pub use reading::{Reading, Report};
pub use value_range::ValueRange;

use crate::{DataError, ImageSet, download, home::from_home};
use budget::Budget;
use numbered_classes::Numbered;
use picture::Levels;
use serde::{Deserialize, Serialize};
use std::path::{self, Path, PathBuf};

/// Largest expansion of deflate, the compression of gzip, zip and PNG files: bytes out per byte in.
const DEFLATE_RATIO: u64 = 1032;
/// Largest `dataset.size`, in pixels per side.
const MAX_SIZE: usize = 1024;

/// The `[dataset]` table of a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Which data set.
    pub name: DatasetName,
    /// Folder of the data set's files (for `npz`, the file itself; for `idx` also the folder and the beginning of the files' names),
    /// relative to the working folder; `~` is the home folder. Must be absent for the built-in data set; when absent for others, the
    /// cache folder of `effgan data fetch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Number of first training images that are assigned to clients, 1..=n; default all n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Pixels per side to which all images are resized (see [`resize`](crate::resize)), 1..=1024; when absent, images keep their
    /// size, and those of a `folder` must have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
    /// Channels to which all images are converted, 1 (grey) or 3 (red, green, blue); when absent, images keep their channels, and
    /// those of a `folder` must be all grey or all coloured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// For `folder`: leave out images that cannot be read; default false, which makes them an error.
    #[serde(default, skip_serializing_if = "is_false")]
    pub skip_broken: bool,
    /// For `folder`: the value of a 16-bit image that becomes black, 0 to 65535 and below `white`; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub black: Option<u32>,
    /// For `folder`: the value of a 16-bit image that becomes white, such as 4095 where a scanner's 12 bits are stored as 16;
    /// default 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub white: Option<u32>,
    /// For `npz`: which values of images that are not bytes are black and white, such as `[0, 1]` or `[-1, 1]`; the values between
    /// them become the nearest bytes. An error where images are bytes, as these need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ValueRange>,
    /// For `folder` and `npz`: where the person of each training image is named. Then a person is never divided: neither between clients,
    /// nor between training images and held-out or test images, nor by private training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonKey>,
    /// Maximum memory that reading the images may take, for all of their bytes and for the decoders: a number of MiB, or a text such
    /// as `"512 MiB"`; default `"8 GiB"`.
    #[serde(default, skip_serializing_if = "MaxMemory::is_default")]
    pub max_memory: MaxMemory,
    /// For `folder`: whether decoded pictures may be kept in the cache folder, so that a later start need not decode them; default true.
    /// A site of a federation keeps none unless its policy names a folder.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub cache: bool,
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl DatasetConfig {
    /// The config of the whole data set `name`, with all defaults.
    pub fn of(name: DatasetName) -> Self {
        let max_memory = MaxMemory::default();
        Self {
            name,
            dir: None,
            limit: None,
            size: None,
            channels: None,
            skip_broken: false,
            black: None,
            white: None,
            range: None,
            person: None,
            max_memory,
            cache: true,
        }
    }

    /// The same with an absolute `dir`, which means the same to whoever resumes a run from another working folder.
    #[must_use]
    pub fn with_absolute_dir(self) -> Self {
        let dir = self.dir.map(from_home).map(|dir| path::absolute(&dir).unwrap_or(dir));
        Self { dir, ..self }
    }

    /// Reads both splits into memory and checks all keys against them.
    ///
    /// # Errors
    /// [`DataError::MissingDir`] or [`DataError::DirOfBuiltin`] when `dir` does not suit the name, an error that names the key
    /// when a value is out of range, [`DataError::TooMuchMemory`] before more than `max_memory` is taken,
    /// [`DataError::MixedSizes`] or [`DataError::MixedColours`] when a folder needs `size` or `channels`, [`DataError::Broken`]
    /// when images of a folder cannot be read and `skip_broken` is not set, [`DataError::UnclearArrays`] when the names of arrays do
    /// not tell what they are, and an error that names the file when one is missing, damaged or of another kind.
    pub fn load(&self) -> Result<Dataset, DataError> {
        self.load_named(None)
    }

    /// As [`load`](Self::load), with labels that index `classes` where these are given: a folder's classes are matched by name,
    /// those of other data sets by number.
    ///
    /// # Errors
    /// Also [`DataError::UnknownClass`] for a folder of another name, and [`DataError::FewerClasses`] when a data set has more classes.
    pub fn load_named(&self, classes: Option<&[String]>) -> Result<Dataset, DataError> {
        self.read(classes, &Reading::quiet())
    }

    /// As [`load_named`](Self::load_named), reported to `reading`, and with decoded pictures kept as it says, where
    /// [`cache`](Self::cache) allows it.
    ///
    /// # Errors
    /// As [`load_named`](Self::load_named).
    pub fn read(&self, classes: Option<&[String]>, reading: &Reading<'_>) -> Result<Dataset, DataError> {
        let reading = if self.cache { reading.clone() } else { reading.without_cache() };
        self.load_with_fetched(download::cache_dir().ok().as_deref(), classes, Numbers::OfImages, &reading)
    }

    /// As [`load_named`](Self::load_named), for a site of a federation: without `classes`, the labels of arrays and of IDX files are the
    /// numbers in the files, because other sites may have images of the numbers that this one lacks. Decoded pictures are kept in
    /// `cache`, if there is one, and nowhere else: the site and not the config says whether there is a second copy of its pictures.
    ///
    /// # Errors
    /// As [`load_named`](Self::load_named).
    pub fn load_at_site(&self, classes: Option<&[String]>, cache: Option<&Path>) -> Result<Dataset, DataError> {
        let reading = Reading::quiet();
        let reading = cache.map_or(reading.clone(), |cache| reading.with_cache(cache.to_owned()));
        self.load_with_fetched(download::cache_dir().ok().as_deref(), classes, Numbers::All, &reading)
    }

    /// As [`load_named`](Self::load_named), with the given folder of fetched data sets.
    fn load_with_fetched(
        &self,
        fetched: Option<&Path>,
        classes: Option<&[String]>,
        numbers: Numbers,
        reading: &Reading<'_>,
    ) -> Result<Dataset, DataError> {
        self.check()?;
        let splits = self.read_splits(fetched, classes, numbers, reading)?;
        let splits = match classes {
            None => splits,
            Some(classes) => splits.named_by(classes, self.name)?,
        };
        let Splits { train, test, class_names, left_out, notes, .. } = splits;
        let fitted = self.budget();
        if fitted.shape(train.shape()) != fitted.shape(test.shape()) {
            return Err(DataError::SplitShapes {
                name: self.name.to_string(),
                train: train.shape(),
                test: test.shape(),
            });
        }
        let limit = self.limit.unwrap_or(train.len());
        if limit > train.len() {
            return Err(DataError::Limit { limit, num_images: train.len(), name: self.name.to_string() });
        }
        let [train, test] = [train, test].map(|split| split.fitted(self.size, self.channels));
        assert!(self.person.is_none() || train.persons().is_some(), "whoever asks for persons gets them");
        let notes = LeftOut::line(&left_out, train.len() + test.len()).into_iter().chain(notes).collect();
        Ok(Dataset { name: self.name, train, test, limit, class_names, left_out, notes })
    }

    /// Checks everything that can be checked without files; [`load`](Self::load) does so too.
    ///
    /// # Errors
    /// An error that names the key whose value is out of range, or does not suit the name.
    pub fn check(&self) -> Result<(), DataError> {
        if self.limit == Some(0) {
            return Err(DataError::Zero { key: "dataset.limit" });
        }
        if let Some(size) = self.size.filter(|size| !(1..=MAX_SIZE).contains(size)) {
            return Err(DataError::Size { size, max: MAX_SIZE });
        }
        if let Some(channels) = self.channels.filter(|channels| !matches!(channels, 1 | 3)) {
            return Err(DataError::Channels { channels });
        }
        if self.dir.is_some() && self.name == DatasetName::MnistMini {
            return Err(DataError::DirOfBuiltin { name: self.name.to_string() });
        }
        if self.skip_broken && self.name != DatasetName::Folder {
            return Err(DataError::NothingToSkip { name: self.name.to_string() });
        }
        if let Some(range) = self.range.filter(|_| self.name != DatasetName::Npz) {
            return Err(DataError::NothingInRange { range, name: self.name.to_string() });
        }
        self.person.as_ref().map_or(Ok(()), |person| person.check(self.name))?;
        let max = u32::from(u16::MAX);
        if let Some(black) = self.black.filter(|&black| black >= max) {
            return Err(DataError::Level { key: "black", value: black, least: 0, most: max - 1 });
        }
        if let Some(white) = self.white.filter(|white| !(1..=max).contains(white)) {
            return Err(DataError::Level { key: "white", value: white, least: 1, most: max });
        }
        match self.levels() {
            Some(_) if self.name != DatasetName::Folder => Err(DataError::NoLevels { name: self.name.to_string() }),
            Some(Levels { black, white }) if black >= white => Err(DataError::Levels { black, white }),
            _ => Ok(()),
        }
    }

    /// `black` and `white`; `None` where neither is set.
    fn levels(&self) -> Option<Levels> {
        let default = Levels::default();
        let level = |value: Option<u32>, default| value.map_or(default, |value| value.min(u16::MAX.into()) as u16);
        let (black, white) = (level(self.black, default.black), level(self.white, default.white));
        (self.black.is_some() || self.white.is_some()).then_some(Levels { black, white })
    }

    /// Which folder on the way to a picture is the person's.
    fn person_folder(&self) -> Option<usize> {
        self.person.as_ref().and_then(PersonKey::folder)
    }

    fn budget(&self) -> Budget {
        Budget::new(self.size, self.channels, self.max_memory)
    }

    fn read_splits(
        &self,
        fetched: Option<&Path>,
        classes: Option<&[String]>,
        numbers: Numbers,
        reading: &Reading<'_>,
    ) -> Result<Splits, DataError> {
        let dir = || self.find_dir(fetched);
        let budget = &mut self.budget();
        let mut read = || match self.name {
            DatasetName::MnistMini => Ok(Splits::of(builtin::mnist_mini(budget)?).named(self.name)),
            DatasetName::Mnist | DatasetName::FashionMnist => {
                Ok(idx::read(self.name, &dir()?, budget)?.named(self.name))
            }
            DatasetName::Cifar10 => Ok(cifar::read(&dir()?, budget)?.named(self.name)),
            DatasetName::Folder => self.read_folder(&dir()?, classes, reading),
            DatasetName::Npz => {
                let (num_classes, person) = (classes.map(<[String]>::len), self.person.as_ref());
                let persons = person.and_then(PersonKey::array);
                let options = npz::ReadOptions { range: self.range, num_classes, persons };
                Ok(npz::read(&dir()?, options, budget)?.numbered(classes, numbers))
            }
            DatasetName::Idx => Ok(idx::read(self.name, &dir()?, budget)?.numbered(classes, numbers)),
        };
        let own_dir = self.dir.clone().map(from_home);
        let splits = read().map_err(|error| match &own_dir {
            Some(dir) => contents_kind::or_other_name(error, self.name, dir),
            None => error,
        })?;
        match own_dir {
            Some(dir) if splits.test.is_empty() => Err(DataError::OtherTestClasses { dir, train: splits.class_names }),
            _ => Ok(splits),
        }
    }

    fn read_folder(&self, dir: &Path, classes: Option<&[String]>, reading: &Reading<'_>) -> Result<Splits, DataError> {
        let (size, channels, skip_broken) = (self.size, self.channels, self.skip_broken);
        let wanted = folder::ReadOptions { size, channels, skip_broken, levels: self.levels(), budget: self.budget() };
        let folder::Loaded { train, test, classes, left_out, notes } =
            folder::Listing::of(dir, classes, self.person_folder())?.load(&wanted, reading)?;
        Ok(Splits { class_names: classes, left_out, notes, ..Splits::of((train, test)) })
    }

    /// `dir`, or the cache folder of a fetched data set.
    fn find_dir(&self, fetched: Option<&Path>) -> Result<PathBuf, DataError> {
        let fetched = || Some(fetched?.join(self.name.as_str())).filter(|dir| download::is_fetched(self.name, dir));
        self.dir
            .clone()
            .map(from_home)
            .or_else(fetched)
            .ok_or_else(|| DataError::MissingDir { name: self.name.to_string(), files: self.name.files() })
    }
}

/// Which numbers are classes, of a data set whose classes have no names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// Those of training images.
    OfImages,
    /// All up to the largest.
    All,
}

/// The result of reading a data set.
struct Splits {
    train: ImageSet,
    test: ImageSet,
    class_names: Vec<String>,
    left_out: Vec<LeftOut>,
    /// As [`Dataset::notes`].
    notes: Vec<String>,
    /// Whether the test split is every tenth image of each class, because the files define none.
    every_tenth: bool,
}

impl Splits {
    /// Splits of classes without names.
    fn of((train, test): (ImageSet, ImageSet)) -> Self {
        Self { train, test, class_names: Vec::new(), left_out: Vec::new(), notes: Vec::new(), every_tenth: false }
    }

    /// The classes, with the names that the data set defines.
    fn named(self, name: DatasetName) -> Self {
        Self { class_names: name.classes().iter().map(ToString::to_string).collect(), ..self }
    }

    /// The classes, called by the numbers that they have in the files. Numbers that no training image has are not
    /// classes, so that no model draws them, unless all sites have agreed on `classes`, which labels then index.
    fn numbered(self, classes: Option<&[String]>, numbers: Numbers) -> Self {
        if classes.is_some() {
            return self;
        }
        if numbers == Numbers::All {
            let class_names = (0..self.train.num_classes()).map(|number| number.to_string()).collect();
            return Self { class_names, ..self };
        }
        let Numbered { train, test, names, notes } = numbered_classes::without_empty(self.train, self.test);
        let notes = self.notes.into_iter().chain(notes).collect();
        Self { train, test, class_names: names, notes, ..self }
    }

    /// The same images, with `classes` as the names of the classes.
    fn named_by(self, classes: &[String], name: DatasetName) -> Result<Self, DataError> {
        let (found, named) = (self.train.num_classes(), classes.len());
        if found > named {
            return Err(DataError::FewerClasses { name: name.to_string(), found, named });
        }
        let [train, test] = [self.train, self.test].map(|split| split.of_classes(named));
        Ok(Self { train, test, class_names: classes.to_vec(), ..self })
    }
}

/// A data set in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Which data set this is.
    pub name: DatasetName,
    /// The whole training split, regardless of the limit, because the real-against-real floor of a score needs as many images as
    /// are scored.
    pub train: ImageSet,
    /// The test split, the reference of every score.
    pub test: ImageSet,
    /// Number of first training images that are assigned to clients, 1..=`train.len()`.
    pub limit: usize,
    /// Names of the classes, in the order of their labels.
    pub class_names: Vec<String>,
    /// Images of a folder that could not be read, sorted by path; they are not part of the splits.
    pub left_out: Vec<LeftOut>,
    /// What a user should know about what was read and what was not, one line each.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Number of first training images that are assigned to clients, 1..=`train.len()`.
    pub fn num_assigned(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<DatasetConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The error of loading with an empty cache.
    fn load_error(json: &str) -> String {
        config(json)
            .unwrap()
            .load_with_fetched(None, None, Numbers::OfImages, &Reading::quiet())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn defaults_are_left_out_of_the_written_config() {
        let json = r#"{"name":"mnist-mini"}"#;
        assert_eq!(serde_json::to_string(&config(json).unwrap()).unwrap(), json);
    }

    #[test]
    fn unknown_key_is_named() {
        let error = config(r#"{"name":"mnist","folder":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `folder`, expected one of `name`, `dir`, `limit`, `size`, "), "{error}");
    }

    #[test]
    fn dir_must_fit_the_name() {
        let error = load_error(r#"{"name":"fashion-mnist"}"#);
        assert!(error.starts_with("data set fashion-mnist is read from files; set dataset.dir to"), "{error}");
        assert!(error.contains("train-images-idx3-ubyte[.gz]"), "{error}");
        assert_eq!(
            config(r#"{"name":"mnist-mini","dir":"x"}"#).unwrap().check().unwrap_err().to_string(),
            "data set mnist-mini is built in and reads no files; remove dataset.dir"
        );
    }

    #[test]
    fn dir_is_made_absolute_and_begins_at_home_where_it_says_so() {
        let absolute =
            |dir: &str| config(&format!(r#"{{"name":"mnist","dir":"{dir}"}}"#)).unwrap().with_absolute_dir().dir;
        let (here, home) = (std::env::current_dir().unwrap(), PathBuf::from(std::env::var_os("HOME").unwrap()));
        assert_eq!(absolute("data/mnist"), Some(here.join("data/mnist")));
        assert_eq!([absolute("~"), absolute("~/a")], [Some(home.clone()), Some(home.join("a"))]);
        assert_eq!([absolute("/a"), absolute("b/~")], [Some("/a".into()), Some(here.join("b/~"))]);
        assert_eq!(DatasetConfig::of(DatasetName::Mnist).with_absolute_dir().dir, None);
    }

    #[test]
    fn the_limit_bounds_the_assigned_images_and_keeps_the_split_whole() {
        let dataset = config(r#"{"name":"mnist-mini","limit":2000}"#).unwrap().load().unwrap();
        assert_eq!((dataset.num_assigned(), dataset.train.len(), dataset.test.len()), (2000, 10_000, 2000));
        let whole = config(r#"{"name":"mnist-mini"}"#).unwrap().load().unwrap();
        assert_eq!(whole.num_assigned(), 10_000);
    }

    #[test]
    fn limit_out_of_range_names_both_numbers() {
        assert_eq!(
            load_error(r#"{"name":"mnist-mini","limit":10001}"#),
            "dataset.limit = 10001 must be from 1 to 10000, the number of training images of mnist-mini"
        );
        assert_eq!(load_error(r#"{"name":"mnist-mini","limit":0}"#), "dataset.limit = 0 must be at least 1");
    }
}
