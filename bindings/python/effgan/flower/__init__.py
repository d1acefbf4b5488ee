"""effgan on Flower: a ServerApp and a ClientApp that leave all computation to Rust.

Flower carries the messages, knows the nodes and authenticates them; :mod:`effgan.flower.records` says what the messages hold. A Flower
app that runs effgan is a folder with a ``pyproject.toml`` whose components are ``effgan.flower.server_app:app`` and
``effgan.flower.client_app:app``.
"""
