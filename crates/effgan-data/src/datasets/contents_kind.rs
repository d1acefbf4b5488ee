//! What kind of data set lies at a path, by the names of its files.

use super::{DatasetName, cifar, folder, idx_files::IdxSet, picture};
use crate::DataError;
use std::{ffi::OsStr, path::Path};

/// The kind of data at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentsKind {
    /// Files with MNIST's names, which Fashion-MNIST has too: `name = "mnist"` or `"fashion-mnist"`.
    MnistOrFashion,
    /// The files of MNIST in torchvision's folder: `name = "mnist"`.
    Mnist,
    /// The files of Fashion-MNIST in torchvision's folder: `name = "fashion-mnist"`.
    FashionMnist,
    /// IDX files with other names or other classes: `name = "idx"`.
    Idx,
    /// The batches of CIFAR-10: `name = "cifar10"`.
    Cifar10,
    /// Pictures: `name = "folder"`.
    Folder,
    /// `NumPy` arrays: `name = "npz"`.
    Npz,
}

impl ContentsKind {
    /// The names that a config is likely to need for such data, the likeliest one first.
    pub const fn names(self) -> &'static [DatasetName] {
        match self {
            Self::MnistOrFashion => &[DatasetName::Mnist, DatasetName::FashionMnist],
            Self::Mnist => &[DatasetName::Mnist],
            Self::FashionMnist => &[DatasetName::FashionMnist],
            Self::Idx => &[DatasetName::Idx],
            Self::Cifar10 => &[DatasetName::Cifar10],
            Self::Folder => &[DatasetName::Folder],
            Self::Npz => &[DatasetName::Npz],
        }
    }

    /// The kind of the data at `path`: a folder without files of a known data set is one of pictures, and a file is of arrays.
    pub(super) fn of(path: &Path) -> Self {
        let kind = if path.is_file() { Self::Npz } else { Self::Folder };
        Self::of_names(path).first().copied().unwrap_or(kind)
    }

    /// The kinds of the data sets at `path` that are known by the names of their files.
    fn of_names(path: &Path) -> Vec<Self> {
        let of_idx = |set: &IdxSet| match set.named {
            None if set.prefix.is_empty() => Self::MnistOrFashion,
            Some(DatasetName::Mnist) => Self::Mnist,
            Some(DatasetName::FashionMnist) => Self::FashionMnist,
            _ => Self::Idx,
        };
        let is_cifar = cifar::is_in(path).then_some(Self::Cifar10);
        IdxSet::all(path).iter().map(of_idx).chain(is_cifar).collect()
    }

    /// All kinds of data at `path`.
    fn all(path: &Path) -> Vec<Self> {
        let is_array =
            |extension: &OsStr| extension.eq_ignore_ascii_case("npz") || extension.eq_ignore_ascii_case("npy");
        let mut kinds = Self::of_names(path);
        if path.is_file() && path.extension().is_some_and(is_array) {
            kinds.push(Self::Npz);
        }
        if folder::pictures(path).is_ok() {
            kinds.push(Self::Folder);
        }
        kinds
    }

    /// Whether a run reads such data as the data set `name`.
    fn is_read_as(self, name: DatasetName) -> bool {
        let is_idx = matches!(self, Self::MnistOrFashion | Self::Mnist | Self::FashionMnist);
        self.names().contains(&name) || (is_idx && name == DatasetName::Idx)
    }

    /// What it is, in a message.
    const fn noun(self) -> &'static str {
        match self {
            Self::MnistOrFashion | Self::Mnist | Self::FashionMnist | Self::Idx => "IDX files",
            Self::Cifar10 => "the batches of CIFAR-10",
            Self::Folder => "pictures",
            Self::Npz => "arrays",
        }
    }
}

/// The error of reading the data set `name` at `path`: `error` itself, or, where nothing of that data set is there but another one is, the
/// error that says how that one is called. A single picture is none.
pub(super) fn or_other_name(error: DataError, name: DatasetName, path: &Path) -> DataError {
    let is_absent = match error {
        DataError::MissingFile { .. } | DataError::Missing { .. } | DataError::NoImages { .. } => true,
        // Other data sets are folders.
        _ => path.is_file() && name != DatasetName::Npz,
    };
    if !is_absent {
        return error;
    }
    let kinds = ContentsKind::all(path);
    match kinds.first() {
        Some(kind) if !kinds.iter().any(|kind| kind.is_read_as(name)) => {
            let names: Vec<String> = kind.names().iter().map(|name| format!("\"{name}\"")).collect();
            DataError::OtherName {
                path: path.to_owned(),
                found: kind.noun(),
                name: name.as_str(),
                right: names.join(" or "),
            }
        }
        None if path.is_file() && picture::is_picture(path) => DataError::OnePicture { file: path.to_owned() },
        _ => error,
    }
}
