//! Does nothing. Without a build script Cargo would not resolve this crate's build-dependencies.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}
