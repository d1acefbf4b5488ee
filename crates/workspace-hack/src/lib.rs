//! No code: this crate is its list of dependencies, known elsewhere as a `workspace-hack`.
//!
//! Cargo compiles a crate once for each set of features that it, or a crate below it, is asked for. Tests, benches and
//! the Python module ask for more than the program does; without this crate, which `effgan-nn` depends on, each of them
//! would have a Burn of its own, which takes minutes to compile.

#![forbid(unsafe_code)]
