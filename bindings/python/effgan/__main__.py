"""The program ``effgan``, for machines that have the wheel alone: ``python -m effgan``."""

from __future__ import annotations

import os
import sys
import sysconfig

from . import _effgan


def main() -> None:
    """Does what the command line says, and ends with its exit code."""
    # `flwr` is the one that was installed with it, also where its folder is not on the path: venv/bin/effgan.
    programs = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(programs)
    sys.exit(_effgan.main(["effgan", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
