"""Draws samples of each member of an ensemble and the score curve of a run in one picture.

    .venv/bin/python examples/plot_members.py runs/quickstart --out members.png
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # draw to a file, also without a screen

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

import effgan

SIDE = 5  # images per side of a grid
COLUMNS = 4
METRICS = ("fd_small", "fd_own", "swd")  # by a built-in network, by one that was trained on the images, and without one
INK, FAINT, GRID = "#1d2530", "#6b7684", "#e3e7ec"
AVERAGE, ENSEMBLE = "#3b6fb6", "#d1632a"
TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10, "fontweight": "bold", "color": INK}


def grid(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns images ``[SIDE², c, h, w]`` as one picture ``[h', w', c]``, with a white line between them."""
    n, c, h, w = images.shape
    framed = np.full((n, c, h + 1, w + 1), 255, np.uint8)
    framed[:, :, :h, :w] = images
    rows = framed.reshape(SIDE, SIDE, c, h + 1, w + 1).transpose(0, 3, 1, 4, 2)
    return rows.reshape(SIDE * (h + 1), SIDE * (w + 1), c)[:-1, :-1]


def draw_samples(axes: Any, images: NDArray[np.uint8], title: str, note: str) -> None:
    axes.imshow(grid(images).squeeze(), cmap="gray", interpolation="nearest")
    axes.set_title(title, pad=5, **TITLE)
    axes.set_title(note, pad=5, loc="right", fontsize=9, color=FAINT)
    axes.set_axis_off()


def draw_scores(axes: Any, run: effgan.Run, metric: str) -> None:
    """Draws ``metric`` of the averaged generator after each round, of the ensemble, and of real images."""
    scores = [score for score in run.scores if score.get("norm_statistics") != "average"]
    floor = [score for score in scores if score["of"] == "floor"]
    averaged = [score for score in scores if score["of"] in ("average", "mean-of-members")]
    ensemble = [score for score in scores if score["of"] == "ensemble"]
    draw_curve(axes, averaged, metric, "averaged", AVERAGE, "o-")
    draw_curve(axes, ensemble, metric, "ensemble", ENSEMBLE, "D")
    for score in floor:
        axes.axhline(score[metric], color=FAINT, lw=1.2, ls=(0, (4, 3)))
        place, text = (0.62, score[metric]), f"real images {score[metric]:.0f}"
        axes.annotate(text, place, (0, 4), textcoords="offset points", color=FAINT, fontsize=9)
    last = max(score["round"] for score in scores)
    axes.set_title(f"{metric} of {scores[0]['n']} samples: lower is closer", **TITLE)
    axes.set_xlabel("round", color=FAINT)
    axes.set_xlim(0.6, last + 0.4)
    axes.set_xticks(range(1, last + 1))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=GRID)
    axes.tick_params(colors=FAINT, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def draw_curve(axes: Any, scores: list[dict[str, Any]], metric: str, name: str, color: str, form: str) -> None:
    """Draws a curve, with its name and last value at the last point."""
    points = [(score["round"], score[metric]) for score in scores]
    axes.plot(*zip(*points), form, color=color, lw=2, ms=7)
    for round_and_score in points[-1:]:
        text = f"{name} {round_and_score[1]:.0f}"
        where: dict[str, Any] = {"xytext": (0, 9), "textcoords": "offset points", "ha": "right"}
        axes.annotate(text, round_and_score, color=color, fontsize=9, fontweight="bold", **where)


def figure(run: effgan.Run, seed: int) -> Any:
    model = run.model
    shown = [("ensemble", None, "by weight"), ("averaged generator", "global", "")]
    shown += [(name, name, f"{share:.0%} of the samples") for name, share in model.weights.items()]
    rows = -(-len(shown) // COLUMNS)
    # A run without scores has samples all the same.
    metric = next((name for name in METRICS if run.scores and name in run.scores[0]), None)
    heights = [2.85 * rows, 2.6 if metric else 0.01]
    page = plt.figure(figsize=(2.6 * COLUMNS, sum(heights) + 0.5), layout="constrained", facecolor="white")
    page.suptitle(run.path.name, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    top, bottom = page.subfigures(2, 1, height_ratios=heights)
    for place, (title, member, note) in enumerate(shown, start=1):
        images = model.sample(SIDE * SIDE, seed, member=member)
        draw_samples(top.add_subplot(rows, COLUMNS, place), images, title, note)
    if metric:
        draw_scores(bottom.add_subplot(), run, metric)
    return page


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("run", type=Path, help="a run folder")
    arguments.add_argument("--out", type=Path, default=Path("members.png"), help="the picture [members.png]")
    arguments.add_argument("--seed", type=int, default=1, help="which images [1]")
    given = arguments.parse_args()
    if given.out.exists():
        raise SystemExit(f"plot_members: {given.out} exists already; remove it, or give another --out")
    try:
        page = figure(effgan.Run(given.run), given.seed)
    except effgan.EffganError as error:
        raise SystemExit(f"plot_members: {error}") from None
    page.savefig(given.out, dpi=130)
    print(given.out)


if __name__ == "__main__":
    main()
