//! The files of a folder of pictures, listed without decoding any, so that a site can count its images first.

use super::Listing;
use crate::{DataError, Dataset, DatasetConfig, DatasetName, Person, datasets::contents_kind::or_other_name, download};
use std::path::{Path, PathBuf};

/// The pictures of a folder, listed by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    dir: PathBuf,
    /// Training images with their labels, in the order of [`DatasetConfig::load_named`].
    pub train: Vec<(PathBuf, u8)>,
    /// The person of each training image; `None` where the config does not say where persons are named.
    pub persons: Option<Vec<Person>>,
    /// Test images.
    pub test: Vec<PathBuf>,
    /// Links to folders, which were followed.
    links: Vec<PathBuf>,
}

impl DatasetConfig {
    /// Lists the folder, with labels that index `classes` where these are given; `None` for data sets other than folders of pictures.
    ///
    /// # Errors
    /// Those of [`load_named`](Self::load_named) that are visible without opening a file.
    pub fn list(&self, classes: Option<&[String]>) -> Result<Option<FileList>, DataError> {
        self.check()?;
        if self.name != DatasetName::Folder {
            return Ok(None);
        }
        let dir = self.find_dir(download::cache_dir().ok().as_deref())?;
        let listing =
            Listing::of(&dir, classes, self.person_folder()).map_err(|error| or_other_name(error, self.name, &dir))?;
        let Listing { splits: [train, test], links, .. } = listing;
        let persons = || train.iter().map(|entry| entry.person.clone()).collect();
        let persons = self.person_folder().and_then(|_| persons());
        let train = train.into_iter().map(|entry| (entry.path, entry.label)).collect();
        Ok(Some(FileList { dir, train, persons, test: test.into_iter().map(|entry| entry.path).collect(), links }))
    }
}

impl FileList {
    /// Paths of the training images of `dataset`, which was loaded from this folder, in the same order. Images that could not be
    /// read are left out.
    pub fn paths_of<'a>(&'a self, dataset: &'a Dataset) -> impl Iterator<Item = &'a Path> {
        let is_left_out = |path: &Path| {
            let name = path.strip_prefix(&self.dir).unwrap_or(path);
            dataset.left_out.binary_search_by(|file| file.file.as_path().cmp(name)).is_ok()
        };
        self.train.iter().map(|(path, _)| path.as_path()).filter(move |path| !is_left_out(path))
    }

    /// The first symbolic link to a file or folder outside of the folder, if there is one.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] when the folder or the target of a link does not exist.
    pub fn link_outside(&self) -> Result<Option<&Path>, DataError> {
        let real = |path: &Path| {
            path.canonicalize().map_err(|reason| DataError::Unreadable { file: path.display().to_string(), reason })
        };
        let dir = real(&self.dir)?;
        for path in self.links.iter().chain(self.train.iter().map(|(path, _)| path)).chain(&self.test) {
            if path.is_symlink() && !real(path)?.starts_with(&dir) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
