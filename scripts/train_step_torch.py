"""The training step of `effgan bench train-step` in PyTorch, on the CPU or a GPU, as one JSON line with the same field names.

    train_step_torch.py --network resnet --size 32 --channels 3 --layout nhwc

The networks are those of crates/effgan-nn/src/networks/dcgan.rs and resnet.rs: z of 100 values, batch norm with running statistics, and in the ResNet's
discriminator spectral norm. The discriminator trains on real and generated images, then the generator trains; the DCGAN's loss is the non-saturating one, the
ResNet's the hinge. Adam is fused, and the generator's step computes no gradients of the discriminator's parameters. Needs `pip install torch numpy` in an
environment of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm

LATENT, BATCHES = 100, 8


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    # f32 is f32: on a GPU, PyTorch's convolutions would have factors of TF32.
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    step = Step(args)
    memory = PeakMemory()
    warm_up(step)
    steps, started, user = 0, time.perf_counter(), user_seconds()
    while time.perf_counter() - started < args.seconds:
        step()
        steps += 1
    step.wait()
    wall, user = time.perf_counter() - started, user_seconds() - user
    print(json.dumps({
        "engine": f"torch {torch.__version__}",
        "network": args.network,
        "size": args.size,
        "channels": args.channels,
        "threads": args.threads,
        "batch": args.batch,
        "base_channels": args.base_channels,
        "layout": args.layout,
        "compiled": args.compile,
        "device": args.device,
        "precision": args.precision,
        "wall_ms_per_step": 1e3 * wall / steps,
        "user_ms_per_step": 1e3 * user / steps,
        "images_per_second": steps * args.batch / wall,
        # That of a compiled step would be the compiler's.
        "memory_mb": None if args.compile else memory.megabytes(),
    }))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["dcgan", "resnet"], default="dcgan")
    parser.add_argument("--size", type=int, default=28, help="pixels per side of the images (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=1, help="channels of the images (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="images per step (default: %(default)s)")
    parser.add_argument("--base-channels", type=int, default=64, help="width of the networks (default: %(default)s)")
    parser.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw", help="of feature maps and weights in memory (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="compile both networks with torch.compile")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="a device of PyTorch, such as cuda (default: %(default)s)")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="bf16: by autocast (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="for which the steps are timed, after at most 10 untimed ones (default: %(default)s)")
    return parser.parse_args()


class DcganGenerator(nn.Module):
    def __init__(self, maps: list[int], bottom: int) -> None:
        super().__init__()
        self.fc = nn.Linear(LATENT, maps[-1] * bottom**2)
        layers: list[nn.Module] = [nn.Unflatten(1, (maps[-1], bottom, bottom))]
        for inner, outer in zip(maps[:0:-1], maps[-2::-1]):
            layers += [nn.BatchNorm2d(inner), nn.ReLU(inplace=True), nn.ConvTranspose2d(inner, outer, 4, 2, 1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(self.fc(z))


class DcganDiscriminator(nn.Module):
    def __init__(self, maps: list[int], bottom: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (outer, inner) in enumerate(zip(maps, maps[1:])):
            norm = [nn.BatchNorm2d(inner)] if i else []
            layers += [nn.Conv2d(outer, inner, 4, 2, 1), *norm, nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(maps[-1] * bottom**2, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def dcgan(size: int, channels: int, base: int) -> tuple[nn.Module, nn.Module]:
    stages = 2
    while stages < 8 and (size >> stages) % 2 == 0 and size >> (stages + 1) >= 4:
        stages += 1
    maps, bottom = [channels] + [base << i for i in range(stages)], size >> stages
    return DcganGenerator(maps, bottom), DcganDiscriminator(maps, bottom)


def doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2)


class UpBlock(nn.Module):
    def __init__(self, base: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(base), nn.Conv2d(base, base, 3, 1, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(base), nn.Conv2d(base, base, 3, 1, 1)
        self.shortcut = nn.Conv2d(base, base, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(doubled(F.relu(self.norm1(x))))
        # The shortcut of a doubled map is the doubled shortcut, which costs a quarter.
        return self.conv2(F.relu(self.norm2(h))) + doubled(self.shortcut(x))


class ResnetGenerator(nn.Module):
    def __init__(self, size: int, channels: int, base: int) -> None:
        super().__init__()
        blocks = [UpBlock(base) for _ in range((size // 4).bit_length() - 1)]
        to_image = [nn.BatchNorm2d(base), nn.ReLU(inplace=True), nn.Conv2d(base, channels, 3, 1, 1), nn.Tanh()]
        self.layers = nn.Sequential(nn.Linear(LATENT, base * 16), nn.Unflatten(1, (base, 4, 4)), *blocks, *to_image)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.layers(z)


class DownBlock(nn.Module):
    def __init__(self, inputs: int, base: int, *, first: bool, down: bool) -> None:
        super().__init__()
        self.first, self.down = first, down
        self.conv1 = spectral_norm(nn.Conv2d(inputs, base, 3, 1, 1))
        self.conv2 = spectral_norm(nn.Conv2d(base, base, 3, 1, 1))
        if down:
            self.shortcut = spectral_norm(nn.Conv2d(inputs, base, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        if not self.down:
            return h + x
        shortcut = self.shortcut(F.avg_pool2d(x, 2)) if self.first else F.avg_pool2d(self.shortcut(x), 2)
        return F.avg_pool2d(h, 2) + shortcut


class ResnetDiscriminator(nn.Module):
    def __init__(self, size: int, channels: int, base: int) -> None:
        super().__init__()
        halvings = max((size // 8).bit_length() - 1, 1)
        self.blocks = nn.Sequential(*(DownBlock(base if i else channels, base, first=i == 0, down=i < halvings) for i in range(halvings + 2)))
        self.fc = spectral_norm(nn.Linear(base, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(F.relu(self.blocks(x)).sum((2, 3)))


def resnet(size: int, channels: int, base: int) -> tuple[nn.Module, nn.Module]:
    return ResnetGenerator(size, channels, base), ResnetDiscriminator(size, channels, base)


class Step:
    """Both networks, their optimisers and batches of noise, and the step that trains them."""

    def __init__(self, args: argparse.Namespace) -> None:
        networks = {"dcgan": dcgan, "resnet": resnet}[args.network](args.size, args.channels, args.base_channels)
        layout = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}[args.layout]
        self.device, self.narrow = torch.device(args.device), args.precision == "bf16"
        self.generator, self.discriminator = (network.to(self.device, memory_format=layout) for network in networks)
        self.adam_g, self.adam_d = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999), fused=True) for network in networks)
        image = (args.batch, args.channels, args.size, args.size)
        self.real = [(torch.rand(image) * 2 - 1).to(self.device).contiguous(memory_format=layout) for _ in range(BATCHES)]
        self.z = [torch.randn(args.batch, LATENT, device=self.device) for _ in range(BATCHES)]
        self.hinge = args.network == "resnet"
        # A compiled pass cannot go back once another one has moved the vectors of the spectral norm.
        self.in_one_pass = args.compile and args.network == "resnet"
        self.steps = 0
        if args.compile:
            self.generator, self.discriminator = torch.compile(self.generator), torch.compile(self.discriminator)

    def __call__(self) -> None:
        real, z = self.real[self.steps % BATCHES], self.z[self.steps % BATCHES]
        for adam in (self.adam_g, self.adam_d):
            adam.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(True)
        with self.precision():
            fake = self.generator(z)
            loss_d = self.discriminator_loss(*self.on_both(real, fake.detach()))
        loss_d.backward()
        self.adam_d.step()
        self.discriminator.requires_grad_(False)
        with self.precision():
            loss_g = self.generator_loss(self.discriminator(fake))
        loss_g.backward()
        self.adam_g.step()
        self.steps += 1

    def precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.narrow)

    def wait(self) -> None:
        """Until a GPU has done all steps."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def on_both(self, real: torch.Tensor, fake: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The discriminator's outputs: in two passes, since batch norm takes the statistics of one kind of images alone."""
        if self.in_one_pass:
            return self.discriminator(torch.cat([real, fake])).chunk(2)
        return self.discriminator(real), self.discriminator(fake)

    def discriminator_loss(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        if self.hinge:
            return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        return F.softplus(-real).mean() + F.softplus(fake).mean()

    def generator_loss(self, fake: torch.Tensor) -> torch.Tensor:
        return -fake.mean() if self.hinge else F.softplus(-fake).mean()


def warm_up(step: Step) -> None:
    """Two steps, and up to ten as long as they take a second at most."""
    started = time.perf_counter()
    while step.steps < 2 or (step.steps < 10 and time.perf_counter() - started < 1):
        step()
    step.wait()


def user_seconds() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


class PeakMemory:
    """The peak memory of the process since now, less that of now, on Linux. Pages of files, such as its libraries' code, do not count."""

    def __init__(self) -> None:
        # Memory that was freed while the networks were built goes back to the system: steps would not be seen to take it.
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
        try:
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        except OSError:
            pass  # the peak includes that of the process's start
        self.before = kib("RssAnon:")

    def megabytes(self) -> float | None:
        peak, files = kib("VmHWM:"), kib("RssFile:")
        if peak is None or files is None or self.before is None:
            return None
        return max(peak - files - self.before, 0) * 1024e-6  # pages of files stay: at the peak there were no more than now


def kib(field: str) -> int | None:
    """A field of /proc/self/status; None on other systems."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith(field)), None)


if __name__ == "__main__":
    main()
