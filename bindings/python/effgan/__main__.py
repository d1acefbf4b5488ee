"""The command ``effgan`` for machines that have only the wheel: ``python -m effgan``."""

from __future__ import annotations

import os
import sys
import sysconfig

from . import _effgan


def main() -> None:
    """Runs the command line and exits with its exit code."""
    # Finds the `flwr` that was installed beside this package even when its folder is not on the PATH, as with venv/bin/effgan.
    programs = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    os.environ["PATH"] = os.pathsep.join(programs)
    sys.exit(_effgan.main(["effgan", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
