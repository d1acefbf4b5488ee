//! A partition from a file that a run or `effgan partition --save` wrote, or that describes the real clients.

use super::{ClientShare, Partition};
use crate::{DataError, Person};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Largest file that is read: enough for 40 million images with a line each.
const MAX_BYTES: u64 = 1 << 30;

/// `kind = "file"`: the clients and images of a `partition.json`.
///
/// Images that the file does not name are not assigned. Lists are sorted when read, clients by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionFile {
    /// The file, relative to the working folder.
    pub path: PathBuf,
}

impl PartitionFile {
    /// Reads the file and checks it against the `num_assigned` images that exist.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] or [`DataError::Malformed`] for the file itself; [`DataError::ClientTwice`],
    /// [`DataError::NothingToTrainOn`], [`DataError::NoSuchImage`] or [`DataError::ImageTwice`] for its contents.
    pub(super) fn read(&self, num_assigned: usize) -> Result<Partition, DataError> {
        let mut partition = read(&self.path)?;
        partition.clients.sort_by(|a, b| a.name.cmp(&b.name));
        for share in &mut partition.clients {
            share.train.sort_unstable();
            share.held_out.sort_unstable();
        }
        self.check(&partition, num_assigned)?;
        Ok(partition)
    }

    /// As [`read`](Self::read), of images of `persons`, of whom none may be on two lists.
    ///
    /// # Errors
    /// Also [`DataError::DividedPerson`].
    pub(super) fn read_undivided(&self, num_assigned: usize, persons: &[Person]) -> Result<Partition, DataError> {
        let partition = self.read(num_assigned)?;
        let mut seen = BTreeMap::<&str, (usize, u32)>::new();
        let lists = partition.clients.iter().flat_map(|share| [&share.train, &share.held_out]);
        for (list, images) in lists.enumerate() {
            for &second in images {
                let &mut (first_list, first) = seen.entry(&persons[second as usize]).or_insert((list, second));
                if first_list != list {
                    return Err(DataError::DividedPerson { file: self.path.clone(), first, second });
                }
            }
        }
        Ok(partition)
    }

    fn check(&self, partition: &Partition, num_assigned: usize) -> Result<(), DataError> {
        if partition.clients.is_empty() {
            let reason = "names no clients, expected at least one".into();
            return Err(DataError::Malformed { file: self.path.display().to_string(), reason });
        }
        if let Some([_, second]) = partition.clients.array_windows().find(|[first, second]| first.name == second.name) {
            return Err(DataError::ClientTwice { file: self.path.clone(), name: second.name.to_string() });
        }
        let mut seen = vec![false; num_assigned];
        partition.clients.iter().try_for_each(|share| self.check_share(share, &mut seen))
    }

    fn check_share(&self, share: &ClientShare, seen: &mut [bool]) -> Result<(), DataError> {
        let (file, name, num_assigned) = (|| self.path.clone(), || share.name.to_string(), seen.len());
        if share.train.is_empty() {
            return Err(DataError::NothingToTrainOn { file: file(), name: name() });
        }
        for &image in share.train.iter().chain(&share.held_out) {
            match seen.get_mut(image as usize) {
                None => return Err(DataError::NoSuchImage { file: file(), name: name(), image, num_assigned }),
                Some(true) => return Err(DataError::ImageTwice { file: file(), name: name(), image }),
                Some(seen) => *seen = true,
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Partition, DataError> {
    let file = || path.display().to_string();
    // Opening a pipe would block until another process writes into it.
    if path.exists() && !path.is_file() {
        return Err(DataError::Malformed { file: file(), reason: "is not a file".into() });
    }
    let bytes = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = bytes().map_err(|reason| DataError::Unreadable { file: file(), reason })?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(DataError::TooLarge { file: file(), num_bytes: bytes.len() as u64, bound: MAX_BYTES });
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        let reason = format!("{error}; expected a partition.json as written by a run");
        DataError::Malformed { file: file(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use tempfile::TempDir;

    fn read_text(json: &str, num_assigned: usize) -> Result<Partition, String> {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("p.json");
        fs::write(&path, json).unwrap();
        let result = PartitionFile { path }.read(num_assigned);
        result.map_err(|error| error.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    fn client(name: &str, train: &[u32], held_out: &[u32]) -> String {
        format!(r#"{{"name":"{name}","train":{train:?},"held_out":{held_out:?}}}"#)
    }

    fn clients(clients: &[String]) -> String {
        format!(r#"{{"clients":[{}]}}"#, clients.join(","))
    }

    #[test]
    fn no_person_is_on_two_lists() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("p.json");
        let persons: Vec<Person> = ["a", "b", "b", "c", "b"].map(Person::from).into();
        let read = |lists: &[String]| {
            fs::write(&path, clients(lists)).unwrap();
            PartitionFile { path: path.clone() }.read_undivided(5, &persons).map_err(|error| error.to_string())
        };
        assert!(read(&[client("north", &[1, 2, 4], &[3]), client("south", &[0], &[])]).is_ok());
        let error = read(&[client("north", &[1, 2], &[4])]).unwrap_err();
        assert!(error.contains("images 1 and 4 are of one person, and on two lists"), "{error}");
        assert!(read(&[client("north", &[1], &[]), client("south", &[0, 2], &[])]).is_err());
    }

    #[test]
    fn clients_and_images_are_sorted_and_some_images_may_be_unassigned() {
        let json = clients(&[client("south", &[7, 3], &[]), client("north", &[1], &[5, 4])]);
        let partition = read_text(&json, 8).unwrap();
        let [north, south] = &partition.clients[..] else { panic!("two clients") };
        assert_eq!((north.name.as_str(), south.name.as_str()), ("north", "south"));
        assert_eq!((&north.held_out[..], &south.train[..]), (&[4, 5][..], &[3, 7][..]));
    }

    #[test]
    fn entries_that_do_not_fit_the_data_are_named() {
        for (json, expected) in [
            (
                clients(&[client("a", &[1, 8], &[])]),
                "p.json gives a image 8, but the images are 0..8; was it made for another data set or dataset.limit?",
            ),
            (
                clients(&[client("a", &[1, 2], &[]), client("b", &[3], &[2])]),
                "p.json has image 2 twice, the second time at b; an image belongs on one list",
            ),
            (
                clients(&[client("a", &[1], &[]), client("a", &[3], &[])]),
                "p.json has client a twice; give each client its own name",
            ),
            (
                clients(&[client("a", &[], &[1])]),
                "p.json gives a no image to train on; remove the client or give it one",
            ),
            (clients(&[]), "p.json: names no clients, expected at least one"),
        ] {
            assert_eq!(read_text(&json, 8).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_file_that_is_not_a_partition_is_named_with_the_position() {
        let error = read_text("{\"clients\":[{\"name\":\"../a\"", 8).unwrap_err();
        assert!(error.starts_with(r#"p.json: client name "../a" is not 1 to 64"#), "{error}");
        assert!(error.ends_with("; expected a partition.json as written by a run"), "{error}");
        let error = PartitionFile { path: "no-such.json".into() }.read(1).unwrap_err().to_string();
        assert!(error.starts_with("cannot read no-such.json: "), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_a_file_does_not_block() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("p.json");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = PartitionFile { path }.read(8).unwrap_err().to_string();
        assert!(error.ends_with("p.json: is not a file"), "{error}");
    }
}
