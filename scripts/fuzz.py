"""Runs fuzz targets one after the other and prints a table row for each: minutes, executions, findings.

    python3 scripts/fuzz.py [--minutes 10] [TARGET]...        # all targets when none is named

Needs `cargo install cargo-fuzz --locked`. Findings are in fuzz/artifacts/TARGET. The inputs that led to them are in fuzz/corpus/TARGET, from
which later runs start; the first run starts from fuzz/seeds/TARGET. Exits with 1 when anything was found.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DATA = ["idx", "gzip_idx", "npy", "npz", "picture", "cifar_tar", "cifar_batch", "partition_json", "gate"]
MODELS = ["safetensors", "manifest", "config", "checkpoint", "state_dict", "message", "policy", "ledger"]

# Inputs are small, and so is the memory that they may take, so that an allocation before its size is checked exceeds the limit. Inputs of 4 KiB
# unpack to at most 4 MiB; 2 KiB of a PNG file unpack to 17 million one-bit pixels, which take four bytes each. The sanitizer itself keeps 256 MiB.
LIMITS = ["-malloc_limit_mb=96", "-rss_limit_mb=768", "-timeout=10", "-print_final_stats=1"]
MAX_LEN = {"picture": 2048}


def fuzz(target, minutes):
    """Runs one target. Returns its seconds, executions and findings."""
    corpus, artifacts = Path("fuzz/corpus", target), Path("fuzz/artifacts", target)
    corpus.mkdir(parents=True, exist_ok=True)
    before = set(artifacts.glob("*"))
    command = ["cargo", "fuzz", "run", "--target-dir", os.environ.get("CARGO_TARGET_DIR", "fuzz/target"), *(["--features", "models"] if target in MODELS else []), target, str(corpus), f"fuzz/seeds/{target}"]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        # The targets write small files, which should stay in memory; cargo-fuzz needs a compiler that accepts unstable flags.
        environment = {**os.environ, "RUSTC_BOOTSTRAP": "1", "RUSTC_WRAPPER": str(Path("fuzz/rustc.py").absolute()), "TMPDIR": scratch}
        run = subprocess.run([*command, "--", f"-max_total_time={round(60 * minutes)}", f"-max_len={MAX_LEN.get(target, 4096)}", *LIMITS], env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", run.stderr)
    if executions is None:
        sys.exit(f"{target} did not run:\n{run.stderr[-4000:]}")
    seconds = re.search(r"Done \d+ runs in (\d+) second", run.stderr)
    found = sorted(set(artifacts.glob("*")) - before)
    if found or run.returncode != 0:
        print(run.stderr[-6000:], file=sys.stderr)
    return int(seconds[1]) if seconds else None, int(executions[1]), found


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(DATA + MODELS))
    arguments.add_argument("--minutes", type=float, default=10, help="minutes per target (default 10)")
    arguments = arguments.parse_args()
    os.chdir(Path(__file__).parent.parent)
    print("| target | minutes | executions | findings |\n| --- | --- | --- | --- |", flush=True)
    found_any = False
    for target in arguments.targets or DATA + MODELS:
        seconds, executions, found = fuzz(target, arguments.minutes)
        minutes = "ended early" if seconds is None else f"{seconds / 60:.0f}"
        print(f"| {target} | {minutes} | {executions:,} | {', '.join(map(str, found)) or 0} |", flush=True)
        found_any |= bool(found)
    sys.exit(found_any)


if __name__ == "__main__":
    main()
