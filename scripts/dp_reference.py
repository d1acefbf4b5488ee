"""Compares private updates of effgan with those of Opacus, from the same weights, on the same images of MNIST.

    python3 scripts/dp_reference.py --mnist FOLDER [--updates 200] [--base 32] [--batch 512]

FOLDER has `train-images-idx3-ubyte.gz`. Needs what scripts/reference/requirements-privacy.txt names and safetensors, and cargo. A discriminator of a DCGAN without
normalisation sees Poisson samples of all images, and generated ones of a generator that stays as it is. Opacus computes the gradients of single images of
both kinds, clips, sums and adds noise (`GradSampleModule`, and `DPOptimizer`'s arithmetic), and Adam steps.
Prints, with noise off, how far the discriminators are apart after the first and the last update, in parts of the way from the start; with noise on, both
lengths of that way, which differ by chance alone; both programs' epsilon of these updates; and the median seconds of an update, measured in turns. Fails
where the weights are apart by more than rounding explains, or where the costs differ.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy
import torch
from opacus import GradSampleModule
from opacus.accountants import RDPAccountant
from opacus.optimizers import DPOptimizer
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import leaky_relu, relu, softplus

REPOSITORY = Path(__file__).parent.parent
LATENT, IMAGES = 100, 60_000
CLIP, NOISE, DELTA = 1.0, 1.0, 1e-5


class Generator(nn.Module):
    def __init__(self, base: int) -> None:
        super().__init__()
        self.fc = nn.Linear(LATENT, 2 * base * 49)
        self.conv1 = nn.ConvTranspose2d(2 * base, base, 4, 2, 1)
        self.conv2 = nn.ConvTranspose2d(base, 1, 4, 2, 1)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        h = self.fc(z).unflatten(1, (-1, 7, 7))
        return torch.tanh(self.conv2(relu(self.conv1(relu(h)))))


class Discriminator(nn.Module):
    def __init__(self, base: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, base, 4, 2, 1)
        self.conv2 = nn.Conv2d(base, 2 * base, 4, 2, 1)
        self.fc = nn.Linear(2 * base * 49, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(leaky_relu(self.conv2(leaky_relu(self.conv1(images), 0.2)), 0.2).flatten(1))


def mnist(folder: Path) -> torch.Tensor:
    pixels = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    return torch.from_numpy(numpy.frombuffer(pixels, numpy.uint8).copy()).reshape(-1, 1, 28, 28).float() / 127.5 - 1


def initial(base: int) -> tuple[Generator, Discriminator]:
    """Weights of deviation 0.02, as a DCGAN begins, and biases that are not zero."""
    networks = Generator(base), Discriminator(base)
    with torch.no_grad():
        for network in networks:
            for parameter in network.parameters():
                parameter.normal_(0, 0.02)
    return networks


def flat(state: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([state[name].double().flatten() for name in sorted(state)])


class Opacus:
    """Updates of a discriminator by Opacus."""

    def __init__(self, discriminator: Discriminator, batch: int, noise: float) -> None:
        self.module = GradSampleModule(discriminator, loss_reduction="sum")
        adam = torch.optim.Adam(discriminator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.optimizer = DPOptimizer(adam, noise_multiplier=noise, max_grad_norm=CLIP, expected_batch_size=batch, loss_reduction="mean")
        self.batch = batch

    def update(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        logits = self.module(torch.cat([real, fake]))
        (softplus(-logits[: len(real)]).sum() + softplus(logits[len(real) :]).sum()).backward()
        self.optimizer.step()

    def weights(self) -> torch.Tensor:
        return flat(self.module._module.state_dict()).clone()


def ours(folder: Path, base: int, batch: int, noise: float) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    command = [str(REPOSITORY / "target/release/examples/private_updates"), str(folder), str(base), str(batch), str(CLIP), str(noise)]
    subprocess.run(command, check=True)
    lines = (folder / "seconds.txt").read_text("utf-8").split()
    first, last = (flat(load_file(folder / f"{name}.safetensors")) for name in ("first", "last"))
    return first, last, [float(line) for line in lines]


def theirs(networks: tuple[Generator, Discriminator], samples: list[torch.Tensor], z: torch.Tensor, batch: int, noise: float) -> tuple[torch.Tensor, torch.Tensor, list[float]]:
    generator, discriminator = networks
    opacus, first, seconds = Opacus(discriminator, batch, noise), None, []
    for i, real in enumerate(samples):
        started = time.perf_counter()
        with torch.no_grad():
            fake = generator(z[i * batch : (i + 1) * batch])
        opacus.update(real, fake)
        seconds.append(time.perf_counter() - started)
        first = opacus.weights() if i == 0 else first
    return first, opacus.weights(), seconds


def cost(updates: int, rate: float) -> float:
    command = [str(REPOSITORY / "target/release/effgan"), "privacy", "epsilon", "--json", f"--noise-multiplier={NOISE}", f"--sample-rate={rate!r}", f"--steps={updates}", f"--delta={DELTA}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rdp"]


def cost_of_opacus(updates: int, rate: float) -> float:
    accountant = RDPAccountant()
    accountant.history = [(NOISE, rate, updates)]
    return accountant.get_epsilon(DELTA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--base", type=int, default=32)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "effgan-cli"], cwd=REPOSITORY, check=True)
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--release", "-p", "effgan-nn", "--example", "private_updates"], cwd=REPOSITORY, check=True)
    torch.manual_seed(1)
    torch.set_num_threads(options.threads)
    images, rate = mnist(options.mnist), options.batch / IMAGES
    networks = initial(options.base)
    samples = [images[torch.rand(IMAGES) < rate] for _ in range(options.updates)]
    z = torch.randn(options.updates * options.batch, LATENT)
    start = {f"{name}.{key}": value for name, network in zip(("generator", "discriminator"), networks) for key, value in network.state_dict().items()}
    begin = flat(networks[1].state_dict()).clone()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_file({key: value.clone() for key, value in start.items()}, folder / "start.safetensors")
        seen = {"images": torch.cat(samples), "sizes": torch.tensor([float(len(sample)) for sample in samples]), "z": z}
        save_file(seen, folder / "seen.safetensors")
        times = {"effgan": [], "opacus": []}
        found = {}
        for noise in (0.0, NOISE):
            networks[1].load_state_dict({key.removeprefix("discriminator."): value for key, value in start.items() if key.startswith("discriminator.")})
            copies = Generator(options.base), Discriminator(options.base)
            for copy, network in zip(copies, networks):
                copy.load_state_dict(network.state_dict())
            mine, other = ours(folder, options.base, options.batch, noise), theirs(copies, samples, z, options.batch, noise)
            times["effgan"] += mine[2]
            times["opacus"] += other[2]
            found[noise] = mine, other
    (mine, other), way = found[0.0], lambda weights: (weights - begin).norm().item()
    apart = [(mine[i] - other[i]).norm().item() / way(other[i]) for i in (0, 1)]
    print(f"without noise, apart after the first update {apart[0]:.1e} of the way, after {options.updates}: {apart[1]:.1e}")
    ways = [way(program[1]) for program in found[NOISE]]
    print(f"with noise {NOISE}, the way of {options.updates} updates: effgan {ways[0]:.4f}, opacus {ways[1]:.4f}")
    epsilons = cost(options.updates, rate), cost_of_opacus(options.updates, rate)
    print(f"epsilon by rdp: effgan {epsilons[0]:.6f}, opacus {epsilons[1]:.6f}")
    medians = {program: statistics.median(seconds) for program, seconds in times.items()}
    print(f"median seconds of an update: effgan {medians['effgan']:.4f}, opacus {medians['opacus']:.4f}, {medians['opacus'] / medians['effgan']:.2f} times as long")
    if apart[0] > 1e-2 or apart[1] > 1e-2 or abs(ways[0] / ways[1] - 1) > 0.02 or abs(epsilons[0] / epsilons[1] - 1) > 1e-4:
        raise SystemExit("effgan and Opacus differ by more than rounding")


if __name__ == "__main__":
    main()
