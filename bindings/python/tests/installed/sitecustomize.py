"""Stands for another effgan that is installed at a site: its app is the one that ``INSTALLED_APP`` names, as in ``flower_spies:faulty``."""

import importlib
import os
import sys

# Of the processes that the executor starts, and no others.
if "effgan.flower.task" in sys.orig_argv and "INSTALLED_APP" in os.environ:
    import effgan.flower.client_app

    module, _, name = os.environ["INSTALLED_APP"].partition(":")
    effgan.flower.client_app.app = getattr(importlib.import_module(module), name)
