#!/usr/bin/env python3
"""What cargo calls in the place of rustc: crates that no target runs are compiled fast, without optimisation and coverage.

With them Burn alone takes half an hour and 7 GB. Everything else, the readers among it, is compiled as cargo-fuzz wants it.
"""

import os
import sys

NEVER_RUN = ("burn", "faer", "gemm", "macerator", "nano_gemm", "private_gemm", "pulp")
DROPPED = ("-Cpasses=", "-Cllvm-args=", "-Ccodegen-units=", "-Cdebug-assertions")

command = sys.argv[1:]
name = command[command.index("--crate-name") + 1] if "--crate-name" in command else ""
if name.startswith(NEVER_RUN):
    command = [part for part in command if not part.startswith(DROPPED)] + ["-Copt-level=0"]
os.execvp(command[0], command)
