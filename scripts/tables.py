"""Prints tables of README.md, docs/bad-clients.md and docs/results, from runs with the same total of local epochs.

    python3 scripts/tables.py drift      --data FOLDER --out runs/tables
    python3 scripts/tables.py algorithms --data FOLDER --out runs/tables
    python3 scripts/tables.py poison     --out runs/tables
    python3 scripts/tables.py map        --out sweeps/where-it-pays

`drift`: MNIST, 2 digits per client, 20 local epochs per round, three seeds. `algorithms`: every algorithm on MNIST with 2 digits per client and on
Fashion-MNIST split by Dirichlet(0.1), 5 local epochs per round, one seed. `poison`: ten iid clients
with the built-in digits, three of which send bad updates, under each aggregation. `map`: the results of `effgan sweep
configs/paper/where-it-pays.sweep.toml`, with the algorithms side by side. FOLDER has mnist/ and fashion-mnist/ as IDX files. Finished runs are
not repeated and others start again, so the script can be stopped and started again. Two runs at a time, one thread each.
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

# Equal work again: 40 epochs at each client, 5 per round.
EVERY_ALGORITHM = {
    "effgan": effgan(7, 5),
    # Seven turns of ten clients.
    "cyclic-effgan": algorithm("cyclic-effgan", rounds=70, fine_tune_epochs=5),
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


# What three of ten clients do to their updates: the kind of attack and its factor.
ATTACKS = {
    "nobody": None,
    "scaled × 10": ("scaled", 10.0),
    "sign-flipped × 10": ("sign-flipped", 10.0),
    "random × 10": ("random", 10.0),
    "sign-flipped × 1": ("sign-flipped", 1.0),
}
AGGREGATIONS = {
    "mean": ['aggregation.kind="mean"'],
    "median": ['aggregation.kind="median"'],
    "trimmed-mean": ['aggregation.kind="trimmed-mean"', "aggregation.trim=3"],
    "norm-clipped-mean": ['aggregation.kind="norm-clipped-mean"'],
}


def is_done(folder):
    info = folder / "run.json"
    return info.exists() and json.loads(info.read_text())["status"] == "done"


def run(program, config, folder, settings, seed):
    """Runs a config, unless its run folder says that it is done."""
    if is_done(folder):
        return
    shutil.rmtree(folder, ignore_errors=True)
    command = [program, "run", config, "--seed", str(seed), "--jobs", "1", "--out", str(folder)]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def two_at_a_time(work, jobs):
    with ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(work, *job) for job in jobs]:
            job.result()


def run_all(args, runs):
    """Runs each (folder, data set, settings, seed)."""

    def one(folder, dataset, settings, seed):
        images = f"dataset.dir={json.dumps(str(args.data / dataset))}"
        run(args.program, CONFIGS[dataset], folder, [images, *settings], seed)

    two_at_a_time(one, runs)


def has_bf16(program):
    """Whether this processor has AVX-512 BF16. Without it the table has no bf16 row."""
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
    print("| algorithm | MNIST, 2 digits per client: fd_small | modes of 10 | MB sent | Fashion-MNIST, Dirichlet(0.1): fd_small | modes of 10 | MB sent |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in EVERY_ALGORITHM:
        cells = [cell for d in CONFIGS for cell in outcome(folders[name, d])]
        print(f"| `{name}` | {' | '.join(cells)} |")
    floors = [last_scores(folders["fedgan", d])["floor", None] for d in CONFIGS]
    cells = [cell for floor in floors for cell in (f"{floor['fd_small']:.1f}", str(floor["modes"]), "")]
    print(f"| real images | {' | '.join(cells)} |")


def outcome(folder):
    """Score, modes and megabytes of a run's result: its ensemble, or else its generator with recomputed statistics."""
    scores = last_scores(folder)
    score = scores.get(("ensemble", None)) or scores["average", "recompute"]
    return f"{score['fd_small']:.1f}", str(score["modes"]), f"{megabytes(folder):.0f}"


