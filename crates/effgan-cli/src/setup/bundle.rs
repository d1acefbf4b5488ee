//! The app bundle of `effgan federation run`: `app.toml` as `pyproject.toml`, and nothing else.
//!
//! Flower sends it to every site. A site runs its own installed `effgan`, regardless of what the bundle says, and refuses any other bundle.

/// SHA-256 of the bundle in lower-case hexadecimal, as flwr 1.41 and 1.42 build it: files stored uncompressed, dated 1980.
///
/// `bindings/python/tests/test_executor.py` compares it with the bundle that the installed flwr builds from `app.toml`.
// A constant: the site compares it before its SuperNode unzips the bundle.
pub const BUNDLE_SHA256: &str = "289a126516328efaefca52724ed71dbc6d13ac9892daea3b7d8d227bb72b8394";
