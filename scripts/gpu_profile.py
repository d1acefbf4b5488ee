"""Prints which kernels one training step runs on a GPU, and how many of each.

    python3 scripts/gpu_profile.py --effgan target/release/effgan --device gpu:0 -- --network dcgan --size 28 --batch 16 --base-channels 16

What follows -- goes to `effgan bench train-step`. One step is what four steps run beyond three, and five beyond four, as Burn's log of kernels says.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

# | 91.646µs   | CopyKernel_bedb8335
LINE = re.compile(r"^\| [\d.]+(?:ns|µs|ms|s)\s*\| (\w+)", re.MULTILINE)
KINDS = {
    "MatmulEntry": "matrix product",
    "DirectConv2dKernel": "convolution",
    "ConvTranspose2dDirectNhwcKernel": "transposed convolution",
    "ElemwiseFuse": "several operations on values, fused",
    "ReduceKernel": "sum or mean",
    "ReduceFuse": "sum or mean with operations on values, fused",
    "CopyKernel": "copy",
    "CopyKernelPack": "copy",
    "FullKernel": "constant",
    "SliceKernel": "part of a tensor",
    "SliceAssignKernel": "part of a tensor",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effgan", default="target/release/effgan", help="a program with GPUs (default: %(default)s)")
    parser.add_argument("--device", default="gpu:0", help="(default: %(default)s)")
    parser.add_argument("step", nargs="*", help="flags of effgan bench train-step, after --")
    args = parser.parse_args()
    three, four, five = (kernels(args, steps) for steps in (3, 4, 5))
    step = four - three
    if step != five - four:
        raise SystemExit("the runs differ in their steps before the timed ones; close other programs and try again, or give a larger --batch")
    print("| kernels of a step | runs |\n| --- | --- |")
    for kind, runs in step.most_common():
        print(f"| {kind} | {runs} |")
    print(f"| all | {step.total()} |")


def kernels(args: argparse.Namespace, steps: int) -> Counter[str]:
    """How often each kind of kernel ran in so many steps and those before them."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        environment = os.environ | {"CUBECL_DEBUG_LOG": str(log), "CUBECL_DEBUG_OPTION": "profile-medium"}
        command = [args.effgan, "bench", "train-step", "--device", args.device, "--steps", str(steps), *args.step]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        return Counter(KINDS.get(re.sub(r"_[0-9a-f]{7,8}$", "", name), "another operation on values") for name in LINE.findall(log.read_text()))


if __name__ == "__main__":
    main()
