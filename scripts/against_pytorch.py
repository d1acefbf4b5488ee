"""Times the training steps of effgan and PyTorch in turns, in one session, and prints a table of medians.

    python3 scripts/against_pytorch.py --python PYTHON-WITH-TORCH
    python3 scripts/against_pytorch.py --python PYTHON-WITH-TORCH --rows dcgan-64 resnet-32 --precision bf16

Other work on the machine slows both down equally only when they alternate, so figures of separate sessions do not compare. PyTorch computes in f32, with
feature maps in both of its memory layouts, and compiled in the layout that is faster in the first round; the table has the fastest of the three. Memory is
the peak during the steps, less that before the first and without pages of files, and PyTorch's is that of the faster layout without the compiler. Each run is one line on standard error.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(__file__).with_name("train_step_torch.py")
LAYOUTS = ("nchw", "nhwc")
COMPILED = "compiled"


@dataclass
class Row:
    """A network, the shape of its images, its width and the images of a step."""

    network: str
    size: int
    channels: int
    base: int
    batch: int

    def flags(self) -> list[str]:
        flags = {"network": self.network, "size": self.size, "channels": self.channels, "base-channels": self.base, "batch": self.batch}
        return [word for name, value in flags.items() for word in (f"--{name}", str(value))]

    def __str__(self) -> str:
        name = {"dcgan": "DCGAN", "resnet": "ResNet"}[self.network]
        return f"{name} {self.size} × {self.size} × {self.channels}, base {self.base}, batch {self.batch}"


ROWS = {
    "dcgan-28": Row("dcgan", 28, 1, 64, 64),
    "dcgan-32": Row("dcgan", 32, 3, 64, 64),
    "dcgan-64-narrow": Row("dcgan", 64, 3, 32, 32),
    "dcgan-64": Row("dcgan", 64, 3, 64, 64),
    "dcgan-128": Row("dcgan", 128, 3, 64, 16),
    "resnet-32": Row("resnet", 32, 3, 64, 64),
    "resnet-32-wide": Row("resnet", 32, 3, 128, 64),
    "resnet-64": Row("resnet", 64, 3, 64, 32),
}


@dataclass
class Result:
    """One run: a client's step, and all clients together."""

    user_ms: float
    wall_ms: float
    images_per_second: float
    memory_mb: float | None

    @classmethod
    def of(cls, outputs: list[dict]) -> Result:
        memory = [output["memory_mb"] for output in outputs]
        return cls(
            statistics.mean(output["user_ms_per_step"] for output in outputs),
            statistics.mean(output["wall_ms_per_step"] for output in outputs),
            sum(output["images_per_second"] for output in outputs),
            None if None in memory else sum(memory),
        )

    @classmethod
    def median(cls, results: list[Result]) -> Result:
        memory = [result.memory_mb for result in results]
        return cls(
            statistics.median(result.user_ms for result in results),
            statistics.median(result.wall_ms for result in results),
            statistics.median(result.images_per_second for result in results),
            None if None in memory else statistics.median(memory),
        )


def main() -> None:
    args = arguments()
    lines = [compared(ROWS[name], args) for name in args.rows]
    several = " effgan images/s | PyTorch images/s |" if args.jobs > 1 else ""
    print(f"| network, image, base, batch | effgan, user ms | PyTorch, user ms | ratio | effgan MB | PyTorch MB |{several}")
    print("| --- | --- | --- | --- | --- | --- |" + (" --- | --- |" if several else ""))
    print("\n".join(lines))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effgan", default="target/release/effgan", help="the program (default: %(default)s)")
    parser.add_argument("--python", default="python3", help="an interpreter that has torch (default: %(default)s)")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each program (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5, help="for which each run is timed (default: %(default)s)")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="effgan's (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="clients, and PyTorch processes, at the same time, one thread each (default: %(default)s)")
    parser.add_argument("--cores", help="for taskset: the cores that all of them share (default: the first one, or as many as jobs)")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out, which takes a minute to compile each row")
    return parser.parse_args()


def compared(row: Row, args: argparse.Namespace) -> str:
    """Runs all programs on `row` in turns and returns its line of the table."""
    results: dict[str, list[Result]] = {"effgan": [], **{layout: [] for layout in LAYOUTS}}
    if not args.no_compile:
        results[COMPILED] = []
    for _ in range(args.rounds):
        for name in list(results):
            try:
                results[name].append(run(name, row, args, faster_layout(results)))
            except subprocess.CalledProcessError as error:
                if name != COMPILED:
                    raise SystemExit(f"{' '.join(error.cmd)}: {last_line(error.stderr)}") from None
                print(f"{row}: torch.compile does not work here: {last_line(error.stderr)}", file=sys.stderr)
                del results[COMPILED]
    medians = {name: Result.median(runs) for name, runs in results.items()}
    ours, best = medians.pop("effgan"), min(medians.keys() - {"effgan"}, key=lambda name: medians[name].user_ms)
    theirs, layout = medians[best], faster_layout(results) if best == COMPILED else best
    how = f"{layout}, {COMPILED}" if best == COMPILED else layout
    line = f"| {row} | {ours.user_ms:,.1f} | {theirs.user_ms:,.1f} ({how}) | **{ours.user_ms / theirs.user_ms:.2f}** |"
    line += f" {megabytes(ours)} | {megabytes(medians[layout])} |"
    return line + (f" {ours.images_per_second:,.0f} | {theirs.images_per_second:,.0f} |" if args.jobs > 1 else "")


def faster_layout(results: dict[str, list[Result]]) -> str:
    """PyTorch's layout that was faster in the first round, or the first one before that."""
    return min(LAYOUTS, key=lambda layout: results[layout][0].user_ms if results[layout] else 0)


def run(name: str, row: Row, args: argparse.Namespace, layout: str) -> Result:
    """Runs a program once, or PyTorch once for each job at the same time."""
    flags = [*row.flags(), "--seconds", str(args.seconds)]
    if name == "effgan":
        commands = [[args.effgan, "bench", "train-step", "--json", "--precision", args.precision, "--jobs", str(args.jobs), *flags]]
    else:
        how = ["--layout", layout, "--compile"] if name == COMPILED else ["--layout", name]
        commands = [[args.python, str(PROGRAM), *how, *flags]] * args.jobs
    pinned = ["taskset", "-c", args.cores or f"0-{args.jobs - 1}"] if shutil.which("taskset") else []
    result = Result.of(outputs([pinned + command for command in commands]))
    print(f"{row}: {name:8} {result.user_ms:8.1f} ms user, {result.wall_ms:8.1f} ms wall, {megabytes(result)} MB", file=sys.stderr)
    return result


def outputs(commands: list[list[str]]) -> list[dict]:
    """Runs all commands at the same time and returns their JSON lines."""
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate() for process in processes]
    for process, (stdout, stderr) in zip(processes, said):
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args, stdout, stderr)
    return [json.loads(stdout) for stdout, _ in said]


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1]


def megabytes(result: Result) -> str:
    return "–" if result.memory_mb is None else f"{result.memory_mb:,.0f}"


if __name__ == "__main__":
    main()
