"""How much of the work to share, by a program that has nothing of effgan: EFFGAN in plain PyTorch at one place of docs/results.

    share_of_work.py --data FOLDER --out pytorch.csv

Fashion-MNIST, 5,000 images, 10 clients, Dirichlet(0.1), 100 local epochs in all, as in configs/paper/base.toml. Averaged rounds (`effgan`) have 0, 20 or 80 % of the
epochs, or clients that take turns on one copy (`cyclic-effgan`) have 20 or 50 %, and fine-tuning the rest; the mean of the members at 80 % is `fedgan`. The shares of one seed have the same clients and the same
first networks, so that their differences are paired; both differ from effgan's for that seed. Of effgan only the weights of its LeNet are read.

A finished share is a row of the CSV file, with samples in a PNG file beside it, and is not run again. A share takes four minutes on one thread, and the nine of
three seeds forty; twice as long on a busy machine. Needs torch and numpy.
"""

from __future__ import annotations

import argparse
import copy
import csv
import gzip
import json
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

IMAGES, CLIENTS, ALPHA, MIN_EXAMPLES = 5000, 10, 0.1, 4
BASE_CHANNELS, LATENT = 32, 100
BATCH, LEARNING_RATE, BETA1 = 32, 5e-4, 0.5
SAMPLES = 10_000
LENET = Path(__file__).parents[2] / "crates/effgan-metrics/weights/fashion-mnist.safetensors"
COLUMNS = ["seed", "algorithm", "share", "rounds", "epochs", "fine_tune_epochs", "fd_small"]


@dataclass
class Split:
    """Averaged rounds, or turns of each client, of so many epochs each, and then the epochs of fine-tuning."""

    algorithm: str
    rounds: int
    epochs: int
    fine_tune_epochs: int

    @property
    def share(self) -> float:
        averaged = self.rounds * self.epochs
        return averaged / (averaged + self.fine_tune_epochs)

    def row(self, seed: int, score: float) -> list:
        return [seed, self.algorithm, self.share, self.rounds, self.epochs, self.fine_tune_epochs, round(score, 4)]


AVERAGED, IN_TURNS = "effgan", "cyclic-effgan"
SPLITS = [Split(AVERAGED, 0, 0, 100), Split(AVERAGED, 2, 10, 80), Split(AVERAGED, 4, 20, 20), Split(IN_TURNS, 2, 10, 80), Split(IN_TURNS, 2, 25, 50)]
FEDGAN = Split("fedgan", 5, 20, 0)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    data, lenet = FashionMnist(args.data), LeNet(LENET)
    real = lenet.features(data.test)
    score = lambda samples: frechet_distance(lenet.features(samples), real)
    print(f"training images: fd_small {score(data.train[:SAMPLES]):.3f}", flush=True)
    done = {(row["seed"], row["algorithm"], row["share"]) for row in rows_of(args.out)}
    todo = [(seed, split) for seed in args.seeds for split in SPLITS if (str(seed), split.algorithm, str(split.share)) not in done]
    started = time.monotonic()
    for i, (seed, split) in enumerate(todo, 1):
        clients = partition(data, seed)
        weights = torch.tensor([float(len(images)) for images in clients])
        members = effgan(clients, weights, split, seed)
        samples = samples_of_ensemble(members, weights)
        rows = [split.row(seed, score(samples))]
        if split.rounds == FEDGAN.rounds - 1:
            fedgan = mean(members, weights).generator
            rows.append(FEDGAN.row(seed, score(samples_of(fedgan, SAMPLES))))
        save_png(args.out.with_name(f"{args.out.stem}-seed-{seed}-{split.algorithm}-{split.share:g}.png"), samples)
        append(args.out, rows)
        minutes, left = (time.monotonic() - started) / 60, len(todo) - i
        print(f"seed {seed}, {split.algorithm}, {percent(split.share)} shared: fd_small {rows[0][-1]:.2f}; {left} left, about {minutes / i * left:.0f} min", flush=True)
    print_table([row for row in rows_of(args.out) if int(row["seed"]) in args.seeds])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of Fashion-MNIST's four IDX files, plain or .gz")
    parser.add_argument("--out", type=Path, required=True, help="CSV file of the scores; shares that it has are not run again")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


class FashionMnist:
    """Images `[n, 1, 28, 28]` in [-1, 1], and the labels of the training images."""

    def __init__(self, folder: Path) -> None:
        self.train, self.test = (as_floats(read_idx(folder / f"{split}-images-idx3-ubyte")) for split in ("train", "t10k"))
        self.labels = read_idx(folder / "train-labels-idx1-ubyte")


