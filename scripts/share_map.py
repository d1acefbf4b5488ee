"""Prints the tables of docs/results about how much of the work to share, and draws their figures.

    python3 scripts/share_map.py one-seed --sweeps sweeps
    python3 scripts/share_map.py gains    --sweeps sweeps
    python3 scripts/share_map.py shares   --sweeps sweeps --out docs/results/share/shares.svg
    python3 scripts/share_map.py places   --sweeps sweeps --out docs/results/share/places.svg
    python3 scripts/share_map.py starts   --csv starts.csv

They read what `effgan sweep` left of configs/paper/share.sweep.toml, cyclic.sweep.toml and seeds.sweep.toml. A *place* is a data set, a skew and a number
of images per client. A *split* is an algorithm with so many of its 100 epochs shared. `one-seed`: `fd_small` of each split in each place. `gains`: over
the seeds of a place, the paired differences between two splits, as the mean of ln(fd / fd of the other) with its 95 % interval (Student's t), so that
a split that is a tenth closer in each seed has -10 % however far apart the seeds are. `shares` draws distances against shares, and `places` the gains
with their intervals; both need matplotlib. `starts`: what the example `fine_tuning` of
crates/effgan-run wrote: `fd_small` along the fine-tuning from each start, and the medians over the members.
"""

import argparse
import csv
import json
import math
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

# Two-sided 95 % of Student's t, by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def student_t(freedom):
    """Beyond the table by its expansion about the normal distribution, to 0.001."""
    z = 1.959964
    return T.get(freedom) or z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


class Place(NamedTuple):
    dataset: str
    skew: str
    images: int


class Split(NamedTuple):
    """`count` rounds or turns, in which `share` per cent of the epochs are spent."""

    algorithm: str
    share: int
    count: int

    def __str__(self):
        return f"{self.algorithm} {self.share} %" if self.count else self.algorithm


LOCAL = Split("local-ensemble", 0, 0)
SKEWS = ["Dirichlet(0.1)", "Dirichlet(1)", "Dirichlet(100)", "2 classes per client"]


