"""effgan on Flower: a ServerApp and a ClientApp that leave all computation to Rust.

Flower carries the messages and authenticates the nodes; :mod:`effgan.flower.records` defines what the messages hold. A Flower
app that runs effgan is a folder with a ``pyproject.toml`` whose components are ``effgan.flower.server_app:app`` and
``effgan.flower.client_app:app``.
"""
