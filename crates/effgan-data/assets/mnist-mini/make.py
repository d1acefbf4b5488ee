"""Writes the four files of mnist-mini beside this script from the four files of MNIST.

    python3 make.py SOURCE_DIR

SOURCE_DIR holds the original train-images-idx3-ubyte.gz and so on. mnist-mini is the first 1,000 training images and the
first 200 test images of each class, in file order. The same source gives the same bytes (same zlib): no time, no name.
"""

import gzip
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
NUM_CLASSES = 10


def first_of_each_class(labels, per_class):
    """Indices of the first `per_class` images of each class, ascending."""
    seen = [0] * NUM_CLASSES
    chosen = []
    for index, label in enumerate(labels):
        if seen[label] < per_class:
            seen[label] += 1
            chosen.append(index)
    assert seen == [per_class] * NUM_CLASSES, f"expected {per_class} images of each class, found {seen}"
    return chosen


def write(name, header, body):
    with open(HERE / name, "wb") as file:
        # An empty name and time 0, so that the file depends on nothing but its contents.
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed:
            packed.write(header + body)


def make(source, split, per_class):
    images = gzip.decompress((source / f"{split}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((source / f"{split}-labels-idx1-ubyte.gz").read_bytes())[8:]
    _, count, height, width = struct.unpack(">4I", images[:16])
    assert count == len(labels), f"{split}: {count} images but {len(labels)} labels"
    size, pixels = height * width, images[16:]
    chosen = first_of_each_class(labels, per_class)
    body = b"".join(pixels[i * size : (i + 1) * size] for i in chosen)
    write(f"{split}-images-idx3-ubyte.gz", struct.pack(">4I", 0x803, len(chosen), height, width), body)
    write(f"{split}-labels-idx1-ubyte.gz", struct.pack(">2I", 0x801, len(chosen)), bytes(labels[i] for i in chosen))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python3 make.py SOURCE_DIR")
    make(pathlib.Path(sys.argv[1]), "train", 1000)
    make(pathlib.Path(sys.argv[1]), "t10k", 200)
