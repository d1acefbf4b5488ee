"""Finds words in bytes: plain, in upper or lower case, in the encodings that programs use, and inside compressed data."""

from __future__ import annotations

import binascii
import re
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator

# The first bytes of zlib and gzip streams, and of zip entries, which are raw deflate after a header of their own.
ZLIB, GZIP, ZIP = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"), b"\x1f\x8b\x08", b"PK\x03\x04"
BASE64, STANDARD = re.compile(rb"[A-Za-z0-9+/_-]{6,}"), bytes.maketrans(b"-_", b"+/")
HEX = re.compile(rb"[0-9A-Fa-f]{10,}")
# Maximum number of bytes that are unpacked from one stream.
MAX_UNPACKED = 1 << 26
STEP = 256


def traces(words: Iterable[str], data: bytes) -> set[tuple[str, str]]:
    """Which of the ``words`` are in ``data``, and in which encoding."""
    sought = [(word, name, text.lower()) for word in words for name, text in encodings(word).items()]
    lowers = [layer.lower() for layer in layers(data)]
    return {(word, name) for word, name, text in sought if any(text in lower for lower in lowers)}


def encodings(word: str) -> dict[str, bytes]:
    """The encodings that keep each letter by itself, so that the search can ignore case."""
    plain = word.encode()
    return {
        "plain": plain,
        "UTF-16": word.encode("utf-16-le"),
        "UTF-16, the other way": word.encode("utf-16-be"),
        "URL": urllib.parse.quote(word).encode(),
        "URL, slashes too": urllib.parse.quote(word, safe="").encode(),
        "URL of a form": urllib.parse.quote_plus(word).encode(),
        "JSON": word.replace("\\", "\\\\").replace("/", "\\/").encode(),
    }


def layers(data: bytes, depth: int = 3) -> Iterator[bytes]:
    """The bytes themselves, and what they hold compressed, as base64 or as hex, recursively."""
    yield data
    if depth > 0:
        for inside in (*streams(data), *of_base64(data), *of_hex(data)):
            yield from layers(inside, depth - 1)


def of_base64(data: bytes) -> Iterator[bytes]:
    """Decodes whatever may be base64, standard or of URLs, from any start."""
    runs = [run.translate(STANDARD) for run in BASE64.findall(data)]
    for start in range(4) if runs else ():
        # Padded to a whole number of bytes.
        yield b"\0".join(binascii.a2b_base64(run[start:] + b"AAA"[: -(len(run) - start) % 4]) for run in runs)


def of_hex(data: bytes) -> Iterator[bytes]:
    """Decodes whatever may be hex, from its first digit and from its second."""
    runs = HEX.findall(data)
    for start in range(2) if runs else ():
        yield b"\0".join(binascii.unhexlify(run[start:] + b"0"[: (len(run) - start) % 2]) for run in runs)


def streams(data: bytes) -> Iterator[bytes]:
    """Unpacks whatever may be compressed, from each place that looks like a start; most of them are not."""
    rest = memoryview(data)
    for magic in ZLIB:
        for start in beginnings(data, magic):
            yield from inflated(rest[start:], zlib.MAX_WBITS)
    for start in beginnings(data, GZIP):
        yield from inflated(rest[start:], zlib.MAX_WBITS | 16)
    for start in beginnings(data, ZIP):
        name, extra = (int.from_bytes(rest[start + at : start + at + 2], "little") for at in (26, 28))
        yield from inflated(rest[start + 30 + name + extra :], -zlib.MAX_WBITS)


def beginnings(data: bytes, magic: bytes) -> Iterator[int]:
    start = data.find(magic)
    while start >= 0:
        yield start
        start = data.find(magic, start + 1)


def inflated(data: memoryview, bits: int) -> Iterator[bytes]:
    """Unpacks as much of a stream as possible, in small steps, so that a torn stream is searched up to the tear."""
    stream, whole = zlib.decompressobj(bits), bytearray()
    try:
        for start in range(0, len(data), STEP):
            whole += stream.decompress(data[start : start + STEP])
            if stream.eof or len(whole) > MAX_UNPACKED:
                break
    except zlib.error:
        pass
    if whole:
        yield bytes(whole)
