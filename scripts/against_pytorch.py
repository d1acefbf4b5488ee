"""Times the training steps of effgan and PyTorch, alternating, in one session, and prints medians and their ratio.

Other work on the machine slows both down equally only when they alternate, so figures of separate sessions do not compare.
"""

import argparse
import json
import statistics
import subprocess
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--effgan", default="target/release/effgan")
parser.add_argument("--python", default="python3", help="an interpreter that has torch")
parser.add_argument("--program", default=Path(__file__).with_name("train_step_torch.py"))
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--seconds", type=float, default=5)
parser.add_argument("--jobs", type=int, default=1, help="number of clients, and of PyTorch processes, at the same time, one thread each")
parser.add_argument("effgan_flags", nargs="*", help="after --: flags for `effgan bench train-step`")
args = parser.parse_args()


def run_all(commands):
    """Runs all commands at the same time and returns their JSON lines."""
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{commands[0]} failed")
    return [json.loads(output) for output in outputs]


seconds = ["--seconds", str(args.seconds)]
ours = [args.effgan, "bench", "train-step", "--json", "--jobs", str(args.jobs), *seconds, *args.effgan_flags]
theirs = [args.python, str(args.program), *seconds]
engines = {"effgan": [], "torch": []}
for _ in range(args.rounds):
    for name, commands in (("effgan", [ours]), ("torch", [theirs] * args.jobs)):
        results = run_all(commands)
        engines[name].append((
            statistics.mean(result["user_ms_per_step"] for result in results),
            statistics.mean(result["wall_ms_per_step"] for result in results),
            sum(result["images_per_second"] for result in results),
        ))
        print(f"{name:7} {engines[name][-1][0]:7.1f} ms user, {engines[name][-1][1]:7.1f} ms wall, {engines[name][-1][2]:6.0f} images/s")
medians = {name: [statistics.median(column) for column in zip(*runs)] for name, runs in engines.items()}
for name, (user, wall, images) in medians.items():
    print(f"median {name:7} {user:7.1f} ms user per step, {wall:7.1f} ms wall, {images:6.0f} images/s in all")
user, wall, images = (medians["effgan"][i] / medians["torch"][i] for i in range(3))
print(f"effgan / torch: {user:.2f} of the user time, {wall:.2f} of the wall time, {images:.2f} times the images/s")
