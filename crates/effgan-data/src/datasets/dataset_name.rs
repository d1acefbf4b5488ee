//! The names of data sets.

use super::cifar;
use crate::DataError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A data set that the program can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// The first 1,000 training and 200 test images of each digit of MNIST, built into the binary.
    MnistMini,
    /// Handwritten digits, 60,000 + 10,000 images `[1, 28, 28]` of 10 classes (LeCun et al. 1998).
    Mnist,
    /// Clothes in the files and sizes of MNIST (Xiao et al. 2017, arXiv:1708.07747).
    FashionMnist,
    /// Photographs, 50,000 + 10,000 images `[3, 32, 32]` of 10 classes (Krizhevsky 2009), in its binary or its Python version.
    Cifar10,
    /// Pictures, in one sub-folder per class or all in one folder.
    Folder,
    /// `NumPy` arrays of images and labels in an `.npz` file, or of images in an `.npy` file.
    Npz,
    /// Any data set in the format of MNIST's files, such as one of EMNIST's (Cohen et al. 2017, arXiv:1702.05373), with the classes that its
    /// labels have.
    Idx,
}

impl DatasetName {
    /// Every data set, in the order in which messages list them.
    pub const ALL: [Self; 7] =
        [Self::MnistMini, Self::Mnist, Self::FashionMnist, Self::Cifar10, Self::Folder, Self::Npz, Self::Idx];

    /// The name in a config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MnistMini => "mnist-mini",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar10",
            Self::Folder => "folder",
            Self::Npz => "npz",
            Self::Idx => "idx",
        }
    }

    /// Names of the classes, in the order of their labels; empty where the files define the classes.
    pub const fn classes(self) -> &'static [&'static str] {
        match self {
            Self::MnistMini | Self::Mnist => &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            Self::FashionMnist => &[
                "T-shirt/top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ],
            Self::Cifar10 => &cifar::CLASSES,
            Self::Folder | Self::Npz | Self::Idx => &[],
        }
    }

    /// Shape `[c, h, w]` of the images, where the name alone says it: the other names stand for files that may have any.
    pub const fn image_shape(self) -> Option<[usize; 3]> {
        match self {
            Self::MnistMini => Some([1, 28, 28]),
            Self::Cifar10 => Some([3, 32, 32]),
            Self::Mnist | Self::FashionMnist | Self::Folder | Self::Npz | Self::Idx => None,
        }
    }

    /// What `dataset.dir` must point to, for messages.
    pub(crate) const fn files(self) -> &'static str {
        match self {
            Self::MnistMini => "nothing, as it is built in",
            Self::Mnist => {
                "the folder with train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and \
                 t10k-labels-idx1-ubyte[.gz], or run `effgan data fetch mnist`"
            }
            Self::FashionMnist => {
                "the folder with train-images-idx3-ubyte[.gz], train-labels-idx1-ubyte[.gz], t10k-images-idx3-ubyte[.gz] and \
                 t10k-labels-idx1-ubyte[.gz], or run `effgan data fetch fashion-mnist`"
            }
            Self::Cifar10 => {
                "the folder with data_batch_1 to data_batch_5 and test_batch, all with or all without .bin, \
                 or run `effgan data fetch cifar10`"
            }
            Self::Folder => "a folder of pictures, or of one folder for each class",
            Self::Npz => "an .npz or .npy file",
            Self::Idx => {
                "a folder of IDX files, such as emnist-letters-train-images-idx3-ubyte[.gz]; where it holds several data sets, \
                 the folder and a name such as emnist-letters"
            }
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatasetName {
    type Err = DataError;

    /// Parses the name in a config.
    ///
    /// # Errors
    /// [`DataError::UnknownDataset`], which lists the names.
    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL.into_iter().find(|known| known.as_str() == name).ok_or_else(|| DataError::UnknownDataset {
            name: name.to_owned(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_has_every_data_set() {
        // unknown variant `?`, expected one of `a`, `b`
        let error = serde_json::from_str::<DatasetName>("\"?\"").unwrap_err().to_string();
        let known: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, DatasetName::ALL.map(DatasetName::as_str), "add it to DatasetName::ALL");
    }

    #[test]
    fn every_name_is_parsed_back() {
        for name in DatasetName::ALL {
            assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
        }
        let error = "mnst".parse::<DatasetName>().unwrap_err().to_string();
        assert!(error.starts_with("no data set is called `mnst`; choose one of mnist-mini, mnist, "), "{error}");
    }
}
