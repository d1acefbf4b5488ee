//! The bundle that `effgan federation run` makes Flower carry: `app.toml` as `pyproject.toml`, and nothing else.
//!
//! Flower hands it to every site, which runs the `effgan` that is installed there, whatever the bundle says. Another bundle than this
//! one is no run of effgan's.

/// SHA-256 of the bundle, lower-case hex, as flwr 1.41 and 1.42 make it: its files are stored, not compressed, and dated 1980.
///
/// `bindings/python/tests/test_executor.py` holds it to what the installed flwr makes of `app.toml`.
pub const BUNDLE_SHA256: &str = "289a126516328efaefca52724ed71dbc6d13ac9892daea3b7d8d227bb72b8394";
