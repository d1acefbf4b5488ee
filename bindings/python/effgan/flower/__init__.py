"""effgan on Flower: a ServerApp and a ClientApp that call Rust for all arithmetic.

Flower carries the messages and authenticates the nodes; :mod:`effgan.flower.records` defines the content of messages. An app is a folder with
a ``pyproject.toml`` whose components are ``effgan.flower.server_app:app`` and ``effgan.flower.client_app:app``.
"""
