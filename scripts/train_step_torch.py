"""The DCGAN training step of `effgan bench train-step` in PyTorch on the CPU, as one JSON line with the same field names.

The discriminator trains on real and generated images, then the generator trains. Adam is fused, running statistics are kept, and the generator's
step computes no gradients of the discriminator's parameters. Needs `pip install torch numpy` in an environment of its own.
"""

import argparse
import json
import resource
import time

import torch
from torch import nn
from torch.nn import functional as F

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--base-channels", type=int, default=64)
parser.add_argument("--seconds", type=float, default=6)
args = parser.parse_args()
torch.set_num_threads(args.threads)
torch.manual_seed(0)
BASE, LATENT, WARM_UP, BATCHES = args.base_channels, 100, 10, 8


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(LATENT, 2 * BASE * 49)
        self.norm0 = nn.BatchNorm2d(2 * BASE)
        self.conv1 = nn.ConvTranspose2d(2 * BASE, BASE, 4, 2, 1)
        self.norm1 = nn.BatchNorm2d(BASE)
        self.conv2 = nn.ConvTranspose2d(BASE, 1, 4, 2, 1)

    def forward(self, z):
        x = F.relu(self.norm0(self.fc(z).view(-1, 2 * BASE, 7, 7)))
        x = F.relu(self.norm1(self.conv1(x)))
        return torch.tanh(self.conv2(x))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, BASE, 4, 2, 1)
        self.conv2 = nn.Conv2d(BASE, 2 * BASE, 4, 2, 1)
        self.norm2 = nn.BatchNorm2d(2 * BASE)
        self.fc = nn.Linear(2 * BASE * 49, 1)

    def forward(self, x):
        x = F.leaky_relu(self.conv1(x), 0.2)
        return self.fc(F.leaky_relu(self.norm2(self.conv2(x)), 0.2).flatten(1))


generator, discriminator = Generator(), Discriminator()
adams = [torch.optim.Adam(m.parameters(), 2e-4, (0.5, 0.999), fused=True) for m in (generator, discriminator)]
real = [torch.rand(args.batch, 1, 28, 28) * 2 - 1 for _ in range(BATCHES)]
z = [torch.randn(args.batch, LATENT) for _ in range(BATCHES)]


def step(i):
    for adam in adams:
        adam.zero_grad(set_to_none=True)
    discriminator.requires_grad_(True)
    fake = generator(z[i % BATCHES])
    loss = F.softplus(-discriminator(real[i % BATCHES])).mean() + F.softplus(discriminator(fake.detach())).mean()
    loss.backward()
    adams[1].step()
    discriminator.requires_grad_(False)
    F.softplus(-discriminator(fake)).mean().backward()
    adams[0].step()


for i in range(WARM_UP):
    step(i)
steps, started, usage = 0, time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
while time.perf_counter() - started < args.seconds:
    step(steps)
    steps += 1
wall, user = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_utime - usage.ru_utime
print(json.dumps({
    "engine": f"torch {torch.__version__}",
    "threads": args.threads,
    "batch": args.batch,
    "base_channels": BASE,
    "wall_ms_per_step": 1e3 * wall / steps,
    "user_ms_per_step": 1e3 * user / steps,
    "images_per_second": steps * args.batch / wall,
}))