def place_of(row):
    alpha = row["partition.alpha"]
    skew = f"Dirichlet({alpha:g})" if alpha is not None else "2 classes per client"
    return Place(row["dataset.name"], skew, row["dataset.limit"] // 10)


def split_of(row):
    """From the label of the grid: `local-ensemble`, `2 rounds`, `10 turns`, `fedgan, 5 rounds`."""
    label = row["label"]
    if label == "local-ensemble":
        return LOCAL
    count = int(re.search(r"\d+", label)[0])
    algorithm = "fedgan" if label.startswith("fedgan") else "cyclic-effgan" if "turn" in label else "effgan"
    return Split(algorithm, count * row["local.epochs"], count)


def read(sweeps, names):
    """{place: {split: {seed: fd_small}}} of the sweeps `names`, and megabytes of each split."""
    scores, megabytes = defaultdict(lambda: defaultdict(dict)), {}
    for name in names:
        table = sweeps / name / "table.json"
        if not table.exists():
            raise SystemExit(f"{table} is missing: effgan sweep configs/paper/{name}.sweep.toml makes it")
        for row in json.loads(table.read_text()):
            if row["main"]:
                split = split_of(row)
                scores[place_of(row)][split][row["seed"]] = row["fd_small"]
                megabytes[split] = row["megabytes"]
    ordered = sorted(scores, key=lambda place: (place.dataset, SKEWS.index(place.skew), place.images))
    return {place: scores[place] for place in ordered}, megabytes


class Gain(NamedTuple):
    """How much lower a distance is, in per cent, with the ends of its interval; negative numbers are lower. One seed has no interval."""

    mean: float
    low: float
    high: float

    def __str__(self):
        if math.isnan(self.low):
            return f"{self.mean:+.0f} %"
        bold = "**" if self.high < 0 or self.low > 0 else ""
        return f"{bold}{self.mean:+.0f} %{bold} ({self.low:+.0f} to {self.high:+.0f})"


def gain(pairs):
    """Of pairs (distance, distance of the other)."""
    if not pairs:
        return None
    logs = [math.log(distance / other) for distance, other in pairs]
    mean, n = statistics.mean(logs), len(logs)
    half = student_t(n - 1) * statistics.stdev(logs) / math.sqrt(n) if n > 1 else math.nan
    return Gain(*(100 * math.expm1(value) for value in (mean, mean - half, mean + half)))


def paired(splits, one, other):
    """The gain of `one` over `other` over the seeds that both have; `None` where there are none."""
    seeds = splits.get(one, {}).keys() & splits.get(other, {}).keys()
    return gain([(splits[one][seed], splits[other][seed]) for seed in sorted(seeds)])


def row(cells):
    print(f"| {' | '.join(map(str, cells))} |")


def one_seed(args):
    scores, megabytes = read(args.sweeps, ["share", "cyclic"])
    splits = sorted({split for place in scores.values() for split in place}, key=lambda s: (s.algorithm, s.share, s.count))
    head = [f"{split}, {split.count}" if split.count else str(split) for split in splits]
    row(["data set", "skew", "images", *head])
    row(["---"] * (len(splits) + 3))
    for place, of in scores.items():
        found = [next(iter(of[split].values()), None) if split in of else None for split in splits]
        best = min(value for value in found if value is not None)
        row([*place, *("" if v is None else f"**{v:.1f}**" if v == best else f"{v:.1f}" for v in found)])
    row(["MB sent", "", "", *(f"{megabytes[split]:.0f}" for split in splits)])
    over_places = lambda split: gain([(v, of[LOCAL][seed]) for of in scores.values() if split in of for seed, v in of[split].items()])
    row(["against local-ensemble, all places", "", "", *("" if split == LOCAL else over_places(split) for split in splits)])


CANDIDATES = [Split("effgan", 20, 2), Split("cyclic-effgan", 20, 2), Split("cyclic-effgan", 50, 2)]
FEDGAN, MOSTLY_SHARED = Split("fedgan", 100, 5), Split("effgan", 80, 4)
COMPARED = [*((candidate, LOCAL) for candidate in CANDIDATES), *((CANDIDATES[1], other) for other in (FEDGAN, CANDIDATES[0], MOSTLY_SHARED))]


def gains(args):
    scores, _ = read(args.sweeps, ["seeds"])
    row(["data set", "skew", "images", *(f"{one} against {other}" for one, other in COMPARED)])
    row(["---"] * (len(COMPARED) + 3))
    for place, splits in scores.items():
        row([*place, *(paired(splits, *pair) or "" for pair in COMPARED)])
    for images in sorted({place.images for place in scores}):
        places = [splits for place, splits in scores.items() if place.images == images]
        row(["all", "all", images, *(in_short([paired(splits, *pair) for splits in places]) for pair in COMPARED)])


def in_short(of_places):
    """The mean over the places, and in how many of them the difference is not the luck of the seeds."""
    found = [of for of in of_places if of]
    if not found:
        return ""
    mean = 100 * math.expm1(statistics.mean(math.log1p(of.mean / 100) for of in found))
    if any(math.isnan(of.low) for of in found):
        return f"{mean:+.0f} %: closer in {sum(of.mean < 0 for of in found)} of {len(found)} places"
    closer, farther = sum(of.high < 0 for of in found), sum(of.low > 0 for of in found)
    return f"{mean:+.0f} %: closer in {closer} of {len(found)} places, farther in {farther}"


# Each split has its colour and its place in the figure.
FAMILIES = {"effgan": ("tab:blue", "o"), "cyclic-effgan": ("tab:orange", "s"), "fedgan": ("tab:gray", "^")}
# Of the rounds that a share can be spent in, the figure has those that most shares were measured with.
COUNTS = {("effgan", 50): 1, ("effgan", 80): 4, ("fedgan", 100): 5}


def plotting():
    """`pyplot`, which writes the same file from the same numbers."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "effgan", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot

    return pyplot


def save(panels, out):
    out.parent.mkdir(parents=True, exist_ok=True)
    panels.savefig(out, metadata={"Date": None})


def places_figure(args):
    """A row per place, a panel per opponent: how much closer each candidate is, with its interval."""
    pyplot, (scores, _) = plotting(), read(args.sweeps, ["seeds"])
    places = list(scores)
    opponents = [LOCAL, FEDGAN]
    panels, axes = pyplot.subplots(1, len(opponents), figsize=(9, 1 + 0.24 * len(places)), sharey=True)
    for axis, opponent in zip(axes, opponents):
        axis.axvline(0, color="black", linewidth=0.5)
        for lane, (candidate, colour) in enumerate(zip(CANDIDATES, ["tab:blue", "tab:orange", "tab:red"])):
            found = [(row, paired(scores[place], candidate, opponent)) for row, place in enumerate(places)]
            for row, of in ((row, of) for row, of in found if of):
                height = -row + 0.2 * (1 - lane)
                axis.plot([of.low, of.high], [height, height], color=colour, linewidth=1)
                axis.plot([of.mean], [height], color=colour, marker="o", markersize=3)
            axis.plot([], [], color=colour, marker="o", markersize=3, label=str(candidate))
        axis.set_xlabel(f"fd_small against {opponent}, %")
    axes[0].set_yticks([-row for row in range(len(places))], [f"{p.dataset}, {p.skew}, {p.images}" for p in places])
    panels.legend(*axes[0].get_legend_handles_labels(), loc="lower center", ncols=len(CANDIDATES), frameon=False)
    panels.tight_layout(rect=(0, 0.04, 1, 1))
    save(panels, args.out)


def shares_figure(args):
    """A panel per data set and skew, a line per algorithm and number of images: distance against share, relative to `local-ensemble`."""
    pyplot = plotting()
    scores, _ = read(args.sweeps, ["share", "cyclic"])
    datasets, images = sorted({place.dataset for place in scores}), sorted({place.images for place in scores})
    panels, axes = pyplot.subplots(len(datasets), len(SKEWS), figsize=(11, 5.5), sharex=True, sharey=True, squeeze=False)
    for place, splits in scores.items():
        axis = axes[datasets.index(place.dataset)][SKEWS.index(place.skew)]
        axis.set_title(f"{place.dataset}, {place.skew}")
        axis.axhline(1, color="black", linewidth=0.5)
        width = 0.6 + 0.6 * images.index(place.images)
        for algorithm, (colour, marker) in FAMILIES.items():
            points = relative(splits, algorithm)
            axis.plot(*zip(*points), color=colour, marker=marker, markersize=3, linewidth=width)
    for axis in axes[-1]:
        axis.set_xlabel("share of the epochs, %")
    for axis, dataset in zip(axes[:, 0], datasets):
        axis.set_yscale("log")
        axis.set_ylabel("fd_small / local-ensemble's")
        axis.set_yticks([0.5, 0.7, 1, 1.4, 2, 4], ["0.5", "0.7", "1", "1.4", "2", "4"])
        axis.minorticks_off()
    lines = [pyplot.Line2D([], [], color=colour, marker=marker, label=name) for name, (colour, marker) in FAMILIES.items()]
    lines += [pyplot.Line2D([], [], color="black", linewidth=0.6 + 0.6 * i, label=f"{n} images per client") for i, n in enumerate(images)]
    panels.legend(handles=lines, loc="lower center", ncols=len(lines), frameon=False)
    panels.tight_layout(rect=(0, 0.06, 1, 1))
    save(panels, args.out)


def relative(splits, algorithm):
    """[(share, fd_small / that of `local-ensemble`)], the mean over the seeds, with the number of rounds of COUNTS or else two."""
    points = [] if algorithm == "fedgan" else [(0, 1.0)]
    for split in sorted(splits):
        if split.algorithm == algorithm and split.count == COUNTS.get((algorithm, split.share), 2):
            logs = [math.log(fd / splits[LOCAL][seed]) for seed, fd in splits[split].items() if seed in splits[LOCAL]]
            points.append((split.share, math.exp(statistics.mean(logs))))
    return points


def starts(args):
    with args.csv.open(newline="") as file:
        rows = list(csv.DictReader(file))
    of = lambda start, epoch, suffix: [float(r["fd_small"]) for r in rows if (r["start"], r["epoch"]) == (start, epoch) and r["of"].endswith(suffix)]
    epochs = list(dict.fromkeys(r["epoch"] for r in rows))
    row(["epochs of fine-tuning", *epochs])
    row(["---"] * (len(epochs) + 1))
    for start in dict.fromkeys(r["start"] for r in rows):
        row([start, *(f"{of(start, epoch, 'ensemble')[0]:.1f}" for epoch in epochs)])
    for suffix in ("to its own images", "to test images"):
        row([f"median member {suffix}", *(f"{statistics.median(of('both', epoch, suffix)):.0f}" for epoch in epochs)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = {"one-seed": one_seed, "gains": gains, "shares": shares_figure, "places": places_figure, "starts": starts}
    parser.add_argument("what", choices=what)
    parser.add_argument("--sweeps", type=Path, default=Path("sweeps"), help="the folder of the sweeps")
    parser.add_argument("--out", type=Path, help="for shares and places: the SVG file")
    parser.add_argument("--csv", type=Path, help="for starts: the example's file")
    args = parser.parse_args()
    if args.what in ("shares", "places") and args.out is None:
        parser.error(f"{args.what} needs --out FILE.svg")
    if args.what == "starts" and args.csv is None:
        parser.error("starts needs --csv FILE")
    what[args.what](args)


if __name__ == "__main__":
    main()
