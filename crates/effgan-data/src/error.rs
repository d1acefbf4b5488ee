//! Errors of this crate: everything that can go wrong between a file of images and a partition.

use crate::datasets::{FORMATS, LeftOut, MaxMemory, ValueRange};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why images could not be read or assigned to clients; each message names the thing, its value, the bound and what to do.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum DataError {
    // Image sets.
    /// A side of the images is 0, or an image is larger than the address space.
    #[error("image shape {shape:?} is empty or too large; channels, height and width are at least 1")]
    ImageShape { shape: [usize; 3] },
    /// Labels are u8, so there are 1 to 256 classes.
    #[error("num_classes = {num_classes} must be from 1 to 256, as labels are single bytes")]
    NumClasses { num_classes: usize },
    /// Images are indexed by u32.
    #[error("an image set of {num_images} images is too large; it holds fewer than 4294967296")]
    TooManyImages { num_images: usize },
    /// The pixels do not fill the images exactly.
    #[error("expected {num_images} images of shape {shape:?}, one per label, got {got} pixels in all")]
    PixelCount { num_images: usize, shape: [usize; 3], got: usize },
    /// A label is not below the number of classes.
    #[error("image {image} has label {label}, which is not below num_classes = {num_classes}")]
    Label { image: usize, label: u8, num_classes: usize },

    // IDX files.
    /// A file exists under none of its names.
    #[error(
        "found no {plain}, nor one with .gz at its end or a dot before idx; set dataset.dir to the folder that holds it",
        plain = plain.display()
    )]
    MissingFile { plain: PathBuf },
    /// It is not clear which data set of a folder is meant.
    #[error(
        "{dir} holds several data sets; set dataset.dir to one of them: {found}",
        dir = dir.display(), found = few(found)
    )]
    SeveralDataSets { dir: PathBuf, found: Vec<PathBuf> },
    /// A label is not one of the classes that the data set's name stands for.
    #[error(
        "{file}: image {image} has label {label}, which is not below num_classes = {num_classes}; \
         set dataset.name = \"idx\" for a data set of other classes"
    )]
    OtherClasses { file: String, image: usize, label: u8, num_classes: usize },
    /// The operating system or the gzip decoder cannot read the file.
    #[error("cannot read {file}: {reason}; get the file again if it is damaged")]
    Unreadable { file: String, reason: io::Error },
    /// The file is not an IDX file of the expected kind.
    #[error("{file} starts with {got:#010x}, expected {expected:#010x} of an IDX file of u8 {what}")]
    WrongMagic { file: String, got: u32, expected: u32, what: &'static str },
    /// The header claims more bytes than any data set of this format has.
    #[error(
        "{file} claims to hold {num_bytes} bytes, more than the {bound} that are read at most; its header is damaged"
    )]
    TooLarge { file: String, num_bytes: u64, bound: u64 },
    /// The file ends early.
    #[error("{file} is truncated: expected {expected} bytes in all, got {got}; get the file again")]
    Truncated { file: String, expected: u64, got: u64 },
    /// The file continues after the last image or label.
    #[error("{file} continues after the {expected} bytes that its header promises; get the file again")]
    TrailingBytes { file: String, expected: u64 },
    /// The file has a header and no values.
    #[error("{file} holds no {what}, expected at least one")]
    EmptyFile { file: String, what: &'static str },
    /// The two files of a split belong to different data sets.
    #[error("{images_file} holds {num_images} images but {labels_file} holds {num_labels} labels, expected as many")]
    CountMismatch { images_file: String, num_images: usize, labels_file: String, num_labels: usize },
    /// The contents of a file do not form an image set.
    #[error("{file}: {reason}")]
    InFile { file: String, reason: Box<DataError> },

    // Folders, arrays and batches.
    /// A file of a data set does not exist.
    #[error("{file} is missing; get it again, or set dataset.dir to the folder that holds it", file = file.display())]
    Missing { file: PathBuf },
    /// A file is damaged or in the wrong format. The many possible reasons share one variant, because no caller distinguishes them.
    #[error("{file}: {reason}")]
    Malformed { file: String, reason: String },
    /// A picture is given where a data set is wanted.
    #[error(
        "{file} is one picture; name the folder that holds the pictures, or a file of arrays (.npz, .npy)",
        file = file.display()
    )]
    OnePicture { file: PathBuf },
    /// A folder has no pictures.
    #[error(
        "{dir} holds no pictures ({FORMATS}); set dataset.dir to a folder of them, or of one folder for each class",
        dir = dir.display()
    )]
    NoImages { dir: PathBuf },
    /// A folder has the name of a split that is not for training, and there is none for training.
    #[error(
        "{found} looks like a split for tests, and {dir} has no folder train beside it; add one, or rename the folder if it is a class",
        found = found.display(), dir = dir.display()
    )]
    NoTrainSplit { dir: PathBuf, found: PathBuf },
    /// Two folders have names of the same split.
    #[error(
        "{first} and {second} are both folders of the same split; move one of them elsewhere, or merge them",
        first = first.display(), second = second.display()
    )]
    SplitTwice { first: PathBuf, second: PathBuf },
    /// A folder of folders has the name of a split, and other folders of pictures lie beside it.
    #[error(
        "{dir} has a folder {split}, which is named like a split and holds folders with pictures, and beside it {other}, which would \
         be a class; set dataset.dir to the split, move {other} elsewhere, or rename {split} if it is a class",
        dir = dir.display()
    )]
    SplitOrClass { dir: PathBuf, split: String, other: String },
    /// The test split has none of the classes of the training split.
    #[error(
        "the test images of {dir} are of none of the classes of its training images ({train}); give both splits the same classes",
        dir = dir.display(), train = train.join(", ")
    )]
    OtherTestClasses { dir: PathBuf, train: Vec<String> },
    /// A folder of a class has no pictures.
    #[error(
        "class {class} has no picture ({FORMATS}), only what is not read, such as {first}; convert its files, or move the folder elsewhere",
        first = first.display()
    )]
    ClassWithoutPictures { class: String, first: PathBuf },
    /// The folder of a class holds nothing.
    #[error(
        "class {class} has no picture, as {dir} holds no file; put pictures there, or remove the folder",
        dir = dir.display()
    )]
    EmptyClass { class: String, dir: PathBuf },
    /// All training images of a class are broken.
    #[error(
        "none of the {num} training images of class {class} can be read, such as {first}; repair them, or move the folder of the class \
         elsewhere"
    )]
    BrokenClass { class: String, num: usize, first: String },
    /// A split or a class has no pictures but those that are read already, to which it has links.
    #[error(
        "the {what} has no picture of its own: {link} leads to {first}, which is read already; remove the link, or put other pictures \
         in its place",
        link = link.display(), first = first.display()
    )]
    OnlyLinks { what: String, link: PathBuf, first: PathBuf },
    /// A link leads nowhere, and may have been the folder of a class.
    #[error(
        "{link} is a link to {target}, which does not exist; mount or restore it, or remove the link",
        link = link.display(), target = target.display()
    )]
    BrokenLink { link: PathBuf, target: PathBuf },
    /// There are more folders than any data set has.
    #[error("there are more than {max} folders up to {dir}; does a link lead out of the data set?", dir = dir.display())]
    TooManyFolders { dir: PathBuf, max: usize },
    /// A class cannot be named.
    #[error("the name of the folder {dir} is not UTF-8; rename it, as it names a class", dir = dir.display())]
    NotUtf8 { dir: PathBuf },
    /// Values of 16 bits are mapped, and there are none.
    #[error(
        "dataset.black and dataset.white are for pictures of 16 bits without a window of their own, and there are none; remove them"
    )]
    NoDeepImages,
    /// Values of 16 bits are mapped, of a data set that is not a folder.
    #[error("dataset.black and dataset.white are for name = \"folder\", but the data set is {name}; remove them")]
    NoLevels { name: String },
    /// The range of 16-bit values is empty.
    #[error("dataset.white = {white} must be above dataset.black = {black}")]
    Levels { black: u16, white: u16 },
    /// A value of 16 bits is out of range.
    #[error("dataset.{key} = {value} must be from {least} to {most}, a value of 16 bits")]
    Level { key: &'static str, value: u32, least: u32, most: u32 },
    /// A folder has both pictures and folders of pictures, so it is unclear what its classes are.
    #[error(
        "{dir} holds folders of images, which are classes, but also the image {file}; \
         move it into one of the folders or elsewhere",
        dir = dir.display(), file = file.display()
    )]
    StrayImage { dir: PathBuf, file: PathBuf },
    /// A folder does not belong to any of the classes that all sites agree on.
    #[error(
        "{dir} holds images of {class:?}, which is not one of federation.classes ({known}); rename the folder, move it elsewhere, \
         or have the class added to the config",
        dir = dir.display(), known = known.join(", ")
    )]
    UnknownClass { dir: PathBuf, class: String, known: Vec<String> },
    /// A data set with numbers as labels has more classes than all sites agree on.
    #[error("federation.classes has length {named}, and data set {name} has {found} classes; name all of them")]
    FewerClasses { name: String, found: usize, named: usize },
    /// Labels are u8.
    #[error("{dir} holds {num_classes} folders of images, more than 256 classes", dir = dir.display())]
    TooManyClasses { dir: PathBuf, num_classes: usize },
    /// No class has ten images, or persons, of which the tenth would be a test image, or person.
    #[error(
        "{place} has no class of 10 {what}, so there are no test images (every tenth of a class); \
         add {what}, or provide a test split (folders train and test, arrays train_images and test_images)"
    )]
    NoTestImages { place: String, what: &'static str },
    /// Some pictures cannot be decoded.
    #[error(
        "{num_broken} of {num_images} images of {dir} cannot be read: {list}; repair or remove them, \
         or set dataset.skip_broken = true to leave them out",
        num_broken = files.len(), dir = dir.display(), list = LeftOut::list(files)
    )]
    Broken { dir: PathBuf, num_images: usize, files: Vec<LeftOut> },
    /// No picture of a split can be read.
    #[error("none of the training images or none of the test images of {dir} can be read", dir = dir.display())]
    AllBroken { dir: PathBuf },
    /// Images have different sizes, and the config does not set one.
    #[error(
        "{first} has {} × {} pixels but {other} has {} × {}; set dataset.size to the pixels per side of all images",
        first_size[0], first_size[1], other_size[0], other_size[1], first = first.display(), other = other.display()
    )]
    MixedSizes { first: PathBuf, first_size: [usize; 2], other: PathBuf, other_size: [usize; 2] },
    /// Some images are grey and others coloured, and the config does not set the channels.
    #[error(
        "{grey} is grey but {colour} has colours; set dataset.channels to 1 or 3 for all images",
        grey = grey.display(), colour = colour.display()
    )]
    MixedColours { grey: PathBuf, colour: PathBuf },
    /// All images together are too large.
    #[error(
        "reading {num_images} images of shape {shape:?} takes {bytes} bytes of memory, more than dataset.max_memory = {bound}; \
         lower dataset.size, remove images or raise dataset.max_memory"
    )]
    TooMuchMemory { num_images: usize, shape: [usize; 3], bytes: u64, bound: MaxMemory },
    /// The names of arrays do not tell which are images and which are their labels.
    #[error("{file} {problem}; it holds {found}; {remedy}")]
    UnclearArrays { file: String, problem: String, found: String, remedy: &'static str },

    // Downloads.
    /// The data set cannot be downloaded.
    #[error("data set {name} cannot be fetched; choose one of {known}")]
    NotFetched { name: String, known: String },
    /// No mirror has the file.
    #[error(
        "could not fetch {file}: {reasons}; \
         try again later, which resumes the download, or name another mirror with --mirror",
        reasons = reasons.join("; ")
    )]
    NoMirror { file: String, reasons: Vec<String> },
    /// An existing file differs from the published one.
    #[error("{file} has sha256 {got}, expected {expected}; remove it to fetch it again", file = file.display())]
    WrongHash { file: PathBuf, got: String, expected: String },
    /// A file cannot be written.
    #[error("cannot write {file}: {reason}", file = file.display())]
    Unwritable { file: PathBuf, reason: io::Error },
    /// There is no folder for the cache.
    #[error("none of EFFGAN_DATA, XDG_CACHE_HOME and HOME is set; name a folder with --to")]
    NoCache,

    // Data sets.
    /// The files are those of a data set of another name.
    #[error("{path} holds {found}, which name = \"{name}\" does not read; set dataset.name = {right}", path = path.display())]
    OtherName { path: PathBuf, found: &'static str, name: &'static str, right: String },
    /// No data set has this name.
    #[error("no data set is called `{name}`; choose one of {known}")]
    UnknownDataset { name: String, known: String },
    /// The data set is read from files, and the config does not say where they are.
    #[error("data set {name} is read from files; set dataset.dir to {files}")]
    MissingDir { name: String, files: &'static str },
    /// The data set is built into the program, but the config sets a folder for it.
    #[error("data set {name} is built in and reads no files; remove dataset.dir")]
    DirOfBuiltin { name: String },
    /// Training and test images differ in shape.
    #[error(
        "data set {name} has training images of shape {train:?} but test images of shape {test:?}; set dataset.size and dataset.channels, or check dataset.dir"
    )]
    SplitShapes { name: String, train: [usize; 3], test: [usize; 3] },
    /// A size of images is out of range.
    #[error("dataset.size = {size} must be from 1 to {max}, the pixels per side of an image")]
    Size { size: usize, max: usize },
    /// Images are grey or have three colours.
    #[error("dataset.channels = {channels} is neither 1 (grey) nor 3 (red, green, blue)")]
    Channels { channels: usize },
    /// `skip_broken` only applies to folders of pictures.
    #[error(
        "dataset.skip_broken = true is for name = \"folder\", but the data set is {name}; remove dataset.skip_broken"
    )]
    NothingToSkip { name: String },
    /// `range` only applies to arrays.
    #[error("dataset.range = {range} is for name = \"npz\", but the data set is {name}; remove dataset.range")]
    NothingInRange { range: ValueRange, name: String },
    /// A data set cannot name persons in this way.
    #[error(
        "dataset.person = {key} does not suit the data set {name}: it is the number of a folder for name = \"folder\", and the name of an array \
         for name = \"npz\"; change or remove it"
    )]
    NoPersons { key: String, name: String },
    /// A picture lies in too few folders.
    #[error(
        "dataset.person = {level} is more than the number of folders on the way to {file}, {folders}; move the picture into a person's folder, or lower it",
        file = file.display()
    )]
    NoPersonFolder { file: PathBuf, level: usize, folders: usize },
    /// A person cannot be told from others.
    #[error("the folder that names the person of {file} is not UTF-8; rename it", file = file.display())]
    PersonNotUtf8 { file: PathBuf },
    /// An array of persons that is not there.
    #[error("{file} has no array {array}, which dataset.person names; it has {found}")]
    NoPersonArray { file: String, array: String, found: String },
    /// A person has images on two lists of a partition.
    #[error(
        "{file}: images {first} and {second} are of one person, and on two lists; keep a person on one, or remove dataset.person",
        file = file.display()
    )]
    DividedPerson { file: PathBuf, first: u32, second: u32 },
    /// The limit is larger than the training split.
    #[error("dataset.limit = {limit} must be from 1 to {num_images}, the number of training images of {name}")]
    Limit { limit: usize, num_images: usize, name: String },

    // Partitions.
    /// A client's name is not usable as a file name everywhere.
    #[error("client name {name:?} is not 1 to 64 characters of a-z, 0-9 and -; rename the client")]
    ClientName { name: String },
    /// A number of images, clients, classes or shards is 0.
    #[error("{key} = 0 must be at least 1")]
    Zero { key: &'static str },
    /// A client without images has nothing to train on.
    #[error("partition.min_examples = 0 must be at least 1, as a client without images cannot train")]
    NoMinExamples,
    /// The held-out fraction leaves no images to train on.
    #[error(
        "partition.held_out = {held_out:?} must be at least 0 and below 1; it is the fraction of a client's images kept from training"
    )]
    HeldOut { held_out: f64 },
    /// A Dirichlet concentration is a positive number.
    #[error("partition.alpha = {alpha:?} must be above 0 and finite")]
    Alpha { alpha: f64 },
    /// More images are to be assigned than there are.
    #[error("cannot assign the first {num_assigned} images of a set of {num_images}; lower dataset.limit")]
    NotEnoughImages { num_assigned: usize, num_images: usize },
    /// There are more clients than images.
    #[error(
        "partition.clients = {clients} is more than the {num_assigned} {what} to assign; lower clients or raise dataset.limit"
    )]
    MoreClientsThanImages { clients: usize, num_assigned: usize, what: &'static str },
    /// A client cannot hold that many different classes.
    #[error(
        "partition.classes_per_client = {classes_per_client} must be from 1 to {num_present}, \
         the number of classes among the assigned images"
    )]
    ClassesPerClient { classes_per_client: usize, num_present: usize },
    /// Some class would have no client.
    #[error(
        "{clients} clients with classes_per_client = {classes_per_client} hold at most {hands} of the {num_present} classes \
         among the assigned images; raise clients or classes_per_client",
        hands = clients * classes_per_client
    )]
    UnheldClass { clients: usize, classes_per_client: usize, num_present: usize },
    /// A client of a partition without random sizes is too small.
    #[error(
        "{name} gets {num_train} {what} to train on, fewer than min_examples = {min_examples}, \
         with {clients} clients; lower clients or min_examples"
    )]
    TooFewExamples { name: String, num_train: usize, what: &'static str, min_examples: usize, clients: usize },
    /// A client is too small in every draw of the proportions.
    #[error(
        "after {draws} draws {name} got {num_train} {what} at best, fewer than min_examples = {min_examples}, \
         with {distribution} and {clients} clients; {remedy} or lower clients or min_examples"
    )]
    TooFewAfterDraws {
        draws: usize,
        name: String,
        num_train: usize,
        what: &'static str,
        min_examples: usize,
        distribution: String,
        remedy: &'static str,
        clients: usize,
    },
    /// A standard deviation is a finite number ≥ 0.
    #[error("partition.sigma = {sigma:?} must be at least 0 and finite")]
    Sigma { sigma: f64 },
    /// Client sizes follow exactly one distribution.
    #[error(
        "partition of kind \"quantity\" needs sigma (log-normal sizes) or alpha (Dirichlet sizes), \
         and not both; got {got}"
    )]
    OneDistribution { got: &'static str },
    /// Some shard would have no image.
    #[error(
        "{clients} clients with partition.shards_per_client = {shards_per_client} need at least \
         {clients} × {shards_per_client} {what}, of which there are {num_assigned}; lower clients or shards_per_client"
    )]
    Shards { clients: usize, shards_per_client: usize, num_assigned: usize, what: &'static str },
    /// A partition file has two clients of one name.
    #[error("{file} has client {name} twice; give each client its own name", file = file.display())]
    ClientTwice { file: PathBuf, name: String },
    /// A partition file has a client without training images.
    #[error("{file} gives {name} no image to train on; remove the client or give it one", file = file.display())]
    NothingToTrainOn { file: PathBuf, name: String },
    /// A partition file names an image that does not exist or is beyond `dataset.limit`.
    #[error(
        "{file} gives {name} image {image}, but the images are 0..{num_assigned}; \
         was it made for another data set or dataset.limit?",
        file = file.display()
    )]
    NoSuchImage { file: PathBuf, name: String, image: u32, num_assigned: usize },
    /// A partition file has one image on two lists.
    #[error(
        "{file} has image {image} twice, the second time at {name}; an image belongs on one list", file = file.display()
    )]
    ImageTwice { file: PathBuf, name: String, image: u32 },
}

