#!/usr/bin/env bash
# Runs the kernels' tests for 64-bit ARM under QEMU, in a scratch workspace of effgan-kernels alone; arguments go to `cargo test`.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
target=aarch64-unknown-linux-gnu
cd "$root" # Its toolchain is the one asked and used.

need() {
    "${@:2}" > /dev/null 2>&1 || { echo "missing for 64-bit ARM: $1"; exit 1; }
}
need "the Rust target; rustup target add $target" test -d "$(rustc --print target-libdir --target $target)"
need "the linker; apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" command -v aarch64-linux-gnu-gcc
need "QEMU; apt-get install qemu-user" command -v qemu-aarch64

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
ln -s "$root/crates/effgan-kernels/src" "$scratch/src"
cp Cargo.lock rust-toolchain.toml "$scratch"
cat > "$scratch/Cargo.toml" << 'END'
[package]
name = "effgan-kernels"
edition = "2024"

[dependencies]
gemm = { version = "0.19", default-features = false, features = ["std", "x86-v4"] }
rayon = "1"
serde = { version = "1", features = ["derive"] }

[dev-dependencies]
proptest = { version = "1.12", default-features = false, features = ["std"] }
rand = { version = "0.10", default-features = false }
rand_chacha = { version = "0.10", default-features = false }
rand_distr = "0.6"
END

cd "$scratch"
export CARGO_TARGET_DIR="$scratch/target"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
cargo test --locked --release --target $target "$@"