def read_idx(path: Path) -> np.ndarray:
    packed = path.with_name(f"{path.name}.gz")
    file = path.read_bytes() if path.exists() else gzip.decompress(packed.read_bytes())
    shape = struct.unpack_from(f">{file[3]}I", file, 4)
    return np.frombuffer(file, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)


def as_floats(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels / np.float32(127.5) - np.float32(1)).unsqueeze(1)


def partition(data: FashionMnist, seed: int) -> list[torch.Tensor]:
    """Each client's training images: every class is split by proportions ~ Dirichlet(α), drawn again until no client is too small, and a tenth is held out."""
    rng, labels = np.random.default_rng(seed), data.labels[:IMAGES]
    while True:
        clients: list[list[int]] = [[] for _ in range(CLIENTS)]
        for label in range(10):
            images = rng.permutation(np.flatnonzero(labels == label))
            ends = (len(images) * rng.dirichlet([ALPHA] * CLIENTS).cumsum()).round().astype(int)
            for client, part in zip(clients, np.split(images, ends[:-1])):
                client.extend(part)
        train = [rng.permutation(client)[round(len(client) / 10):] for client in clients]
        if min(map(len, train)) >= MIN_EXAMPLES:
            return [data.train[images] for images in train]


class Gan(nn.Module):
    """A DCGAN (Radford et al. 2016, arXiv:1511.06434) for 28 × 28 grey images, with its initial values."""

    def __init__(self) -> None:
        super().__init__()
        inner, outer = 2 * BASE_CHANNELS, BASE_CHANNELS
        self.generator = nn.Sequential(
            nn.Linear(LATENT, inner * 49), nn.Unflatten(1, (inner, 7, 7)), nn.BatchNorm2d(inner), nn.ReLU(),
            nn.ConvTranspose2d(inner, outer, 4, 2, 1), nn.BatchNorm2d(outer), nn.ReLU(),
            nn.ConvTranspose2d(outer, 1, 4, 2, 1), nn.Tanh(),
        )
        self.discriminator = nn.Sequential(
            nn.Conv2d(1, outer, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(outer, inner, 4, 2, 1), nn.BatchNorm2d(inner), nn.LeakyReLU(0.2),
            nn.Flatten(), nn.Linear(inner * 49, 1),
        )
        for name, param in self.named_parameters():
            is_norm = param.dim() == 1 and name.endswith("weight")
            nn.init.zeros_(param) if name.endswith("bias") else nn.init.normal_(param, float(is_norm), 0.02)


def effgan(clients: list[torch.Tensor], weights: torch.Tensor, split: Split, seed: int) -> list[Gan]:
    """The members of the ensemble (Ekblom et al. 2022, arXiv:2206.11682): rounds of averaging, then fine-tuning by each client alone. In turns, one copy goes
    from client to client instead."""
    torch.manual_seed(seed)
    server = Gan()
    for _ in range(split.rounds):
        if split.algorithm == IN_TURNS:
            for client in torch.randperm(len(clients)):
                server = trained(server, clients[client], split.epochs)
        else:
            server = mean([trained(server, images, split.epochs) for images in clients], weights)
    return [trained(server, images, split.fine_tune_epochs) for images in clients]


def mean(gans: list[Gan], weights: torch.Tensor) -> Gan:
    """The weighted mean of all parameters and running statistics."""
    average, weights = copy.deepcopy(gans[0]), weights / weights.sum()
    states = [gan.state_dict() for gan in gans]
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(sum(weight * state[name] for weight, state in zip(weights, states)))
    return average


def trained(gan: Gan, images: torch.Tensor, epochs: int) -> Gan:
    """A copy of both networks after so many epochs on `images`: the non-saturating loss, one step of each network per batch, and fresh optimisers."""
    gan = copy.deepcopy(gan).train()
    generator, discriminator = gan.generator, gan.discriminator
    adam_g, adam_d = (torch.optim.Adam(net.parameters(), LEARNING_RATE, (BETA1, 0.999), fused=True) for net in (generator, discriminator))
    for real in batches(images, epochs):
        fake = generator(torch.randn(len(real), LATENT))
        discriminator.requires_grad_(True)
        adam_d.zero_grad()
        (F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake.detach())).mean()).backward()
        adam_d.step()

        discriminator.requires_grad_(False)
        adam_g.zero_grad()
        F.softplus(-discriminator(fake)).mean().backward()
        adam_g.step()
    return gan


