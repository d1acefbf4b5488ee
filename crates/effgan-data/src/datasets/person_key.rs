//! `dataset.person`: where a data set names the person of each training image.

use super::DatasetName;
use crate::DataError;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;

/// Pictures lie no deeper.
const MAX_FOLDER: usize = 64;

/// Where a data set names the person of each training image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum PersonKey {
    /// For `folder`: which folder on the way to a picture is the person's. 1 is the one directly in the folder of the data set or of its
    /// training split, which is the class; 2 is the one in that.
    Folder(usize),
    /// For `npz`: the array of whole numbers, one for each image; of two splits, `train_` and this name.
    Array(String),
}

impl PersonKey {
    /// Checks that a data set of this name can say it so.
    pub(super) fn check(&self, name: DatasetName) -> Result<(), DataError> {
        match (self, name) {
            (Self::Folder(1..=MAX_FOLDER), DatasetName::Folder) | (Self::Array(_), DatasetName::Npz) => Ok(()),
            _ => Err(DataError::NoPersons { key: self.to_string(), name: name.to_string() }),
        }
    }

    /// Which folder is the person's.
    pub(super) fn folder(&self) -> Option<usize> {
        if let Self::Folder(level) = self { Some(*level) } else { None }
    }

    /// Which array is that of persons.
    pub(super) fn array(&self) -> Option<&str> {
        if let Self::Array(name) = self { Some(name) } else { None }
    }
}

impl fmt::Display for PersonKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(level) => write!(f, "{level}"),
            Self::Array(name) => write!(f, "{name:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for PersonKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl de::Visitor<'_> for Either {
            type Value = PersonKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(
                    f,
                    "a whole number of at least 1 and at most {MAX_FOLDER}, a person's folder on the way to a picture, or the name of an array, such \
                     as \"patients\""
                )
            }

            fn visit_u64<E: de::Error>(self, level: u64) -> Result<PersonKey, E> {
                let folder = usize::try_from(level).ok().filter(|level| (1..=MAX_FOLDER).contains(level));
                folder.map(PersonKey::Folder).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(level), &self))
            }

            fn visit_i64<E: de::Error>(self, level: i64) -> Result<PersonKey, E> {
                let unsigned =
                    u64::try_from(level).map_err(|_| E::invalid_value(de::Unexpected::Signed(level), &self))?;
                self.visit_u64(unsigned)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<PersonKey, E> {
                Ok(PersonKey::Array(name.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}
