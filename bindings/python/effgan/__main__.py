"""The program ``effgan``, for machines that have the wheel alone: ``python -m effgan``."""

from __future__ import annotations

import sys

from . import _effgan


def main() -> None:
    """Does what the command line says, and ends with its exit code."""
    sys.exit(_effgan.main(["effgan", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
