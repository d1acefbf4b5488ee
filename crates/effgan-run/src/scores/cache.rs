//! A cache of the features of reference images between evaluations: one sealed file per set of images, named by the SHA-256 of
//! what the features follow from (network, weights, resize, pixels, the version of the arithmetic). What is missing or unusable is computed again.

// Features rather than their means and covariances: the kernel distance, precision and memorisation need all of them.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use effgan_metrics::Features;
use effgan_nn::{ArithmeticVersion, Array, Params, params, sealed};

use crate::failure::Result;

/// The folder of the cache: `$XDG_CACHE_HOME/effgan/features`, else `~/.cache/effgan/features`; `None` where neither is set.
pub(super) fn folder() -> Option<PathBuf> {
    let of = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")))?;
    Some(cache.join("effgan/features"))
}

/// Returns the features that follow from `made_of`, of length `dim` each: from the cache, or from `extract`, whose result the cache
/// then keeps.
///
/// # Errors
/// Those of `extract`.
pub(super) fn features(
    folder: &Path,
    made_of: &str,
    dim: usize,
    extract: impl FnOnce() -> Result<Features>,
) -> Result<Features> {
    let key =
        params::sha256(format!("{made_of} | {} | {}", env!("CARGO_PKG_VERSION"), ArithmeticVersion::OURS).as_bytes());
    let path = folder.join(format!("{key}.safetensors"));
    if let Some(features) = load(&path, &key, dim) {
        return Ok(features);
    }
    let features = extract()?;
    let params = Params::from_iter([
        ("features".to_owned(), Array::new([features.n(), dim], features.values.clone())),
        ("classes".to_owned(), classes_as_array(&features.classes)),
    ]);
    let saved = fs::create_dir_all(folder).map_err(|error| error.to_string());
    let saved = saved.and_then(|()| sealed::save(&path, &key, &params).map_err(|error| error.to_string()));
    if let Err(error) = saved {
        log::warn!("cannot cache features: {error}");
    }
    Ok(features)
}

/// Classes as f32, which is exact below 2^24.
fn classes_as_array(classes: &[u8]) -> Array {
    Array::new([classes.len()], classes.iter().map(|&class| f32::from(class)).collect())
}

fn load(path: &Path, key: &str, dim: usize) -> Option<Features> {
    let (head, params) = sealed::load::<String>(path).ok().filter(|(head, _)| head == key)?;
    let (features, classes) = (params.get("features").ok()?, params.get("classes").ok()?);
    let fits = features.shape.len() == 2 && features.shape[1] == dim && !head.is_empty();
    let classes = classes.values().iter().map(|&class| class as u8).collect();
    fits.then(|| Features { values: features.values().to_vec(), dim, classes, patches: None })
}
