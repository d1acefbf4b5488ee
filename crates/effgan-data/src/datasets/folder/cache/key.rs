//! What the contents of a cache file follow from, beside the pictures.

use super::super::ReadOptions;
use sha2::{Digest, Sha256};
use std::{env::consts::ARCH, os::unix::ffi::OsStrExt, path::Path};

/// Raised when effgan decodes, converts or resizes a picture to other bytes.
const VERSION: u32 = 1;
/// The crates that decode and resize, whose other versions may give other bytes.
const DECODERS: &str = "gif 0.14.2, image 0.25.10, image-webp 0.2.4, png 0.18.1, tiff 0.11.3, zune-jpeg 0.5.15";

/// Which pictures a cache file is of, and by what they were decoded.
pub(super) struct Key {
    /// The folder without links, the target shape and the levels.
    pub(super) pictures: Vec<u8>,
    pub(super) version: String,
}

impl Key {
    /// The key of the folder `dir`, a path without links, as `options` read it.
    pub(super) fn of(dir: &Path, options: &ReadOptions) -> Self {
        let ReadOptions { size, channels, levels, .. } = options;
        let levels = levels.unwrap_or_default();
        let how = format!("size {size:?}, channels {channels:?}, levels {} to {}\0", levels.black, levels.white);
        // Some arithmetic of decoders differs between processors.
        let version = format!("decoder {VERSION}, {DECODERS}, {ARCH}");
        Self { pictures: [how.as_bytes(), dir.as_os_str().as_bytes()].concat(), version }
    }

    /// The name of the file. It tells nothing of the folder, and another version has the same one, so that it replaces the file.
    pub(super) fn file_name(&self) -> String {
        let hash: String = Sha256::digest(&self.pictures).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{hash}.pictures")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_the_decoders_are_those_that_are_built() {
        let lock = include_str!("../../../../../../Cargo.lock");
        let version = |name: &str| {
            let of = |package: &str| {
                package.strip_prefix(&format!("name = \"{name}\"\nversion = \""))?.split('"').next().map(String::from)
            };
            lock.split("[[package]]\n").find_map(of).unwrap()
        };
        let built: Vec<String> = DECODERS
            .split(", ")
            .map(|one| one.split(' ').next().unwrap())
            .map(|name| format!("{name} {}", version(name)))
            .collect();
        assert_eq!(
            DECODERS,
            built.join(", "),
            "set DECODERS to these, so that what other versions decoded is not read"
        );
    }
}
