//! Places in the writing of a file where a test can end the program, as a power cut would, or panic, as a bug would.
//!
//! `EFFGAN_FAULT=half:round_:3` ends it in the middle of the third file whose path contains `round_`. The places are
//! `half` (half of the file is written), `beside` (all of it is, under its temporary name) and `renamed` (its folder is
//! not yet synced); `panic` panics instead, in the middle of the file. Without the variable nothing happens.
//!
//! This is an environment variable and not a feature, because the tests would need a build of their own for that.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Fault {
    place: String,
    part_of_path: String,
    /// Number of matching writes until the program ends.
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

/// Ends the program, or panics, if the fault is at `place` in the writing of `path`.
pub(crate) fn point(place: &str, path: &Path) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let Some(fault) = FAULT.get_or_init(Fault::from_environment) else { return };
    let is_due = |place| fault.is_here(place, path) && fault.left.fetch_sub(1, Ordering::Relaxed) == 1;
    if is_due(place) {
        std::process::abort();
    }
    assert!(place != "half" || !is_due("panic"), "EFFGAN_FAULT panics while {} is written", path.display());
}
