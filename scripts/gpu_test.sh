#!/usr/bin/env bash
# Tests of networks on a GPU, by Burn's wgpu in a target folder of their own. Without VK_DRIVER_FILES they run on SwiftShader, a Vulkan driver
# that computes on the CPU and comes with Debian's chromium. The features are a part of the program's, since SwiftShader computes wrong
# matrix products with Burn's kernels for Vulkan: docs/devices.md.
set -euo pipefail
cd "$(dirname "$0")/.."

chromium=/usr/lib/chromium
if [ -z "${VK_DRIVER_FILES:-}" ]; then
    if [ ! -f $chromium/vk_swiftshader_icd.json ]; then
        echo "GPU tests skipped: there is no $chromium/vk_swiftshader_icd.json; install chromium, or name a Vulkan driver in VK_DRIVER_FILES"
        exit 0
    fi
    export VK_DRIVER_FILES=$chromium/vk_swiftshader_icd.json LD_LIBRARY_PATH=$chromium${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi
export EFFGAN_TEST_DEVICE=${EFFGAN_TEST_DEVICE:-gpu:0}
cargo test --locked --release --target-dir target/gpu --package effgan-nn --package effgan-fl --package effgan-cli --features effgan-cli/gpu-tests --lib --test gpu --test two_clients -- "$@"
