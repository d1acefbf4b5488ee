//! The addresses of downloads, with the length and hash of each file.
//!
//! Lengths and SHA-256 are those of TensorFlow Datasets 4.9.10 (`url_checksums/mnist.txt`, `fashion_mnist.txt` and
//! `cifar10.txt` of its package on `PyPI`), as is the first mirror of each; the second one of MNIST is torchvision's,
//! that of Fashion-MNIST is its authors' repository. Every download is verified against its hash, so mirrors need
//! not be trusted. Inception's weights are pytorch-fid's release `fid_weights`; the first digits of their hash are in their name.

use crate::{DataError, DatasetName};
use std::{
    fmt::{self, Display, Formatter},
    str::FromStr,
};

/// Something that can be fetched by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A data set.
    Dataset(DatasetName),
    /// The weights of FID's network.
    Inception,
}

impl Item {
    /// The item's name, which is also that of its folder.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataset(name) => name.as_str(),
            Self::Inception => "inception",
        }
    }
}

impl From<DatasetName> for Item {
    fn from(name: DatasetName) -> Self {
        Self::Dataset(name)
    }
}

impl Display for Item {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Item {
    type Err = DataError;

    /// Parses the name of an item.
    ///
    /// # Errors
    /// [`DataError::NotFetched`], which lists the items that are fetched.
    fn from_str(name: &str) -> Result<Self, DataError> {
        let not_fetched = |_| DataError::NotFetched { name: name.to_owned(), known: Source::known() };
        if name == Self::Inception.as_str() {
            Ok(Self::Inception)
        } else {
            name.parse().map(Self::Dataset).map_err(not_fetched)
        }
    }
}

/// A file on a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteFile {
    /// Name of the file, which is also appended to the mirror's address.
    pub name: &'static str,
    /// Length in bytes.
    pub len: u64,
    /// SHA-256 of the file, 64 hexadecimal digits.
    pub sha256: &'static str,
}

/// Where an item comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It is part of the program.
    Builtin,
    /// The user has it: what it is and which key names it.
    Yours(&'static str),
    /// It is fetched from mirrors.
    Mirrors(&'static Source),
}

impl Origin {
    /// The origin of an item.
    pub fn of(item: impl Into<Item>) -> Self {
        match item.into() {
            Item::Dataset(DatasetName::MnistMini) => Self::Builtin,
            Item::Dataset(DatasetName::Mnist) => Self::Mirrors(&MNIST),
            Item::Dataset(DatasetName::FashionMnist) => Self::Mirrors(&FASHION_MNIST),
            Item::Dataset(DatasetName::Cifar10) => Self::Mirrors(&CIFAR10),
            Item::Dataset(DatasetName::Folder) => Self::Yours("pictures in dataset.dir, one folder per class"),
            Item::Dataset(DatasetName::Npz) => Self::Yours("an .npz or .npy file, set by dataset.dir"),
            Item::Dataset(DatasetName::Idx) => Self::Yours("IDX files in dataset.dir, such as EMNIST's"),
            Item::Inception => Self::Mirrors(&INCEPTION),
        }
    }
}

/// The files of an item, and the addresses of their mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// All files, fetched in this order.
    pub files: &'static [RemoteFile],
    /// Addresses, tried in this order.
    pub mirrors: &'static [&'static str],
}

impl Source {
    /// The source of an item; `None` for a data set that is built in, or that a user brings.
    pub fn of(item: impl Into<Item>) -> Option<&'static Self> {
        match Origin::of(item) {
            Origin::Mirrors(source) => Some(source),
            Origin::Builtin | Origin::Yours(_) => None,
        }
    }

    /// The source of an item that is to be fetched.
    ///
    /// # Errors
    /// [`DataError::NotFetched`], which lists the items that have one.
    pub fn find(item: impl Into<Item>) -> Result<&'static Self, DataError> {
        let item = item.into();
        Self::of(item).ok_or_else(|| DataError::NotFetched { name: item.as_str().to_owned(), known: Self::known() })
    }

    /// The names of all items that are fetched.
    fn known() -> String {
        let items = DatasetName::ALL.map(Item::from).into_iter().chain([Item::Inception]);
        items.filter(|item| Self::of(*item).is_some()).map(Item::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Bytes of all files.
    pub fn num_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

const fn file(name: &'static str, len: u64, sha256: &'static str) -> RemoteFile {
    RemoteFile { name, len, sha256 }
}

const MNIST: Source = Source {
    files: &[
        file(
            "train-images-idx3-ubyte.gz",
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        file("train-labels-idx1-ubyte.gz", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        file(
            "t10k-images-idx3-ubyte.gz",
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        file("t10k-labels-idx1-ubyte.gz", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ],
    mirrors: &["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"],
};

const FASHION_MNIST: Source = Source {
    files: &[
        file(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        file("train-labels-idx1-ubyte.gz", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        file(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        file("t10k-labels-idx1-ubyte.gz", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ],
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ],
};

const CIFAR10: Source = Source {
    files: &[file(
        "cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    )],
    mirrors: &["https://www.cs.toronto.edu/~kriz/"],
};

pub(super) const INCEPTION: Source = Source {
    files: &[file(
        "pt_inception-2015-12-05-6726825d.pth",
        95_628_359,
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    )],
    mirrors: &["https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"],
};
