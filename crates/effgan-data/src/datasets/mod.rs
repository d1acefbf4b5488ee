//! Data sets by name: what `[dataset]` of a config says, and the images it leads to.

mod builtin;
mod idx;

use crate::{DataError, ImageSet};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, str::FromStr};

/// A data set that the program can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatasetName {
    /// 10,000 + 2,000 images of MNIST, in the binary: the first 1,000 and 200 of each digit.
    MnistMini,
    /// Handwritten digits, 60,000 + 10,000 images `[1, 28, 28]` of 10 classes (LeCun et al. 1998).
    Mnist,
    /// Clothes in the files and sizes of MNIST (Xiao et al. 2017, arXiv:1708.07747).
    FashionMnist,
}

impl DatasetName {
    /// Every data set, in the order that messages name them.
    pub const ALL: [Self; 3] = [Self::MnistMini, Self::Mnist, Self::FashionMnist];

    /// The name as a config writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MnistMini => "mnist-mini",
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
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

    /// Parses the name as a config writes it.
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

/// The `[dataset]` table of a config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Which data set.
    pub name: DatasetName,
    /// Folder of the data set's files, relative to the working folder; needed unless the data set is built in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// How many of the first training images are dealt to clients, 1..=n; default all n.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

impl DatasetConfig {
    /// Reads both splits into memory and checks `dir` and `limit` against them.
    ///
    /// # Errors
    /// [`DataError::MissingDir`] or [`DataError::DirOfBuiltin`] when `dir` does not suit the name, [`DataError::Limit`] when
    /// `limit` is out of range, and an error that names the file when one is missing, damaged or of another kind.
    pub fn load(&self) -> Result<Dataset, DataError> {
        let (train, test) = self.read_splits()?;
        if train.shape() != test.shape() {
            return Err(DataError::SplitShapes { name: self.name, train: train.shape(), test: test.shape() });
        }
        let limit = self.limit.unwrap_or(train.len());
        if !(1..=train.len()).contains(&limit) {
            return Err(DataError::Limit { limit, num_images: train.len(), name: self.name });
        }
        Ok(Dataset { name: self.name, train, test, limit })
    }

    fn read_splits(&self) -> Result<(ImageSet, ImageSet), DataError> {
        match (self.name, &self.dir) {
            (DatasetName::MnistMini, None) => builtin::mnist_mini(),
            (name @ DatasetName::MnistMini, Some(dir)) => Err(DataError::DirOfBuiltin { name, dir: dir.clone() }),
            (DatasetName::Mnist | DatasetName::FashionMnist, Some(dir)) => {
                Ok((idx::read_split(dir, "train", 10)?, idx::read_split(dir, "t10k", 10)?))
            }
            (name, None) => Err(DataError::MissingDir { name }),
        }
    }
}

/// A data set in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Which data set this is.
    pub name: DatasetName,
    /// The whole training split, whatever the limit: scores take their real-against-real floor from it.
    pub train: ImageSet,
    /// The test split: the reference of every score.
    pub test: ImageSet,
    /// How many of the first training images are dealt to clients, 1..=`train.len()`.
    pub limit: usize,
}

impl Dataset {
    /// How many of the first training images are dealt to clients, 1..=`train.len()`.
    pub fn num_dealt(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Result<DatasetConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn load_error(json: &str) -> String {
        config(json).unwrap().load().unwrap_err().to_string()
    }

    #[test]
    fn every_name_reads_back() {
        for name in DatasetName::ALL {
            assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
            assert_eq!(serde_json::to_string(&name).unwrap(), format!("\"{name}\""));
        }
        assert_eq!(
            "mnst".parse::<DatasetName>().unwrap_err().to_string(),
            "no data set is called `mnst`; choose one of mnist-mini, mnist, fashion-mnist"
        );
    }

    #[test]
    fn defaults_are_left_out_of_the_written_config() {
        let json = r#"{"name":"mnist-mini"}"#;
        assert_eq!(serde_json::to_string(&config(json).unwrap()).unwrap(), json);
    }

    #[test]
    fn unknown_key_is_named() {
        let error = config(r#"{"name":"mnist","folder":"x"}"#).unwrap_err().to_string();
        assert!(error.contains("unknown field `folder`, expected one of `name`, `dir`, `limit`"), "{error}");
    }

    #[test]
    fn dir_must_suit_the_name() {
        let error = load_error(r#"{"name":"fashion-mnist"}"#);
        assert!(error.starts_with("data set fashion-mnist is read from files; set dataset.dir to"), "{error}");
        assert!(error.contains("train-images-idx3-ubyte[.gz]"), "{error}");
        assert_eq!(
            load_error(r#"{"name":"mnist-mini","dir":"x"}"#),
            r#"data set mnist-mini is built in, but dataset.dir = "x"; remove dataset.dir"#
        );
    }

    #[test]
    fn limit_counts_the_dealt_images_and_keeps_the_split_whole() {
        let dataset = config(r#"{"name":"mnist-mini","limit":2000}"#).unwrap().load().unwrap();
        assert_eq!((dataset.num_dealt(), dataset.train.len(), dataset.test.len()), (2000, 10_000, 2000));
        let whole = config(r#"{"name":"mnist-mini"}"#).unwrap().load().unwrap();
        assert_eq!(whole.num_dealt(), 10_000);
    }

    #[test]
    fn limit_out_of_range_names_both_numbers() {
        for limit in [0, 10_001] {
            assert_eq!(
                load_error(&format!(r#"{{"name":"mnist-mini","limit":{limit}}}"#)),
                format!("dataset.limit = {limit} is outside 1..=10000, the number of training images of mnist-mini")
            );
        }
    }
}