def poison(args):
    """Scores, and their ratios to those of the run without an attack and with the aggregation `mean`."""

    def attacked(folder, attack, aggregation):
        settings = AGGREGATIONS[aggregation] + ["evaluation.every=1000"]
        if ATTACKS[attack]:
            kind, factor = ATTACKS[attack]
            settings.append(f"simulation.attack={{ kind = {json.dumps(kind)}, clients = 3, factor = {factor} }}")
        try:
            run(args.program, "configs/poison.toml", folder, settings, 1)
        except subprocess.CalledProcessError:
            return  # run.json has the reason: networks that are pushed too far have no finite loss
        left_out = left_out_of(folder)
        if not is_done(left_out):
            shutil.rmtree(left_out, ignore_errors=True)
            shutil.copytree(folder, left_out)
            command = [args.program, "resume", str(left_out), "--jobs", "1"]
            command += ["--set", 'aggregation.flagged="leave-out"']
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    slug = lambda *words: "-".join(words).replace(" × ", "-")
    folders = {(a, r): args.out / slug("poison", a, r) for a in ATTACKS for r in AGGREGATIONS}
    two_at_a_time(attacked, [(folder, *key) for key, folder in folders.items()])
    clean = last_scores(folders["nobody", "mean"])
    print("| three of ten clients send | aggregation | averaged generator | ensemble, flagged members keep their share | and are left out | flagged: attackers, others |")
    print("| --- | --- | --- | --- | --- | --- |")
    for (attack, aggregation), folder in folders.items():
        if not is_done(folder):
            print(f"| {attack} | `{aggregation}` | {json.loads((folder / 'run.json').read_text())['reason']} | | | |")
            continue
        cells = []
        for where, what in ((folder, AVERAGE), (folder, ENSEMBLE), (left_out_of(folder), ENSEMBLE)):
            fd = last_scores(where)[what]["fd_small"]
            cells.append(f"{fd:.0f} ({fd / clean[what]['fd_small']:.2f})")
        print(f"| {attack} | `{aggregation}` | {' | '.join(cells)} | {flagged(folder)} |")
    floor = clean["floor", None]
    print(f"| real images | | {floor['fd_small']:.0f} | | | n = {floor['n']} |")


AVERAGE = ("average", "recompute")
ENSEMBLE = ("ensemble", None)


def left_out_of(folder):
    return folder.with_name(folder.name + "-left-out")


def flagged(folder):
    """How many of the attackers are flagged, and how many others."""
    attackers = set(json.loads((folder / "run.json").read_text()).get("attackers", []))
    names = {event["client"] for event in events(folder, "flag")}
    return f"{len(names & attackers)} of {len(attackers)}, {len(names - attackers)}"


def worth_it_map(args):
    """fd_small of each algorithm by alpha and images per client; the best of a row is bold."""
    rows = [row for row in json.loads((args.out / "table.json").read_text()) if row["main"]]
    # Alpha, and images per client, held-out images included.
    place = lambda row: (row["partition.alpha"], row["dataset.limit"] // 10)
    name = lambda row: row["label"] + (f", {row['algorithm.fine_tune_epochs']}" if row["algorithm.fine_tune_epochs"] else "")
    scores = {(place(row), name(row)): row["fd_small"] for row in rows}
    names = ["fedgan", "effgan, 1", "effgan, 5", "effgan, 20", "local-ensemble"]
    print(f"| Dirichlet alpha | images per client | {' | '.join(f'`{n}`' for n in names)} |")
    print("| --- " * (len(names) + 2) + "|")
    for alpha, images in sorted({place for place, _ in scores}):
        found = [scores.get(((alpha, images), n)) for n in names]
        best = min(value for value in found if value is not None)
        cells = ["" if v is None else f"**{v:.1f}**" if v == best else f"{v:.1f}" for v in found]
        print(f"| {alpha:g} | {images} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["drift", "algorithms", "poison", "map"])
    parser.add_argument("--data", type=Path, help="for drift and algorithms")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", default="target/release/effgan")
    args = parser.parse_args()
    if args.data is None and args.table in ("drift", "algorithms"):
        parser.error(f"{args.table} needs --data FOLDER")
    {"drift": drift, "algorithms": every_algorithm, "poison": poison, "map": worth_it_map}[args.table](args)


if __name__ == "__main__":
    main()
