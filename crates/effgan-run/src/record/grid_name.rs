//! Names of the grids of samples that are drawn after each round: `samples/round_0007.png`.

/// The name of the grid of samples after `round`.
pub(crate) fn grid_of_round(round: u32) -> String {
    format!("round_{round:04}")
}

/// The round of a grid that [`grid_of_round`] named; `None` for other names.
pub(crate) fn round_of_grid(name: &str) -> Option<u32> {
    name.strip_prefix("round_")?.parse().ok()
}