def batches(images: torch.Tensor, epochs: int) -> Iterator[torch.Tensor]:
    """Equal batches from one shuffle after the other; an epoch's last batch is filled up from the next shuffle."""
    n, size = len(images), min(BATCH, len(images))
    steps = epochs * -(-n // size)
    shuffles = [torch.randperm(n) for _ in range(-(-steps * size // n))]
    for batch in torch.cat(shuffles).split(size)[:steps] if steps else []:
        yield images[batch]


def samples_of_ensemble(members: list[Gan], weights: torch.Tensor) -> torch.Tensor:
    """Images of members that are drawn by their numbers of training images."""
    counts = torch.multinomial(weights, SAMPLES, replacement=True).bincount(minlength=len(members))
    samples = torch.cat([samples_of(member.generator, n) for member, n in zip(members, counts.tolist())])
    return samples[torch.randperm(SAMPLES)]


@torch.no_grad()
def samples_of(generator: nn.Module, n: int) -> torch.Tensor:
    """`n` images, rounded to the 256 values of a pixel."""
    images = [generator.eval()(z) for z in torch.randn(n, LATENT).split(500)]
    return ((torch.cat(images) + 1) * 127.5).round() / 127.5 - 1


class LeNet:
    """effgan's classifier for Fashion-MNIST, whose 84 penultimate values are the features of `fd_small`."""

    def __init__(self, path: Path) -> None:
        file = path.read_bytes()
        # A safetensors file: the length of a header, the header, the values.
        values = 8 + int.from_bytes(file[:8], "little")
        floats, self.tensors = torch.frombuffer(bytearray(file[values:]), dtype=torch.float32), {}
        for name, of in json.loads(file[8:values]).items():
            start, end = (at // 4 for at in of["data_offsets"])
            self.tensors[name] = floats[start:end].reshape(of["shape"])

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> np.ndarray:
        return torch.cat([self.features_of_batch(batch) for batch in images.split(500)]).double().numpy()

    def features_of_batch(self, x: torch.Tensor) -> torch.Tensor:
        layer = lambda name: (self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])
        x = F.max_pool2d(F.relu(F.conv2d(x, *layer("conv1"), padding=2)), 2)
        x = F.max_pool2d(F.relu(F.conv2d(x, *layer("conv2"))), 2)
        x = F.relu(F.linear(x.flatten(1), *layer("fc1")))
        return F.relu(F.linear(x, *layer("fc2")))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between Gaussians fitted to two sets of features (Heusel et al. 2017, arXiv:1706.08500), in float64."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the square root of a matrix is the sum of the roots of its eigenvalues, which rounding may take below 0.
    roots = np.sqrt(np.linalg.eigvals(cov_a @ cov_b).real.clip(0))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b) - 2 * roots.sum())


def save_png(path: Path, samples: torch.Tensor) -> None:
    """The first 100 images, ten in a row."""
    pixels = ((samples[:100] + 1) * 127.5).round().to(torch.uint8).reshape(10, 10, 28, 28).permute(0, 2, 1, 3).reshape(280, 280).numpy()
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    # 8 bits of grey; the byte before each line is its filter, none.
    header, lines = struct.pack(">IIBBBBB", 280, 280, 8, 0, 0, 0, 0), b"".join(b"\0" + line.tobytes() for line in pixels)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, rows: list[list]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS] * is_new + rows)


def print_table(rows: list[dict[str, str]]) -> None:
    """The scores by share and seed, and whether the shares have the same order with each seed."""
    scores = {((row["algorithm"], float(row["share"])), int(row["seed"])): float(row["fd_small"]) for row in rows}
    splits, seeds = (sorted(set(keys)) for keys in zip(*scores))
    print(f"\n| | shared | {' | '.join(f'seed {seed}' for seed in seeds)} | mean |")
    print("| --- " * (len(seeds) + 3) + "|")
    for algorithm, share in splits:
        found = [scores[(algorithm, share), seed] for seed in seeds]
        print(f"| `{algorithm}` | {percent(share)} | {' | '.join(f'{score:.1f}' for score in found)} | {np.mean(found):.1f} |")
    averaged = [split for split in splits if split[0] == AVERAGED]
    orders = {seed: ", ".join(percent(share) for _, share in sorted(averaged, key=lambda split: scores[split, seed])) for seed in seeds}
    print("\n" + "\n".join(f"seed {seed}, {AVERAGED}, best first: {order}" for seed, order in orders.items()))
    print("the order is the same with each seed" if len(set(orders.values())) == 1 else "the order depends on the seed")


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


if __name__ == "__main__":
    main()
