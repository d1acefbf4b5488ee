"""The measurements of gpu_bench.sh.

    python3 scripts/gpu_bench.py --effgan target/release/effgan --device gpu:0

Each row is measured once by each program, one after the other; PyTorch is left out where it is not installed, and torch.compile where it does not work.
What does not fit into the time is left out too, and named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from against_pytorch import PROGRAM, ROWS, Row, last_line

MEASURED = ["dcgan-28", "dcgan-32", "dcgan-64", "dcgan-128", "resnet-32", "resnet-64"]
# torch.compile takes half a minute for each.
COMPILED = ["dcgan-64", "resnet-32"]
STARTED = time.monotonic()

CONFIG = """
name = "ten-clients"
seed = 1
dataset = { name = "mnist-mini", size = 64, channels = 3 }
partition = { kind = "dirichlet", alpha = 0.5, clients = 10, min_examples = 64 }
network = { kind = "dcgan", base_channels = 64 }
local = { batch_size = 64, learning_rate = 2e-4, epochs = 2 }
algorithm = { kind = "effgan", rounds = 1, fine_tune_epochs = 4 }
evaluation = { samples = 500 }
"""


def main() -> None:
    args = arguments()
    listed = said([args.effgan, "devices", "--json"])
    devices = [json.loads(line) for line in listed.splitlines()]
    print(said([args.effgan, "devices"]))
    device = next((row for row in devices if row["device"] == args.device), None)
    if device is None or not device["usable"]:
        raise SystemExit(f"{args.device} is not a device that effgan can use here")
    rows = steps(device, args)
    runs = ten_clients(args)
    print(json.dumps({"devices": devices, "device": args.device, "steps": rows, "ten_clients": runs, "seconds": round(elapsed())}))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effgan", required=True, help="the program, built with --features gpu")
    parser.add_argument("--device", default="gpu:0", help="effgan's name of the device (default: %(default)s)")
    parser.add_argument("--torch-device", default="cuda", help="PyTorch's name of the same device (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=MEASURED, metavar="ROW", help=f"of {', '.join(ROWS)} (default: {' '.join(MEASURED)})")
    parser.add_argument("--seconds", type=float, default=1.5, help="for which each step is timed (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=240, help="seconds after which no other step is begun (default: %(default)s)")
    return parser.parse_args()


def elapsed() -> float:
    return time.monotonic() - STARTED


def said(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def steps(device: dict, args: argparse.Namespace) -> list[dict]:
    """Prints the table of training steps, in ms, and returns its rows."""
    print("| network, image, base, batch | precision | effgan | PyTorch | compiled |\n| --- | --- | --- | --- | --- |")
    rows = []
    for name in args.rows:
        for precision in [kind for kind in ("f32", "bf16") if kind in device["types"]]:
            if elapsed() > args.limit:
                print(f"{name} {precision} is left out: {elapsed():.0f} s are over", file=sys.stderr)
                continue
            row = {"row": name, "precision": precision, **measured(ROWS[name], precision, name in COMPILED, args)}
            rows.append(row)
            cells = [f"{row[key]:.2f} ms" if row[key] is not None else "–" for key in ("effgan", "torch", "compiled")]
            print(f"| {ROWS[name]} | {precision} | {' | '.join(cells)} |", flush=True)
    return rows


def measured(row: Row, precision: str, compiled: bool, args: argparse.Namespace) -> dict[str, float | None]:
    """Milliseconds of a step, by program."""
    flags = [*row.flags(), "--seconds", str(args.seconds), "--precision", precision]
    ours = [args.effgan, "bench", "train-step", "--json", "--device", args.device, *flags]
    theirs = [sys.executable, str(PROGRAM), "--layout", "nhwc", "--device", args.torch_device, *flags]
    has_torch = importlib.util.find_spec("torch") is not None
    return {
        "effgan": step_ms(ours),
        "torch": step_ms(theirs) if has_torch else None,
        "compiled": step_ms([*theirs, "--compile"]) if has_torch and compiled else None,
    }


def step_ms(command: list[str]) -> float | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(command)}: {last_line(done.stderr)}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])["wall_ms_per_step"]


def ten_clients(args: argparse.Namespace) -> list[dict]:
    """A run of ten clients on digits of 64 × 64, on the device with one and four clients at a time, and on the CPU."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "ten-clients.toml")
        config.write_text(CONFIG)
        for device, jobs in [(args.device, 1), (args.device, 4), ("cpu", None)]:
            if elapsed() > args.limit + 30:
                print(f"ten clients on {device} with {jobs} at a time are left out: {elapsed():.0f} s are over", file=sys.stderr)
                continue
            at_a_time = ["--jobs", str(jobs)] if jobs else []
            started, out = time.monotonic(), Path(folder, f"run-{device}-{jobs}")
            said([args.effgan, "run", str(config), "--device", device, "--out", str(out), *at_a_time])
            runs.append({"device": device, "jobs": jobs, "seconds": round(time.monotonic() - started, 1)})
            print(f"ten clients, {device}, {jobs or 'all cores'} at a time: {runs[-1]['seconds']} s", flush=True)
    return runs


if __name__ == "__main__":
    main()
