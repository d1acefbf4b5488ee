"""Audits the runs of configs/paper/leaks.sweep.toml, and prints what their generators give away of the images that they were trained on.

    python3 scripts/leaks.py audit --sweep sweeps/leaks --out docs/results/leaks.csv
    python3 scripts/leaks.py table --csv docs/results/leaks.csv

`audit` runs `effgan audit` on each run folder; of the members it writes the mean over them, with the 95 % interval of that mean (Student's t), and the
`highest` end of their own intervals: a site's policy with a larger `max_auc` lets each of them leave.
`table` prints the area under the ROC curve of the attack by the nearest sample, on pixels, by the number of images and the way of training.
"""

import argparse
import csv
import json
import statistics
import subprocess
from pathlib import Path

from share_map import student_t

KEYS = ["dataset", "images", "algorithm", "fine_tune_epochs", "of", "attack", "space", "is_calibrated"]
FIGURES = ["auc", "auc_low", "auc_high", "fpr", "tpr", "tpr_low", "tpr_high", "highest"]


def mean(values):
    """With its 95 % interval."""
    centre = statistics.mean(values)
    half = student_t(len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return centre, centre - half, centre + half


def of_members(members):
    """The attacks in the order of the first member, each with the means over all."""
    for attacks in zip(*(member["attacks"] for member in members)):
        row = dict(attacks[0])
        for figure in ("auc", "tpr"):
            row |= dict(zip((figure, f"{figure}_low", f"{figure}_high"), mean([attack[figure] for attack in attacks])))
        yield row | {"highest": max(attack["auc_high"] for attack in attacks)}


def audit_of(run, effgan):
    """Kept in the run's folder, so that this script goes on where it was stopped."""
    file = run / "audit.json"
    if not file.exists():
        file.write_bytes(subprocess.run([effgan, "audit", run, "--json"], stdout=subprocess.PIPE, check=True).stdout)
    return json.loads(file.read_text())


def rows_of(run, effgan):
    audit = audit_of(run, effgan)
    wholes = [(whole, audit[whole]["attacks"]) for whole in ("average", "ensemble") if whole in audit]
    members = [("members", of_members(audit["members"]))] if len(audit["members"]) > 1 else []
    return [{"of": of} | attack for of, attacks in wholes + members for attack in attacks]


def audit(args):
    table = {row["cell"]: row for row in json.loads((args.sweep / "table.json").read_text())}
    with args.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, KEYS + FIGURES, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for cell, row in sorted(table.items()):
            about = {
                "dataset": row["dataset.name"],
                "images": row["dataset.limit"] // 20,
                "algorithm": row["label"],
                "fine_tune_epochs": row.get("algorithm.fine_tune_epochs"),
            }
            for attack in rows_of(args.sweep / "cells" / cell, args.effgan):
                shown = {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in attack.items()}
                writer.writerow(about | shown)


def cell(row):
    return f"{row['auc'][:5]} ({row['auc_low'][:5]}–{row['auc_high'][:5]})" if row else ""


def table(args):
    with args.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    print("| data set | images | trained by | average | ensemble | members | members, added | largest upper end of a member |")
    print("| --- " * 8 + "|")
    runs = dict.fromkeys(tuple(row[key] for key in KEYS[:4]) for row in rows)
    for run in sorted(runs, key=lambda run: (run[0], int(run[1]), run[2], int(run[3] or 0))):
        of_run = [row for row in rows if tuple(row[key] for key in KEYS[:4]) == run]
        shown = {
            (row["of"], row["is_calibrated"]): row for row in of_run if (row["attack"], row["space"]) == ("nearest-sample", "pixels")
        }
        wanted = [("average", "False"), ("ensemble", "False"), ("members", "False"), ("members", "True")]
        ends = [float(row["highest"]) for row in of_run if row["highest"]]
        dataset, images, algorithm, epochs = run
        trained = f"{algorithm}, {epochs}" if epochs else algorithm
        highest = f"{max(ends):.3f}" if ends else ""
        print(f"| {dataset} | {images} | {trained} | {' | '.join(cell(shown.get(one)) for one in wanted)} | {highest} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["audit", "table"])
    parser.add_argument("--sweep", type=Path, default=Path("sweeps/leaks"), help="for audit: the folder of the sweep")
    parser.add_argument("--effgan", default="target/release/effgan", help="for audit: the program")
    parser.add_argument("--out", type=Path, default=Path("docs/results/leaks.csv"), help="for audit: the file that it writes")
    parser.add_argument("--csv", type=Path, default=Path("docs/results/leaks.csv"), help="for table: the file that it reads")
    args = parser.parse_args()
    (audit if args.what == "audit" else table)(args)


if __name__ == "__main__":
    main()