/// Maximum number of paths that a message lists; it only counts the others.
const MAX_LISTED: usize = 10;

/// The first of `paths`, and how many more there are.
fn few(paths: &[PathBuf]) -> String {
    let listed: Vec<String> = paths.iter().take(MAX_LISTED).map(|path| path.display().to_string()).collect();
    match paths.len().saturating_sub(MAX_LISTED) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

impl DataError {
    /// The same about persons, where these are dealt to clients instead of images.
    pub(crate) fn about_persons(mut self) -> Self {
        if let Self::MoreClientsThanImages { what, .. }
        | Self::TooFewExamples { what, .. }
        | Self::TooFewAfterDraws { what, .. }
        | Self::Shards { what, .. } = &mut self
        {
            *what = "persons";
        }
        self
    }

    /// Whether a file of images is missing or damaged; all other errors are about the config.
    pub fn is_in_a_file(&self) -> bool {
        matches!(
            self,
            Self::MissingFile { .. }
                | Self::Unreadable { .. }
                | Self::WrongMagic { .. }
                | Self::TooLarge { .. }
                | Self::Truncated { .. }
                | Self::TrailingBytes { .. }
                | Self::EmptyFile { .. }
                | Self::SeveralDataSets { .. }
                | Self::OtherClasses { .. }
                | Self::OtherName { .. }
                | Self::CountMismatch { .. }
                | Self::InFile { .. }
                | Self::SplitShapes { .. }
                | Self::Missing { .. }
                | Self::Malformed { .. }
                | Self::NoImages { .. }
                | Self::NoTrainSplit { .. }
                | Self::SplitTwice { .. }
                | Self::SplitOrClass { .. }
                | Self::OtherTestClasses { .. }
                | Self::ClassWithoutPictures { .. }
                | Self::EmptyClass { .. }
                | Self::BrokenClass { .. }
                | Self::OnlyLinks { .. }
                | Self::OnePicture { .. }
                | Self::BrokenLink { .. }
                | Self::TooManyFolders { .. }
                | Self::NotUtf8 { .. }
                | Self::StrayImage { .. }
                | Self::TooManyClasses { .. }
                | Self::UnknownClass { .. }
                | Self::NoTestImages { .. }
                | Self::Broken { .. }
                | Self::AllBroken { .. }
                | Self::UnclearArrays { .. }
                | Self::NoPersonFolder { .. }
                | Self::PersonNotUtf8 { .. }
                | Self::NoPersonArray { .. }
                | Self::NoMirror { .. }
                | Self::WrongHash { .. }
        )
    }
}
