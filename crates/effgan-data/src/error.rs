//! Everything that can go wrong between a file of images and a partition.

use crate::{ClientName, DatasetName};
use std::{io, path::PathBuf};
use thiserror::Error;

/// Why images could not be read or dealt; each message names the thing, its value, the bound and what to do.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum DataError {
    // Image sets.
    /// A side of an image is 0, or the product of the sides has no place in memory.
    #[error("image shape {shape:?} is empty or too large; channels, height and width are at least 1")]
    ImageShape { shape: [usize; 3] },
    /// Labels are u8, so there are 1 to 256 classes.
    #[error("num_classes = {num_classes} is outside 1..=256, as labels are single bytes")]
    NumClasses { num_classes: usize },
    /// An index of an image is a u32.
    #[error("an image set of {num_images} images is too large; it holds fewer than 4294967296")]
    TooManyImages { num_images: usize },
    /// The pixels do not fill the images exactly.
    #[error("expected {num_images} images of shape {shape:?}, one per label, got {got} pixels in all")]
    PixelCount { num_images: usize, shape: [usize; 3], got: usize },
    /// A label names no class.
    #[error("image {image} has label {label}, which is not below num_classes = {num_classes}")]
    Label { image: usize, label: u8, num_classes: usize },

    // IDX files.
    /// Neither the plain nor the gzip file exists.
    #[error("found neither {plain} nor {plain}.gz; set dataset.dir to the folder that holds it", plain = plain.display())]
    MissingFile { plain: PathBuf },
    /// The operating system or the gzip decoder refuses the file.
    #[error("cannot read {file}: {reason}; get the file again if it is damaged")]
    Unreadable { file: String, reason: io::Error },
    /// The file is not an IDX file of the expected kind.
    #[error("{file} starts with {got:#010x}, expected {expected:#010x} of an IDX file of u8 {what}")]
    WrongMagic { file: String, got: u32, expected: u32, what: &'static str },
    /// The header asks for more memory than any data set of this kind needs.
    #[error("{file} says it holds {num_bytes} bytes, more than the {bound} that are read; its header is damaged")]
    TooLarge { file: String, num_bytes: u64, bound: u64 },
    /// The file ends early.
    #[error("{file} is truncated: expected {expected} bytes in all, got {got}; get the file again")]
    Truncated { file: String, expected: u64, got: u64 },
    /// The file goes on after the last image or label.
    #[error("{file} goes on after the {expected} bytes that its header promises; get the file again")]
    TrailingBytes { file: String, expected: u64 },
    /// The file has a header and nothing else.
    #[error("{file} holds no {what}, expected at least one")]
    EmptyFile { file: String, what: &'static str },
    /// The two files of a split belong to different data sets.
    #[error("{images_file} holds {num_images} images but {labels_file} holds {num_labels} labels, expected as many")]
    CountMismatch { images_file: String, num_images: usize, labels_file: String, num_labels: usize },
    /// The contents of a file are no image set.
    #[error("{file}: {reason}")]
    InFile { file: String, reason: Box<DataError> },

    // Data sets.
    /// No data set has this name.
    #[error("no data set is called `{name}`; choose one of {known}")]
    UnknownDataset { name: String, known: String },
    /// The data set lies in files, and nobody said where.
    #[error(
        "data set {name} is read from files; set dataset.dir to the folder with train-images-idx3-ubyte[.gz], \
         train-labels-idx1-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and t10k-labels-idx1-ubyte[.gz]"
    )]
    MissingDir { name: DatasetName },
    /// The data set is part of the program, and somebody said where it lies.
    #[error("data set {name} is built in, but dataset.dir = {dir:?}; remove dataset.dir")]
    DirOfBuiltin { name: DatasetName, dir: PathBuf },
    /// Training and test images differ in shape.
    #[error(
        "data set {name} has training images of shape {train:?} but test images of shape {test:?}; check dataset.dir"
    )]
    SplitShapes { name: DatasetName, train: [usize; 3], test: [usize; 3] },
    /// The limit deals no image, or more than there are.
    #[error("dataset.limit = {limit} is outside 1..={num_images}, the number of training images of {name}")]
    Limit { limit: usize, num_images: usize, name: DatasetName },

    // Partitions.
    /// The name could not be a file name everywhere.
    #[error("client name {name:?} is not 1 to 64 characters of a-z, 0-9 and -; rename the client")]
    ClientName { name: String },
    /// Nobody to deal to.
    #[error("partition.clients = 0, expected at least 1")]
    NoClients,
    /// A client without images has nothing to train on.
    #[error("partition.min_examples = 0, expected at least 1, as a client without images cannot train")]
    NoMinExamples,
    /// Some images must remain to train on.
    #[error(
        "partition.held_out = {held_out:?} is outside 0..1; it is the fraction of a client's images kept from training"
    )]
    HeldOut { held_out: f64 },
    /// A Dirichlet concentration is a positive number.
    #[error("partition.alpha = {alpha:?} is not a finite number above 0")]
    Alpha { alpha: f64 },
    /// More images are to be dealt than there are.
    #[error("cannot deal the first {num_dealt} images of a set of {num_images}; lower dataset.limit")]
    DealtTooMany { num_dealt: usize, num_images: usize },
    /// Some clients would get nothing whatever the kind.
    #[error(
        "partition.clients = {clients} is more than the {num_dealt} images dealt; lower clients or raise dataset.limit"
    )]
    MoreClientsThanImages { clients: usize, num_dealt: usize },
    /// A client cannot hold that many different classes.
    #[error(
        "partition.classes_per_client = {classes_per_client} is outside 1..={num_present}, \
         the number of classes among the images dealt"
    )]
    ClassesPerClient { classes_per_client: usize, num_present: usize },
    /// The images of some class would land nowhere.
    #[error(
        "{clients} clients with classes_per_client = {classes_per_client} hold at most {hands} of the {num_present} classes \
         among the images dealt; raise clients or classes_per_client",
        hands = clients * classes_per_client
    )]
    UnheldClass { clients: usize, classes_per_client: usize, num_present: usize },
    /// A client of an iid or by-label partition is too small.
    #[error(
        "{name} gets {num_train} images to train on, fewer than min_examples = {min_examples}, \
         with {clients} clients; lower clients or min_examples"
    )]
    TooFewExamples { name: ClientName, num_train: usize, min_examples: usize, clients: usize },
    /// A client stays too small however often the proportions are drawn.
    #[error(
        "after {draws} draws {name} got {num_train} images at best, fewer than min_examples = {min_examples}, \
         with alpha = {alpha:?} and {clients} clients; raise alpha or lower clients or min_examples"
    )]
    TooFewAfterDraws {
        draws: usize,
        name: ClientName,
        num_train: usize,
        min_examples: usize,
        alpha: f64,
        clients: usize,
    },
}
