"""effgan on Flower: a ServerApp and a ClientApp, whose every number comes from Rust.

Flower carries the messages, knows the nodes and keeps others out; what is in the messages is in :mod:`effgan.flower.records`. An app
that runs it is a folder with a ``pyproject.toml`` whose components are ``effgan.flower.server_app:app`` and
``effgan.flower.client_app:app``.
"""
