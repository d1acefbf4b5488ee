//! Grids of samples: `samples/<name>.png`, one for each generator that is drawn.

use super::pictures::{grid, visible_scale};
use super::run_dir::RunDir;

/// Images per row and per column of a grid.
const SIDE: usize = 8;
/// Images of a grid.
pub(crate) const NUM_SHOWN: usize = SIDE * SIDE;
/// Members of an ensemble that are drawn.
pub(crate) const MEMBERS_SHOWN: usize = 12;
/// Samples of a member whose classes are counted: eight of the batches of 64 in which images are generated.
pub(crate) const MEMBER_SAMPLES: u64 = 512;

/// Draws the first [`NUM_SHOWN`] of u8 `images` `[n, c, h, w]` as `samples/<name>.png`; `shape` is `[c, h, w]`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn save_grid(dir: &RunDir, name: &str, images: &[u8], shape: [usize; 3]) -> anyhow::Result<()> {
    let len = (NUM_SHOWN * shape.iter().product::<usize>()).min(images.len());
    dir.save_samples(name, &grid(&images[..len], shape, SIDE, visible_scale(shape)))
}
