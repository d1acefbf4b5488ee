//! What a folder holds, before a file of it is opened: for a site that counts its images before it decodes one.

use super::{Dataset, DatasetConfig, DatasetName, folder::Listing};
use crate::{DataError, download};
use std::path::{Path, PathBuf};

/// The pictures of a folder, by their names alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    dir: PathBuf,
    /// Training images in the order in which [`DatasetConfig::load_named`] has them, with their labels.
    pub train: Vec<(PathBuf, u8)>,
    /// Test images.
    pub test: Vec<PathBuf>,
}

impl DatasetConfig {
    /// Lists the folder, with labels by `classes` where they are given; `None` for data sets that are no folder of pictures.
    ///
    /// # Errors
    /// As [`load_named`](Self::load_named), as far as names show it.
    pub fn list(&self, classes: Option<&[String]>) -> Result<Option<Listed>, DataError> {
        self.check()?;
        if self.name != DatasetName::Folder {
            return Ok(None);
        }
        let dir = self.find_dir(download::cache_dir().ok().as_deref())?;
        let Listing { splits: [train, test], .. } = Listing::of(&dir, classes)?;
        let train = train.into_iter().map(|entry| (entry.path, entry.label)).collect();
        Ok(Some(Listed { dir, train, test: test.into_iter().map(|entry| entry.path).collect() }))
    }
}

impl Listed {
    /// Paths of the training images of `dataset`, which was loaded from this folder, in their order: without those that could not be read.
    pub fn paths_of<'a>(&'a self, dataset: &'a Dataset) -> impl Iterator<Item = &'a Path> {
        let is_left_out = |path: &Path| {
            let name = path.strip_prefix(&self.dir).unwrap_or(path);
            dataset.left_out.binary_search_by(|file| file.file.as_path().cmp(name)).is_ok()
        };
        self.train.iter().map(|(path, _)| path.as_path()).filter(move |path| !is_left_out(path))
    }

    /// A file that is a link to outside of the folder, where there is one.
    ///
    /// # Errors
    /// [`DataError::Unreadable`] when the folder or a link leads nowhere.
    pub fn link_outside(&self) -> Result<Option<&Path>, DataError> {
        let real = |path: &Path| {
            path.canonicalize().map_err(|reason| DataError::Unreadable { file: path.display().to_string(), reason })
        };
        let dir = real(&self.dir)?;
        for path in self.train.iter().map(|(path, _)| path).chain(&self.test) {
            if path.is_symlink() && !real(path)?.starts_with(&dir) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
