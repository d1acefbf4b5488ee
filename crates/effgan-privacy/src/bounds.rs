//! The ranges of what a cost is computed for. Within them, no number overflows, vanishes or drowns in rounding errors.

/// The least noise multiplier. One step with less and a record in it has ε above 200: the noise hides nothing.
pub(crate) const MIN_NOISE: f64 = 0.05;

/// The largest noise multiplier.
pub(crate) const MAX_NOISE: f64 = 1e6;

/// The most steps of a composition.
pub(crate) const MAX_STEPS: u64 = 1_000_000_000;

/// The smallest δ.
pub(crate) const MIN_DELTA: f64 = 1e-50;
