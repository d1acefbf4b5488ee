//! Images without labels or splits: all pictures below a folder, sorted by path, or an array of images of an `.npy` or `.npz`
//! file. A folder is decoded in parts, so that any number of files needs little memory; an array is read at once.

use super::{
    array_images::Images,
    budget::{Budget, Decoders},
    folder, npz,
    picture::{self, Levels},
};
use crate::{DataError, ImageList, parallel::in_parallel};
use std::{
    ops::Range,
    path::{Path, PathBuf},
};

/// A list of images, each of its own shape, which are read on demand.
#[derive(Debug)]
pub struct ImageFiles {
    name: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Files, with the shapes in their headers.
    Pictures(Vec<(PathBuf, [usize; 3])>),
    /// Images `[n, c, h, w]` of one shape.
    Array(Vec<u8>, [usize; 3]),
}

impl ImageFiles {
    /// Opens a folder, an `.npy` file or an `.npz` file. Of a folder the headers of all files are read. Of an `.npz` file it takes the
    /// images that belong to no split; where there are only splits the test images, as these are what scores compare with, or else
    /// the training images.
    ///
    /// # Errors
    /// [`DataError::NoImages`] when a folder has no images, and an error that names the file when it is missing, damaged or in
    /// another format.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if !path.is_dir() {
            let (Images { shape, pixels, .. }, split) = npz::read_images(path)?;
            let file = path.display();
            let name = split.map_or_else(|| file.to_string(), |array| format!("{file} ({array})"));
            return Ok(Self { name, source: Source::Array(pixels, shape) });
        }
        let files = folder::pictures(path)?;
        if files.is_empty() {
            return Err(DataError::NoImages { dir: path.to_owned() });
        }
        let decoders = Budget::as_they_are().decoders();
        let shapes = in_parallel(&files, |file| picture::header(file, &decoders).map(|header| header.shape()));
        let with_shape = |(file, shape): (PathBuf, Result<_, String>)| match shape {
            Ok(shape) => Ok((file, shape)),
            Err(reason) => Err(malformed(&file, reason)),
        };
        let files = files.into_iter().zip(shapes).map(with_shape).collect::<Result<_, _>>()?;
        Ok(Self { name: path.display().to_string(), source: Source::Pictures(files) })
    }

    /// The path, and the array where it is one of several splits: `med.npz (test_images)`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `[c, h, w]` of image `i`.
    ///
    /// # Panics
    /// When there is no such image.
    pub fn shape(&self, i: usize) -> [usize; 3] {
        match &self.source {
            Source::Pictures(files) => files[i].1,
            Source::Array(_, shape) => *shape,
        }
    }

    /// Number of images, at least 1.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Pictures(files) => files.len(),
            Source::Array(pixels, shape) => pixels.len() / shape.iter().product::<usize>(),
        }
    }

    /// Always false, because there is at least one image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the images of `range`.
    ///
    /// # Errors
    /// An error that names the file when it cannot be decoded, or has another shape than when it was opened.
    ///
    /// # Panics
    /// When `range` ends beyond the last image.
    pub fn read(&self, range: Range<usize>) -> Result<ImageList<'_>, DataError> {
        let files = match &self.source {
            Source::Array(pixels, shape) => {
                let image_len = shape.iter().product::<usize>();
                return Ok(ImageList::of_one_shape(&pixels[range.start * image_len..range.end * image_len], *shape));
            }
            Source::Pictures(files) => &files[range],
        };
        let decoders = Budget::as_they_are().decoders();
        let images = in_parallel(files, |(file, shape)| decode(file, *shape, &decoders));
        Ok(ImageList::of_each(images.into_iter().collect::<Result<Vec<_>, _>>()?))
    }
}

/// Decodes a file whose header had `shape`: its pixels and `shape`.
fn decode(file: &Path, shape: [usize; 3], decoders: &Decoders) -> Result<(Vec<u8>, [usize; 3]), DataError> {
    // Pixels of another shape are dropped at once: the caller has counted on the memory of `shape`.
    let take = |pixels, found| (found == shape).then_some(pixels);
    let decoded = picture::read(file, shape, Levels::default(), decoders, take);
    let decoded = decoded.and_then(|(pixels, _)| pixels.ok_or_else(|| "has changed since it was opened".into()));
    decoded.map(|pixels| (pixels, shape)).map_err(|reason| malformed(file, reason))
}

fn malformed(file: &Path, reason: String) -> DataError {
    DataError::Malformed { file: file.display().to_string(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayImage, RgbImage};
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
        assert_eq!((files.len(), files.shape(0)), (3, [1, 1, 2]));
        assert_eq!(read(&files, 0..3), [1, 2, 3].map(|value| (vec![value; 2], [1, 1, 2])));
        assert_eq!(read(&files, 1..2), [(vec![2, 2], [1, 1, 2])]);
    }

    fn read(files: &ImageFiles, range: Range<usize>) -> Vec<(Vec<u8>, [usize; 3])> {
        files.read(range).unwrap().iter().map(|(image, shape)| (image.to_vec(), shape)).collect()
    }

    #[test]
    fn each_image_keeps_its_own_size_and_colours() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "a.png", [2, 1], 5);
        save(dir.path(), "b.png", [2, 3], 6);
        RgbImage::from_pixel(1, 1, image::Rgb([7, 8, 9])).save(dir.path().join("c.png")).unwrap();
        let files = ImageFiles::open(dir.path()).unwrap();
        let expected = [(vec![5; 2], [1, 1, 2]), (vec![6; 6], [1, 3, 2]), (vec![7, 8, 9], [3, 1, 1])];
        assert_eq!([0, 1, 2].map(|i| files.shape(i)), expected.each_ref().map(|(_, shape)| *shape));
        assert_eq!(read(&files, 0..3), expected);
    }

    #[test]
    fn a_file_that_changes_after_it_was_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), "a.png", [2, 1], 5);
        let files = ImageFiles::open(dir.path()).unwrap();
        save(dir.path(), "a.png", [200, 100], 5);
        let error = files.read(0..1).unwrap_err().to_string();
        assert!(error.ends_with("a.png: has changed since it was opened"), "{error}");
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
