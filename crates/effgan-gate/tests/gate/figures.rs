//! Figures for docs/security: `cargo test --release -p effgan-gate --test gate figures -- --ignored --nocapture --test-threads=1`.
