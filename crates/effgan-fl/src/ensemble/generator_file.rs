//! The file of one generator.

use std::path::{Path, PathBuf};

use effgan_data::ClientName;
use effgan_nn::{Params, checkpoint, params};

use crate::{FlError, Result};

/// Reads a generator's file and checks it against its SHA-256.
pub(super) fn read_generator(path: &Path, sha256: &str) -> Result<Params> {
    let unusable = |reason: String| FlError::Model { path: path.into(), reason };
    let bytes = checkpoint::read_file(path, checkpoint::MAX_BYTES).map_err(|error| unusable(error.to_string()))?;
    let found = params::sha256(&bytes);
    if found != sha256 {
        return Err(unusable(format!("its sha256 is {found}, the manifest says {sha256}")));
    }
    let generator = checkpoint::from_bytes(&bytes).map_err(unusable)?;
    generator.check_finite().map_err(|error| unusable(error.to_string()))?;
    Ok(generator)
}

/// Path of a member's file in the model folder `dir`.
pub(super) fn member_file(dir: &Path, client: &ClientName) -> PathBuf {
    dir.join("members").join(format!("{client}.safetensors"))
}

/// Writes a generator's file and returns its SHA-256.
pub(super) fn write_generator(path: &Path, generator: &Params) -> Result<String> {
    let bytes = checkpoint::to_bytes(generator);
    checkpoint::write_file(path, &bytes).map_err(|source| FlError::Io { path: path.into(), source })?;
    Ok(params::sha256(&bytes))
}
