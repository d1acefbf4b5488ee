//! Where `effgan sample` writes images: a grid, an array, or a folder of pictures, by the path's extension.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use anyhow::{Context, anyhow};
use effgan_nn::checkpoint::write_file;
use effgan_run::failure::{Failure, Result};
use effgan_run::record::pictures::{grid, save_png, visible_scale};
use npyz::WriterBuilder;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Maximum number of images of one PNG grid, which is held in memory.
const MAX_IN_GRID: u32 = 10_000;

/// A path that does not exist yet, and what it will be.
pub(super) struct ImagesOut<'a> {
    path: &'a Path,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    /// One picture of all images, side by side.
    Grid,
    /// A u8 array `[n, c, h, w]`.
    Npy,
    /// The same as `images` of an archive.
    Npz,
    /// A folder of PNG files.
    Folder,
}

impl<'a> ImagesOut<'a> {
    /// What `path` will be for `num` images.
    ///
    /// # Errors
    /// When its extension is unknown, or the images are too many for a grid.
    pub(super) fn of(path: &'a Path, num: u32) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let kind = match extension.as_deref() {
            Some("png") if num > MAX_IN_GRID => {
                return usage(format!(
                    "--num {num} is too many for one grid (at most {MAX_IN_GRID}); use an .npy file or a folder"
                ));
            }
            Some("png") => Kind::Grid,
            Some("npy") => Kind::Npy,
            Some("npz") => Kind::Npz,
            None => Kind::Folder,
            Some(_) => {
                return usage(format!(
                    "--out {} is neither a .png, .npy or .npz file nor a folder, which has no extension",
                    path.display()
                ));
            }
        };
        Ok(Self { path, kind })
    }

    /// Writes u8 `images` `[n, c, h, w]` of `shape` `[c, h, w]`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn save(&self, images: &[u8], shape: [usize; 3]) -> anyhow::Result<()> {
        let n = images.len() / shape.iter().product::<usize>();
        match self.kind {
            Kind::Grid => save_png(self.path, &grid(images, shape, n.isqrt().max(1), visible_scale(shape))),
            Kind::Npy => self.write(&npy(images, shape)?),
            Kind::Npz => self.write(&npz(&npy(images, shape)?)?),
            Kind::Folder => self.save_folder(images, shape, n),
        }
    }

    fn write(&self, bytes: &[u8]) -> anyhow::Result<()> {
        write_file(self.path, bytes).with_context(|| format!("writing {}", self.path.display()))
    }

    fn save_folder(&self, images: &[u8], shape: [usize; 3], n: usize) -> anyhow::Result<()> {
        fs::create_dir(self.path).with_context(|| format!("making {}", self.path.display()))?;
        let digits = (n - 1).to_string().len();
        let save_one = |(i, image)| save_png(&self.path.join(format!("{i:0digits$}.png")), &grid(image, shape, 1, 1));
        images.chunks_exact(shape.iter().product()).enumerate().try_for_each(save_one)
    }
}

/// The bytes of an `.npy` file.
fn npy(images: &[u8], [c, h, w]: [usize; 3]) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let shape = [images.len() / (c * h * w), c, h, w].map(|size| size as u64);
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
    writer.extend(images.iter().copied())?;
    writer.finish()?;
    Ok(bytes)
}

/// The bytes of an `.npz` file with one array, `images`, which is not compressed, as `numpy.savez` leaves it.
fn npz(npy: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("images.npy", options.large_file(u32::try_from(npy.len()).is_err()))?;
    zip.write_all(npy)?;
    Ok(zip.finish()?.into_inner())
}

fn usage<T>(line: String) -> Result<T> {
    Err(Failure::usage(anyhow!(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &str, num: u32) -> String {
        ImagesOut::of(Path::new(path), num).err().expect("an error").line()
    }

    #[test]
    fn an_extension_says_what_a_path_will_be_in_any_case() {
        for path in ["a.png", "A.PNG", "a.npy", "a.NPZ", "folder", "runs.d/folder"] {
            assert!(ImagesOut::of(Path::new(path), 64).is_ok(), "{path}");
        }
        for path in ["a.jpg", "a.webp", "samples.v2"] {
            let expected =
                format!("--out {path} is neither a .png, .npy or .npz file nor a folder, which has no extension");
            assert_eq!(error(path, 64), expected);
        }
        assert!(error("a.PNG", 10_001).starts_with("--num 10001 is too many for one grid"));
    }

    #[test]
    fn an_archive_is_read_back_as_the_data_set_that_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (path, images) = (dir.path().join("a.npz"), (0..24).collect::<Vec<u8>>());
        ImagesOut::of(&path, 2).unwrap().save(&images, [3, 2, 2]).unwrap();
        let read = effgan_data::ImageFiles::open(&path).unwrap();
        let read = read.read(0..2).unwrap();
        assert_eq!(read, effgan_data::ImageList::of_one_shape(images, [3, 2, 2]));
    }
}
