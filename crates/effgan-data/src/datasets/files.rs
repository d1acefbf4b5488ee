//! Images without labels or splits: all pictures below a folder, sorted by path, or an array of images of an `.npy` or `.npz`
//! file. A folder is decoded in parts, so that any number of files needs little memory; an array is read at once.

use super::{
    array_images::Images,
    budget::Budget,
    folder, npz,
    picture::{self, Levels},
};
use crate::{
    DataError,
    parallel::{in_parallel, in_parallel_into},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// A list of images of one shape, which are read on demand.
#[derive(Debug)]
pub struct ImageFiles {
    name: String,
    shape: [usize; 3],
    source: Source,
}

#[derive(Debug)]
enum Source {
    Pictures { dir: PathBuf, files: Vec<PathBuf> },
    Array(Vec<u8>),
}

impl ImageFiles {
    /// Opens a folder, an `.npy` file or an `.npz` file. Of an `.npz` file it takes the images that belong to no split; where
    /// there are only splits the test images, as these are what scores compare with, or else the training images.
    ///
    /// # Errors
    /// [`DataError::OtherShape`] when the images of a folder have several shapes, [`DataError::NoImages`] when there are none,
    /// and an error that names the file when it is missing, damaged or in another format.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            let (Images { shape, pixels, .. }, split) = npz::read_images(path)?;
            let file = path.display();
            let name = split.map_or_else(|| file.to_string(), |array| format!("{file} ({array})"));
            return Ok(Self { name, shape, source: Source::Array(pixels) });
        }
        let files = folder::pictures(path)?;
        let decoders = Budget::as_they_are().decoders();
        let headers = in_parallel(&files, |file| picture::header(file, &decoders).map(|header| header.shape()));
        let mut shapes = Vec::with_capacity(files.len());
        for (file, shape) in files.iter().zip(headers) {
            shapes.push(shape.map_err(|reason| malformed(file, reason))?);
        }
        let shape = *shapes.first().ok_or_else(|| DataError::NoImages { dir: path.to_owned() })?;
        match shapes.iter().position(|other| *other != shape) {
            None => {
                let source = Source::Pictures { dir: path.to_owned(), files };
                Ok(Self { name: path.display().to_string(), shape, source })
            }
            Some(i) => {
                let [first, other] = [&files[0], &files[i]].map(|file| inside(path, file));
                Err(DataError::OtherShape { first, first_shape: shape, other, other_shape: shapes[i] })
            }
        }
    }

    /// The path, and the array where it is one of several splits: `med.npz (test_images)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `[c, h, w]` of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Number of images, at least 1.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Pictures { files, .. } => files.len(),
            Source::Array(pixels) => pixels.len() / self.image_len(),
        }
    }

    /// Always false, because there is at least one image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the images of `range`: u8 `[n, c, h, w]`.
    ///
    /// # Errors
    /// An error that names the file when it cannot be decoded, or has changed since it was opened.
    ///
    /// # Panics
    /// When `range` ends beyond the last image.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, DataError> {
        let (dir, files) = match &self.source {
            Source::Array(pixels) => {
                return Ok(pixels[range.start * self.image_len()..range.end * self.image_len()].to_vec());
            }
            Source::Pictures { dir, files } => (dir, &files[range]),
        };
        let mut pixels = vec![0; files.len() * self.image_len()];
        let decoders = Budget::as_they_are().decoders();
        let read = |file: &PathBuf, output: &mut [u8]| -> Result<[usize; 3], String> {
            let read = picture::read(file, self.shape, Levels::default(), &decoders, |image, shape| {
                if shape == self.shape {
                    output.copy_from_slice(&image);
                }
                shape
            });
            read.map(|(shape, _)| shape)
        };
        for (file, shape) in files.iter().zip(in_parallel_into(files, &mut pixels, read)) {
            let shape = shape.map_err(|reason| malformed(file, reason))?;
            if shape != self.shape {
                let (first, other) = (inside(dir, &files[0]), inside(dir, file));
                return Err(DataError::OtherShape { first, first_shape: self.shape, other, other_shape: shape });
            }
        }
        Ok(pixels)
    }

    fn image_len(&self) -> usize {
        self.shape.iter().product()
    }
}

fn malformed(file: &Path, reason: String) -> DataError {
    DataError::Malformed { file: file.display().to_string(), reason }
}

fn inside(dir: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(dir).unwrap_or(file).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::GrayImage;
    use std::fs;

    fn save(dir: &Path, name: &str, [w, h]: [u32; 2], value: u8) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(w, h, image::Luma([value])).save(path).unwrap();
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_paths_at_any_depth() {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in [("b/2.png", 3), ("a.png", 1), ("b/1.png", 2)] {
            save(dir.path(), name, [2, 1], value);
        }
        fs::write(dir.path().join("note.txt"), "not an image").unwrap();
        let files = ImageFiles::open(dir.path()).unwrap();
        assert_eq!((files.len(), files.shape()), (3, [1, 1, 2]));
        assert_eq!(files.read(0..3).unwrap(), [1, 1, 2, 2, 3, 3]);
        assert_eq!(files.read(1..2).unwrap(), [2, 2]);
    }

    #[test]
    fn an_image_of_another_size_is_named() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "a.png", [2, 1], 0);
        save(dir.path(), "b.png", [2, 3], 0);
        assert_eq!(
            ImageFiles::open(dir.path()).unwrap_err().to_string(),
            "a.png has shape [1, 1, 2] but b.png has [1, 3, 2]; all images of a set have one shape"
        );
    }

    #[test]
    fn a_file_that_is_not_an_image_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(ImageFiles::open(dir.path()).unwrap_err().to_string().contains("holds no pictures (PNG, "));
        fs::write(dir.path().join("a.png"), "text").unwrap();
        let error = ImageFiles::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("a.png: is not a picture of a format that is read (PNG, "), "{error}");
        assert!(ImageFiles::open(&dir.path().join("none.npy")).is_err());
    }
}
