//! Names of clients, which determine their order, their random streams and their files.

use crate::DataError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a client: 1 to 64 characters of a-z, 0-9 and `-`, since it becomes a file name.
///
/// Clients are ordered by name. In a config, a partition or a message it is a plain string, which is checked when read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(String);

impl ClientName {
    /// Checks and wraps a name.
    ///
    /// # Errors
    /// [`DataError::ClientName`] for an empty or long name or another character.
    pub fn new(name: impl Into<String>) -> Result<Self, DataError> {
        let name = name.into();
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Self(name))
        } else {
            Err(DataError::ClientName { name })
        }
    }

    /// The name of simulated client `i` of `num_clients`: `client-0007`.
    ///
    /// All names of one simulation have equally many digits, at least four, so that they sort like `i`.
    pub fn simulated(i: usize, num_clients: usize) -> Self {
        let digits = num_clients.saturating_sub(1).to_string().len().max(4);
        Self(format!("client-{i:0digits$}"))
    }

    /// The name of the only client of a pooled partition.
    pub(super) fn pooled() -> Self {
        Self("pooled".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ClientName {
    type Error = DataError;

    fn try_from(name: String) -> Result<Self, DataError> {
        Self::new(name)
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_names_sort_as_their_index() {
        assert_eq!(ClientName::simulated(7, 50).as_str(), "client-0007");
        assert_eq!(ClientName::simulated(7, 10_000).as_str(), "client-0007");
        assert_eq!(ClientName::simulated(7, 10_001).as_str(), "client-00007");
        let names: Vec<_> = (0..10_001).map(|i| ClientName::simulated(i, 10_001)).collect();
        assert!(names.is_sorted());
    }

    #[test]
    fn names_that_are_not_portable_file_names_are_errors() {
        assert_eq!(ClientName::new("north-2").unwrap().to_string(), "north-2");
        for name in ["", "North", "../north", "a b", "nord.", "é", &"x".repeat(65)] {
            assert!(ClientName::new(name).is_err(), "{name}");
        }
        assert_eq!(
            ClientName::new("a/b").unwrap_err().to_string(),
            r#"client name "a/b" is not 1 to 64 characters of a-z, 0-9 and -; rename the client"#
        );
    }

    #[test]
    fn names_are_strings_in_files_and_checked_when_read() {
        let name = ClientName::new("north").unwrap();
        assert_eq!(serde_json::to_string(&name).unwrap(), r#""north""#);
        assert_eq!(serde_json::from_str::<ClientName>(r#""north""#).unwrap(), name);
        assert!(serde_json::from_str::<ClientName>(r#""../north""#).is_err());
    }
}
