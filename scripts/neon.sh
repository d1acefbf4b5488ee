#!/usr/bin/env bash
# Runs the kernels' unit tests for 64-bit ARM under QEMU; arguments go to `cargo test`.
set -euo pipefail

cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu

need() {
    "${@:2}" > /dev/null 2>&1 || { echo "missing for 64-bit ARM: $1"; exit 1; }
}
need "the Rust target; rustup target add $target" test -d "$(rustc --print target-libdir --target $target)"
need "the linker; apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" command -v aarch64-linux-gnu-gcc
need "QEMU; apt-get install qemu-user" command -v qemu-aarch64

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
# With --package: this crate does not depend on Burn, so building it alone with its own set of features is quick.
cargo test --locked --release --package effgan-kernels --lib --target $target "$@"
