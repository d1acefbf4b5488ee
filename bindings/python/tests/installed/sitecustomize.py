"""Stands for another effgan installed at a site: ``INSTALLED_APP`` names its app, as in ``flower_spies:faulty``."""

import importlib
import os
import sys

# Only in the processes that the executor starts.
if "effgan.flower.task" in sys.orig_argv and "INSTALLED_APP" in os.environ:
    import effgan.flower.client_app

    module, _, name = os.environ["INSTALLED_APP"].partition(":")
    effgan.flower.client_app.app = getattr(importlib.import_module(module), name)
