//! Which network's features are compared: `evaluation.features` in a config, `--features` on the command line.

use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::path::{self, PathBuf};
use std::str::FromStr;

use effgan_data::from_home;
use serde::{Deserialize, Serialize};

const MNIST: &str = "mnist";
const FASHION_MNIST: &str = "fashion-mnist";
const INCEPTION: &str = "inception";

/// A feature network by its name, or the file that it is in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum NetworkName {
    /// `mnist`: the built-in network for digits.
    Mnist,
    /// `fashion-mnist`: the built-in network for clothes.
    FashionMnist,
    /// `inception`: Inception-2015 with the weights that `effgan data fetch inception` fetches, which takes 0.15 s of a core for each image.
    Inception,
    /// Any other text: a file that `effgan features train` wrote; `~` is the home folder.
    File(PathBuf),
}

impl NetworkName {
    /// The same with an absolute path, relative to the current folder, so that a run that is resumed from elsewhere finds the file.
    pub(super) fn absolute(self) -> Self {
        match self {
            Self::File(file) => Self::File(path::absolute(&file).unwrap_or(file)),
            name => name,
        }
    }
}

impl From<String> for NetworkName {
    fn from(text: String) -> Self {
        match text.as_str() {
            MNIST => Self::Mnist,
            FASHION_MNIST => Self::FashionMnist,
            INCEPTION => Self::Inception,
            _ => Self::File(from_home(text.into())),
        }
    }
}

impl FromStr for NetworkName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.to_owned().into())
    }
}

impl Display for NetworkName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist => f.write_str(MNIST),
            Self::FashionMnist => f.write_str(FASHION_MNIST),
            Self::Inception => f.write_str(INCEPTION),
            Self::File(file) => file.display().fmt(f),
        }
    }
}

impl From<NetworkName> for String {
    fn from(name: NetworkName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_as_it_is_written() {
        for text in ["mnist", "fashion-mnist", "inception", "/nets/mine.safetensors"] {
            assert_eq!(NetworkName::from(text.to_owned()).to_string(), text);
        }
        assert_eq!(NetworkName::from("mine".to_owned()), NetworkName::File("mine".into()));
    }

    #[test]
    fn a_file_is_found_from_any_folder_and_a_name_stays_one() {
        let absolute = |text: &str| NetworkName::from(text.to_owned()).absolute().to_string();
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute("a/b.safetensors"), here.join("a/b.safetensors").display().to_string());
        assert!(absolute("~/a").ends_with("/a") && !absolute("~/a").contains('~'));
        assert_eq!(absolute("mnist"), "mnist");
    }
}
