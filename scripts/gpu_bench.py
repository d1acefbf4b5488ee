"""The measurements of gpu_bench.sh.

    python3 scripts/gpu_bench.py --effgan target/release/effgan --device gpu:0

Each row is measured once by each program, one after the other, PyTorch without TF32, as effgan computes; PyTorch is left out where it is not installed,
and torch.compile where it does not work. What fails, or does not fit into the time, is named on standard error and left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from against_pytorch import PROGRAM, ROWS, Row, last_line

# The most useful first: what does not fit into the time is left out.
MEASURED = ["dcgan-64", "resnet-32", "dcgan-28", "dcgan-32", "dcgan-128", "resnet-64"]
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
    listed = output([args.effgan, "devices", "--json"], 60)
    if listed is None:
        raise SystemExit(f"{args.effgan} does not list devices; EFFGAN must be a program of this version")
    devices = [json.loads(line) for line in listed.splitlines()]
    print(output([args.effgan, "devices"], 60))
    device = next((row for row in devices if row["device"] == args.device), None)
    if device is None or device["not_used"]:
        raise SystemExit(f"{args.device} is not a device that effgan can use here")
    torch = torch_names(args)
    print(f"PyTorch     {torch or 'is not there'}\n")
    measured = {"devices": devices, "device": args.device, "torch": torch, "steps": steps(device, torch, args), "ten_clients": ten_clients(args)}
    print(json.dumps(measured | {"seconds": round(elapsed())}))


def torch_names(args: argparse.Namespace) -> str | None:
    """PyTorch's version and the name of its device, which a reader compares with effgan's."""
    name = f"torch.cuda.get_device_name({args.torch_device!r})" if args.torch_device.startswith("cuda") else repr(args.torch_device)
    return output([sys.executable, "-c", f"import torch; print(torch.__version__, 'on', {name})"], 60)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effgan", required=True, help="the program, built with --features gpu")
    parser.add_argument("--device", default="gpu:0", help="effgan's name of the device (default: %(default)s)")
    parser.add_argument("--torch-device", default="cuda", help="PyTorch's name of the same device (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=MEASURED, metavar="ROW", help=f"of {', '.join(ROWS)} (default: {' '.join(MEASURED)})")
    parser.add_argument("--seconds", type=float, default=1.5, help="for which each step is timed (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=200, help="seconds after which no step is measured; fifty more are for the runs with ten clients (default: %(default)s)")
    return parser.parse_args()


def elapsed() -> float:
    return time.monotonic() - STARTED


def output(command: list[str], seconds: float) -> str | None:
    """What a program prints within so many seconds; None where it fails, which is said on standard error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=max(seconds, 1))
    except subprocess.TimeoutExpired as error:
        print(f"{' '.join(command)}: not done after {error.timeout:.0f} s", file=sys.stderr)
        return None
    except OSError as error:
        print(f"{' '.join(command)}: {error}", file=sys.stderr)
        return None
    if done.returncode:
        print(f"{' '.join(command)}: {last_line(done.stderr)}", file=sys.stderr)
        return None
    return done.stdout.strip()


def steps(device: dict, torch: str | None, args: argparse.Namespace) -> list[dict]:
    """Prints the table of training steps, in ms, and returns its rows."""
    print("| network, image, base, batch | precision | effgan | PyTorch | compiled |\n| --- | --- | --- | --- | --- |")
    rows = []
    for precision, name in [(kind, name) for kind in ("f32", "bf16") if kind in device["types"] for name in args.rows]:
        if elapsed() > args.limit:
            print(f"{name} {precision} is left out: {elapsed():.0f} s are over", file=sys.stderr)
            continue
        row = {"row": name, "precision": precision, **measured(ROWS[name], precision, name in COMPILED, torch, args)}
        rows.append(row)
        cells = [f"{row[key]:.2f} ms" if row[key] is not None else "–" for key in ("effgan", "torch", "compiled")]
        print(f"| {ROWS[name]} | {precision} | {' | '.join(cells)} |", flush=True)
    return rows


def measured(row: Row, precision: str, compiled: bool, torch: str | None, args: argparse.Namespace) -> dict[str, float | None]:
    """Milliseconds of a step, by program."""
    flags = [*row.flags(), "--seconds", str(args.seconds), "--precision", precision]
    ours = [args.effgan, "bench", "train-step", "--json", "--device", args.device, *flags]
    theirs = [sys.executable, str(PROGRAM), "--layout", "nhwc", "--device", args.torch_device, *flags]
    return {
        "effgan": step_ms(ours, args),
        "torch": step_ms(theirs, args) if torch else None,
        "compiled": step_ms([*theirs, "--compile"], args) if torch and compiled else None,
    }


def step_ms(command: list[str], args: argparse.Namespace) -> float | None:
    said = output(command, args.limit - elapsed())
    return json.loads(said.splitlines()[-1])["wall_ms_per_step"] if said else None


def ten_clients(args: argparse.Namespace) -> list[dict]:
    """A run of ten clients on digits of 64 × 64, on the device with one and four clients at a time, and on the CPU."""
    runs, last = [], args.limit + 50
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "ten-clients.toml")
        config.write_text(CONFIG)
        for device, jobs in [(args.device, 1), (args.device, 4), ("cpu", None)]:
            at_a_time = ["--jobs", str(jobs)] if jobs else []
            started, out = time.monotonic(), Path(folder, f"run-{device}-{jobs}")
            said = output([args.effgan, "run", str(config), "--device", device, "--out", str(out), *at_a_time], last - elapsed())
            seconds = round(time.monotonic() - started, 1) if said else None
            runs.append({"device": device, "jobs": jobs, "seconds": seconds})
            print(f"ten clients, {device}, {jobs or 'as many as there are cores'} at a time: {seconds or '–'} s", flush=True)
    return runs


if __name__ == "__main__":
    main()
