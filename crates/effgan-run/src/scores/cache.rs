//! Features of reference images, kept from one evaluation to the next: a sealed file each, named by the SHA-256 of what
//! made it (network, weights, resize, pixels). It is a cache: whatever is missing or unusable is computed again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use effgan_nn::{Array, Params, params, sealed};

use super::evaluation::Seen;
use crate::failure::Result;

/// `$XDG_CACHE_HOME/effgan/features`, else `~/.cache/effgan/features`; none where neither is set.
pub(super) fn folder() -> Option<PathBuf> {
    let of = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("effgan/features"))
}

/// What the network saw in images, from the cache, or by `see`, which the cache then keeps.
///
/// # Errors
/// Those of `see`.
pub(super) fn seen(folder: &Path, made_of: &str, dim: usize, see: impl FnOnce() -> Result<Seen>) -> Result<Seen> {
    let key = params::sha256(format!("{made_of} | {}", env!("CARGO_PKG_VERSION")).as_bytes());
    let path = folder.join(format!("{key}.safetensors"));
    if let Some(seen) = load(&path, &key, dim) {
        return Ok(seen);
    }
    let seen = see()?;
    let params = Params::from_iter([
        ("features".to_owned(), Array { shape: vec![seen.features.len() / dim, dim], values: seen.features.clone() }),
        ("classes".to_owned(), of_classes(&seen.classes)),
    ]);
    let saved = fs::create_dir_all(folder).map_err(|error| error.to_string());
    let saved = saved.and_then(|()| sealed::save(&path, &key, &params).map_err(|error| error.to_string()));
    if let Err(error) = saved {
        log::warn!("features are not kept: {error}");
    }
    Ok(seen)
}

/// Whole numbers below 256 have their place in an f32.
fn of_classes(classes: &[u8]) -> Array {
    Array { shape: vec![classes.len()], values: classes.iter().map(|&class| f32::from(class)).collect() }
}

fn load(path: &Path, key: &str, dim: usize) -> Option<Seen> {
    let (head, params) = sealed::load::<String>(path).ok().filter(|(head, _)| head == key)?;
    let (features, classes) = (params.get("features").ok()?, params.get("classes").ok()?);
    let fits = features.shape.len() == 2 && features.shape[1] == dim && !head.is_empty();
    let classes = classes.values.iter().map(|&class| class as u8).collect();
    fits.then(|| Seen { features: features.values.clone(), classes })
}
