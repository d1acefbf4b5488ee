"""README's tables, from runs at the same total of local epochs.

    python3 scripts/tables.py drift      --data FOLDER --out runs/tables
    python3 scripts/tables.py algorithms --data FOLDER --out runs/tables

`drift`: MNIST, 2 digits a client, 20 local epochs a round, three seeds. `algorithms`: every algorithm on MNIST with 2 digits a client and on
Fashion-MNIST dealt by Dirichlet(0.1), 5 local epochs a round, one seed. FOLDER has mnist/ and fashion-mnist/ as IDX files. Runs that are done are
not run again, others start afresh, so the script can be stopped and started. Two runs at a time, one thread each.
"""

import argparse
import json
import shutil
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BF16 = ['local.precision="bf16"']


def algorithm(kind, **keys):
    """A setting that replaces the config's algorithm."""
    values = {"kind": kind} | keys
    return [f"algorithm={{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in values.items())} }}"]


def effgan(rounds, epochs):
    return algorithm("effgan", rounds=rounds, fine_tune_epochs=epochs)


# Equal work: 3 rounds of 20 epochs and 20 of fine-tuning, or 4 rounds of 20.
DRIFT = {
    "effgan": effgan(3, 20),
    "fedgan": algorithm("fedgan", rounds=4),
    "local-ensemble": algorithm("local-ensemble", rounds=4),
    "central": algorithm("central", rounds=4),
    "effgan, bf16": effgan(3, 20) + BF16,
}
DRIFT_SEEDS = (1, 2, 3)
# (algorithm, what is scored, how its statistics are made): the rows of the table, in the order of scores.
DRIFT_ROWS = [
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

# Equal work again: 40 epochs at each client, 5 a round.
EVERY_ALGORITHM = {
    "effgan": effgan(7, 5),
    "local-ensemble": algorithm("local-ensemble", rounds=8),
    "fedgan": algorithm("fedgan", rounds=8),
    "fedprox": algorithm("fedprox", rounds=8, mu=0.01),
    "fedadam": algorithm("fedadam", rounds=8),
    "fedyogi": algorithm("fedyogi", rounds=8),
    "md-gan": algorithm("md-gan", rounds=8),
    "ua-gan": algorithm("ua-gan", rounds=8),
    "central": algorithm("central", rounds=8),
}
FIVE_EPOCHS = ["local.epochs=5"]
CONFIGS = {"mnist": "configs/mnist-by-label.toml", "fashion-mnist": "configs/fashion-dirichlet.toml"}


def run(program, config, dataset, folder, settings, seed):
    """One run, unless its folder says that it is done."""
    info = folder / "run.json"
    if info.exists() and json.loads(info.read_text())["status"] == "done":
        return
    shutil.rmtree(folder, ignore_errors=True)
    settings = [f"dataset.dir={json.dumps(str(dataset))}", *settings]
    command = [program, "run", config, "--seed", str(seed), "--jobs", "1", "--out", str(folder)]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run_all(args, runs):
    """Each (folder, data set, settings, seed), two at a time."""
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(run, args.program, CONFIGS[dataset], args.data / dataset, folder, settings, seed)
            for folder, dataset, settings, seed in runs
        ]
        for job in jobs:
            job.result()


def has_bf16(program):
    """Whether this processor has AVX-512 BF16: without it the row is left out."""
    command = [program, "bench", "train-step", "--precision", "bf16", "--steps", "1", "--base-channels", "1"]
    return subprocess.run(command, capture_output=True).returncode == 0


def events(folder, kind):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == kind]


def last_scores(folder):
    """The last score of each kind: {(of, statistics): event}."""
    return {(e["of"], e.get("norm_statistics")): e for e in events(folder, "score")}


def megabytes(folder):
    return sum(e["bytes_down"] + e["bytes_up"] for e in events(folder, "round")) / 1e6


def drift(args):
    algorithms = [a for a in DRIFT if "bf16" not in a or has_bf16(args.program)]
    folders = {(a, s): args.out / f"drift-{a.replace(', ', '-')}-{s}" for s in DRIFT_SEEDS for a in algorithms}
    run_all(args, [(folder, "mnist", DRIFT[a], seed) for (a, seed), folder in folders.items()])
    scores = {key: last_scores(folder) for key, folder in folders.items()}
    print("| algorithm | what | statistics | fd_small, median of 3 seeds (range) | class KL | modes of 10 | n |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, of, how in (row for row in DRIFT_ROWS if row[0] in algorithms):
        found = [scores[name, seed][of, how] for seed in DRIFT_SEEDS]
        fd = [event["fd_small"] for event in found]
        kl = statistics.median(event["class_kl"] for event in found)
        modes = statistics.median(event["modes"] for event in found)
        spread = f"{statistics.median(fd):.1f} ({min(fd):.1f}–{max(fd):.1f})"
        title = "real images" if of == "floor" else name
        print(f"| {title} | {of} | {how or ''} | {spread} | {kl:.3f} | {modes:.0f} | {found[0]['n']} |")


def every_algorithm(args):
    folders = {(a, d): args.out / f"{d}-{a}" for d in CONFIGS for a in EVERY_ALGORITHM}
    run_all(args, [(folder, d, EVERY_ALGORITHM[a] + FIVE_EPOCHS, 1) for (a, d), folder in folders.items()])
    print("| algorithm | MNIST, 2 digits a client: fd_small | modes of 10 | MB sent | Fashion-MNIST, Dirichlet(0.1): fd_small | modes of 10 | MB sent |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in EVERY_ALGORITHM:
        cells = [cell for d in CONFIGS for cell in outcome(folders[name, d])]
        print(f"| `{name}` | {' | '.join(cells)} |")
    floors = [last_scores(folders["fedgan", d])["floor", None] for d in CONFIGS]
    cells = [cell for floor in floors for cell in (f"{floor['fd_small']:.1f}", str(floor["modes"]), "")]
    print(f"| real images | {' | '.join(cells)} |")


def outcome(folder):
    """Score, modes and megabytes of what a run leaves: its ensemble, else its one generator with statistics of its own."""
    scores = last_scores(folder)
    score = scores.get(("ensemble", None)) or scores["average", "recompute"]
    return f"{score['fd_small']:.1f}", str(score["modes"]), f"{megabytes(folder):.0f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["drift", "algorithms"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", default="target/release/effgan")
    args = parser.parse_args()
    {"drift": drift, "algorithms": every_algorithm}[args.table](args)


if __name__ == "__main__":
    main()
