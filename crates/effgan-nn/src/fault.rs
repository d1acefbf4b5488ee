//! Places where a test may end the program as a power cut would.
//!
//! `EFFGAN_FAULT=half:round_:3` ends it in the middle of the third file whose path holds `round_`; the places are `half`
//! (of the file is written), `beside` (all of it is, under its temporary name) and `renamed` (its folder is not synced
//! yet). Without the variable nothing happens.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Fault {
    place: String,
    part_of_path: String,
    /// How many more times it is passed.
    left: AtomicU32,
}

impl Fault {
    fn from_environment() -> Option<Self> {
        let text = std::env::var("EFFGAN_FAULT").ok()?;
        let [place, part_of_path, nth] = text.split(':').collect::<Vec<_>>()[..] else { return None };
        Some(Self { place: place.into(), part_of_path: part_of_path.into(), left: AtomicU32::new(nth.parse().ok()?) })
    }

    fn is_here(&self, place: &str, path: &Path) -> bool {
        self.place == place && path.to_string_lossy().contains(&self.part_of_path)
    }
}

/// A place in the writing of `path`.
pub(crate) fn point(place: &str, path: &Path) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let Some(fault) = FAULT.get_or_init(Fault::from_environment) else { return };
    if fault.is_here(place, path) && fault.left.fetch_sub(1, Ordering::Relaxed) == 1 {
        std::process::abort();
    }
}
