"""Draws what ε means: how well somebody can guess from a model whether an image was among those it was trained on.

    python3 scripts/privacy_figure.py --effgan target/release/effgan --out docs/privacy.svg

It takes the updates of configs/privacy/central.toml on 60,000 images, and for each ε the noise that `effgan privacy noise` finds at δ = 1e-5. Such a
training satisfies (ε, δ) for many pairs, which `effgan privacy epsilon` gives, and each pair bounds every guess: of the models trained with the image,
a guesser recognises at most e^ε f + δ and at most 1 - e^-ε (1 - δ - f), where f is the share of the models trained without it that are mistaken for
one (Kairouz, Oh, Viswanath 2015, Theorem 2.1). The figure has the smallest of these bounds; the table printed has some of its points. Needs matplotlib.
"""

import argparse
import json
import math
import subprocess
from pathlib import Path

EPSILONS = [1, 4, 10]
TRAINING = ["--sample-rate", str(512 / 60_000), "--steps", "30990"]
# From a δ so small that it decides nothing in the figure, evenly in its logarithm, and then evenly up to 1.
DELTAS = [10 ** (-6 + 0.2 * i) for i in range(26)] + [0.02 * i for i in range(6, 50)]
MISTAKEN = [0.001, 0.01, 0.1]


def privacy(effgan, command, **options):
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", repr(value))]
    done = subprocess.run([effgan, "privacy", command, *TRAINING, *words, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def pairs(effgan, target):
    """[(ε, δ)] that the training with the noise for `target` satisfies."""
    noise = privacy(effgan, "noise", target_epsilon=float(target), delta=1e-5)["noise_multiplier"]
    return [(privacy(effgan, "epsilon", noise_multiplier=noise, delta=delta)["epsilon"], delta) for delta in DELTAS]


def recognised(of, mistaken):
    """The largest share of the models trained with the image that can be recognised."""
    bounds = (min(math.exp(e) * mistaken + d, 1 - math.exp(-e) * (1 - d - mistaken)) for e, d in of)
    return min(1.0, *bounds)


def table(curves):
    print(f"| ε | right at even odds | {' | '.join(f'recognised, {100 * f:g} % mistaken' for f in MISTAKEN)} |")
    print(f"| {' | '.join(['---'] * (len(MISTAKEN) + 2))} |")
    for target, of in curves.items():
        right = max((recognised(of, f) + 1 - f) / 2 for f in (0.001 * i for i in range(1, 1000)))
        shares = [right, *(recognised(of, f) for f in MISTAKEN)]
        # Rounded up: they are bounds.
        print(f"| {target} | {' | '.join(f'{math.ceil(1000 * share) / 10:.1f} %' for share in shares)} |")


def figure(curves, out):
    import matplotlib

    matplotlib.use("svg")
    # The same file from the same numbers.
    matplotlib.rcParams.update({"svg.hashsalt": "effgan", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    mistaken = [10 ** (-3 + 0.02 * i) for i in range(151)]
    panel, axis = pyplot.subplots(figsize=(5.5, 3.6))
    for target, of in curves.items():
        axis.plot(mistaken, [recognised(of, f) for f in mistaken], label=f"ε = {target}")
    axis.plot(mistaken, mistaken, color="black", linewidth=0.7, label="a coin that is tossed")
    axis.set_xscale("log")
    axis.set_xticks([0.001, 0.01, 0.1, 1], ["0.1 %", "1 %", "10 %", "100 %"])
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    axis.set_xlabel("models without the image that are mistaken")
    axis.set_ylabel("models with it that are recognised, at most")
    axis.legend(frameon=False)
    panel.tight_layout()
    panel.savefig(out, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--effgan", default="effgan", help="the program")
    parser.add_argument("--out", type=Path, required=True, help="the SVG file")
    args = parser.parse_args()
    curves = {target: pairs(args.effgan, target) for target in EPSILONS}
    table(curves)
    figure(curves, args.out)


if __name__ == "__main__":
    main()
