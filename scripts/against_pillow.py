"""Times reading a folder of pictures by effgan and by Pillow in turns, in one session, and prints a table of medians.

    python3 scripts/against_pillow.py --python PYTHON-WITH-PILLOW-AND-NUMPY
    python3 scripts/against_pillow.py --python PYTHON-WITH-PILLOW-AND-NUMPY --format jpeg --num 50000

The pictures, in ten classes, look like photographs to a compressor: soft light, edges of shapes and the noise of a sensor. Pillow decodes each into an array of
its own with `numpy.asarray(Image.open(path))`, in as many processes as there are cores; its processes are started and its paths listed before the clock starts,
and its arrays are not collected. effgan's time is that of all that it does until the images are in memory: listing, reading, decoding, and in a first start
writing its cache to disk; each start is a process of its own (`effgan bench read`). All pictures are in the system's cache for both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

CLASSES = 10
PILLOW, NO_CACHE, FIRST, SECOND = "Pillow", "effgan, cache = false", "effgan, first start", "effgan, second start"


@dataclass
class Run:
    """Seconds until all images are in memory, and of CPU time of all processes and threads."""

    wall: float
    cpu: float


def main() -> None:
    args = arguments()
    if args.command == "make":
        return make(args.folder, args.num, args.size, args.format)
    if args.command == "pillow":
        return pillow(args.folder, args.jobs)
    with tempfile.TemporaryDirectory(dir=args.within) as place:
        folder = Path(place) / "pictures"
        python(args, "make", folder, "--num", args.num, "--size", args.size, "--format", args.format)
        # The cache does not trust pictures that were written a moment ago.
        time.sleep(2.5)
        runs: dict[str, list[Run]] = {PILLOW: [], NO_CACHE: [], FIRST: [], SECOND: []}
        for _ in range(args.rounds):
            runs[PILLOW].append(Run(**json.loads(python(args, "pillow", folder, "--jobs", args.jobs))))
            runs[NO_CACHE].append(effgan(args, folder))
            with tempfile.TemporaryDirectory(dir=place) as cache:
                for start in (FIRST, SECOND):
                    runs[start].append(effgan(args, folder, "--cache", cache))
            print(", ".join(f"{name} {of[-1].wall:.3f} s, {of[-1].cpu:.3f} s of CPU" for name, of in runs.items()), file=sys.stderr)
        num_bytes = sum(file.stat().st_size for file in folder.glob("*/*"))
        print(f"{args.num:,} {args.format.upper()} of {args.size} × {args.size}, {num_bytes / args.num / 1000:.1f} kB each, {args.jobs} cores")
        print("\n| | wall s | images/s | CPU s | CPU of Pillow's |\n| --- | --- | --- | --- | --- |")
        of_pillow = statistics.median(run.cpu for run in runs[PILLOW])
        for name, of in runs.items():
            wall, cpu = statistics.median(run.wall for run in of), statistics.median(run.cpu for run in of)
            print(f"| {name} | {wall:.2f} | {args.num / wall:,.0f} | {cpu:.2f} | {cpu / of_pillow:.2f} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", nargs="?", choices=["compare", "make", "pillow"], default="compare", help="one step alone (default: %(default)s)")
    parser.add_argument("folder", nargs="?", type=Path, help="the folder of the one step")
    parser.add_argument("--effgan", default="target/release/effgan", help="the program (default: %(default)s)")
    parser.add_argument("--python", default="python3", help="an interpreter that has Pillow and NumPy (default: %(default)s)")
    parser.add_argument("--num", type=int, default=10_000, help="pictures (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="pixels per side (default: %(default)s)")
    parser.add_argument("--format", choices=["png", "jpeg"], default="png", help="(default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="Pillow's processes (default: all cores)")
    parser.add_argument("--within", type=Path, help="where the pictures and the cache are made (default: the system's temporary folder)")
    return parser.parse_args()


def python(args: argparse.Namespace, *command: object) -> str:
    return run([args.python, __file__, *map(str, command)])


def effgan(args: argparse.Namespace, folder: Path, *more: str) -> Run:
    read = json.loads(run([args.effgan, "bench", "read", str(folder), "--json", *more]))
    return Run(read["seconds"], read["cpu_seconds"])


def run(command: list[str]) -> str:
    try:
        return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{' '.join(command)}: code {error.returncode}") from None


def make(folder: Path, num: int, size: int, format: str) -> None:
    """Writes `num` pictures in ten class folders."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(1)
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    for i in range(num):
        name = f"{i // CLASSES:06}.{'png' if format == 'png' else 'jpg'}"
        Image.fromarray(picture(rng, size)).save(folder / str(i % CLASSES) / name, quality=90)


def picture(rng, size: int):
    """A picture u8 `[size, size, 3]`: a soft background, five ellipses with edges, and noise."""
    import numpy as np

    y, x = np.mgrid[:size, :size] / size
    pixels = np.zeros((size, size, 3))
    for channel in range(3):
        a, b, c, d = rng.uniform(-2, 2, 4)
        pixels[..., channel] = 128 + 60 * np.sin(a * x + b * y + c) * np.cos(d * x)
    for _ in range(5):
        cx, cy, rx, ry = rng.uniform(0, 1, 2).tolist() + rng.uniform(0.05, 0.4, 2).tolist()
        inside = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1
        pixels[inside] = rng.uniform(0, 255, 3) + 30 * (x - cx)[inside, None]
    pixels += rng.normal(0, 2, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def pillow(folder: Path, jobs: int) -> None:
    """Prints the time in which `jobs` processes decode all pictures."""
    from multiprocessing import Pool

    paths = sorted(str(path) for path in folder.glob("*/*"))
    with Pool(jobs) as pool:
        # Imports Pillow in each process, and waits for all of them.
        pool.map(decode, [paths[:8]] * jobs, chunksize=1)
        started = time.perf_counter()
        decoded = list(pool.imap_unordered(decode, [paths[i : i + 64] for i in range(0, len(paths), 64)]))
        wall = time.perf_counter() - started
    assert sum(num for num, _ in decoded) == len(paths)
    print(json.dumps({"wall": wall, "cpu": sum(cpu for _, cpu in decoded)}))


def decode(paths: list[str]) -> tuple[int, float]:
    """Decodes each picture into an array; returns their number and the CPU time."""
    import numpy as np
    from PIL import Image

    started = time.process_time()
    return len([np.asarray(Image.open(path)) for path in paths]), time.process_time() - started


if __name__ == "__main__":
    main()
