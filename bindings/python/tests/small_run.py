"""The small run of the tests of what leaves a site: its config, and images as PNG files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

# Keys of [dataset] for images that keep their size, which must be the same for all; or for images that are resized.
AS_THEY_ARE, SIZED = "skip_broken = false", "size = 16\nchannels = 1"
# A template for `small_config`, not a config itself.
CONFIG = """\
name = "small"
seed = 1
[dataset]
name = "folder"
{images}
[partition]
kind = "iid"
clients = {clients}
{held_out}
min_examples = 1
[network]
kind = "dcgan"
latent_dim = 4
base_channels = 2
[local]
batch_size = 16
epochs = 1
[algorithm]
{algorithm}
rounds = 1
[federation]
{sites}
deadline = {deadline}
"""


def small_config(
    images: str = SIZED,
    *,
    clients: int = 3,
    held_out: str = "",
    algorithm: str = 'kind = "fedgan"',
    sites: str = "",
    deadline: int = 60,
) -> str:
    return CONFIG.format(images=images, clients=clients, held_out=held_out, algorithm=algorithm, sites=sites, deadline=deadline)


def png(path: Path, side: int) -> None:
    """Writes a grey picture of ``side`` × ``side`` pixels, different in each file."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + bytes((hash((path.name, y, x)) % 256) for x in range(side)) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
