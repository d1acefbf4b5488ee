"""README's table: four algorithms on MNIST, 10 clients with 2 digits each, three seeds, at the same total of local epochs.

    python3 scripts/mnist_table.py --data FOLDER_WITH_MNIST --out runs/table

Runs that are done are not run again, others start afresh, so the script can be stopped and started. Two runs at a time, one thread each.
"""

import argparse
import json
import shutil
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Equal work: 3 rounds of 20 epochs and 20 of fine-tuning, or 4 rounds of 20.
EFFGAN = 'algorithm={ kind = "effgan", rounds = 3, fine_tune_epochs = 20 }'
ALGORITHMS = {
    "effgan": [EFFGAN],
    "fedgan": ['algorithm={ kind = "fedgan", rounds = 4 }'],
    "local-ensemble": ['algorithm={ kind = "local-ensemble", rounds = 4 }'],
    "central": ['algorithm={ kind = "central", rounds = 4 }'],
    "effgan, bf16": [EFFGAN, 'local.precision="bf16"'],
}
SEEDS = (1, 2, 3)
# (algorithm, what is scored, how its statistics are made): the rows of the table, in the order of scores.
ROWS = [
    ("fedgan", "average", "recompute"),
    ("fedgan", "average", "average"),
    ("effgan", "mean-of-members", "recompute"),
    ("effgan", "mean-of-members", "average"),
    ("local-ensemble", "ensemble", None),
    ("effgan", "ensemble", None),
    ("effgan, bf16", "ensemble", None),
    ("central", "average", "recompute"),
    ("central", "average", "average"),
    ("effgan", "floor", None),
]


def run(program, data, folder, algorithm, seed):
    """One run, unless its folder says that it is done."""
    info = folder / "run.json"
    if info.exists() and json.loads(info.read_text())["status"] == "done":
        return
    shutil.rmtree(folder, ignore_errors=True)
    settings = [f"dataset.dir={json.dumps(str(data))}", *ALGORITHMS[algorithm]]
    command = [program, "run", "configs/mnist-by-label.toml", "--seed", str(seed), "--jobs", "1", "--out", str(folder)]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def has_bf16(program):
    """Whether this processor has AVX-512 BF16: without it the row is left out."""
    command = [program, "bench", "train-step", "--precision", "bf16", "--steps", "1", "--base-channels", "1"]
    return subprocess.run(command, capture_output=True).returncode == 0


def last_scores(folder):
    """The last score of each kind: {(of, statistics): event}."""
    events = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return {(e["of"], e.get("norm_statistics")): e for e in events if e["event"] == "score"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", default="target/release/effgan")
    args = parser.parse_args()
    algorithms = [a for a in ALGORITHMS if "bf16" not in a or has_bf16(args.program)]
    folders = {(a, s): args.out / f"{a.replace(', ', '-')}-{s}" for s in SEEDS for a in algorithms}
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(run, args.program, args.data, folder, *key) for key, folder in folders.items()]
        for job in jobs:
            job.result()

    scores = {key: last_scores(folder) for key, folder in folders.items()}
    print("| algorithm | what | statistics | fd_small, median of 3 seeds (range) | class KL | modes of 10 | n |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for algorithm, of, how in (row for row in ROWS if row[0] in algorithms):
        events = [scores[algorithm, seed][of, how] for seed in SEEDS]
        fd = [event["fd_small"] for event in events]
        kl = statistics.median(event["class_kl"] for event in events)
        modes = statistics.median(event["modes"] for event in events)
        spread = f"{statistics.median(fd):.1f} ({min(fd):.1f}–{max(fd):.1f})"
        name = "real images" if of == "floor" else algorithm
        print(f"| {name} | {of} | {how or ''} | {spread} | {kl:.3f} | {modes:.0f} | {events[0]['n']} |")


if __name__ == "__main__":
    main()
